"""``evaluate``: a metric that comes later reaches finished runs, from predictions or weights, without training."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from latentbench.commands.cli import main
from latentbench.model import Model
from latentbench.records.record import Record
from latentbench.records.store import Store

BOARD = """\
name: toys
title: Toys
datasets: [toy-blobs]
models: [pca]
rank: auroc@test
columns: [top-score@test, code-width@test]
"""

LATER = """
from latentbench import Metric, hookimpl

class TopScore(Metric):
    name, title, source = "top-score", "top score", "this file"
    capability, higher_is_better, bounds, version = "score", True, (0.0, float("inf")), {version}
    def compute(self, evaluation):
        return float(evaluation.output.max()) * {version}

class CodeWidth(Metric):
    name, title, source = "code-width", "code width", "this file"
    capability, higher_is_better, bounds = "encode", True, (0.0, float("inf"))
    def compute(self, evaluation):
        return float(sum(part.shape[1] for part in evaluation.output.values()))

@hookimpl
def latentbench_metrics():
    return [TopScore, CodeWidth]
"""

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(toys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    (tmp_path / "toys.yaml").write_text(BOARD.partition("columns")[0])
    (tmp_path / "later.py").write_text(LATER.format(version=1))
    monkeypatch.chdir(tmp_path)

    def call(*args: str, later: str = "later.py") -> tuple[int, str, str]:
        plugins = ["--plugin", str(toys), *(["--plugin", later] if later else [])]
        code = main([*plugins, *args])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    assert call("run", "toys.yaml", "--jobs", "1", later="")[0] == 0
    (tmp_path / "toys.yaml").write_text(BOARD)
    return call


def the_record() -> tuple[Path, Record]:
    ((path, record),) = Store(Path("results")).records()
    return path, record


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: object) -> None:
        raise AssertionError("it trains")

    monkeypatch.setattr(Model, "fit", fit)


@pytest.mark.usefixtures("untrained")
def test_a_later_metric_reaches_a_finished_run_and_the_board(cli: Cli) -> None:
    path, before = the_record()
    code, out, _ = cli("run", "toys.yaml", "--jobs", "1")
    assert code == 0
    assert "1 finished runs lack a value that the board shows: latentbench evaluate toys.yaml" in out

    code, out, _ = cli("evaluate", "toys.yaml")
    assert code == 0
    assert "1 records in results were measured again" in out
    path, record = the_record()
    scores = Store(Path("results")).predictions(path, record)["test/score"]
    top = record.values["top-score@test"]
    assert top.value == float(np.max(scores))
    assert top.measured is not None
    assert (top.measured.source, top.measured.plugin[:5]) == ("predictions", "later")
    width = record.values["code-width@test"]
    assert width.measured is not None
    assert width.measured.source == "weights"
    assert {name: value for name, value in record.values.items() if name in before.values} == before.values
    assert (record.key, record.weights, record.training) == (before.key, before.weights, before.training)
    assert record.values["auroc@test"].measured is None

    shown = cli("show", record.key, "--full")[1]
    assert f"top-score: measured on {top.measured.at} from predictions, with later" in shown
    assert "lack a value" not in cli("run", "toys.yaml", "--jobs", "1")[1]
    assert "0 records in results were measured again" in cli("evaluate")[1]
    assert cli("check-records", "results")[0] == 0
    assert cli("leaderboard", "toys.yaml")[0] == 0
    row, *_ = [line for line in Path("results/toys.md").read_text().splitlines() if "`pca`" in line]
    assert f"{top.value:.3f}" in row


@pytest.mark.usefixtures("untrained")
def test_a_new_version_takes_the_place_of_the_old_one(cli: Cli, tmp_path: Path) -> None:
    cli("evaluate", the_record()[1].key[:6], "--metrics", "top-score")
    old = the_record()[1].values["top-score@test"]
    (tmp_path / "newer.py").write_text(LATER.format(version=2))
    assert cli("evaluate", "--metrics", "top-score", later="newer.py")[0] == 0
    new = the_record()[1].values["top-score@test"]
    assert (old.version, new.version, new.value) == (1, 2, 2 * old.value)
    assert "code-width@test" not in the_record()[1].values


@pytest.mark.usefixtures("untrained")
def test_a_metric_that_changes_the_process_is_told_and_changes_no_other_value(
    cli: Cli, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, before = the_record()
    body = "        import numpy\n        numpy.trapezoid = lambda *given, **named: 0.123\n        return float("
    (tmp_path / "later.py").write_text(LATER.format(version=1).replace("        return float(", body, 1))
    code, out, _ = cli("evaluate", "--metrics", "top-score,auroc,code-width")
    assert code == 0
    assert ": auroc, code-width\n" in out
    _, after = the_record()
    for name, value in before.values.items():
        assert after.values[name].value == value.value
    assert "top-score@test" not in after.values
    assert after.unmeasured["top-score@test"].startswith("it changed the process: numpy.trapezoid was replaced by one")
    told = [one.getMessage() for one in caplog.records if "no top-score@test" in one.getMessage()]
    assert len(told) == 1
    assert "no top-score@test: plugin 'later sha256:" in told[0]


def test_weights_are_measured_on_the_device_that_is_named(cli: Cli) -> None:
    code, out, _ = cli("evaluate", "--metrics", "code-width", "--device", "sim")
    assert code == 0
    _, record = the_record()
    assert f"{record.key}: pca on toy-blobs, seed 0: code-width\n" in out
    on_sim = record.values["code-width@test"].value
    assert cli("evaluate", "--metrics", "code-width", "--device", "cpu")[0] == 0
    assert the_record()[1].values["code-width@test"].value == on_sim
    code, _, err = cli("evaluate", "--metrics", "code-width", "--device", "cuda:9")
    assert code == 2
    assert "--device cuda:9: this machine's PyTorch finds no such device" in err


def test_without_weights_or_predictions_the_run_is_named(cli: Cli) -> None:
    path, record = the_record()
    path.with_suffix(".safetensors").unlink()
    code, _, err = cli("evaluate", "--metrics", "top-score,code-width")
    assert code == 2
    assert f"{record.key} (pca on toy-blobs, seed 0)" in err
    assert "do not suffice for code-width, and its weights are not beside its record" in err
    path.with_suffix(".npz.xz").unlink()
    code, _, err = cli("evaluate", "--metrics", "top-score")
    assert code == 2
    assert "do not suffice for top-score" in err
    assert json.loads(path.read_text())["values"].keys() == record.values.keys()


def test_weights_that_are_not_the_runs_are_refused(cli: Cli) -> None:
    path, record = the_record()
    path.with_suffix(".safetensors").write_bytes(b"other")
    code, _, err = cli("evaluate", "--metrics", "code-width")
    assert code == 2
    assert record.weights is not None
    assert f"its record expects {record.weights.sha256}" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "--metrics", "nosuch"], "unknown metric 'nosuch'"),
        (["evaluate", "ffff"], "no run in results with a key that begins with 'ffff'"),
        (["evaluate", "--results", "empty"], "no finished runs in empty"),
    ],
)
def test_a_mistake_is_one_line(cli: Cli, arguments: list[str], message: str) -> None:
    code, _, err = cli(*arguments)
    assert code == 2
    assert message in err


MASKED = """\
name: masked
title: Masked
datasets: [{{name: textures, options: {{train_images: 20, validation_images: 5, normal_test_images: 10}}}}]
models: [null-local-contrast]
rank: auroc@test
columns: [pixel-auroc@test, {columns}]
"""

OVERLAP = """
import numpy as np
from latentbench import Metric, hookimpl

