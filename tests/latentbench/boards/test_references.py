"""Nulls and untrained twins beside the rows of a table, from hand-made runs: against SciPy's tests and known truths."""

import csv
import io
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from latentbench.boards.board import Board
from latentbench.boards.means import means
from latentbench.boards.references import beside
from latentbench.boards.render.leaderboard import render
from latentbench.boards.rows import Beside, Column, Row
from latentbench.boards.standings import Table, standings
from latentbench.errors import LatentbenchError
from latentbench.evaluation.bootstrap import image_weights
from latentbench.records.record import Environment, Record, Value
from latentbench.records.select import select
from latentbench.spec import UNTRAINED, Budget, RunSpec

Array = npt.NDArray[np.float64]
RANK, ERROR = "accuracy@test", "error@test"
IMAGES = 400
WHERE = Environment(python="3", platform="p", packages={}, cpu="c", threads=1, device="cpu", plugins={})


def board(seeds: int = 3, datasets: list[Any] | None = None, **fields: Any) -> Board:
    return Board(name="b", title="B", datasets=datasets or ["d"], rank=RANK, seeds=seeds, **fields)


def run(
    model: str,
    accuracy: float | None,
    seed: int = 0,
    *,
    untrained: bool = False,
    error: float | None = None,
    dataset: str = "d",
    **fields: Any,
) -> Record:
    spec = RunSpec(
        model=model, model_version=1, config=fields.pop("config", {}), dataset=dataset, dataset_version=1, options={},
        split_hash=f"split of {dataset}", seed=seed, budget=UNTRAINED if untrained else Budget(),
    )  # fmt: skip
    values = {}
    for metric, number in (("accuracy", accuracy), ("error", error)):
        if number is not None:
            higher = metric == "accuracy"
            values[f"{metric}@test"] = Value(
                value=number, metric=metric, version=1, title=metric, higher_is_better=higher, bounds=(0.0, 1.0)
            )
    return Record(
        key=spec.key, status="finished", spec=spec, values=values, started="s", finished="f", environment=WHERE,
        **fields,
    )  # fmt: skip


def runs(model: str, numbers: list[float], **fields: Any) -> list[Record]:
    return [run(model, number, seed, **fields) for seed, number in enumerate(numbers)]


def null(name: str, *numbers: float, deterministic: bool = False) -> list[Record]:
    return runs(name, [*numbers], null=True, deterministic=deterministic)


def table(records: list[Record], the_board: Board | None = None, replicates: Any = None) -> Table:
    (found,) = standings(the_board or board(), records, None, replicates)
    return found


def beside_null(found: Table, label: str, value: str = RANK) -> Beside:
    return next(row for row in found.rows if row.label == label).beside_null[value]


def beside_twin(found: Table, label: str, value: str = RANK) -> Beside:
    return next(row for row in found.rows if row.label == label).beside_twin[value]


def lines(records: list[Record], the_board: Board | None = None, replicates: Any = None) -> dict[tuple[str, str], Any]:
    text = render(the_board or board(), records, None, replicates)["b.csv"]
    return {
        (line["variant"], line["group"]): line for line in csv.DictReader(io.StringIO(text)) if line["value"] == RANK
    }


def markdown(records: list[Record], the_board: Board | None = None, replicates: Any = None) -> str:
    return render(the_board or board(), records, None, replicates)["b.md"]


def measured(*rights: tuple[Record, Array]) -> tuple[list[Record], dict[str, dict[str, Array]]]:
    """Runs with their replicates, from the right (1) and wrong (0) answers to each image."""
    replicates = {
        record.key: {RANK: np.array([np.average(right, weights=w) for w in image_weights("s", len(right))])}
        for record, right in rights
    }
    return [record for record, _ in rights], replicates


def answers(right: int, start: int = 0) -> Array:
    """The first ``right`` images from ``start`` on are right, around the end."""
    return np.isin(np.arange(IMAGES), np.arange(start, start + right) % IMAGES).astype(np.float64)


def of_answers(model: str, right: Array, **fields: Any) -> tuple[Record, Array]:
    return run(model, float(right.mean()), **fields), right


# Nulls


def test_a_row_is_ahead_of_the_best_null_behind_it_or_undecided() -> None:
    records = [
        *runs("far", [0.90, 0.91, 0.92]),
        *runs("near", [0.70, 0.72, 0.71]),
        *runs("below", [0.40, 0.41, 0.42]),
        *null("good", 0.70, 0.71, 0.70),
        *null("poor", 0.50, 0.51, 0.50),
    ]
    found = table(records)
    verdicts = {row.label: (row.beside_null[RANK].label, row.beside_null[RANK].verdict) for row in found.rows}
    assert verdicts == {"far": ("good", "ahead"), "near": ("good", "undecided"), "below": ("good", "behind")}
    assert [(row.label, row.beside_null[RANK].marked) for row in found.rows] == [
        ("far", False), ("near", True), ("below", True)
    ]  # fmt: skip
    assert beside_null(found, "far").reference.mean == pytest.approx(0.7033, abs=1e-4)
    assert beside_null(found, "far").difference.mean == pytest.approx(0.91 - 0.70333, abs=1e-4)


