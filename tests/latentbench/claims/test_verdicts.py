"""Verdicts from simulated records whose truth is known, and the rules: what each does, and that none raises one."""

from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tests.latentbench.boards.test_references import ERROR, null, run, runs
from tests.latentbench.claims.given import BOARD, claim, ledger, row, rows, verdicts, write

from latentbench.boards.gathering import gather
from latentbench.boards.rank_sets import holm
from latentbench.claims import verdicts as module
from latentbench.claims.evidence import evidence
from latentbench.claims.telling import evidence_line
from latentbench.claims.verdicts import LOWER, RULES, Judgement, Verdict, judge
from latentbench.errors import LatentbenchError
from latentbench.plugins.registry import Plugins
from latentbench.records.record import Failure, Record

NEAR: dict[str, Any] = {"protocol": "near", "differences": ["The images are smaller."]}
AT_80, AT_50, APART = [0.80, 0.801, 0.802], [0.50, 0.501, 0.502], [0.6, 0.8, 0.95]
#: A sound baseline for a method's claims.
BASE = claim("base", 0.5, selection=row("base"))


def told(folder: Path, numbers: list[float], **fields: Any) -> Judgement:
    """The verdict on one claim about a row with these numbers."""
    return verdicts(folder, rows(m=numbers), [claim("a", **fields)])["a"]


# What the tests say


@pytest.mark.parametrize(
    ("numbers", "fields", "verdict"),
    [
        (AT_80, {}, "reproduced"),
        (AT_50, {}, "refuted"),
        (AT_50, NEAR, "differs"),
        (AT_80, NEAR, "reproduced"),
        (APART, {}, "inconclusive"),
        (AT_80[:2], {}, "inconclusive"),
        (AT_80[:1], {}, "inconclusive"),
    ],
)
def test_equivalence(tmp_path: Path, numbers: list[float], fields: dict[str, Any], verdict: str) -> None:
    assert told(tmp_path, numbers, **fields).verdict == verdict


def test_percent_and_plain_numbers_give_the_same_verdict(tmp_path: Path) -> None:
    percent = {"unit": "percent", "published": 82.0, "test": {"how": "equivalence", "margin": 5}}
    one = told(tmp_path / "a", AT_80, **percent, spread={"value": 1.0, "kind": "std"}, seeds=4)
    other = told(tmp_path / "b", AT_80, published=0.82, spread={"value": 0.01, "kind": "std"}, seeds=4)
    assert one.verdict == other.verdict == "reproduced"
    assert one.p == pytest.approx(other.p)
    assert one.measured == pytest.approx([80.1])


@pytest.mark.parametrize(
    ("m", "x", "least", "verdict"),
    [
        (AT_80, AT_50, 0.1, "reproduced"),
        (AT_80, AT_50, 0.4, "refuted"),
        (AT_50, AT_80, 0.0, "refuted"),
        (APART, [0.7, 0.75, 0.9], 0.0, "inconclusive"),
    ],
)
def test_a_gap(tmp_path: Path, m: list[float], x: list[float], least: float, verdict: str) -> None:
    test = {"how": "gap", "over": "x", "at_least": least}
    one = verdicts(tmp_path, rows(m=m, x=x), [claim("a", 0.3, test=test)])["a"]
    assert one.verdict == verdict
    assert one.measured == pytest.approx([np.mean(m) - np.mean(x)])


def test_a_gap_of_a_value_that_is_better_when_smaller(tmp_path: Path) -> None:
    records = [
        run(model, 0.5, seed, error=error + seed / 1000)
        for model, error in (("m", 0.1), ("x", 0.4))
        for seed in range(3)
    ]
    claims = [
        claim(name, 0.3, selection=row(own, ERROR), test={"how": "gap", "over": other, "at_least": 0.2})
        for name, own, other in (("right", "m", "x"), ("wrong", "x", "m"))
    ]  # fmt: skip
    found = verdicts(tmp_path, records, claims)
    assert {name: one.verdict for name, one in found.items()} == {"right": "reproduced", "wrong": "refuted"}
    assert found["right"].measured == pytest.approx([0.3])


