"""Boards make all that is committed: every record is of a run that they name, and every table what the records give."""

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import latentbench_boards
from latentbench.boards.board import Board, load_board
from latentbench.boards.findings import boards_of, load_findings
from latentbench.boards.lineup import lineup_path, read_lineup
from latentbench.boards.render.findings import render_findings
from latentbench.boards.render.leaderboard import render
from latentbench.boards.standings import standings
from latentbench.claims.filling import fill
from latentbench.claims.ledger import claim_files, load_ledger
from latentbench.claims.render import render_claims
from latentbench.claims.telling import names_of, published_on
from latentbench.claims.verdicts import Judgement, judge
from latentbench.commands.cli import main
from latentbench.plugins.registry import Plugins
from latentbench.records.record import Record
from latentbench.records.replicates import Replicates, read_replicates
from latentbench.records.store import Store
from latentbench.running.plan import lineup_of, plan, plan_series
from latentbench.spec import RunSpec

LEADERBOARDS = Path(__file__).parents[1] / "leaderboards"
RESULTS, TABLES, REPORTS = LEADERBOARDS / "results", LEADERBOARDS / "tables", LEADERBOARDS / "reports"
SEARCHES = sorted((LEADERBOARDS / "searches").glob("*.yaml"))
BOARDS = [*latentbench_boards.latentbench_boards(), *SEARCHES]
MEND = "run: latentbench leaderboard [searches/*.yaml] --results leaderboards/results --to leaderboards/tables"


@cache
def committed() -> list[Record]:
    found = list(Store(RESULTS).records())
    files = set(RESULTS.rglob("*.json")) - {lineup_path(RESULTS, load_board(path)) for path in BOARDS}
    assert [path for path, _ in found] == sorted(files), "a committed record cannot be read, or a file is none"
    return [record for _, record in found]


class Line(NamedTuple):
    """A run up to the hash of its data, which cannot be known without them."""

    key: str

    @classmethod
    def of(cls, spec: RunSpec) -> "Line":
        return cls(spec.model_copy(update={"split_hash": ""}).key)


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins.load()


@pytest.fixture(scope="module")
def planned(plugins: Plugins) -> dict[Line, Board]:
    """Every run of every board, planned without data."""
    return {
        Line.of(one.spec(seed, "")): board
        for board in map(load_board, BOARDS)
        for one in plan_series(board, plugins)
        for seed in range(one.seeds)
    }


def test_every_committed_record_is_made_again_by_the_command_of_some_board(planned: dict[Line, Board]) -> None:
    stray = [
        f"{record.key} ({record.spec}): {json.dumps(record.spec.config)}"
        for record in committed()
        if Line.of(record.spec) not in planned
    ]
    assert stray == [], "name its settings as a variant: of a board, or of a search in leaderboards/searches"


def test_a_record_in_settings_that_no_board_names_would_be_noticed(planned: dict[Line, Board]) -> None:
    """The test above is not blind to any part of a run but the hash of its data."""
    spec, number = next(
        (record.spec, name)
        for record in committed()
        for name, value in record.spec.config.items()
        if type(value) is int
    )
    changes = {
        "config": {**spec.config, number: spec.config[number] + 1},
        "options": {**spec.options, "seed": 77},
        "seed": 99,
        "budget": {"max_steps": 5},
        "model_version": 99,
        "dataset_version": 99,
        "harness_version": 99,
    }
    for name, value in changes.items():
        assert Line.of(RunSpec.model_validate({**spec.model_dump(), name: value})) not in planned, name
    assert Line.of(RunSpec.model_validate({**spec.model_dump(), "split_hash": "of other data"})) in planned