def test_for_a_value_that_is_better_when_smaller_ahead_is_below() -> None:
    records = [
        *(run("small", 0.5, seed, error=0.10 + seed / 100) for seed in range(3)),
        *(run("large", 0.5, seed, error=0.60 + seed / 100) for seed in range(3)),
        *(run("n", 0.5, seed, error=0.40 + seed / 100, null=True) for seed in range(3)),
    ]
    found = table(records, board(columns=[ERROR]))
    assert (beside_null(found, "small", ERROR).verdict, beside_null(found, "large", ERROR).verdict) == (
        "ahead",
        "behind",
    )


def test_nulls_have_no_rank_stand_below_and_the_ranks_are_those_without_them() -> None:
    models = [*runs("a", [0.9, 0.91, 0.92]), *runs("b", [0.9, 0.915, 0.91]), *runs("c", [0.3, 0.31, 0.32])]
    nulls = [*null("n", 0.95, 0.96, 0.94), *null("m", 0.1, deterministic=True)]
    alone, both = table(models), table(models + nulls)
    assert [(row.label, row.rank) for row in both.rows] == [(row.label, row.rank) for row in alone.rows]
    assert [(row.label, row.rank) for row in both.nulls] == [("n", None), ("m", None)]
    assert [str(row.rank) for row in both.rows] == ["1-2", "1-2", "3"]


@settings(max_examples=25)
@given(st.data())
def test_ranks_never_depend_on_nulls_or_twins(data: st.DataObject) -> None:
    number = st.floats(0, 1).map(lambda x: round(x, 2))
    models = [
        one for name in "abcd" for one in runs(name, data.draw(st.lists(number, min_size=1, max_size=3), label=name))
    ]
    nulls = [one for name in "xy" for one in null(name, *data.draw(st.lists(number, min_size=1, max_size=3)))]
    twins = [run(one.spec.model, data.draw(number), one.spec.seed, untrained=True) for one in models]
    alone, both = table(models), table([*twins, *nulls, *models])
    assert [(r.label, r.rank, r.summaries) for r in both.rows] == [(r.label, r.rank, r.summaries) for r in alone.rows]


def test_a_deterministic_null_tells_all_with_one_seed_and_another_does_not() -> None:
    models = [*runs("a", [0.9, 0.91, 0.92]), *runs("b", [0.5, 0.51, 0.52])]
    known = table([*models, *null("n", 0.7, deterministic=True)])
    assert [row.beside_null[RANK].verdict for row in known.rows] == ["ahead", "behind"]
    unknown = table([*models, *null("n", 0.7)])
    assert [row.beside_null[RANK].verdict for row in unknown.rows] == [None, None]
    assert [row.beside_null[RANK].marked for row in unknown.rows] == [False, True]  # by the values themselves


def test_a_deterministic_model_is_ranked_with_one_seed() -> None:
    records = [*runs("a", [0.9, 0.91, 0.92]), *runs("b", [0.5, 0.51, 0.52]), *runs("k", [0.7], deterministic=True)]
    assert [(row.label, str(row.rank)) for row in table(records).rows] == [("a", "1"), ("k", "2"), ("b", "3")]
    records[-1] = run("k", 0.7)
    assert [str(row.rank) for row in table(records).rows] == ["1", "None", "2"]


def test_equal_values_are_undecided_whether_they_vary_or_not() -> None:
    varying = table([*runs("a", [0.7, 0.8, 0.9]), *null("n", 0.9, 0.7, 0.8)])
    fixed = table([*runs("a", [1.0, 1.0, 1.0]), *null("n", 1.0, deterministic=True)])
    for found in (varying, fixed):
        assert (beside_null(found, "a").verdict, beside_null(found, "a").marked) == ("undecided", True)


def test_it_has_to_be_ahead_of_every_null_and_not_of_the_best_by_value_alone() -> None:
    """The second null varies so much that it may well be the best one."""
    steady, wild = null("steady", 0.800, 0.801, 0.799), null("wild", 0.99, 0.60, 0.75)
    row = runs("a", [0.900, 0.901, 0.899])
    assert beside_null(table([*row, *steady]), "a").verdict == "ahead"
    # two rows more, so that variances are not pooled into one
    found = beside_null(table([*row, *steady, *wild, *runs("b", [0.85, 0.851, 0.85])]), "a")
    assert (found.label, found.verdict) == ("steady", "undecided")


def test_one_row_beside_one_null_is_tested_as_student_s_t_tests_two_samples() -> None:
    """Of equal spread, so that the two variances are pooled whatever the moderation does."""
    one, other = [0.70, 0.72, 0.74, 0.76, 0.78], [0.66, 0.68, 0.70, 0.72, 0.74]
    for shift in (0.0, 0.02, 0.05):
        a, b = [x + shift for x in one], other
        expected = stats.ttest_ind(a, b).pvalue
        verdict = beside_null(table([*runs("a", a), *null("n", *b)], board(seeds=5)), "a").verdict
        assert verdict == ("ahead" if expected < 0.05 else "undecided")


