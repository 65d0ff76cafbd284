"""Files of claims: what is read, what is refused with file and line, and the JSON Schema that is published."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.latentbench.claims.given import claim, write

from latentbench.claims.schema import Gap, OnBoard, Order, Other, json_schema, load_paper
from latentbench.errors import LatentbenchError

REPOSITORY = Path(__file__).parents[3]
COMMITTED = sorted((REPOSITORY / "leaderboards" / "claims").glob("*.yaml"))


def mistake(folder: Path, *claims: Any, **paper: Any) -> str:
    """What is said of a file, from the line number on."""
    file = write(folder, [], claims, **paper)
    with pytest.raises(LatentbenchError) as caught:
        load_paper(file)
    text = str(caught.value)
    assert text.startswith(f"{file}:")
    assert "\n" not in text
    return text.removeprefix(f"{file}:")


def line_of(folder: Path, text: str) -> int:
    return next(i for i, line in enumerate((folder / "claims/p.yaml").read_text().splitlines(), 1) if text in line)


def test_a_claim_is_read_with_its_selection_and_its_test(tmp_path: Path) -> None:
    one = claim("a", 4.6, unit="percent", test={"how": "gap", "over": "x", "at_least": 2})
    two = claim("b", [3, 2, 1], test={"how": "order", "ahead_of": ["x", {"row": "y", "value": "auroc@test"}]})
    paper = load_paper(write(tmp_path, [], [one, two]))
    first, second = paper.claims
    assert isinstance(first.selection, OnBoard)
    assert first.test == Gap(how="gap", over=Other(row="x"), at_least=2)
    assert first.factor == 0.01
    assert isinstance(second.test, Order)
    assert second.test.ahead_of[1].value == "auroc@test"
    assert paper.full_name(second) == "p/b"
    assert paper.line(second) + 1 == line_of(tmp_path, "id: b")


TIMED = {"timed": "a.b:fast"}
SPEEDUP = {"how": "speedup", "over": "a.b:slow"}
COMPUTED = {"function": "package:function", "arguments": {"x": 1}}
CITATION = {"how": "citation", "reason": "r"}
ROW = {"board": "b", "dataset": "d", "row": "m"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"spread": {"value": 1}}, "claims.0.spread has no 'kind'"),
        ({"spread": {"value": 1, "kind": "sd"}}, "'claims.0.spread.kind': Input should be 'std'"),
        ({"spread": {"value": -1, "kind": "std"}}, "'claims.0.spread.value': Input should be greater than or equal"),
        ({"spread": {"value": 1, "kind": "confidence-interval"}}, "a confidence interval has a 'level'"),
        ({"spread": {"value": 1, "kind": "std", "level": 0.9}}, "a confidence interval has a 'level'"),
        ({"unit": "%"}, "'claims.0.unit': Input should be 'percent' or 'plain', got '%'"),
        ({"published": float("inf")}, "finite number"),
        ({"published": "high"}, "valid number"),
        ({"published": [1, 2]}, "'published' is one number"),
        ({"selection": {"board": "b"}}, "has no 'dataset'"),
        ({"selection": {**ROW, "valeu": "a@t"}}, "unknown key 'valeu': did you mean"),
        ({"selection": {**ROW, "value": "auroc"}}, "is not of the form metric[part]"),
        ({"selection": "m"}, "'claims.0.selection': Input should be a valid dictionary"),
        ({"selection": None}, "what is tested has a 'selection'"),
        ({"test": {"how": "equivalence"}}, "has no 'margin'"),
        ({"test": {"how": "equivalence", "margin": 0}}, "greater than 0"),
        ({"test": {"how": "equality", "margin": 1}}, "'equality'"),
        ({"test": {"margin": 1}}, "claims.0.test"),
        ({"test": {"how": "order", "ahead_of": ["x", "y"]}}, "a list of 3 numbers, one for each row"),
        ({"protocol": "near"}, "the protocol is 'near', and nothing is said to differ"),
        ({"differences": ["Much."]}, "an exact protocol has no 'differences'"),
        ({"protocol": "other", "differences": ["All."]}, "under another protocol nothing is tested"),
        ({"kind": "second-hand"}, "a second-hand number is no target"),
        ({"kind": "computed"}, "a claim of kind 'computed' selects a 'function'"),
        ({"selection": COMPUTED}, "a claim of kind 'computed' selects a 'function'"),
        ({"kind": "computed", "selection": {"function": "os.system"}}, "should match pattern"),
        ({"kind": "computed", "selection": COMPUTED, "test": CITATION}, "tested for equivalence"),
        ({"selection": TIMED}, "a test of 'speedup' selects what is 'timed', and no other test does"),
        ({"test": SPEEDUP}, "a test of 'speedup' selects what is 'timed', and no other test does"),
        ({"selection": TIMED, "test": SPEEDUP, "unit": "percent"}, "a factor of speed has the unit 'plain'"),
        ({"selection": {**TIMED, "rounds": 3}, "test": SPEEDUP}, "'claims.0.selection.rounds': Input"),
        ({"selection": {**ROW, "metric_version": 0}}, "'claims.0.selection.metric_version': Input"),
        ({"selection": TIMED, "test": {"how": "speedup"}}, "has no 'over'"),
        ({"baseline": "x"}, "a baseline has no 'baseline'"),
        ({"role": "method", "baseline": "x"}, "the file has no claim 'x'"),
        ({"role": "method", "baseline": "a"}, "claim 'a' has not the role of a baseline"),
        ({"selection": {"dataset": "d", "model": "m", "value": "a@t"}, "test": {"how": "gap", "over": "x"}}, "'board'"),
        ({"sead": 3}, "unknown key 'sead': did you mean 'spread' or 'seeds'"),
        ({"id": "two words"}, "is not a word"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_file_and_line(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    text = mistake(tmp_path, claim("a", **fields))
    assert said in text
    assert int(text.partition(":")[0]) >= line_of(tmp_path, "id:")


def test_the_line_is_that_of_the_second_claim_where_that_is_wrong(tmp_path: Path) -> None:
    text = mistake(tmp_path, claim("a"), claim("b", spread={"value": 1}))
    assert int(text.partition(":")[0]) == line_of(tmp_path, "spread")
    text = mistake(tmp_path, claim("a"), claim("a"))
    assert "there is an earlier claim of this id" in text
    assert int(text.partition(":")[0]) > line_of(tmp_path, "id: a")


def test_a_file_has_the_name_of_its_paper_and_is_no_list(tmp_path: Path) -> None:
    assert "the paper is called 'q', its file 'p'" in mistake(tmp_path, claim("a"), name="q")
    (tmp_path / "claims/p.yaml").write_text("- 1\n")
    with pytest.raises(LatentbenchError, match=r"p.yaml:1: a file of claims maps keys to values"):
        load_paper(tmp_path / "claims/p.yaml")
    (tmp_path / "claims/p.yaml").write_text("name: p\ntitle: [\n")
    with pytest.raises(LatentbenchError, match=r"p.yaml:3: "):
        load_paper(tmp_path / "claims/p.yaml")


def test_a_near_protocol_may_take_its_differences_from_the_paper(tmp_path: Path) -> None:
    one, two = claim("a", protocol="near", differences=["Own."]), claim("b")
    paper = load_paper(write(tmp_path, [], [one, two], differences=["All."]))
    assert paper.differences_of(paper.claims[0]) == ["Own.", "All."]
    assert paper.differences_of(paper.claims[1]) == []


def test_the_published_schema_is_that_of_the_code() -> None:
    file = REPOSITORY / "leaderboards/claims/claims.schema.json"
    assert file.read_text() == json_schema(), f"run: latentbench claims schema > {file.relative_to(REPOSITORY)}"


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_a_committed_file_follows_the_schema_by_another_reader(path: Path) -> None:
    """The keys of every claim are those that the JSON Schema names, and the required ones are there."""
    form = json.loads(json_schema())
    keys = form["$defs"]["Claim"]
    for one in yaml.safe_load(path.read_text())["claims"]:
        assert set(one) <= set(keys["properties"])
        assert set(keys["required"]) <= set(one)
    load_paper(path)