@pytest.mark.real
@pytest.mark.slow
def test_on_today_s_data_the_plans_have_the_very_keys_of_the_committed_records(
    plugins: Plugins, data_root: Path
) -> None:
    """But for records of a split that has changed since, and of data that are not there, both of them named."""
    keys: set[str] = set()
    there: set[str] = set()
    for board in map(load_board, BOARDS):
        for entry in board.datasets:
            options = plugins.get("datasets", entry.name).value.Config(**entry.options)
            dataset = plugins.get("datasets", entry.name).value(options)
            made = any(record.spec.dataset == entry.name for record in committed())
            if made and dataset.status(data_root).state != "missing":
                runs = plan(board, plugins, data_root, datasets=[entry.label])
                keys |= {run.spec.key for run in runs}
                there |= {json.dumps([run.spec.dataset, run.spec.options], sort_keys=True) for run in runs}
    older = [record for record in committed() if record.key not in keys]
    unexplained = [
        record.key
        for record in older
        if json.dumps([record.spec.dataset, record.spec.options], sort_keys=True) in there
    ]
    assert unexplained == []
    assert keys & {record.key for record in committed()}


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_board_s_committed_lineup_is_what_the_models_presets_are(path: Path, plugins: Plugins) -> None:
    board = load_board(path)
    if not lineup_path(RESULTS, board).exists():
        assert not standings(board, committed()), "it has records"
        return
    found = read_lineup(RESULTS, board)
    expected = lineup_of(board, plugins)
    mend = f"run: latentbench plan {path.stem} --out leaderboards/results"
    for label, options in expected.datasets.items():
        assert found.datasets.get(label) == json.loads(json.dumps(options)), f"{label}: {mend}"
    for label, rows in expected.rows.items():
        for row, config in rows.items():
            assert found.rows.get(label, {}).get(row) == json.loads(json.dumps(config)), f"{row} on {label}: {mend}"


@cache
def replicates() -> Replicates:
    return {record.key: read_replicates(Store(RESULTS), record) for record in committed()}


@cache
def judged() -> list[Judgement]:
    plugins = Plugins.load()
    return judge(load_ledger(claim_files(LEADERBOARDS / "claims"), plugins), RESULTS, plugins)


@cache
def rendered() -> dict[str, str]:
    expected: dict[str, str] = {}
    for board in map(load_board, BOARDS):
        published = published_on(board.name, judged())
        expected |= render(board, committed(), read_lineup(RESULTS, board), replicates(), published)
    return expected


def test_the_committed_verdicts_on_claims_are_those_of_the_committed_records() -> None:
    mend = "run: latentbench claims render --to leaderboards/CLAIMS.md"
    assert render_claims(judged()) == (LEADERBOARDS / "CLAIMS.md").read_text(), mend


def claims_of(paper: str, start: str = "") -> list[Judgement]:
    return [one for one in judged() if one.paper.name == paper and one.claim.id.startswith(start)]


def test_every_closed_form_of_the_committed_claims_comes_out() -> None:
    computed = [one for one in judged() if one.claim.kind == "computed"]
    assert [one.name for one in computed if one.verdict != "reproduced"] == []
    table = claims_of("funke-2022", "table-1-")
    assert len(table) == 12
    assert {one.claim.kind for one in table} == {"computed"}


@pytest.mark.parametrize(
    ("paper", "start", "number"),
    [("funke-2022", "figure-6b-cmi-over-base", 3), ("glazunov-2023", "table-5-sphere-holes", 3),
     ("glazunov-2023", "table-6-", 24), ("falck-2021", "mnist", 1)],
)  # fmt: skip
def test_headlines_are_tested_by_the_records_and_not_only_cited(paper: str, start: str, number: int) -> None:
    assert len([one for one in claims_of(paper, start) if one.verdict != "not testable"]) >= number


@pytest.mark.parametrize("paper", ["bergmann-2019", "bergmann-2020", "defard-2020", "zavrtanik-2021", "liznerski-2021"])
def test_anchors_of_another_protocol_are_shown_and_not_tested(paper: str) -> None:
    found = claims_of(paper)
    assert {(one.claim.protocol, one.claim.test.how, one.verdict) for one in found} == {
        ("other", "citation", "not testable")
    }
    shown = (LEADERBOARDS / "CLAIMS.md").read_text()
    assert all(f"`{one.claim.id}`" in shown for one in found)


@pytest.mark.parametrize("board", ["mnist-shift", "ood"])
def test_the_claims_of_one_board_have_the_verdicts_that_they_have_among_all(board: str, plugins: Plugins) -> None:
    ledger = load_ledger(claim_files(LEADERBOARDS / "claims"), plugins)
    some = {one.name: (one.verdict, one.p, one.reasons) for one in judge(ledger, RESULTS, plugins, [board])}
    everything = {one.name: (one.verdict, one.p, one.reasons) for one in judged() if board in names_of(one)}
    assert some == everything != {}


def test_the_committed_readme_says_what_claims_and_records_say() -> None:
    template = LEADERBOARDS / "README.in.md"
    mend = "run: latentbench claims fill leaderboards/README.in.md --to leaderboards/README.md"
    expected = fill(template.read_text(), template, judged())
    assert expected == (LEADERBOARDS / "README.md").read_text(), mend