def simulate(draw: np.random.Generator, levels: list[float], nulls: list[float]) -> list[str | None]:
    """The verdicts on rows of three seeds, whose true values are ``levels``, beside nulls of true values ``nulls``."""
    records = []
    for group, values in (("r", levels), ("n", nulls)):
        for place, level in enumerate(values):
            numbers = (level + draw.normal(0, 0.01, 3)).clip(0, 1).tolist()
            records += runs(f"{group}{place}", numbers, null=group == "n")
    return [row.beside_null[RANK].verdict for row in table(records).rows]


def test_false_claims_are_rare_whatever_the_number_of_nulls_and_rows() -> None:
    """Rows that are as good as the best null: all nulls equal, or one best. Any false claim in a table counts."""
    draw = np.random.default_rng(0)
    for nulls in ([0.5] * 5, [0.5, 0.2, 0.2, 0.2, 0.2]):
        claims = np.array([simulate(draw, [0.5] * 5, nulls) for _ in range(150)])
        false = int((claims != "undecided").any(axis=1).sum())
        assert stats.binomtest(false, 150, 0.05, alternative="greater").pvalue > 0.001


def test_a_row_that_is_as_good_as_the_best_of_ten_nulls_is_rarely_said_to_be_behind_or_ahead() -> None:
    """The row is alone, so that nothing is corrected for other rows. Where one null is best, it has to be beaten."""
    draw = np.random.default_rng(2)
    columns = [Column(f"m[{number}]@test", "m", True, 1, 0) for number in range(200)]
    for levels in ([0.5] * 11, [0.5, 0.5, *[0.2] * 9]):
        row, *nulls = (
            replace(
                table(runs(f"r{place}", [0.5] * 3)).rows[0],
                numbers={one.name: dict(enumerate((level + draw.normal(0, 0.01, 3)).tolist())) for one in columns},
            )
            for place, level in enumerate(levels)
        )
        (found,) = beside([row], nulls, columns, seeds=True)
        verdicts = [one.verdict for one in found.beside_null.values()]
        false = verdicts.count("behind") + verdicts.count("ahead")
        assert len(verdicts) == 200
        assert stats.binomtest(false, 200, 0.05, alternative="greater").pvalue > 0.001


def test_true_orders_are_found() -> None:
    draw = np.random.default_rng(1)
    found = [simulate(draw, [0.6, 0.4], [0.5, 0.45]) for _ in range(20)]
    assert found == [["ahead", "behind"]] * 20


def test_where_the_board_has_one_seed_a_row_and_the_nulls_are_paired_over_images() -> None:
    row, alike, elsewhere = answers(300), answers(285), answers(285, start=150)
    for other, verdict in ((alike, "ahead"), (elsewhere, "undecided")):
        records, replicates = measured(of_answers("a", row), of_answers("n", other, null=True))
        found = beside_null(table(records, board(seeds=1), replicates), "a")
        assert found.verdict == verdict
        assert (stats.ttest_rel(row, other).pvalue < 0.05) == (verdict == "ahead")
    records, _ = measured(of_answers("a", row), of_answers("n", alike, null=True))
    assert beside_null(table(records, board(seeds=1)), "a").verdict is None  # without replicates nothing is known


def test_a_null_without_the_value_is_no_reference() -> None:
    without = [run("n", None, seed, error=0.5, null=True) for seed in range(3)]
    found = table([*runs("a", [0.9, 0.91, 0.92]), *without], board(columns=[ERROR]))
    assert found.rows[0].beside_null == {}
    assert [row.label for row in found.nulls] == ["n"]


def scored(
    model: str, values: dict[str, list[float]], capability: str = "score", untrained: bool = False, **fields: Any
) -> list[Record]:
    """Runs with values of several scores or parts of one metric, by the value's name."""
    made = []
    for seed in range(len(next(iter(values.values())))):
        of_seed = {
            name: Value(
                value=numbers[seed], metric="m", version=1, title="M", higher_is_better=True, capability=capability
            )
            for name, numbers in values.items()
        }
        record = run(model, None, seed, untrained=untrained, **fields)
        made.append(record.model_copy(update={"values": of_seed}))
    return made


OWN, NAMED = "m@test", "m[s]@test"


def board_of_scores(*columns: str, rank: str = OWN, **fields: Any) -> Board:
    return Board(name="b", title="B", datasets=["d"], rank=rank, columns=[*columns], **fields)


