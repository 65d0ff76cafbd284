"""Make golden records: ``python -m tests.golden.make [MODEL ...]``, from the repository's root.

Every case is carried out with the kernels that this machine would use, whose results are the expected ones, and then
with those of older CPUs. By how much these differ gives each value's margin on machines that are not recorded.

Where nothing but the machine differs from the golden record that is there, this machine's digests are added to it.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from latentbench import Plugins
from tests.golden.cases import Case, cases
from tests.golden.replay import RECORDS, Machine, Replay, builtin_models, compare, digest, read, replay, setting

#: What makes PyTorch, oneDNN, MKL and OpenBLAS take the kernels of older CPUs.
KERNELS = {
    "AVX2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "DNNL_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
    },
    "SSE4": {
        "ATEN_CPU_CAPABILITY": "default",
        "DNNL_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "OPENBLAS_CORETYPE": "Nehalem",
    },
}
#: The margin of a value is so many times the largest difference between kernels, ...
FACTOR = 10
#: ... and at least this share of it: of means and norms, which rounding alone moves; ...
LEAST_OF_SUMS = 1e-4
#: ... and of metrics, most of which are counts over some hundred images, of which another may change sides.
LEAST_OF_METRICS = 0.02


def make(case: Case, plugins: Plugins) -> dict[str, Any]:
    """The golden record of a case: the one that is there with this machine added, or a new one."""
    machine, here = Machine.here(), run(case, plugins)
    entry = {
        "machine": asdict(machine),
        "weights": here.weights,
        "predictions": here.predictions,
    }
    golden = read(case)
    if golden is not None:
        golden["machines"] = [other for other in golden["machines"] if other["machine"] != asdict(machine)]
        if golden["machines"] and not compare(case, golden, here, machine):
            of_record = {name: here.values[name] for name in golden["values"]}
            golden["machines"].append(entry | {"values": digest(of_record)})
            return golden
    others = [elsewhere(case, variables) for variables in KERNELS.values()]
    return {
        "case": setting(case),
        "versions": here.versions,
        "values": {
            name: [value, margin(name, value, [other.values[name] for other in others])]
            for name, value in sorted(here.values.items())
        },
        "machines": [entry | {"values": digest(here.values)}],
    }


def margin(name: str, value: float, elsewhere: list[float]) -> float:
    """By how much a value may differ on a machine that is not recorded, to two digits."""
    least = LEAST_OF_SUMS * abs(value) if " of " in name else LEAST_OF_METRICS * max(abs(value), 1)
    spread = max(abs(other - value) for other in elsewhere)
    return float(f"{max(FACTOR * spread, least):.2g}")


def run(case: Case, plugins: Plugins) -> Replay:
    """The case, carried out in this process."""
    with TemporaryDirectory() as folder:
        return replay(case, plugins, Path(folder))


def elsewhere(case: Case, variables: dict[str, str]) -> Replay:
    """The case, carried out in a process with these environment variables."""
    command = [sys.executable, "-m", "tests.golden.make", "--replay", case.name, case.model]
    done = subprocess.run(command, env=os.environ | variables, stdout=subprocess.PIPE, check=True)
    return Replay(**json.loads(done.stdout))


def main() -> None:
    """Make the golden records of the models that are named, or of all built-in ones."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden.make", description=main.__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--replay", metavar="CASE", help="print what this case comes to as JSON, and write nothing")
    arguments = parser.parse_args()
    plugins = Plugins.load()
    chosen = cases(arguments.models or builtin_models(plugins))
    if arguments.replay:
        print(json.dumps(asdict(run(next(case for case in chosen if case.name == arguments.replay), plugins))))
        return
    RECORDS.mkdir(exist_ok=True)
    for case in chosen:
        golden = make(case, plugins)
        (RECORDS / f"{case.name}.json").write_text(dump(golden))
        print(f"{case.name}: {len(golden['values'])} values, {len(golden['machines'])} machines")


def dump(golden: dict[str, Any]) -> str:
    """JSON with a line for each value, so that a change is one in a diff, too."""
    values = ",\n".join(f"  {json.dumps(name)}: {json.dumps(pair)}" for name, pair in golden["values"].items())
    rest = json.dumps(golden | {"values": "VALUES"}, indent=1)
    return rest.replace('"VALUES"', "{\n" + values + "\n }") + "\n"


if __name__ == "__main__":
    main()
