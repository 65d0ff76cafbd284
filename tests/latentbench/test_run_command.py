"""``latentbench run`` and ``show``, end to end: resuming is the default, failures are records, errors are one line."""

import hashlib
import json
import os
import re
import shlex
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from latentbench.commands.cli import main
from latentbench.records.store import Store, read_record

BOARD = """\
name: toys
title: Toys
datasets: [toy-blobs]
models: [centre-distance, pca]
seeds: 2
twins: false
rank: auroc@test
"""

#: Runs the command line in process: (exit code, stdout, stderr).
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(toys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    (tmp_path / "toys.yaml").write_text(BOARD)
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> tuple[int, str, str]:
        code = main(["--plugin", str(toys), *args])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def records(root: Path) -> dict[str, dict[str, object]]:
    return {path.stem: read_record(path).result() for path in root.glob("*/*/*.json")}


def test_a_board_becomes_records_that_say_everything(cli: Cli, tmp_path: Path) -> None:
    code, out, _ = cli("run", "toys.yaml", "--jobs", "1")
    assert code == 0
    assert "4 of 4 runs are finished; their records are in results" in out
    (path, *others) = sorted(Path("results/toy-blobs/centre-distance").glob("*.json"))
    assert len(others) == 1
    record = read_record(path)
    assert record.key == path.stem == record.spec.key
    assert set(record.phases) == {"fit", "evaluate", "describe"}
    assert record.training is not None
    assert record.training.steps == 12
    assert record.environment.packages["torch"] == torch.__version__
    assert record.environment.plugins["model"].startswith("toys ")
    assert record.parameters == 64 * 4
    assert record.values["accuracy@test"].readout == "probe"
    predictions = Store(Path("results")).predictions(path, record)
    assert record.values["auroc@test"].value == roc_auc_score(np.arange(60) >= 45, predictions["test/score"])
    assert not list(Path("results/.work").iterdir())


PICTURED = """
import torch
from latentbench import hookimpl
from toys import Blobs, CentreDistance


class Pictured(CentreDistance):
    def reconstruct(self, images):
        return images

    def sample(self, count):
        return torch.rand(count, 1, 8, 8)

    def facts(self):
        return {"norm": float(self.centre.norm())}

    def pictures(self, images):
        with torch.no_grad():
            self.centre.zero_()  # too late to change a result
        return {"broken": images - 5}


class Forgetful(Pictured):
    def facts(self):
        return {"norm": float("nan")}


class Public(Blobs):
    name, redistributable = "public-blobs", True


@hookimpl
def latentbench_models():
    return [Pictured, Forgetful]


@hookimpl
def latentbench_datasets():
    return [Public]
"""


def test_pictures_and_facts_lie_with_the_record_and_their_failure_costs_nothing_else(
    toys: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.syspath_prepend(str(toys.parent))
    (tmp_path / "pictured.py").write_text(PICTURED)
    board = BOARD.replace("toy-blobs", "toy-blobs, public-blobs").replace("seeds: 2", "seeds: 1")
    (tmp_path / "toys.yaml").write_text(board.replace("[centre-distance, pca]", "all"))
    models = "pictured,forgetful,centre-distance"
    assert cli("--plugin", "pictured.py", "run", "toys.yaml", "--models", models, "--jobs", "1")[0] == 0

    found = {(r.spec.dataset, r.spec.model): (path, r) for path, r in Store(Path("results")).records()}
    for (dataset, model), (path, record) in found.items():
        names = {name: artefact.file for name, artefact in record.artefacts.items()}
        local = "" if dataset == "public-blobs" else ".local"
        expected = {"clusters-k2": f"{path.stem}.clusters-k2{local}.png"}
        if model != "centre-distance":
            expected["reconstructions"] = f"{path.stem}.reconstructions{local}.png"
            expected["samples"] = f"{path.stem}.samples.png"
        assert names == expected
        for artefact in record.artefacts.values():
            content = path.with_name(artefact.file).read_bytes()
            assert hashlib.sha256(content).hexdigest() == artefact.sha256
            assert content.startswith(b"\x89PNG")
        plain = found[dataset, "centre-distance"][1]
        assert {name: value.value for name, value in record.values.items()} == {
            name: value.value for name, value in plain.values.items()
        }
        assert record.weights is not None
        assert plain.weights is not None
        assert record.weights.sha256 == plain.weights.sha256
    assert found["toy-blobs", "pictured"][1].facts == {"norm": 2.0}
    assert found["toy-blobs", "forgetful"][1].facts == {}
    assert '"facts"' not in found["toy-blobs", "centre-distance"][0].read_text()
    assert "artefacts" not in record.model_copy(update={"artefacts": {}}).model_dump()
    assert (
        "forgetful on toy-blobs, seed 0: no facts: model 'forgetful', facts(): 'norm' is nan: expected a" in caplog.text
    )
    assert "pictured on toy-blobs, seed 0: no picture 'pictures()': plugin 'pictured " in caplog.text

    path, record = found["toy-blobs", "pictured"]
    shown = cli("--plugin", "pictured.py", "show", record.key, "--full")[1]
    assert "facts       norm=2.0" in shown
    assert str(path.with_name(f"{record.key}.reconstructions.local.png")) in shown


def test_a_broken_metric_costs_its_own_values_alone_and_is_named_everywhere(
    cli: Cli, caplog: pytest.LogCaptureFixture
) -> None:
    assert cli("run", "toys.yaml", "--seeds", "1", "--jobs", "1", "--models", "pca")[0] == 0
    reason = "IndexError: list index out of range"
    assert re.search(rf"pca on toy-blobs, seed 0: no toy-broken@test: plugin 'toys sha256:\w+': {reason}", caplog.text)
    (path,) = Path("results").glob("*/*/*.json")
    record = read_record(path)
    assert record.unmeasured == {"toy-broken@test": reason}
    assert {"auroc@test", "auprc@test", "fpr95@test", "accuracy@test"} <= set(record.values)
    assert f"no toy-broken@test: {reason}" in cli("show", path.stem, "--full")[1]

    Path("toys.yaml").write_text(f"{BOARD}columns: [toy-broken@test]\n")
    cli("leaderboard", "toys.yaml")
    assert f"`pca`, seed 0, no toy-broken test: `{reason}`" in Path("results/toys.md").read_text()


def test_of_several_scores_a_broken_metric_is_named_for_each(cli: Cli, caplog: pytest.LogCaptureFixture) -> None:
    Path("toys.yaml").write_text(BOARD.replace("pca", "vae"))
    options = ["--models", "vae", "--set", 'vae.scores=["kl"]', "--set", "vae.epochs=1"]
    assert cli("run", "toys.yaml", "--seeds", "1", "--jobs", "1", *options)[0] == 0
    (path,) = Path("results").glob("*/*/*.json")
    names = ["toy-broken@test", "toy-broken[negative_elbo]@test", "toy-broken[kl]@test"]
    record = read_record(path)
    assert sorted(record.unmeasured) == sorted(names)
    assert all(re.search(rf"seed 0: no {re.escape(name)}: plugin '[^']+': IndexError", caplog.text) for name in names)
    assert record.values["auroc@test"].value == record.values["auroc[negative_elbo]@test"].value
    predictions = Store(Path("results")).predictions(path, record)
    assert record.values["auroc[kl]@test"].value == roc_auc_score(np.arange(60) >= 45, predictions["test/score/kl"])


def test_finished_runs_are_left_alone(cli: Cli) -> None:
    cli("run", "toys.yaml", "--seeds", "1", "--jobs", "1")
    before = {path: path.stat().st_mtime_ns for path in Path("results").glob("*/*/*.*")}
    code, out, _ = cli("run", "toys.yaml", "--jobs", "1")
    assert code == 0
    assert "4 runs, 2 done before, 2 to do" in out
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_a_dry_run_says_what_would_run_and_how_long_and_leaves_no_trace(cli: Cli) -> None:
    def told(*args: str) -> list[list[str]]:
        code, out, _ = cli("run", "toys.yaml", "--dry-run", "--jobs", "1", *args)
        assert code == 0
        return [re.split(r" {2,}", line) for line in out.splitlines()]

    title, header, *rows, last = told()
    assert title == ["board toys, cpu, results in results: 4 runs, 0 done before"]
    assert header == ["run", "begins", "takes about"]
    assert [row[1:] for row in rows] == [["from the start", "-"]] * 4
    assert last == ["4 runs to do; no earlier run tells of 4 of them"]
    assert not Path("results").exists()

    cli("run", "toys.yaml", "--models", "pca", "--seeds", "1", "--jobs", "1")
    (path,) = Path("results").glob("*/*/*.json")
    seconds = max(1, round(sum(phase.seconds for phase in read_record(path).phases.values())))
    before = {file: file.stat().st_mtime_ns for file in Path("results").rglob("*")}
    title, header, *rows, last = told("--seeds", "2", "--models", "pca")
    assert title[0].endswith(": 2 runs, 1 done before")
    assert rows == [["pca on toy-blobs, seed 1", "from the start", f"0:00:0{seconds}"]]
    assert last == [f"1 runs to do, 0:00:0{seconds} with 1 at a time"]
    assert {file: file.stat().st_mtime_ns for file in Path("results").rglob("*")} == before


def test_a_dry_run_tells_a_checkpoint_and_a_failure(cli: Cli) -> None:
    Path("toys.yaml").write_text(BOARD.replace("pca", "divides-by-zero"))
    cli("run", "toys.yaml", "--models", "divides-by-zero", "--seeds", "1", "--executor", "here")
    assert "3 runs to do" in cli("run", "toys.yaml", "--dry-run")[1]
    out = cli("run", "toys.yaml", "--dry-run", "--retry-failed")[1]
    assert "divides-by-zero on toy-blobs, seed 0  again, for it failed" in out
    cli("run", "toys.yaml", "--models", "centre-distance", "--seeds", "1", "--executor", "here")
    (path,) = Path("results").glob("toy-blobs/centre-distance/*.json")
    work = Store(Path("results")).work(read_record(path).spec)
    path.unlink()
    work.mkdir(parents=True)
    (work / "checkpoint.pt").touch()
    out = cli("run", "toys.yaml", "--dry-run")[1]
    assert "centre-distance on toy-blobs, seed 0  from its checkpoint" in out


def test_quietly_a_board_tells_what_came_of_it_and_what_failed(cli: Cli) -> None:
    Path("toys.yaml").write_text(BOARD.replace("pca", "divides-by-zero"))
    code, out, _ = cli("run", "toys.yaml", "--seeds", "1", "--executor", "here", "--quiet")
    assert code == 2
    first, *rest = out.splitlines()
    assert re.match(r"divides-by-zero on toy-blobs, seed 0: failed: .*ZeroDivisionError", first)
    assert rest[0] == "1 of 2 runs are finished; their records are in results"


def test_the_same_key_gives_the_same_bytes_and_jobs_do_not_matter(cli: Cli) -> None:
    assert cli("run", "toys.yaml", "--out", "one", "--jobs", "1")[0] == 0
    assert cli("run", "toys.yaml", "--out", "again", "--jobs", "1")[0] == 0
    assert cli("run", "toys.yaml", "--out", "two", "--jobs", "2")[0] == 0
    assert records(Path("one")) == records(Path("again")) == records(Path("two"))
    for path in Path("one").rglob("*.npz.xz"):
        content = path.read_bytes()
        assert content == (Path("again") / path.relative_to("one")).read_bytes()
        assert content == (Path("two") / path.relative_to("one")).read_bytes()


SEVERAL = """\
name: toys
title: Toys
datasets:
  - {name: toy-blobs, label: few, options: {size: 40}, rank: auprc@test, columns: [accuracy@test]}
  - {name: toy-blobs, label: many, options: {size: 48}}
models: [pca]
twins: false
rank: auroc@test
average: true
"""


def test_a_run_is_told_by_its_datasets_label_with_the_value_that_ranks_there(cli: Cli) -> None:
    Path("toys.yaml").write_text(SEVERAL)
    code, out, _ = cli("run", "toys.yaml", "--jobs", "1")
    assert code == 0
    lines = [line.partition(";")[0] for line in out.splitlines() if line.startswith("pca on")]
    told = [re.sub(r"\d+\.\d+", "N", line) for line in lines]
    assert told == [
        "pca on few, seed 0: finished, auprc@test N, N s",
        "pca on many, seed 0: finished, auroc@test N, N s",
    ]
    assert "0 to do" in cli("run", "toys.yaml", "--datasets", "toy-blobs")[1]


def test_of_several_values_that_rank_a_run_is_told_by_the_first_that_it_has(cli: Cli) -> None:
    """No toy has maps, so none is ranked by AUPRO."""
    Path("toys.yaml").write_text(BOARD.replace("rank: auroc@test", "rank: [aupro30@test, auroc@test]"))
    code, out, err = cli("run", "toys.yaml", "--jobs", "1", "--models", "centre-distance", "--seeds", "1")
    assert code == 0, err
    assert re.search(r"^centre-distance on toy-blobs, seed 0: finished, auroc@test 0\.\d{3}, ", out, re.MULTILINE)


def test_what_a_run_says_to_do_next_can_be_pasted(cli: Cli, toys: Path) -> None:
    folder = Path("my parts & co's")
    folder.mkdir()
    board = folder / "toys.yml"
    board.write_text(BOARD)
    out = folder / "results"
    code, printed, _ = cli("run", str(board), "--models", "pca", "--seeds", "1", "--out", str(out))
    assert code == 0
    (told,) = [line for line in printed.splitlines() if line.startswith("leaderboard: ")]
    program, *words = shlex.split(told.partition(": ")[2])
    assert program == "latentbench"
    assert words[:2] == ["leaderboard", str(board)]
    assert main(words) == 0
    assert (out / "toys.md").is_file()


def test_one_dataset_of_a_board_is_run_by_its_label_and_the_table_of_means_says_so(cli: Cli) -> None:
    Path("toys.yaml").write_text(SEVERAL)
    code, out, _ = cli("run", "toys.yaml", "--datasets", "many", "--set", "many.size=48", "--jobs", "1")
    assert code == 0
    assert "1 of 1 runs are finished" in out
    cli("leaderboard", "toys.yaml")
    headings = re.findall(r"^## (.*)\n\n(.*)$", Path("results/toys.md").read_text(), re.MULTILINE)
    assert headings[0] == ("Means", "Mean over 1 of 2 datasets (`many`), 1 seed, ranked by test images alone.")
    assert headings[1][0] == "`many`"
    assert headings[1][1].startswith("Dataset `toy-blobs` (`size=48`), split")
    assert len(headings) == 2


VARIANTS = """\
name: toys
title: Toys
datasets: [toy-blobs]
models: [centre-distance]
variants:
  - {model: centre-distance, label: narrow, options: {latent_dim: 2}}
seeds: 1
twins: false
rank: auroc@test
"""


def test_a_variant_is_run_and_shown_under_its_label_and_what_set_changes_is_counted(cli: Cli) -> None:
    Path("toys.yaml").write_text(VARIANTS)
    code, out, _ = cli("run", "toys.yaml", "--jobs", "1")
    assert code == 0
    assert [line.partition(":")[0] for line in out.splitlines() if " on toy-blobs" in line] == [
        "centre-distance on toy-blobs, seed 0", "narrow on toy-blobs, seed 0"
    ]  # fmt: skip
    assert cli("run", "toys.yaml", "--jobs", "1", "--models", "narrow", "--set", "narrow.latent_dim=1")[0] == 0
    assert cli("leaderboard", "toys.yaml")[0] == 0
    text = Path("results/toys.md").read_text()
    shown = text.partition("<details>")[0]
    rows = [line.split("|")[2].strip() for line in shown.splitlines() if line.startswith("|")][2:]
    assert sorted(rows) == ["`centre-distance`", "`narrow`"]
    assert "1 run in 1 other setting stands in the CSV." in text
    assert "- `narrow` is `centre-distance` with `latent_dim=2`." in text


def test_a_lineup_of_earlier_runs_stays_that_of_the_board_whatever_is_chosen_or_set(cli: Cli) -> None:
    Path("toys.yaml").write_text(VARIANTS)
    cli("run", "toys.yaml", "--jobs", "1", "--models", "narrow", "--set", "latent_dim=1")
    lineup = json.loads(Path("results/toys.lineup.json").read_text())
    assert {label: config["latent_dim"] for label, config in lineup["rows"]["toy-blobs"].items()} == {
        "centre-distance": 4, "narrow": 2
    }  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("model: centre-distance", "model: centre", "toys.yaml:6: variant 'narrow': unknown model 'centre': "),
        (
            "latent_dim",
            "latent_dims",
            "toys.yaml:6: variant 'narrow': model 'centre-distance' has no option 'latent_di",
        ),
        (
            "label: narrow",
            "label: centre-distance",
            "toys.yaml:6: variants.0 is called 'centre-distance' as a model is",
        ),
        ("label: narrow", "label: pca", "toys.yaml:6: variant 'pca' is called as a model is: give it another label"),
    ],
)
@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_mistake_in_a_variant_is_one_line_with_file_and_line_and_nothing_is_run(
    cli: Cli, old: str, new: str, message: str, verb: str
) -> None:
    Path("toys.yaml").write_text(VARIANTS.replace(old, new))
    code, _, err = cli(verb, "toys.yaml")
    assert code == 2
    assert err.startswith(f"latentbench: error: {message}")
    assert len(err.strip().splitlines()) == 1
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nan-loss", r"model 'nan-loss': loss 'loss' is nan in epoch 2, step 5 \(no checkpoint yet\): lower"),
        ("wrong-shape", r"'toys .*'wrong-shape', capability 'score' on split 'test': .*\(60,\), got \(60, 1\)"),
        ("nan-scores", r"plugin 'toys .*'nan-scores', capability 'score'.*got 1 NaN of 60 \(first at image 3\)"),
        ("divides-by-zero", r"plugin 'toys .*': model 'divides-by-zero', fit\(\), step 1: ZeroDivisionError: "),
        ("refuses", r"toy models refuse: choose another"),
    ],
)  # fmt: skip
def test_a_failed_run_is_a_record_and_the_others_go_on(cli: Cli, model: str, message: str) -> None:
    Path("toys.yaml").write_text(BOARD.replace("[centre-distance,", f"[{model}, centre-distance,"))
    code, out, err = cli("run", "toys.yaml", "--seeds", "1", "--executor", "here")
    assert code == 2
    assert "2 of 3 runs are finished" in out
    assert "Traceback" not in out + err
    (line,) = [line for line in err.splitlines() if "error" in line]
    assert line.startswith("latentbench: error: 1 of 3 runs failed: ")
    (path,) = Path(f"results/toy-blobs/{model}").glob("*.json")
    failure = read_record(path).failure
    assert failure is not None
    assert "\n" not in failure.message
    assert re.search(message, failure.message), failure.message
    assert failure.message in line
    assert "Traceback" in failure.traceback