@pytest.mark.parametrize("rank", [OWN, NAMED])
def test_a_value_of_a_named_score_is_read_against_the_nulls_own(rank: str) -> None:
    """Also where the board does not show the column of own scores."""
    far, near, other = [0.90, 0.92, 0.94, 0.91, 0.93], [0.70, 0.72, 0.74, 0.76, 0.78], [0.66, 0.68, 0.70, 0.72, 0.74]
    assert stats.ttest_ind(far, other).pvalue < 0.05 < stats.ttest_ind(near, other).pvalue
    for numbers, verdict in ((far, "ahead"), (near, "undecided")):
        records = [*scored("a", {OWN: [0.1] * 5, NAMED: numbers}), *scored("n", {OWN: other}, null=True)]
        found = beside_null(table(records, board_of_scores(NAMED, rank=rank, seeds=5)), "a", NAMED)
        assert (found.label, found.verdict) == ("n", verdict)
        assert found.reference.mean == pytest.approx(np.mean(other))


def test_a_null_that_has_the_named_score_is_read_by_it() -> None:
    records = [
        *scored("a", {OWN: [0.1, 0.1, 0.1], NAMED: [0.5, 0.51, 0.52]}),
        *scored("n", {OWN: [0.9, 0.9, 0.91], NAMED: [0.2, 0.21, 0.2]}, null=True),
        *scored("o", {OWN: [0.3, 0.31, 0.3]}, null=True),
    ]
    found = beside_null(table(records, board_of_scores(NAMED, seeds=3)), "a", NAMED)
    assert (found.label, found.verdict) == ("o", "ahead")


def test_the_part_of_a_metric_that_reads_no_score_is_not_read_against_the_whole() -> None:
    """And the notes say that nothing is compared there."""
    records = [
        *scored("a", {OWN: [0.5, 0.5, 0.51], NAMED: [0.9, 0.9, 0.91]}, "predict"),
        *scored("n", {OWN: [0.1, 0.1, 0.11]}, "predict", null=True),
    ]
    found = table(records, board_of_scores(NAMED, seeds=3))
    assert found.rows[0].beside_null.keys() == {OWN}
    assert "No null has M `s` ↑ test, so nothing there is marked †." in " ".join(
        markdown(records, board_of_scores(NAMED, seeds=3)).split()
    )


def test_one_number_has_one_verdict_under_the_name_of_its_score_and_as_the_row_s_own() -> None:
    """Of six rows that are alike Holm's correction leaves none ahead; the column of the named score has one of them."""
    b = [0.66, 0.68, 0.70, 0.72, 0.74]
    a = [x + 0.052 for x in b]
    t = 0.052 / np.sqrt(2 * np.var(b, ddof=1) / 5)
    for p in (
        2 * stats.t.sf(t, 8),
        2 * stats.norm.sf(t),
    ):  # whatever is pooled of the rows' equal spreads, two at least
        assert 0.05 / 6 < p < 0.05
    records = [*scored("a", {OWN: a, NAMED: a}), *scored("n", {OWN: b}, null=True)]
    others = [one for name in "cdefg" for one in scored(name, {OWN: a})]
    the_board = board_of_scores(NAMED, seeds=5)
    both = [beside_null(table([*records, *others], the_board), "a", name).verdict for name in (OWN, NAMED)]
    alone = [beside_null(table(records, the_board), "a", name).verdict for name in (OWN, NAMED)]
    assert (both, alone) == (["undecided"] * 2, ["ahead"] * 2)
    another = scored("h", {OWN: b, NAMED: a})  # its own score is another one, so this one is tested in its own column
    found = table([*records, *others, *another], the_board)
    assert beside_null(found, "h", NAMED).verdict == "ahead"


def test_a_score_that_is_the_row_s_own_has_its_replicates_and_no_other_score_has_them() -> None:
    """On a board of one seed, where test images alone tell rows apart, paired."""
    right, of_null, other = answers(300), answers(285), answers(290)
    assert stats.ttest_rel(right, of_null).pvalue < 0.05
    records = [
        *scored("a", {OWN: [float(right.mean())], NAMED: [float(right.mean())], "m[t]@test": [float(other.mean())]}),
        *scored("n", {OWN: [float(of_null.mean())]}, null=True),
    ]
    replicates = {
        record.key: {OWN: np.array([np.average(one, weights=w) for w in image_weights("s", IMAGES)])}
        for record, one in zip(records, (right, of_null), strict=True)
    }
    found = table(records, board_of_scores(NAMED, "m[t]@test", seeds=1), replicates)
    columns = {column.name: column for column in found.columns}
    own, named = (found.rows[0].interval(columns[name]) for name in (OWN, NAMED))
    assert own == named is not None
    assert [beside_null(found, "a", name).verdict for name in columns] == ["ahead", "ahead", None]


