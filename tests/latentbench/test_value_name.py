"""Names of values: what is printed is read back, records' names print as ever, and what is no name is refused."""

import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import latentbench
from latentbench import LatentbenchError, ValueName

RESULTS = Path(__file__).parents[2] / "leaderboards" / "results"

WORDS = st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: not re.search(r"[][@/\s]", text))
SELECTORS = st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: not re.search(r"[][]", text))
OPTIONAL = st.just("") | WORDS


@given(metric=WORDS, split=WORDS, condition=OPTIONAL, selector=st.just("") | SELECTORS)
def test_what_is_printed_is_read_back(metric, split, condition, selector):
    name = ValueName(metric, split, condition, selector)
    assert ValueName.parse(str(name)) == name


@given(text=st.text(st.sampled_from("ab[]@/: \n"), max_size=12) | st.text())
def test_what_is_read_prints_as_it_was_and_anything_else_is_refused(text):
    with suppress(LatentbenchError):
        assert str(ValueName.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("auroc@test", ("auroc", "", "test", "")),
        ("accuracy[left]@test/uncorrelated", ("accuracy", "left", "test", "uncorrelated")),
        ("fpr95@test/a=-0.5", ("fpr95", "", "test", "a=-0.5")),
        ("ari[k2:Male]@val", ("ari", "k2:Male", "val", "")),
        ("subgroup-error[Male=0,Smiling=1]@test", ("subgroup-error", "Male=0,Smiling=1", "test", "")),
        ("accuracy[hair colour, @/]@test", ("accuracy", "hair colour, @/", "test", "")),
    ],
)
def test_the_pieces_of_a_name(text, pieces):
    name = ValueName.parse(text)
    assert (name.metric, name.selector, name.split, name.condition) == pieces
    assert str(name) == text


NO_NAMES = [
    "", "auroc", "@test", "auroc@", "auroc[@test", "auroc]@test", "auroc[]@test", "auroc[a][b]@test",
    "auroc[a]b@test", "auroc[a[b]]@test", "auroc @test", "auroc@te st", "auroc@test\n", "auroc@test/", "auroc@test/a/b",
    "auroc@test@val",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_NAMES)
def test_what_is_no_name_is_refused(text):
    with pytest.raises(LatentbenchError, match=re.escape(f"'{text}' is not the name of a value: one is of the form")):
        ValueName.parse(text)


NO_PIECES = [
    ("", "test"), ("a b", "test"), ("a[b]", "test"), ("a@b", "test"), ("auroc", ""), ("auroc", "te/st"),
    ("auroc", "test", "c d"), ("auroc", "test", "", "a]"),
]  # fmt: skip


@pytest.mark.parametrize("pieces", NO_PIECES)
def test_pieces_that_make_no_name_are_refused(pieces):
    with pytest.raises(LatentbenchError, match="cannot be the name of a value: one is of the form"):
        ValueName(*pieces)


def test_score_and_part_are_told_apart_by_what_the_metric_reads():
    assert str(ValueName.of("difference", "test", score="kl", part="mean")) == "difference[kl:mean]@test"
    assert ValueName.parse("difference[kl:mean]@test").resolve("score") == ("kl", "mean")
    assert ValueName.of("auroc", "test", score="kl").resolve("score") == ("kl", "")
    assert ValueName.of("mig", "test", part="left").resolve("encode") == ("", "left")
    assert ValueName.of("ari", "test", part="k2:Male").resolve("cluster") == ("", "k2:Male")
    assert ValueName.of("auroc", "test").resolve("score") == ("", "")


@given(score=WORDS.filter(lambda text: ":" not in text), part=OPTIONAL)
def test_a_score_and_its_part_are_found_again(score, part):
    assert ValueName.of("m", "s", score=score, part=part).resolve("score") == (score, part)


def test_the_whole_is_the_name_without_its_selector():
    assert str(ValueName.parse("ari[k2:Male]@test/c").whole) == "ari@test/c"


def test_every_committed_value_is_called_by_a_name():
    for path in RESULTS.glob("*/*/*.json"):
        record = json.loads(path.read_text())
        for text in {**record["values"], **record["unmeasured"]}:
            assert str(ValueName.parse(text)) == text


def test_it_is_public():
    assert latentbench.ValueName is ValueName
