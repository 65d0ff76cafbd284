"""Built-in models give what they gave: the same bits on a machine that is recorded, the same numbers elsewhere."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from latentbench import Plugins
from latentbench_autoencoders.ae import AE
from latentbench_pca.model import PCA
from tests.golden.cases import Case, cases
from tests.golden.make import dump, make, margin, run
from tests.golden.replay import RECORDS, Machine, Replay, builtin_models, compare, digest, read, replay, setting

PLUGINS = Plugins.load()
CASES = cases(builtin_models(PLUGINS))
CASE = Case("toy", "pca")
HERE, ELSEWHERE = (Machine({"torch": "2.13.0"}, cpu, "AVX2", "0") for cpu in ("this one", "another"))
FOUND = Replay({"model 'pca'": 1, "metric 'auroc'": 1}, {"auroc@test": 0.75, "mean of test/score": 3.0}, "w", "p")
GOLDEN: dict[str, Any] = {
    "case": setting(CASE),
    "versions": FOUND.versions,
    "values": {"auroc@test": [0.75, 0.02], "mean of test/score": [3.0, 0.0003]},
    "machines": [{"machine": asdict(HERE), "weights": "w", "predictions": "p", "values": digest(FOUND.values)}],
}


@pytest.fixture(autouse=True)
def _no_inception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LATENTBENCH_INCEPTION", raising=False)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_results_are_those_of_the_golden_record(case: Case, tmp_path: Path) -> None:
    problems = compare(case, read(case), replay(case, PLUGINS, tmp_path), Machine.here())
    assert not problems, "\n".join(problems)


def test_no_golden_record_is_of_a_case_that_is_gone() -> None:
    assert {file.stem for file in RECORDS.glob("*.json")} == {case.name for case in CASES}


def test_a_built_in_model_without_a_golden_record_fails_with_the_command_that_makes_it() -> None:
    (case,) = cases(["newcomer"])
    (problem,) = compare(case, read(case), FOUND, HERE)
    assert problem == (
        "model 'newcomer' has no golden record 'newcomer': make it with `python -m tests.golden.make newcomer`"
    )


def test_equal_results_pass_here_and_elsewhere() -> None:
    assert compare(CASE, GOLDEN, FOUND, HERE) == []
    assert compare(CASE, GOLDEN, FOUND, ELSEWHERE) == []


@pytest.mark.parametrize(
    ("what", "changed"),
    [("weights", replace(FOUND, weights="other")), ("predictions", replace(FOUND, predictions="other"))],
)
def test_one_changed_bit_fails_on_the_recorded_machine_alone(what: str, changed: Replay) -> None:
    (problem,) = compare(CASE, GOLDEN, changed, HERE)
    assert f"{what} have another digest" in problem
    assert compare(CASE, GOLDEN, changed, ELSEWHERE) == []


def test_a_value_may_differ_by_its_margin_elsewhere_and_not_here() -> None:
    within = replace(FOUND, values=FOUND.values | {"auroc@test": 0.765})
    assert compare(CASE, GOLDEN, within, ELSEWHERE) == []
    assert "values have another digest" in compare(CASE, GOLDEN, within, HERE)[0]
    for wrong in (0.775, float("nan")):
        beyond = replace(FOUND, values=FOUND.values | {"auroc@test": wrong})
        (problem,) = compare(CASE, GOLDEN, beyond, ELSEWHERE)
        assert f"auroc@test is {wrong}, expected 0.75 within 0.02" in problem
        assert "raise the version of what changed" in problem
        assert "python -m tests.golden.make pca" in problem


def test_what_is_left_by_rounding_may_be_another_rounding_elsewhere() -> None:
    mean = "norm of location"
    golden = GOLDEN | {"values": GOLDEN["values"] | {mean: [5e-7, 2e-11]}}
    for left, problems in ((0.0, 0), (1.4e-6, 0), (1.6e-6, 1)):
        found = replace(FOUND, values=FOUND.values | {mean: left})
        assert len(compare(CASE, golden, found, ELSEWHERE)) == problems
        assert compare(CASE, golden, found, HERE)


def test_a_value_that_is_gone_fails_and_a_new_one_does_not() -> None:
    (problem,) = compare(CASE, GOLDEN, replace(FOUND, values={"auroc@test": 0.75}), ELSEWHERE)
    assert "mean of test/score is gone" in problem
    new = replace(FOUND, values=FOUND.values | {"new@test": 1.0}, versions=FOUND.versions | {"metric 'new'": 1})
    assert compare(CASE, GOLDEN, new, HERE) == []


def test_a_raised_version_asks_for_the_record_to_be_made_again_even_with_equal_results() -> None:
    (problem,) = compare(CASE, GOLDEN, replace(FOUND, versions=FOUND.versions | {"model 'pca'": 2}), HERE)
    assert problem == (
        "'toy': the version of model 'pca' is 2 and was 1: make the golden record again with "
        "`python -m tests.golden.make pca`"
    )


def test_a_changed_case_is_not_held_against_the_old_record() -> None:
    (problem,) = compare(replace(CASE, seed=1), GOLDEN, FOUND, HERE)
    assert "is another one than its golden record was made of" in problem


def test_margins_are_ten_times_the_spread_between_kernels_with_a_floor() -> None:
    assert margin("auroc@test", 0.75, [0.75, 0.76]) == pytest.approx(0.1)
    assert margin("auroc@test", 0.75, [0.75, 0.75]) == 0.02
    assert margin("gaussian-wasserstein@test", 40.0, [40.0, 40.0]) == pytest.approx(0.8)
    assert margin("norm of encoder.weight", 5.0, [5.0, 5.0]) == pytest.approx(0.0005)


def the(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def test_a_learning_rate_that_is_one_percent_off_is_caught_here_and_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Injected: an ``ae`` that trains a little differently, on the version of before."""
    original = AE.optimizers

    def faster(self: AE) -> Any:
        optimizer = original(self)
        for group in optimizer.param_groups:
            group["lr"] *= 1.01
        return optimizer

    monkeypatch.setattr(AE, "optimizers", faster)
    case, golden = the("ae-conv"), read(the("ae-conv"))
    found = replay(case, PLUGINS, tmp_path)
    for machine in (Machine.here(), ELSEWHERE):
        (problem,) = compare(case, golden, found, machine)
        assert "results changed" in problem
        assert "no version was raised" in problem