def test_beside_each_null_a_row_is_told_as_bonferroni_s_correction_for_nulls_and_rows_allows() -> None:
    """Two rows and three nulls, all of one spread: pooled over all of them, its degrees of freedom hardly matter."""
    base = np.array([-0.04, -0.02, 0.0, 0.02, 0.04])
    error = np.sqrt(2 * base.var(ddof=1) / 5)
    told = set()
    for shift in np.linspace(0.02, 0.12, 21):
        levels = {"low": 0.5 - shift, "mid": 0.5 + shift, "best": 0.62}
        records = [*runs("a", (0.5 + base).tolist()), *runs("b", (0.5 + base).tolist())]
        records += [one for name, level in levels.items() for one in null(name, *(level + base))]
        found = beside_null(table(records, board(seeds=5)), "a")
        assert (found.label, found.each["best"]) == ("best", (found.better, found.verdict))
        least, most = (6 * 2 * p for p in (stats.norm.sf(shift / error), stats.t.sf(shift / error, 20)))
        if not least < 0.05 < most:
            assert found.each["low"] == (True, "ahead" if most <= 0.05 else "undecided")
            assert found.each["mid"] == (False, "behind" if most <= 0.05 else "undecided")
            told.add(found.each["mid"][1])
    assert told == {"behind", "undecided"}


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_what_is_said_of_each_null_never_contradicts_what_is_said_of_the_best(data: st.DataObject) -> None:
    number = st.floats(0.3, 0.7).map(lambda x: round(x, 2))
    numbers = st.lists(number, min_size=1, max_size=3)
    models = [one for name in "abc" for one in runs(name, data.draw(numbers))]
    nulls = [one for name in "xyz" for one in null(name, *data.draw(numbers), deterministic=data.draw(st.booleans()))]
    for row in table(models + nulls).rows:
        best = row.beside_null[RANK]
        assert best.each[best.label] == (best.better, best.verdict)
        verdicts = {verdict for _, verdict in best.each.values()}
        assert best.verdict != "ahead" or verdicts == {"ahead"}
        assert "behind" not in verdicts or best.verdict == "behind"


def test_values_that_are_no_merit_and_ceilings_are_shown_without_marks_and_named_so() -> None:
    records = [
        *(run("a", 0.9, seed, error=0.3) for seed in range(3)),
        *(run("a", 0.2, seed, error=0.1, untrained=True) for seed in range(3)),
        *(run("guess", 0.5, seed, error=0.0, null=True, deterministic=True) for seed in range(1)),
        *(run("real", 1.0, seed, error=0.2, null=True, deterministic=True) for seed in range(1)),
    ]
    plain = table(records, board(columns=[ERROR]))
    assert [plain.rows[0].beside_null[name].label for name in (RANK, ERROR)] == ["real", "guess"]
    assert plain.rows[0].beside_null[RANK].marked
    declared = board(columns=[ERROR], no_merit=[ERROR], ceilings=["real"])
    (row,) = table(records, declared).rows
    assert row.beside_null[RANK].label == "guess"
    assert ([*row.beside_null], [*row.beside_twin]) == ([RANK], [RANK])
    text = " ".join(markdown(records, declared).split())
    assert "error ↓ test is no merit by itself: it is not read against nulls and twins." in text
    assert "`real` is a ceiling: nothing can be ahead of it, and no value is read against it." in text
    shown = text.partition("<details>")[0]
    assert "`real`" in shown
    assert "†" not in shown
    assert "‡" not in shown


def test_means_have_ceilings_and_values_that_are_no_merit_too() -> None:
    records = [
        run(model, accuracy, seed, error=0.1, dataset=dataset, **fields)
        for dataset in ("d", "e")
        for seed in range(3)
        for model, accuracy, fields in (
            ("a", 0.8 + seed / 100, {}),
            ("n", 0.5, {"null": True}),
            ("real", 0.9, {"null": True}),
        )
    ]
    the_board = board(datasets=["d", "e"], columns=[ERROR], average=True, no_merit=[ERROR], ceilings=["real"])
    averages = means(the_board, standings(the_board, records))
    assert averages is not None
    assert {name: one.label for name, one in averages.rows[0].beside_null.items()} == {RANK: "n"}
    assert [null.label for null in averages.nulls] == ["real", "n"]


def test_a_value_that_is_ahead_by_value_alone_is_marked_so() -> None:
    """A test stands behind the unmarked row; one seed of the others leaves nothing to test."""
    records = [
        *runs("tested", [0.90, 0.91, 0.92]), *runs("tested", [0.30, 0.31, 0.30], untrained=True),
        run("once", 0.85), run("once", 0.2, untrained=True),
        run("below", 0.4), run("below", 0.2, untrained=True),
        *null("n", 0.5, deterministic=True),
    ]  # fmt: skip
    text = markdown(records).partition("<details>")[0]
    cells = {line.split("|")[2].strip(): line.split("|")[3].strip() for line in text.splitlines() if "| `" in line}
    assert cells["`tested`"].endswith(")")
    assert cells["`once`"] == "0.850 °"
    assert cells["`below`"] == "0.400 †"  # behind the null, so that it is no win, though ahead of its twin
    assert "° ahead by value alone: no uncertainty is known to test it by." in " ".join(text.split())
    assert "°" not in markdown([one for one in records if one.spec.model in ("tested", "n")]).partition("<details>")[0]