@pytest.mark.parametrize(
    ("order", "verdict"),
    [(["m", "x", "y"], "reproduced"), (["m", "y", "x"], "refuted"), (["m", "x", "z"], "inconclusive")],
)
def test_an_order(tmp_path: Path, order: list[str], verdict: str) -> None:
    records = rows(m=AT_80, x=AT_50, y=[0.2, 0.201, 0.202], z=[0.499, 0.502, 0.501])
    test = {"how": "order", "ahead_of": order[1:]}
    assert verdicts(tmp_path, records, [claim("a", [3, 2, 1], test=test)])["a"].verdict == verdict


def test_a_row_can_be_compared_with_itself_by_another_value(tmp_path: Path) -> None:
    records = [run("m", 0.8 + seed / 1000, seed, error=0.1 + seed / 1000) for seed in range(3)]
    one = claim("a", 0.7, test={"how": "gap", "over": {"row": "m", "value": ERROR}, "at_least": 0.5})
    assert verdicts(tmp_path, records, [one])["a"].verdict == "reproduced"


def test_runs_of_one_setting_are_selected_without_a_board(tmp_path: Path) -> None:
    selection = {"dataset": "d", "model": "m", "config": {"width": 2}, "value": "accuracy@test"}
    records = [*runs("m", AT_80, config={"width": 2}), *runs("m", AT_50, config={"width": 3})]
    found = verdicts(
        tmp_path, records, [claim("a", selection=selection), claim("b", selection={**selection, "config": {}})]
    )
    assert found["a"].verdict == "reproduced"
    assert found["b"].verdict == "inconclusive"
    assert "not of one setting: config.width is 2 or 3" in evidence_line(found["b"])


# Means over a board's datasets

TWO: dict[str, Any] = {**BOARD, "datasets": ["d", "e"], "average": True}
MEAN = {**row("m"), "dataset": "mean"}


def on_two(**numbers: tuple[list[float], list[float]]) -> list[Record]:
    """Runs of models on both datasets, one for each number."""
    return [
        one
        for model, of_model in numbers.items()
        for dataset, on_one in zip("de", of_model, strict=True)
        for one in runs(model, on_one, dataset=dataset)
    ]


def test_a_mean_is_taken_seed_by_seed_over_all_datasets(tmp_path: Path) -> None:
    """Seeds that are far apart on each dataset are close to each other in the mean."""
    first, second = [0.5, 0.7, 0.9], [0.9, 0.702, 0.504]
    margin = {"how": "equivalence", "margin": 0.01}
    claims = [
        claim("mean", 0.7, selection=MEAN, test=margin),
        claim("far", 0.6, selection=MEAN, test=margin, cell={"place": "table 2"}),
        claim("one", 0.7, test=margin, cell={"place": "table 3"}),
    ]
    found = verdicts(tmp_path, on_two(m=(first, second)), claims, board=TWO)
    assert {name: one.verdict for name, one in found.items()} == {
        "mean": "reproduced", "far": "refuted", "one": "inconclusive",
    }  # fmt: skip
    (side,) = found["mean"].evidence.sides
    by_seed = np.mean([first, second], axis=0)
    assert side.summary.mean == pytest.approx(by_seed.mean())
    assert side.summary.std == pytest.approx(by_seed.std(ddof=1))
    assert found["mean"].evidence.tested is not None
    t = stats.ttest_1samp(by_seed, 0.69, alternative="greater").pvalue
    assert found["mean"].evidence.tested.holds == pytest.approx(max(t, stats.ttest_1samp(by_seed, 0.71).pvalue / 2))


def test_a_gap_between_means_and_one_over_a_null(tmp_path: Path) -> None:
    records = on_two(m=(AT_80, AT_50), x=(AT_50, [0.2, 0.201, 0.202]))
    records += [one for dataset in "de" for one in runs("n", [0.3, 0.301, 0.302], dataset=dataset, null=True)]
    claims = [
        claim(over, 0.3, selection=MEAN, test={"how": "gap", "over": over, "at_least": 0.25}) for over in ("x", "n")
    ]
    found = verdicts(tmp_path, records, claims, board=TWO)
    assert {name: one.verdict for name, one in found.items()} == {"x": "reproduced", "n": "reproduced"}
    assert found["x"].measured == pytest.approx([0.3])
    assert found["n"].measured == pytest.approx([0.35])


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([], "no record of m on any of the 2 datasets"),
        (rows(m=AT_80), "m has accuracy@test on 1 of 2 datasets"),
        ([run("m", 0.8, 0), run("m", 0.8, 1, dataset="e")], "no seed of m has accuracy@test on every dataset"),
    ],
)
def test_a_mean_that_is_not_there_is_told_with_the_command_for_all_datasets(
    tmp_path: Path, records: list[Record], reason: str
) -> None:
    one = verdicts(tmp_path, records, [claim("a", selection=MEAN)], board=TWO)["a"]
    assert (one.verdict, evidence_line(one)) == ("not run", reason)
    assert one.command == f"latentbench run {tmp_path / 'claims/../b.yaml'} --models m"


