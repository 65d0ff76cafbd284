"""Claims about speed: the sign test over rounds against its closed form, and timings in a stranger's folder."""

from math import comb
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.latentbench.claims.given import claim, verdicts, write

from latentbench.claims.schema import Claim, Paper
from latentbench.claims.telling import evidence_line
from latentbench.claims.timing import timed

pytest_plugins = ["pytester"]

LOOPS = """
from latentbench import hookimpl

def loop(times):
    return lambda: sum(range(times))

def short(times):
    return loop(times)

def long(times):
    return loop(20 * times)

def number(times):
    return times

@hookimpl
def latentbench_boards():
    return []
"""
NEAR = {"protocol": "near", "differences": ["Another machine."]}


def speed(name: str = "a", published: float = 3.0, over: str = "loops:long", **fields: Any) -> dict[str, Any]:
    """A claim that short loops are at least twice as fast as long ones, which are 20 times as long."""
    selection = {"timed": "loops:short", "arguments": {"times": 2000}, "rounds": 20}
    test = {"how": "speedup", "over": over, "at_least": 2}
    return claim(name, published, **{"role": None, "selection": selection, "test": test, **fields})


def slow(name: str, **fields: Any) -> dict[str, Any]:
    """The reverse, which does not hold."""
    selection = {"timed": "loops:long", "arguments": {"times": 2000}, "rounds": 20}
    return speed(name, over="loops:short", selection=selection, **fields)


@given(faster=st.integers(0, 30), slower=st.integers(0, 30), protocol=st.sampled_from(["exact", "near"]))
def test_the_verdict_is_that_of_the_sign_test(faster: int, slower: int, protocol: str) -> None:
    rounds = faster + slower
    if not rounds:
        return
    made = Claim.model_validate(speed(**({"protocol": "exact"} if protocol == "exact" else NEAR)))
    paper = Paper(name="p", title="", reference="", version="", claims=[made])
    one = timed(paper, made, [1.0] * rounds, [2.5] * faster + [1.5] * slower)

    def tail(count: int) -> float:
        return sum(comb(rounds, k) for k in range(count, rounds + 1)) / 2**rounds

    expected = "reproduced" if tail(faster) < 0.05 else "refuted" if tail(slower) < 0.05 else "inconclusive"
    assert one.by_tests == expected
    assert one.verdict == ("differs" if (expected, protocol) == ("refuted", "near") else expected)
    assert one.p == pytest.approx(min(tail(faster), tail(slower)))
    assert one.measured == [2.5 if faster > slower else 1.5 if slower > faster else 2.0]


def test_rounds_that_are_just_as_fast_as_the_bound_speak_for_neither_side() -> None:
    made = Claim.model_validate(speed())
    paper = Paper(name="p", title="", reference="", version="", claims=[made])
    one = timed(paper, made, [1.0] * 20, [2.0] * 20)
    assert (one.verdict, one.p) == ("inconclusive", 1.0)
    told = "2 times as fast, the median of 20 rounds, not shown to be more than 2, nor less (p = 1)"
    assert evidence_line(one) == told


def test_verify_does_not_time_and_says_what_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one = verdicts(Path(), [], [speed()])["a"]
    assert (one.verdict, one.command) == ("not run", "pytest --claims claims/p.yaml -k p/a")
    assert evidence_line(one) == "pytest alone times it"


@pytest.fixture
def stranger(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with claims about the speed of a local plugin."""
    monkeypatch.setenv("LATENTBENCH_CACHE", str(pytester.path / "cache"))
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # by which pytest-benchmark would know of other workers
    (pytester.path / "loops.py").write_text(LOOPS)
    write(pytester.path, [], [speed("holds"), slow("fails"), slow("differs", **NEAR)])
    return pytester


def test_pytest_times_claims_and_reports_them(stranger: pytest.Pytester) -> None:
    result = stranger.runpytest_subprocess("--claims", "--claims-plugin", "loops.py", "-v", "-rs")
    result.assert_outcomes(passed=1, failed=1, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "refuted: published 3 times as fast as loops:short; * times as fast, the median of 20 rounds, shown to be"
            " less than 2 (p = *)",
        ]
    )
    result.stdout.fnmatch_lines(["*SKIPPED*differs: published 3 times*its protocol is not the paper's"])
    result.stdout.fnmatch_lines(["claims: 1 reproduced, 1 refuted, 1 differs"])
    result.stdout.fnmatch_lines(["* benchmark: 3 tests *"])
    assert "Traceback" not in result.stdout.str()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-n", "1"], "*not run: pytest-benchmark is disabled, as it is with -n*"),
        (["-p", "no:benchmark"], "*not run: published 3 times as fast as loops:long; pytest alone times it*"),
    ],
)
def test_where_pytest_benchmark_cannot_time_a_claim_is_not_run(
    stranger: pytest.Pytester, arguments: list[str], said: str
) -> None:
    result = stranger.runpytest_inprocess("--claims", "--claims-plugin", "loops.py", "-rs", *arguments)
    result.assert_outcomes(skipped=3)
    result.stdout.fnmatch_lines([said])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"selection": {"timed": "loops:number", "arguments": {"times": 7}}}, "loops:number gives 7, which cannot be*"),
        ({"selection": {"timed": "loops:shorter"}}, "there is no function 'loops:shorter'*"),
        ({"over": "loops:long", "selection": {"timed": "loops:short"}}, "TypeError: short() missing 1 required*"),
        ({"over": "lops:long"}, "no plugin is in a package 'lops'*"),
    ],
)
def test_what_cannot_be_timed_is_one_line(stranger: pytest.Pytester, wrong: dict[str, Any], said: str) -> None:
    write(stranger.path, [], [speed(**wrong)])
    result = stranger.runpytest_inprocess("--claims", "--claims-plugin", "loops.py")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*p.yaml:*: claim 'a': {said}"])
    assert "Traceback" not in result.stdout.str()