def test_rows_without_a_twin_and_tables_without_nulls_are_told() -> None:
    trained, twins = runs("a", [0.9, 0.91, 0.92]), runs("a", [0.1, 0.2, 0.3], untrained=True)
    text = " ".join(markdown([*trained, *twins, *runs("fitted", [0.5, 0.5, 0.6])]).split())
    assert "No null stands here to read values against." in text
    assert "`fitted` has no untrained twin, and no mark ‡." in text
    assert "No untrained twin stands here to read values against." in " ".join(
        markdown([*trained, *null("n", 0.5)]).split()
    )


# Twins


def test_a_twin_s_runs_are_a_row_of_their_own_and_never_in_the_trained_one() -> None:
    trained, twins = runs("a", [0.9, 0.92, 0.94]), runs("a", [0.1, 0.2, 0.3], untrained=True)
    found = table(twins + trained)
    (row,) = found.rows
    assert row.twin is not None
    assert [one.summaries[RANK].mean for one in (row, row.twin)] == pytest.approx([0.92, 0.2])
    assert (row.seeds, row.twin.seeds, found.others) == (3, 3, [])
    assert not {record.key for record in row.records} & {record.key for record in row.twin.records}
    assert select(twins + trained, value=RANK, model="a") == {0: 0.9, 1: 0.92, 2: 0.94}
    assert select(twins + trained, value=RANK, model="a", untrained=True) == {0: 0.1, 1: 0.2, 2: 0.3}


def test_what_training_adds_is_the_paired_t_test_and_interval_over_seeds() -> None:
    trained, twin = [0.90, 0.93, 0.95, 0.99], [0.80, 0.80, 0.88, 0.85]
    found = beside_twin(table([*runs("a", trained), *runs("a", twin, untrained=True)]), "a")
    expected = stats.ttest_rel(trained, twin)
    low, high = expected.confidence_interval(0.95)
    assert found.interval is not None
    assert [found.interval.low, found.interval.high] == pytest.approx([low, high])
    assert found.difference.mean == pytest.approx(np.mean(trained) - np.mean(twin))
    assert found.verdict == ("ahead" if expected.pvalue < 0.05 else "undecided") == "ahead"
    noisy = [0.80, 0.99, 0.80, 0.99]
    assert stats.ttest_rel(trained, noisy).pvalue > 0.05
    assert beside_twin(table([*runs("a", trained), *runs("a", noisy, untrained=True)]), "a").verdict == "undecided"


def test_false_claims_of_what_training_adds_are_rare() -> None:
    """Training adds nothing in the mean, though seeds differ much and each is alike with and without training."""
    draw = np.random.default_rng(2)
    false = 0
    for _ in range(150):
        records = []
        for place in range(5):
            seeds = draw.normal(0.5, 0.1, 3)
            for untrained in (False, True):
                numbers = (seeds + draw.normal(0, 0.01, 3)).clip(0, 1).tolist()
                records += runs(f"r{place}", numbers, untrained=untrained)
        false += any(row.beside_twin[RANK].verdict != "undecided" for row in table(records).rows)
    assert stats.binomtest(false, 150, 0.05, alternative="greater").pvalue > 0.001


def test_a_twin_is_paired_by_the_seeds_that_both_have() -> None:
    """What they share from seed to seed cancels: unpaired, the spread would hide the difference."""
    trained, twin = [0.1, 0.5, 0.9], [0.05, 0.46, 0.86]
    assert stats.ttest_ind(trained, twin).pvalue > 0.8
    records = [*runs("a", trained), *runs("a", twin, untrained=True), run("a", 0.99, 7, untrained=True)]
    found = beside_twin(table(records), "a")
    assert (found.verdict, found.difference.n, found.reference.n) == ("ahead", 3, 4)
    assert found.difference.mean == pytest.approx(np.mean(trained) - np.mean(twin))


def test_a_twin_may_be_ahead_of_the_trained_model_be_missing_or_share_too_few_seeds() -> None:
    records = [
        *runs("worse", [0.3, 0.31, 0.32]), *runs("worse", [0.5, 0.52, 0.51], untrained=True),
        *runs("alone", [0.6, 0.61, 0.62]),
        *runs("once", [0.7, 0.71, 0.72]), run("once", 0.2, untrained=True),
        *runs("twice", [0.8, 0.81, 0.82]), run("twice", 0.2, 8, untrained=True),
    ]  # fmt: skip
    found = table(records)
    assert beside_twin(found, "worse").verdict == "behind"
    by_label: dict[str, Row] = {row.label: row for row in found.rows}
    assert (by_label["alone"].twin, by_label["alone"].beside_twin) == (None, {})
    assert (beside_twin(found, "once").verdict, beside_twin(found, "once").marked) == (None, False)
    assert by_label["twice"].twin is not None
    assert by_label["twice"].beside_twin == {}


