"""The one line that a user sees: what is wrong, and how to mend it."""

import pickle
from difflib import SequenceMatcher

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentbench.errors import LatentbenchError, blame, describe, did_you_mean, origin

NAMES = st.sets(st.text("abcde-", min_size=1, max_size=6), max_size=8)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [(("no water",), "no water"), (("no water", "open the tap"), "no water: open the tap")],
)
def test_an_error_is_what_is_wrong_and_then_the_mend(arguments, line):
    error = LatentbenchError(*arguments)
    assert (str(error), error.what) == (line, "no water")
    assert pickle.loads(pickle.dumps(error)).what == "no water"


@pytest.mark.parametrize(
    ("wrong", "known", "mend"),
    [
        ("vea", ["vae", "pca", "ae"], "did you mean 'vae'? known: ae, pca, vae"),
        ("zzz", ["vae", "pca"], "known: pca, vae"),
        ("aa", ["ab", "ac"], "known: ab, ac"),
        (
            "latent_dims",
            ["latent_dim", "latent_dim_2"],
            "did you mean 'latent_dim' or 'latent_dim_2'? known: latent_dim, ",
        ),
        ("x", [], "known: (none)"),
    ],
)
def test_near_misses_come_before_all_that_is_known(wrong, known, mend):
    assert did_you_mean(wrong, known).startswith(mend)


def test_of_very_many_names_the_first_are_told():
    said = did_you_mean("name-9999", [f"name-{number:04}" for number in range(1000)])
    assert said.startswith("did you mean 'name-0999'")
    assert said.endswith("name-0059 and 940 more")
    assert did_you_mean("x", [f"name-{number}" for number in range(60)]).count(",") == 59


@given(wrong=st.text("abcde-", min_size=1, max_size=6), known=NAMES)
def test_a_near_miss_is_always_a_known_name_that_resembles_the_wrong_one(wrong, known):
    question, _, names = did_you_mean(wrong, iter(known)).rpartition("known: ")
    assert names == (", ".join(sorted(known)) or "(none)")
    near = [part for part in question.split("'") if part in known]
    best = max((SequenceMatcher(None, name, wrong).ratio() for name in known), default=0.0)
    assert bool(near) == (best >= 0.6)
    assert all(SequenceMatcher(None, name, wrong).ratio() >= 0.6 for name in near)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\n lines"), "ValueError: two lines"),
        (KeyError("name"), "KeyError: 'name'"),
        (NotImplementedError(), "NotImplementedError"),
        (OSError(5, "disk is on fire"), "OSError: [Errno 5] disk is on fire"),
        (LatentbenchError("no water", "open the tap"), "no water: open the tap"),
    ],
)
def test_an_exception_is_told_with_its_type_and_where_it_was_raised(error, line):
    assert describe(error) == line
    with pytest.raises(type(error)) as caught, blame("model 'a', fit()"), blame(lambda: "model 'a', training_step()"):
        raise error
    assert describe(caught.value) == f"model 'a', training_step(): {line}", "the innermost place"


@pytest.mark.parametrize(
    ("message", "noted"),
    [("no water", True), ("model 'a': no water", False), ("model 'b': no water", True), ("'a' has no water", True)],
)
def test_an_error_that_names_its_owner_needs_no_note(message, noted):
    with pytest.raises(LatentbenchError) as caught, blame("plugin 'p 1': model 'a', fit()"):
        raise LatentbenchError(message)
    assert bool(origin(caught.value)) == noted


def test_other_notes_are_no_places_and_an_interrupt_gets_none():
    error = ValueError("x")
    error.add_note("a note of somebody else")
    assert (origin(error), describe(error)) == ("", "ValueError: x")
    with pytest.raises(KeyboardInterrupt) as caught, blame("model 'a'"):
        raise KeyboardInterrupt
    assert origin(caught.value) == ""
