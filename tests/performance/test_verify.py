"""5,000 claims against 20,000 records, the whole process, against a floor: a Python that only imports pandas.

Importing pandas takes 0.4 s on a quiet core, so seven times that is the goal of three seconds. From 5.6 to 8.4 times
were measured on two cores that were busy otherwise, and 7.5 times or 3.2 s on a quiet one; so the goal is not reached
with a margin, and ten times is asserted, against its getting slower. What is timed has the index of the records, and
checks each record against it by content; making the index is reported. The seconds themselves depend on what else the
machine does: they are reported, not asserted.
"""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from latentbench.records.form import encode
from latentbench.records.record import Environment, Phase, Record, Training, Value
from latentbench.spec import RunSpec

BOARDS, MODELS, SEEDS, VALUES = 20, 100, 10, 20
CLAIMS = 5000
CODE = (
    "import sys; from latentbench.commands.cli import main; code = main(sys.argv[1:]); "
    "sys.exit(9 if 'torch' in sys.modules else code)"
)


def value_name(number: int) -> str:
    return f"metric-{number}@test/shifted"


def make_records(folder: Path) -> None:
    """20,000 finished runs with twenty values and the losses of fifty epochs, 9 KB each."""
    rng = random.Random(0)
    environment = Environment(
        python="3.11", platform="Linux", packages={"torch": "2.13.0"}, cpu="CPU", threads=1, device="cpu", plugins={}
    )
    config = {f"option_{number}": number for number in range(15)}
    losses = [{"loss": rng.random(), "reconstruction": rng.random(), "kl": rng.random()} for _ in range(50)]
    spec = RunSpec(
        model="MODEL", model_version=1, config=config, dataset="DATASET", dataset_version=1, options={},
        split_hash="0" * 64, seed=0,
    )  # fmt: skip
    values = {
        value_name(number): Value(
            value=0.5, metric=f"metric-{number}", version=1, title="Metric", higher_is_better=True, bounds=(0.0, 1.0)
        )
        for number in range(VALUES)
    }
    record = Record(
        key="KEY", status="finished", spec=spec, values=values, environment=environment, started="-", finished="-",
        training=Training(steps=5000, epochs=50, stopped="epochs", losses=losses),
        phases={"fit": Phase(seconds=1.0, peak_memory_bytes=1)},
    )  # fmt: skip
    blanks = {
        '"MODEL"': '"%(model)s"',
        '"DATASET"': '"%(dataset)s"',
        '"KEY"': '"%(key)s"',
        '"seed": 0': '"seed": %(seed)s',
    }
    text = encode(record).decode().replace("%", "%%")
    for found, blank in (blanks | {f'"{name}": 0.5': f'"{name}": %({name})s' for name in values}).items():
        text = text.replace(found, blank)
    for dataset in range(BOARDS):
        for model in range(MODELS):
            place = folder / f"data-{dataset}" / f"model-{model}"
            place.mkdir(parents=True)
            mean = 0.4 + 0.002 * model
            for seed in range(SEEDS):
                own = spec.model_copy(update={"model": place.name, "dataset": place.parent.name, "seed": seed})
                facts = {"model": own.model, "dataset": own.dataset, "seed": seed, "key": own.key}
                measured = {name: min(max(rng.gauss(mean, 0.01), 0), 1) for name in values}
                (place / f"{facts['key']}.json").write_text(text % (facts | measured))


def make_claims(folder: Path) -> None:
    """A paper for each board; three of four claims are of equivalence, the others of a gap."""
    folder.mkdir()
    for dataset in range(BOARDS):
        board = {"name": f"board-{dataset}", "title": "B", "datasets": [f"data-{dataset}"], "rank": value_name(0)}
        models = {"models": [f"model-{model}" for model in range(MODELS)], "seeds": SEEDS, "twins": False}
        (folder.parent / f"board-{dataset}.yaml").write_text(json.dumps({**board, **models}))
        lines = [f"name: paper-{dataset}", "title: P", "reference: R", "version: v1", "claims:"]
        for number in range(CLAIMS // BOARDS):
            model, value = number % MODELS, value_name(number % VALUES)
            gap = number % 4 == 3
            test = f"{{how: gap, over: model-{(model + 50) % MODELS}}}" if gap else "{how: equivalence, margin: 2}"
            row = f"dataset: data-{dataset}, row: model-{model}, value: {value}"
            lines += [
                f"  - id: claim-{number}",
                f"    cell: {{place: table {number // 25}, row: Model {model}, column: Value {number}}}",
                "    kind: printed",
                f"    published: {10.0 if gap else 40 + 0.2 * model}",
                "    unit: percent",
                "    spread: {value: 1.5, kind: std}",
                "    seeds: 5",
                "    protocol: exact",
                f"    selection: {{board: ../board-{dataset}.yaml, {row}}}",
                "    role: baseline",
                f"    test: {test}",
            ]
        (folder / f"paper-{dataset}.yaml").write_text("\n".join(lines) + "\n")


@pytest.mark.slow
@pytest.mark.benchmark(group="verify")
def test_5000_claims_are_judged_by_20000_records_in_ten_imports_of_pandas(benchmark, tmp_path: Path) -> None:
    make_records(tmp_path / "results")
    make_claims(tmp_path / "claims")
    call = [sys.executable, "-c", CODE, "verify", "--claims", "claims"]
    environment = {**os.environ, "LATENTBENCH_CACHE": str(tmp_path / "cache")}
    floors: list[float] = []

    def verify() -> str:
        done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode in (0, 1), done.stderr  # 1: something is refuted; torch would be another number
        return done.stdout

    def floor() -> None:
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import pandas"], check=True)
        floors.append(time.perf_counter() - begin)

    begin = time.perf_counter()
    first = verify()
    cold = time.perf_counter() - begin
    assert benchmark.pedantic(verify, setup=floor, rounds=3) == first
    parts = [part.partition(" ") for part in first.splitlines()[-1].split(", ")]
    counts = {verdict: int(count) for count, _, verdict in parts}
    assert sum(counts.values()) == CLAIMS
    assert counts["reproduced"] > CLAIMS / 4
    seconds = benchmark.stats.stats.min
    benchmark.extra_info |= {
        "seconds": seconds,
        "seconds to make the index": cold - seconds,
        "seconds to import pandas": min(floors),
        "ratio": seconds / min(floors),
    }
    assert seconds < 10 * min(floors)