def test_a_mean_takes_three_seeds_that_are_on_every_dataset(tmp_path: Path) -> None:
    records = on_two(m=(AT_80, AT_80[:2]))
    one = verdicts(tmp_path, records, [claim("a", selection=MEAN)], board=TWO)["a"]
    assert one.verdict == "inconclusive"
    assert "2 seeds of m, and a verdict takes 3" in evidence_line(one)
    assert one.command.endswith("--models m --seeds 3")


def test_a_board_without_means_has_none_to_select(tmp_path: Path) -> None:
    with pytest.raises(LatentbenchError, match="has no dataset 'mean'"):
        verdicts(tmp_path, [], [claim("a", selection=MEAN)], board={**TWO, "average": False})


def test_the_rows_of_a_board_are_gathered_once_however_many_values_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def noting(board: Any, *others: Any) -> Any:
        calls.append(board.name)
        return gather(board, *others)

    monkeypatch.setattr("latentbench.claims.evidence.gather", noting)
    values = ["accuracy@test", ERROR]
    claims = [
        claim(f"{dataset}-{value}", selection={**row("m", value), "dataset": dataset}, cell={"place": f"table {n}"})
        for n, (dataset, value) in enumerate(product(["mean", "d", "e"], values))
    ]
    found = verdicts(tmp_path, on_two(m=(AT_80, AT_80)), claims, board=TWO)
    assert [found[f"{dataset}-accuracy@test"].verdict for dataset in ("mean", "d", "e")] == ["reproduced"] * 3
    assert calls == ["b"]


# Some of the claims


def test_the_claims_of_a_board_have_the_verdicts_that_they_have_among_all(tmp_path: Path) -> None:
    """Families and baselines reach over boards: the numbers of one table may be measured on several."""
    rng = np.random.default_rng(5)
    numbers = {f"m{n}": rng.normal(0.8 if n % 2 else 0.72, 0.02, 3).tolist() for n in range(8)}
    board = {**BOARD, "name": "c", "datasets": ["d"]}
    on_c = {"board": "../c.yaml"}
    method = {"role": "method", "baseline": "base-0"}
    claims = [
        claim(
            f"{'base' if n < 2 else 'claim'}-{n}",
            selection={**row(f"m{n}"), **(on_c if n % 3 == 0 else {})},
            cell={"place": f"table {n // 4}", "row": str(n)},
            **(method if n >= 2 else {}),
        )
        for n in range(8)
    ]
    write(tmp_path, rows(**numbers), claims)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(board))
    made, results = ledger(tmp_path), tmp_path / "results"
    everything = {one.name: one for one in judge(made, results, Plugins([]))}
    assert len({one.verdict for one in everything.values()}) > 1
    for name, expected in (("b", 5), ("c", 3), ("none", 0)):
        some = judge(made, results, Plugins([]), [name])
        assert len(some) == expected
        for one in some:
            other = everything[one.name]
            assert (one.verdict, one.p, one.family, one.reasons) == (
                other.verdict, other.p, other.family, other.reasons,
            )  # fmt: skip


def test_a_model_that_is_the_same_with_every_seed_needs_one(tmp_path: Path) -> None:
    records = runs("m", [0.8], deterministic=True)
    assert verdicts(tmp_path, records, [claim("a")])["a"].verdict == "reproduced"


# What is not there


FAILED = {"status": "failed", "failure": Failure(type="E", message="", traceback="")}