class LaterOverlap(Metric):
    name, title, source = "later-overlap", "overlap", "this file"
    capability, targets, higher_is_better, bounds = "localize", ("mask",), True, (0.0, 1.0)
    def applies(self, targets, conditions):
        return super().applies(targets, conditions) and bool(np.any(targets.mask))
    def compute(self, evaluation):
        return float(np.mean(evaluation.output > 0))

@hookimpl
def latentbench_metrics():
    return [LaterOverlap]
"""


def test_only_what_evaluate_can_give_is_told_as_lacking(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No mask is missing, so a count of missing masks never applies; a later metric of masks does."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "masked.yaml").write_text(MASKED.format(columns="missing-masks@test"))
    (tmp_path / "overlap.py").write_text(OVERLAP)
    assert main(["run", "masked.yaml"]) == 0
    assert "lack a value" not in capsys.readouterr().out
    (tmp_path / "masked.yaml").write_text(MASKED.format(columns="missing-masks@test, later-overlap@test"))
    assert main(["--plugin", "overlap.py", "run", "masked.yaml"]) == 0
    assert "1 finished runs lack a value that the board shows" in capsys.readouterr().out
    assert main(["--plugin", "overlap.py", "evaluate", "masked.yaml"]) == 0
    assert main(["--plugin", "overlap.py", "run", "masked.yaml"]) == 0
    assert "lack a value" not in capsys.readouterr().out
