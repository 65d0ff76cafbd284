"""What lint finds, each fault really there and each alone; the metrics and models are the built-in ones."""

from pathlib import Path
from typing import Any

import pytest
from tests.latentbench.claims.given import claim, write

from latentbench.claims.ledger import load_ledger
from latentbench.claims.lint import lint
from latentbench.plugins.registry import Plugins

SHIFT = {"board": "mnist-shift", "dataset": "c0.9", "row": "shift-cmi", "value": "accuracy@test/uncorrelated"}
GAP = {"how": "gap", "over": "vae"}
ORDER = {"how": "order", "ahead_of": ["vae"]}
RUNS = {"dataset": "mnist-shift", "options": {"correlation": 0.9}, "model": "vae", "value": "auroc@test/correlated"}

TIMED = {"timed": "latentbench_cmi.theory:toy_accuracy"}
SPEEDUP = {"how": "speedup", "over": "latentbench_cmi.theory:toy_accuracy", "at_least": 0.5}


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins.load()


def faults(folder: Path, plugins: Plugins, *claims: Any) -> list[str]:
    file = write(folder, [], claims)
    found = [str(one) for one in lint(load_ledger([file], plugins), plugins)]
    assert all(one.startswith(f"{file}:") for one in found)
    return found


def test_a_sound_file_has_no_faults(tmp_path: Path, plugins: Plugins) -> None:
    other = {"how": "gap", "over": {"row": "vae", "value": "auroc@test/correlated"}}
    sound = [
        claim("a", selection=SHIFT, spread={"value": 0.01, "kind": "std"}),
        claim("b", 80, unit="percent", selection=SHIFT, cell={"place": "table 2"}),
        claim("c", [0.9, 0.8], selection=SHIFT, test={"how": "order", "ahead_of": ["shift-base"]}),
        claim("d", 0.1, selection=SHIFT, test=other),
        claim("e", selection=RUNS),
        claim("f", selection={**RUNS, "model": "beta-vae", "config": {"beta": 1}}, cell={"place": "table 3"}),
        claim("g", kind="computed", role=None, selection={"function": "latentbench_cmi.theory:toy_accuracy"}),
    ]
    assert faults(tmp_path, plugins, *sound) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"selection": {**SHIFT, "row": "shift-cim"}}, "no board can test it: 'mnist-shift' has no row 'shift-cim' on"),
        ({"test": {"how": "gap", "over": "shift-bass"}, "published": 0.1}, "did you mean 'shift-base'"),
        ({"selection": {**SHIFT, "value": "acuracy@test"}}, "unknown metric 'acuracy': did you mean 'accuracy'"),
        (
            {"test": {"how": "gap", "over": {"row": "vae", "value": "auorc@test"}}, "published": 0.1},
            "unknown metric 'auorc': did you mean 'auroc'",
        ),
        ({"selection": {**SHIFT, "metric_version": 7}}, "metric 'accuracy' is of version 1, and the claim"),
        ({"published": 91.9}, "is not within the bounds of accuracy, 0 to 1: is its unit 'percent'?"),
        ({"published": 0.9, "unit": "percent"}, "no percentage of table 1 is above 1"),
        ({"published": 191.9}, "191.9 (plain) is not within the bounds of accuracy"),
        ({"published": 1.5, "test": GAP}, "no two values of accuracy are 1.5 (plain) apart"),
        ({"spread": {"value": 3, "kind": "std"}}, "3 (plain) is more than accuracy can spread"),
        ({"test": {"how": "equivalence", "margin": 0.5}}, "a margin of 0.5 (plain) is half of what accuracy can be"),
        ({"published": 0.1, "test": {**GAP, "at_least": 0.2}}, "the published gap of 0.1 is not 0.2 at least"),
        ({"published": [0.8, 0.9], "test": ORDER}, "the published numbers are not in the order that is tested"),
        ({"selection": {**RUNS, "model": "vea"}}, "unknown model 'vea': did you mean 'vae'"),
        ({"selection": {**RUNS, "dataset": "mnist-shfit"}}, "unknown dataset 'mnist-shfit': did you mean"),
        ({"selection": {**RUNS, "options": {"correlation": 0.5}}}, "no board can test it: none runs 'vae' on"),
        (
            {"kind": "computed", "role": None, "selection": {"function": "latentbench_cmi.theory:toy_acuracy"}},
            "there is no function 'latentbench_cmi.theory:toy_acuracy'",
        ),
        ({"selection": {**TIMED, "timed": "latentbench_cmi.theory:toy"}, "test": SPEEDUP}, "no function"),
        ({"selection": TIMED, "test": {**SPEEDUP, "over": "cmi.theory:toy"}}, "no plugin is in a package 'cmi'"),
        ({"selection": TIMED, "test": {**SPEEDUP, "at_least": 2}}, "the published factor of 0.8 is not 2 at least"),
        (
            {"selection": {**SHIFT, "value": "facets@test"}, "unit": "percent", "published": 80},
            "facets has no bounds, so it is no percentage",
        ),
    ],
)  # fmt: skip
def test_a_fault_is_found_alone(tmp_path: Path, plugins: Plugins, fields: dict[str, Any], said: str) -> None:
    (found,) = faults(tmp_path, plugins, claim("a", **{"selection": SHIFT, **fields}))
    assert said in found


def test_a_row_of_a_variant_is_one_of_the_datasets_that_the_variant_runs_on(tmp_path: Path, plugins: Plugins) -> None:
    on = {"board": "ood", "row": "vae-conv", "value": "auroc@test"}
    assert faults(tmp_path, plugins, claim("a", selection={**on, "dataset": "mnist-fashion"})) == []
    (found,) = faults(tmp_path, plugins, claim("a", selection={**on, "dataset": "fashion-mnist"}))
    assert "'ood' has no row 'vae-conv' on 'fashion-mnist'" in found


def test_a_cell_that_is_there_twice_is_found_once_and_other_rows_or_tests_of_it_are_allowed(
    tmp_path: Path, plugins: Plugins
) -> None:
    cell = {"place": "table 1", "row": "CMI"}
    other = claim("c", cell=cell, selection={**SHIFT, "row": "vae"})
    gap = claim("d", 0.1, cell=cell, selection=SHIFT, test={"how": "gap", "over": "vae"})
    (found,) = faults(tmp_path, plugins, *(claim(name, cell=cell, selection=SHIFT) for name in "ab"), other, gap)
    assert "claim 'b': its cell, table 1, CMI, is that of claim 'a' already" in found