def test_a_score_that_ranks_the_same_and_is_another_is_caught_here_and_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Injected: no metric feels a score that is a thousandth larger."""
    original = PCA.score

    def larger(self: PCA, images: Tensor) -> Tensor:
        return original(self, images) * 1.001

    monkeypatch.setattr(PCA, "score", larger)
    case, golden = the("pca-textures"), read(the("pca-textures"))
    found = replay(case, PLUGINS, tmp_path)
    for machine in (Machine.here(), ELSEWHERE):
        (problem,) = compare(case, golden, found, machine)
        assert "mean of test/score is" in problem


def test_a_second_machine_joins_a_record_and_a_changed_result_replaces_it(monkeypatch: pytest.MonkeyPatch) -> None:
    case = the("pca-textures")
    golden = read(case)
    assert golden is not None
    monkeypatch.setattr(Machine, "here", classmethod(lambda cls: ELSEWHERE))
    joined = make(case, PLUGINS)
    assert joined["machines"][:-1] == golden["machines"]
    assert joined["machines"][-1]["machine"] == asdict(ELSEWHERE)
    assert {**joined, "machines": golden["machines"]} == golden

    monkeypatch.setattr("tests.golden.make.elsewhere", lambda case, variables: run(case, PLUGINS))
    monkeypatch.setattr(PCA, "version", PCA.version + 1)
    made = make(case, PLUGINS)
    assert [entry["machine"] for entry in made["machines"]] == [asdict(ELSEWHERE)]
    assert made["versions"]["model 'pca'"] == PCA.version


def test_a_golden_record_is_written_as_it_is_read() -> None:
    golden = read(the("pca-textures"))
    assert golden is not None
    assert dump(golden) == (RECORDS / "pca-textures.json").read_text()