def test_over_images_a_twin_is_paired_image_by_image() -> None:
    right, alike, elsewhere = answers(300), answers(288), answers(288, start=150)
    for other, verdict in ((alike, "ahead"), (elsewhere, "undecided")):
        records, replicates = measured(of_answers("a", right), of_answers("a", other, untrained=True))
        found = beside_twin(table(records, board(seeds=1), replicates), "a")
        assert found.verdict == verdict
        expected = stats.ttest_rel(right, other)
        assert (expected.pvalue < 0.05) == (verdict == "ahead")
        assert found.interval is not None
        low, high = expected.confidence_interval(0.95)
        assert found.interval.high - found.interval.low == pytest.approx(high - low, rel=0.2)  # 200 replicates
        assert found.interval.covers == ("test images",)


def test_equal_differences_of_rounding_alone_are_none() -> None:
    twin = [0.3, 0.1 + 0.2, 0.3]
    found = beside_twin(table([*runs("a", [0.1 + 0.2, 0.3, 0.3]), *runs("a", twin, untrained=True)]), "a")
    assert (found.difference.mean, found.verdict, found.marked) == (0.0, "undecided", True)


def test_twins_of_other_code_are_left_out_and_counted() -> None:
    def made(version: str) -> Environment:
        loaded = {"theirs": f"theirs {version}"}
        return WHERE.model_copy(update={"plugins": {"model": f"theirs {version}"}, "loaded": loaded})

    trained = runs(
        "a",
        [0.9, 0.91, 0.92],
    )
    trained = [one.model_copy(update={"environment": made("1")}) for one in trained]
    twins = [one.model_copy(update={"environment": made("2")}) for one in runs("a", [0.1, 0.2, 0.3], untrained=True)]
    found = table(trained + twins)
    assert found.rows[0].twin is None
    assert sum(found.other_code.values()) == 3
    assert found.rows[0].seeds == 3


def test_a_board_without_twins_passes_over_them_and_one_without_the_trained_run_has_them_in_its_csv() -> None:
    twins = runs("a", [0.1, 0.2, 0.3], untrained=True)
    assert standings(board(twins=False), twins) == []
    found = table(twins)
    assert (found.rows, [row.untrained for row in found.others]) == ([], [True])
    trained = runs("a", [0.9, 0.91, 0.92])
    assert table(trained + twins, board(twins=False)).rows[0].twin is None
    assert all(record.key in render(board(), twins)["b.csv"] for record in twins)


def test_select_still_refuses_runs_of_several_budgets() -> None:
    short = run("a", 0.5).spec.model_copy(update={"budget": Budget(max_steps=9)})
    record = run("a", 0.5).model_copy(update={"spec": short, "key": short.key})
    with pytest.raises(LatentbenchError, match=r"budget.max_steps is 9 or null"):
        select([run("a", 0.5), record], value=RANK)


# What a reader sees


EVERYTHING = [
    *runs("a", [0.90, 0.91, 0.92]), *runs("a", [0.30, 0.31, 0.30], untrained=True),
    *runs("b", [0.60, 0.61, 0.60]), *runs("b", [0.60, 0.60, 0.61], untrained=True),
    *null("null-mean", 0.7, deterministic=True), *null("null-noise", 0.50, 0.51, 0.49),
]  # fmt: skip


def test_the_markdown_marks_what_is_not_ahead_and_folds_the_twins() -> None:
    text = markdown(EVERYTHING)
    low, high = stats.ttest_rel([0.90, 0.91, 0.92], [0.30, 0.31, 0.30]).confidence_interval(0.95)
    added = f"+0.607 ± {(high - low) / 2:.3f}"
    shown, *folds = text.split("<details>")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in shown.splitlines() if "|" in line]
    assert [row for row in rows if not row[0].startswith(("-", ":"))] == [
        ["rank", "model", "accuracy ↑ test"],
        ["1", "`a`", "0.910 (0.885 to 0.935)"],
        ["2", "`b`", "0.603 (0.589 to 0.618) † ‡"],
        ["null", "accuracy ↑ test"],
        ["`null-mean`", "0.700"],
        ["`null-noise`", "0.500 (0.475 to 0.525)"],
    ]
    assert (
        "† not ahead of the best null, `null-mean` by accuracy ↑ test. ‡ not ahead of its own untrained twin." in shown
    )
    (twins,) = (fold for fold in folds if "<summary>Untrained twins" in fold)
    assert f"0.303 ± 0.014 ({added})" in twins
    (spread,) = (fold for fold in folds if "<summary>Spread" in fold)
    assert [cell.strip() for cell in spread.splitlines()[5].split("|")[1:4]] == [
        "`b`",
        "0.603 ± 0.014",
        "+0.000 ± 0.025",
    ]
    assert "Holm's correction for the rows of each column" in " ".join(text.split())


def test_a_null_that_has_none_of_the_values_stands_in_the_csv_alone() -> None:
    other = [run("null-other", None, seed, null=True) for seed in range(3)]
    assert "null-other" not in markdown([*EVERYTHING, *other])
    assert ("null-other", "null") in lines([*EVERYTHING, *other])


def test_without_nulls_and_twins_nothing_is_said_of_them() -> None:
    text = markdown(runs("a", [0.9, 0.91, 0.92]))
    told = "- No null and no untrained twin stands here to read values against, so none is marked.\n"
    assert text.count(told) == 1
    words = text.replace("in full precision", "").replace(told, "")
    assert not any(word in words for word in ("ull", "twin", "ntrained", "training adds", "†", "‡"))