@pytest.mark.parametrize(
    ("records", "fields", "reason", "command"),
    [
        (rows(x=AT_80), {}, "no record of m on d", "latentbench run {b} --datasets d --models m"),
        ([], {}, "no record of m on d", "latentbench run {b} --datasets d --models m"),
        (rows(m=AT_80), {"selection": row("m", ERROR)}, "the records of m lack error@test", "latentbench evaluate {b}"),
        (
            rows(m=AT_80),
            {"test": {"how": "gap", "over": "x"}},
            "no record of x on d",
            "latentbench run {b} --datasets d --models x",
        ),
        (
            [run("m", None).model_copy(update=FAILED)],
            {},
            "every run of m on d failed",
            "latentbench run {b} --datasets d --models m --retry-failed",
        ),
    ],
)  # fmt: skip
def test_what_was_not_run_is_told_with_the_command_that_runs_it(
    tmp_path: Path, records: Any, fields: dict[str, Any], reason: str, command: str
) -> None:
    one = verdicts(tmp_path, records, [claim("a", **fields)])["a"]
    assert (one.verdict, evidence_line(one)) == ("not run", reason)
    assert one.command == command.format(b=tmp_path / "claims" / "../b.yaml")


def test_fewer_than_three_seeds_give_no_verdict_and_the_command_that_makes_three(tmp_path: Path) -> None:
    one = told(tmp_path, AT_50[:2])
    assert one.verdict == "inconclusive"
    assert "2 seeds of m, and a verdict takes 3" in evidence_line(one)
    assert one.command.endswith("--datasets d --models m --seeds 3")


def test_a_claim_is_not_judged_by_another_version_of_its_metric(tmp_path: Path) -> None:
    one = told(tmp_path, AT_50, selection=row("m", metric_version=2))
    assert one.verdict == "inconclusive"
    assert "the records have version 1 of the metric, and the claim was compared with version 2" in evidence_line(one)


def test_a_citation_is_shown_with_our_number(tmp_path: Path) -> None:
    one = told(tmp_path, AT_80, test={"how": "citation", "reason": "Other images."})
    assert one.verdict == "not testable"
    assert one.measured == pytest.approx([0.801])
    assert evidence_line(one).startswith("0.801 ± 0.0025 over 3 seeds here; Other images")


# Rules


def test_a_method_is_judged_only_where_its_baseline_holds(tmp_path: Path) -> None:
    method = {"role": "method", "baseline": "base"}
    claims = [BASE, claim("good", 0.8, **method), claim("bad", 0.2, **method)]
    for number, (base, expected) in enumerate(
        [
            (AT_50, {"base": "reproduced", "good": "reproduced", "bad": "refuted"}),
            (AT_80, {"base": "refuted", "good": "inconclusive", "bad": "inconclusive"}),
            (APART, {"base": "inconclusive", "good": "inconclusive", "bad": "inconclusive"}),
            (AT_50[:2], {"base": "inconclusive", "good": "inconclusive", "bad": "inconclusive"}),
        ]
    ):
        found = verdicts(tmp_path / str(number), rows(m=AT_80, base=base), claims)
        assert {name: one.verdict for name, one in found.items()} == expected
    assert "its baseline base does not come out (inconclusive)" in evidence_line(found["bad"])


def test_a_method_without_a_baseline_is_not_refuted(tmp_path: Path) -> None:
    assert told(tmp_path / "a", AT_50, role="method").verdict == "differs"
    assert told(tmp_path / "b", AT_80, role="method").verdict == "reproduced"


def test_what_is_known_from_an_abstract_alone_is_not_refuted(tmp_path: Path) -> None:
    assert told(tmp_path, AT_50, kind="abstract").verdict == "differs"


JUDGED: list[Verdict] = ["reproduced", "refuted", "inconclusive"]


@given(
    by_tests=st.sampled_from(JUDGED),
    protocol=st.sampled_from(["exact", "near"]),
    kind=st.sampled_from(["printed", "abstract", "digitised"]),
    role=st.sampled_from(["method", "baseline"]),
    baseline=st.none() | st.sampled_from(get_args(Verdict)),
)
def test_rules_only_downgrade(by_tests: Any, protocol: str, kind: str, role: str, baseline: Any) -> None:
    from latentbench.claims.schema import Claim, Paper

    fields = {"protocol": protocol, "kind": kind, "role": role, "selection": row("m")}
    made = Claim.model_validate(claim("a", **fields))
    paper = Paper(name="p", title="", reference="", version="", differences=["D."], claims=[made])
    one = Judgement(paper, made, by_tests, by_tests)
    other = None if baseline is None or role == "baseline" else Judgement(paper, made, baseline)
    after = module.ruled(one, other)
    assert after.verdict == by_tests or after.verdict in LOWER[by_tests]
    assert (after.verdict == "refuted") <= (by_tests == "refuted" and protocol == "exact" and kind != "abstract")
    if other is not None and baseline != "reproduced":
        assert after.verdict == "inconclusive"
    assert bool(after.reasons) == (after.verdict != by_tests)