def test_what_is_left_of_a_run_that_was_stopped_once_its_record_was_written_is_cleared(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    command = ("run", "toys.yaml", "--seeds", "1", "--models", "centre-distance", "--executor", "here")
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", stop)
        assert cli(*command)[0] == 130
    (path,) = Path("results").glob("*/*/*.json")
    work = Path("results/.work") / path.stem
    assert work.exists()
    before = path.read_bytes()
    code, out, _ = cli(*command)
    assert code == 0
    assert "1 done before" in out
    assert path.read_bytes() == before
    assert not work.exists()


def test_a_failed_run_is_made_again_only_on_request(cli: Cli, toys: Path, tmp_path: Path) -> None:
    Path("toys.yaml").write_text(BOARD.replace("[centre-distance, pca]", "[nan-loss]").replace("seeds: 2", "seeds: 1"))
    assert cli("run", "toys.yaml")[0] == 2
    (path,) = Path("results/toy-blobs/nan-loss").glob("*.json")
    first = path.stat().st_mtime_ns
    code, out, err = cli("run", "toys.yaml")
    assert (code, path.stat().st_mtime_ns) == (2, first)
    assert "0 to do" in out
    assert "--retry-failed" in err

    mended = tmp_path / "toys.py"  # the author mends the bug, and the same run is made again
    mended.write_text(toys.read_text().replace("self.steps >= 5", "False"))
    assert main(["--plugin", str(mended), "run", "toys.yaml", "--retry-failed"]) == 0
    assert read_record(path).status == "finished"


def test_a_process_that_dies_takes_no_other_run_with_it(cli: Cli) -> None:
    Path("toys.yaml").write_text(BOARD.replace("[centre-distance,", "[crash, centre-distance,"))
    code, out, err = cli("run", "toys.yaml", "--jobs", "2", "--seeds", "1")
    assert code == 2
    assert "crash on toy-blobs, seed 0: lost: its process was killed by signal 9" in out
    assert "1 of 3 runs did not end" in err
    assert {path.parent.name for path in Path("results").glob("*/*/*.json")} == {"centre-distance", "pca"}


def test_show_tells_what_a_record_holds(cli: Cli) -> None:
    cli("run", "toys.yaml", "--seeds", "1", "--jobs", "1", "--models", "centre-distance")
    (path,) = Path("results").glob("*/*/*.json")
    code, out, _ = cli("show", path.stem[:8])
    assert code == 0
    value = read_record(path).values["auroc@test"].value
    assert "centre-distance on toy-blobs, seed 0 - finished" in out
    assert f"{value:.4f}" in out
    assert cli("show", path.stem, "--json")[1] == path.read_text()
    assert cli("show", "last")[1] == cli("show", "centre-distance/toy-blobs/0")[1] == out
    full = cli("show", "last", "--full")[1]
    assert len(full.splitlines()) > len(out.splitlines())
    assert "1 values are missing; --full tells everything" in out
    record = read_record(path)
    for name in [*record.values, *record.unmeasured, *record.environment.packages]:
        assert name in full
    code, _, err = cli("show", "nothing")
    assert code == 2
    assert "no run in results with a key that begins with 'nothing': a run is named by its key, 'last' or " in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["toyz"], "unknown board 'toyz': "),
        (["missing.yaml"], "missing.yaml"),
        (["toys.yaml", "--models", "centre-distanse"], "no model 'centre-distanse': did you mean 'centre-distance'?"),
        (["toys.yaml", "--datasets", "toy-blob"], "no dataset 'toy-blob': did you mean 'toy-blobs'?"),
        (["toys.yaml", "--set", "latent_dims=3"], "did you mean 'latent_dim'?"),
        (["toys.yaml", "--set", "latent_dim=zero"], "model 'centre-distance': 'latent_dim': "),
        (["toys.yaml", "--executor", "locl"], "unknown executor 'locl': did you mean 'local'?"),
        (["toys.yaml", "--models", ""], "Invalid value for '--models': it names nothing"),
        (["toys.yaml", "--datasets", "toy-blobs,"], "Invalid value for '--datasets': there is an empty name"),
        (["toys.yaml", "--seeds", "0"], "--seeds"),
        (["toys.yaml", "--job", "2"], "--jobs"),
        (["toys.yaml", "--out", "toys.yaml"], "toys.yaml"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(cli: Cli, args: list[str], message: str) -> None:
    code, _, err = cli("run", *args)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not Path("results").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_without_a_device_is_refused_at_once(cli: Cli) -> None:
    code, _, err = cli("run", "toys.yaml", "--device", "cuda")
    assert code == 2
    assert "--device cuda: this machine's PyTorch finds no such device: use auto, cpu, sim" in err


def test_debug_shows_the_traceback(cli: Cli) -> None:
    code, _, err = cli("--debug", "run", "toys.yaml", "--models", "none")
    assert code == 2
    assert "Traceback" in err


@contextmanager
def an_ordinary_user() -> Iterator[None]:
    """Root may write everywhere, so that a test of permissions has to be somebody else for a while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_read_only_results_folder_is_named_and_nothing_is_lost(
    toys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users altogether
        out = Path(folder) / "results"
        Path(folder).chmod(0o755)
        board = Path(folder) / "toys.yaml"
        board.write_text(BOARD)
        plugin = shutil.copy(toys, folder)
        arguments = ["--plugin", plugin, "run", str(board), "--seeds", "1", "--executor", "here", "--out", str(out)]
        assert main([*arguments, "--models", "pca"]) == 0
        kept = records(out)
        for path in (out, out / ".work"):
            path.chmod(0o555)
        with an_ordinary_user():
            assert main(arguments) == 2
        err = capsys.readouterr().err
        lost = r"cannot write .*results/\.work/\w+: Permission denied: .*--out"
        assert re.search(f"1 of 2 runs did not end: centre-distance on toy-blobs, seed 0: {lost}", err)
        assert "Traceback" not in err
        assert records(out) == kept


def test_a_full_disk_stops_cleanly_and_the_same_command_resumes(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The predictions of the second run meet a disk that is really full: /dev/full says ENOSPC on every write."""
    real, made = tempfile.mkstemp, []

    def mkstemp(**where: Any) -> tuple[int, str]:
        made.append(where["prefix"])
        if len([name for name in made if re.match(r"\.[0-9a-f]{16}\.npz", name)]) == 2:
            descriptor, name = real(**where)
            full = os.open("/dev/full", os.O_WRONLY)
            os.dup2(full, descriptor)
            os.close(full)
            return descriptor, name
        return real(**where)

    chmod = os.fchmod
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "mkstemp", mkstemp)
        patch.setattr(os, "fchmod", lambda fd, mode: None if os.isatty(fd) or _is_device(fd) else chmod(fd, mode))
        code, out, err = cli("run", "toys.yaml", "--seeds", "1", "--executor", "here")
    assert code == 2
    assert "No space left on device" in err
    assert "Traceback" not in out + err
    assert len(records(Path("results"))) == 1
    assert not list(Path("results").rglob("*.part"))
    assert cli("run", "toys.yaml", "--seeds", "1", "--jobs", "1")[0] == 0
    assert len(records(Path("results"))) == 2