def test_the_committed_claims_have_no_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "lint", "--claims", str(LEADERBOARDS / "claims")]) == 0, capsys.readouterr().out


def test_the_committed_tables_are_those_of_the_committed_records() -> None:
    found = {path.name: path.read_bytes() for path in TABLES.glob("*")}
    assert sorted(found) == sorted(rendered()), MEND
    assert [name for name, text in rendered().items() if found[name] != text.encode()] == [], MEND


def test_the_committed_findings_are_those_of_the_committed_records(
    plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(LEADERBOARDS.parent)  # commands name the files of searches as they are named from there
    findings = load_findings(Path("leaderboards/findings.yaml"))
    boards = boards_of(findings, plugins)
    lineups = {name: read_lineup(RESULTS, board) for name, board in boards.items()}
    mend = (
        "run: latentbench findings leaderboards/findings.yaml --results leaderboards/results --to "
        "leaderboards/FINDINGS.md"
    )
    expected = render_findings(findings, boards, committed(), lineups, replicates())
    assert expected == (LEADERBOARDS / "FINDINGS.md").read_text(), mend


def test_no_line_of_a_committed_table_is_guessed_and_none_has_a_long_label() -> None:
    for board in map(load_board, BOARDS):
        for table in standings(board, committed(), read_lineup(RESULTS, board)):
            assert table.guessed == []
            labels = [row.label for row in table.rows]
            assert len(set(labels)) == len(labels)
            assert max(map(len, labels), default=0) <= 30  # a table may have nulls alone


def test_every_committed_run_is_in_the_csv_of_some_board() -> None:
    text = "".join(text for name, text in rendered().items() if name.endswith(".csv"))
    missing = [record.key for record in committed() if record.status == "finished" and record.key not in text]
    assert missing == []


class NullTime(NamedTuple):
    """What nulls take of a board: their share of the time of all other rows, and whether enough of these are there."""

    share: float
    complete: bool

    @classmethod
    def of(cls, board: Board, plugins: Plugins) -> "NullTime | None":
        """On the data where some null has records; None if there are none.

        A row that has records counts with the mean time of its runs, all phases, for as many seeds as the board plans.
        Rows that have none yet can only make the share smaller, as nulls are quick and are run first: a small one is
        sure, and a large one says something where, on each data, at least half of the other rows have records.
        """
        runs: dict[Line, Record] = {Line.of(one.spec): one for one in committed() if one.status == "finished"}
        times: dict[str, dict[bool, list[float]]] = {}
        for one in plan_series(board, plugins):
            found = [runs[line] for seed in range(one.seeds) if (line := Line.of(one.spec(seed, ""))) in runs]
            seconds = [sum(phase.seconds for phase in record.phases.values()) for record in found]
            own = times.setdefault(one.entry.label, {True: [], False: []})[one.model.null]
            own.append(sum(seconds) / len(seconds) * one.seeds if seconds else 0)
        read = [rows for rows in times.values() if any(rows[True])]
        nulls, others = (sum(sum(rows[null]) for rows in read) for null in (True, False))
        complete = all(2 * sum(seconds > 0 for seconds in rows[False]) >= len(rows[False]) for rows in read)
        return cls(nulls / max(others, 1e-9), complete) if read else None


def test_nulls_add_at_most_a_tenth_to_the_time_of_any_board(plugins: Plugins) -> None:
    times = {board.name: NullTime.of(board, plugins) for board in map(load_board, BOARDS)}
    told = {name: time for name, time in times.items() if time is not None}
    assert told.keys() >= {"facets", "industrial-128", "mnist-shift", "ood", "quick", "scenes-trade"}
    assert all(time.share > 0 for time in told.values())
    over = {name: time for name, time in told.items() if time.share > 0.1}
    assert {name: time for name, time in over.items() if time.complete} == {}
    assert over.keys() <= {"quick"}, "of quick, two of thirteen models are there on scenes"


@pytest.mark.real
@pytest.mark.parametrize("verb", ["mechanism", "waic"])
def test_the_committed_reports_are_those_of_the_committed_records(
    verb: str, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["holes", verb, "--results", str(RESULTS), "--data-root", str(data_root)]
    assert main(command) == 0
    mend = f"run: latentbench holes {verb} --results leaderboards/results > leaderboards/reports/holes-{verb}.md"
    assert capsys.readouterr().out == (REPORTS / f"holes-{verb}.md").read_text(), mend