def test_no_downgrade_leads_back_up() -> None:
    for verdict, lower in LOWER.items():
        assert verdict not in lower
        assert all(set(LOWER.get(one, ())) < set(lower) for one in lower)
    assert len(RULES) == 4


# Families


def test_holm_s_method_corrects_within_a_table_what_speaks_against_it_and_nothing_else(tmp_path: Path) -> None:
    """Each claim alone is told at 5 %. Of four on one table none is refuted, and each of them is reproduced."""
    numbers = [0.80, 0.82, 0.84]
    for published, place, verdict, size in (
        (0.92, "table 1", "inconclusive", 4),
        (0.92, "table {}", "refuted", 1),
        (0.82, "table 1", "reproduced", 1),
        (0.82, "table {}", "reproduced", 1),
    ):
        claims = [
            claim(f"c{n}", published, cell={"place": place.format(n), "row": str(n)}, selection=row(f"m{n}"))
            for n in range(4)
        ]
        records = [one for n in range(4) for one in runs(f"m{n}", numbers)]
        found = verdicts(tmp_path / f"{published}{place}", records, claims)
        assert {one.verdict for one in found.values()} == {verdict}
        assert {one.family for one in found.values()} == {size}


def test_a_verdict_does_not_depend_on_the_order_of_claims_and_records(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    records = [one for n in range(5) for one in runs(f"m{n}", rng.uniform(0.7, 0.9, 3).tolist())]
    claims = [claim(f"c{n}", selection=row(f"m{n}")) for n in range(5)]
    one = verdicts(tmp_path / "a", records, claims)
    other = verdicts(tmp_path / "b", records[::-1], claims[::-1])
    assert {name: (j.verdict, j.p) for name, j in one.items()} == {name: (j.verdict, j.p) for name, j in other.items()}


def test_p_values_are_the_claim_s_own_where_it_may_hold_and_holm_s_where_it_may_fail(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    records = [one for n in range(6) for one in runs(f"m{n}", rng.normal(0.8 if n < 3 else 0.7, 0.02, 3).tolist())]
    write(tmp_path, records, [claim(f"c{n}", selection=row(f"m{n}")) for n in range(6)])
    made, results = ledger(tmp_path), tmp_path / "results"
    tests = [one.tested for one in evidence(made, made.claims(), results, Plugins([])).values() if one.tested]
    fails = holm(np.array([one.fails for one in tests]))
    expected = [one.holds if one.inside else p for one, p in zip(tests, fails.tolist(), strict=True)]
    assert {one.inside for one in tests} == {True, False}
    judged = judge(made, results, Plugins([]))
    assert [one.p for one in judged] == pytest.approx(expected)
    holds = holm(np.array([one.holds for one in tests]))
    beside = [p if one.inside else q for one, p, q in zip(tests, holds.tolist(), fails.tolist(), strict=True)]
    assert [one.p_corrected for one in judged] == pytest.approx(beside)
    assert {one.table for one in judged} == {6}


def test_of_simulated_papers_few_have_a_false_verdict_and_most_true_ones_are_found(tmp_path: Path) -> None:
    """Papers of six claims: two hold, two fail, and two lie on their margin, where either verdict would be false.

    In at most 5 % of papers is any claim refuted that holds, and each that does not is reproduced in at most 5 %.
    """
    rng = np.random.default_rng(7)
    truth = np.array([0.8, 0.8, 0.6, 0.6, 0.75, 0.85])
    refuted, reproduced, found, papers = 0, 0, [], 25
    for number in range(papers):
        records = [
            one for n, mean in enumerate(truth) for one in runs(f"m{n}", rng.normal(mean, 0.01, 5).clip(0, 1).tolist())
        ]
        told = [
            *verdicts(
                tmp_path / str(number), records, [claim(f"c{n}", selection=row(f"m{n}")) for n in range(6)]
            ).values()
        ]
        said = [one.verdict for one in told]
        refuted += "refuted" in [*said[:2], *said[4:]]
        reproduced += said[4:].count("reproduced")
        assert "reproduced" not in said[2:4]
        found += [said[:2] == ["reproduced"] * 2, said[2:4] == ["refuted"] * 2]
    assert refuted <= 0.05 * papers + 3 * np.sqrt(papers * 0.05 * 0.95)
    assert reproduced <= 0.05 * 2 * papers + 3 * np.sqrt(2 * papers * 0.05 * 0.95)
    assert np.mean(found) > 0.9


# Computed claims


PLUGIN = """
from latentbench import hookimpl

def half(x=1.0, fails=False):
    if fails:
        raise ValueError("no")
    return x / 2

def text():
    return "half"

number = 0.5

@hookimpl
def latentbench_boards():
    return []
"""


def computed(folder: Path, *, plugin: bool = True, **fields: Any) -> Judgement:
    (folder / "formulas.py").write_text(PLUGIN)
    fields = {"kind": "computed", "role": None, "published": 0.5, **fields}
    fields.setdefault("selection", {"function": "formulas:half"})
    write(folder, [], [claim("a", **fields)])
    plugins = Plugins.load([folder / "formulas.py"] if plugin else [])
    from latentbench.claims.ledger import load_ledger

    (one,) = judge(load_ledger([folder / "claims/p.yaml"], plugins), folder / "results", plugins)
    return one


def test_a_computed_claim_is_checked_by_calling_its_function(tmp_path: Path) -> None:
    margin = {"how": "equivalence", "margin": 0.01}
    one = computed(tmp_path, test=margin)
    assert (one.verdict, one.measured) == ("reproduced", [0.5])
    assert computed(tmp_path, published=0.52, test=margin).verdict == "refuted"
    assert computed(tmp_path, published=0.52, test=margin, **NEAR).verdict == "differs"
    assert computed(tmp_path, published=0.51, test=margin).verdict == "reproduced"  # on the margin, but for rounding
    percent = computed(tmp_path, published=50.0, unit="percent", test={"how": "equivalence", "margin": 0.1})
    assert (percent.verdict, percent.measured) == ("reproduced", [50.0])


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        ({"function": "formulas:half", "arguments": {"fails": True}}, "ValueError: no"),
        ({"function": "formulas:half", "arguments": {"y": 1}}, "TypeError"),
        ({"function": "formulas:text"}, "gives 'half', which is no number"),
        ({"function": "formulas:third"}, "there is no function 'formulas:third'"),
        ({"function": "formulas:number"}, "'formulas:number' is no function"),
        ({"function": "formulas:half", "arguments": {"x": float("inf")}}, "gives inf, which is no number"),
        ({"function": "os:getpid"}, "no plugin is in a package 'os'"),
        ({"function": "latentbench_cmi.nothing:f"}, "there is no function 'latentbench_cmi.nothing:f'"),
    ],
)
def test_a_function_that_is_not_there_or_fails_is_told_with_file_and_line(
    tmp_path: Path, selection: dict[str, Any], said: str
) -> None:
    with pytest.raises(LatentbenchError) as caught:
        computed(tmp_path, selection=selection)
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'claims/p.yaml'}:")


def test_no_module_but_a_plugin_s_is_ever_imported(tmp_path: Path) -> None:
    """A file of claims may come from anywhere."""
    (tmp_path / "evil.py").write_text("from pathlib import Path\nPath(__file__).with_name('done').touch()\n")
    import sys

    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(LatentbenchError, match="no plugin is in a package 'evil'"):
            computed(tmp_path, selection={"function": "evil:f"})
    finally:
        sys.path.remove(str(tmp_path))
    assert not (tmp_path / "done").exists()


def test_every_pair_of_null_and_model_is_selected_alike(tmp_path: Path) -> None:
    """A null is a row of the table, too, and can be what a claim is compared with."""
    records = [*rows(m=AT_80), *null("n", *AT_50)]
    claims = [
        claim(f"{a}-{b}", 0.3, selection=row(a), test={"how": "gap", "over": b})
        for a, b in product("mn", "mn")
        if a != b
    ]
    found = verdicts(tmp_path, records, claims)
    assert {name: one.verdict for name, one in found.items()} == {"m-n": "reproduced", "n-m": "refuted"}