def _is_device(descriptor: int) -> bool:
    return stat.S_ISCHR(os.fstat(descriptor).st_mode)


def test_a_saved_model_scores_as_the_record_says(cli: Cli, toys: Path) -> None:
    """Weights and predictions belong together: the state, loaded into a fresh model, gives the same scores."""
    from safetensors.torch import load_file

    from latentbench.plugins.registry import Plugins
    from latentbench.running.execute import load_data

    cli("run", "toys.yaml", "--seeds", "1", "--jobs", "1", "--models", "centre-distance")
    (path,) = Path("results").glob("*/*/*.json")
    record, plugins = read_record(path), Plugins.load([toys])
    data = load_data(plugins, record.spec.dataset, record.spec.options, Path())
    model_class = plugins.get("models", record.spec.model).value
    model = model_class(model_class.Config(**record.spec.config), data.info)
    model.load_state_dict(load_file(path.with_suffix(".safetensors")))
    images = data.splits["test"].batch(torch.arange(60), torch.Generator()).images
    scores: Any = Store(Path("results")).predictions(path, record)["test/score"]
    np.testing.assert_allclose(model.score(images).detach().numpy(), scores, rtol=1e-6)
    assert json.loads(path.read_text())["weights"]["file"] == path.with_suffix(".safetensors").name