def test_the_csv_has_nulls_and_twins_in_lines_and_columns_of_their_own() -> None:
    found = lines(EVERYTHING)
    assert {group for _, group in found} == {"model", "null", "untrained"}
    row = found["b", "model"]
    assert (row["untrained_mean"], row["beside_untrained"]) == (found["b", "untrained"]["mean"], "undecided")
    assert (row["best_null"], row["best_null_mean"], row["beside_best_null"]) == ("null-mean", "0.7", "behind")
    assert float(found["a", "model"]["training_adds"]) == pytest.approx(0.91 - 0.91 / 3)
    low, high = stats.ttest_rel([0.90, 0.91, 0.92], [0.30, 0.31, 0.30]).confidence_interval(0.95)
    assert float(found["a", "model"]["training_adds_low"]) == pytest.approx(low)
    assert float(found["a", "model"]["training_adds_high"]) == pytest.approx(high)
    assert {name: found[name]["rank_first"] for name in found} == {
        ("a", "model"): "1", ("b", "model"): "2", ("null-mean", "null"): "", ("null-noise", "null"): "",
        ("a", "untrained"): "", ("b", "untrained"): "",
    }  # fmt: skip
    keys = {record.key for record in EVERYTHING}
    assert keys == {key for line in found.values() for key in line["runs"].split()}


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ([0.40, 0.41, 0.42], "`n` has accuracy ↑ test of 0.410 (0.385 to 0.435), near or below chance: the held-out"),
        (
            [0.56, 0.57, 0.55],
            "near or below chance: the held-out classes lie inside the normal ones, and the direction",
        ),
        ([0.90, 0.91, 0.92], "above chance: the held-out classes lie apart from the normal ones."),
        ([], "How far apart they lie is not known, as `n` has no accuracy ↑ test."),
    ],
)
def test_a_class_split_is_named_so_with_what_the_board_s_null_tells_of_it(numbers: list[float], said: str) -> None:
    records = [*runs("a", [0.9, 0.91, 0.92]), *null("n", *numbers)]
    text = " ".join(markdown(records, board(datasets=[{"name": "d", "diagnosis": "n"}])).split())
    assert ", class-split novelty" in text
    assert " The anomalies are classes held out of the normal ones. " in text.partition("<details>")[0]
    assert said in text
    plain = markdown(records)
    assert "class-split" not in plain
    assert "held out" not in plain
    assert {
        line["diagnosis"] for line in lines(records, board(datasets=[{"name": "d", "diagnosis": "n"}])).values()
    } == {"n"}


def test_a_diagnosis_may_name_its_value_where_another_ranks() -> None:
    """The null is at chance by the value that is named, and far from it by the one that ranks."""
    records = [
        *(run("a", 0.9, seed, error=0.9) for seed in range(3)),
        *(run("n", 0.95, seed, error=0.5 + seed / 100, null=True) for seed in range(3)),
    ]
    datasets = [{"name": "d", "diagnosis": {"row": "n", "value": ERROR}}]
    text = " ".join(markdown(records, board(datasets=datasets, columns=[ERROR])).split())
    low, high = stats.t.interval(0.95, 2, 0.51, stats.sem([0.50, 0.51, 0.52]))
    assert (
        f"`n` has error ↓ test of 0.510 ({low:.3f} to {high:.3f}), near or below chance: the held-out classes" in text
    )
    assert "class-split novelty" not in text  # what ranks is something else
    assert {line["diagnosis"] for line in lines(records, board(datasets=datasets, columns=[ERROR])).values()} == {"n"}


def test_means_have_nulls_and_twins_too() -> None:
    records = []
    for dataset, lift in (("d", 0.0), ("e", 0.02)):
        for model, numbers, fields in (
            ("a", [0.90, 0.91, 0.92], {}),
            ("a", [0.30, 0.31, 0.30], {"untrained": True}),
            ("n", [0.7], {"null": True, "deterministic": True}),
        ):
            records += runs(model, [x + lift for x in numbers], dataset=dataset, **fields)
    the_board = board(datasets=["d", "e"], average=True)
    averages = means(the_board, standings(the_board, records))
    assert averages is not None
    (row,) = averages.rows
    assert [one.label for one in averages.nulls] == ["n"]
    assert row.beside_null[RANK].reference.mean == pytest.approx(0.71)
    assert row.beside_null[RANK].verdict == "ahead"
    assert row.beside_twin[RANK].difference.mean == pytest.approx(0.91 - 0.91 / 3)
    assert row.beside_twin[RANK].verdict == "ahead"
    text = markdown(records, the_board)
    assert text.count("\n| null ") == 3  # of the means, and of each dataset
    (twins,) = (fold for fold in text.split("<details>") if "<summary>Untrained twins" in fold)
    assert twins.count("| untrained ") == 3
