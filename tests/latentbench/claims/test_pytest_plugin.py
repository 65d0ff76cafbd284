"""``pytest --claims`` in a stranger's folder with claims, a board and records of their own; without it, nothing.

It runs in this process, but where what is imported, or what other processes find, is tested.
"""

from pathlib import Path

import pytest
import yaml
from tests.latentbench.boards.test_references import runs
from tests.latentbench.claims.given import claim, row, rows, write

pytest_plugins = ["pytester"]

RECORDS = rows(m=[0.80, 0.801, 0.802], x=[0.5, 0.501, 0.502], y=[0.3, 0.6, 0.9])
NEAR = {"protocol": "near", "differences": ["Smaller."]}
CLAIMS = [
    claim("good", 0.8),
    claim("bad", 0.8, selection=row("x")),
    claim("other", 0.8, selection=row("x"), **NEAR),
    claim("unclear", 0.6, selection=row("y")),
    claim("missing", selection=row("z")),
    claim("cited", test={"how": "citation", "reason": "Other images."}),
]


@pytest.fixture
def stranger(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with claims, records, and a test of its own."""
    monkeypatch.setenv("LATENTBENCH_CACHE", str(pytester.path / "cache"))
    write(pytester.path, RECORDS, CLAIMS)
    pytester.makepyfile(test_own="def test_own(): pass")
    return pytester


def test_without_the_option_nothing_is_collected_and_nothing_imported(stranger: pytest.Pytester) -> None:
    stranger.makeconftest(
        "import sys\n"
        "def pytest_sessionfinish():\n"
        "    assert not [name for name in sys.modules if name.startswith('latentbench.claims.')"
        " and name != 'latentbench.claims.pytest_plugin']\n"
        "    assert 'pydantic' not in sys.modules\n"
    )
    result = stranger.runpytest_subprocess("-v")
    result.assert_outcomes(passed=1)
    assert "claims:" not in result.stdout.str()


def test_each_claim_is_a_test_named_by_paper_and_cell(stranger: pytest.Pytester) -> None:
    result = stranger.runpytest_inprocess("--claims", "-v", "-rs")
    result.assert_outcomes(passed=1, failed=1, skipped=4)
    text = result.stdout.str()
    result.stdout.fnmatch_lines(
        ["claims/p.yaml::p/good: table 1, good PASSED*", "claims/p.yaml::p/bad: table 1, bad FAILED*"]
    )
    result.stdout.fnmatch_lines(["refuted: published 0.8; 0.501 ± 0.0025 over 3 seeds, more than 0.05 from it*"])
    for reason in (
        "differs: published 0.8; 0.501 ± 0.0025 over 3 seeds, more than 0.05 from it*its protocol is not the paper's",
        "inconclusive: published 0.6; 0.6 ± 0.75 over 3 seeds, not shown to lie within 0.05 of it, nor beyond",
        "not run: published 0.8; no record of z on d (latentbench run",
        "not testable: published 0.8; 0.801 ± 0.0025 over 3 seeds here; Other images",
    ):
        result.stdout.fnmatch_lines([f"*{reason}*"])
    assert "claims: 1 reproduced, 1 refuted, 1 differs, 1 inconclusive, 1 not run, 1 not testable" in text
    assert "test_own" not in text
    assert "Traceback" not in text


def test_other_paths_are_tested_beside_the_claims_and_claims_can_be_chosen(stranger: pytest.Pytester) -> None:
    stranger.runpytest_inprocess("test_own.py", "--claims").assert_outcomes(passed=2, failed=1, skipped=4)
    stranger.runpytest_inprocess("--claims", "-k", "good or cited").assert_outcomes(passed=1, skipped=1, deselected=4)
    stranger.runpytest_inprocess("test_own.py", "--claims", "-m", "claim", "--strict-markers").assert_outcomes(
        passed=1, failed=1, skipped=4, deselected=1
    )


def test_a_file_and_a_folder_of_records_can_be_named(stranger: pytest.Pytester) -> None:
    (stranger.path / "results").rename(stranger.path / "records")
    stranger.runpytest_inprocess("--claims", "claims/p.yaml").assert_outcomes(skipped=6)
    named = ("--claims", "claims/p.yaml", "--claims-results", "records")
    stranger.runpytest_inprocess(*named).assert_outcomes(passed=1, failed=1, skipped=4)


def test_workers_give_the_same_verdicts(stranger: pytest.Pytester) -> None:
    result = stranger.runpytest_subprocess("--claims", "-n", "2")
    result.assert_outcomes(passed=1, failed=1, skipped=4)
    assert "claims: 1 reproduced, 1 refuted, 1 differs" in result.stdout.str()


def test_a_computed_claim_of_a_local_plugin(stranger: pytest.Pytester) -> None:
    (stranger.path / "formulas.py").write_text(
        "from latentbench import hookimpl\n\ndef half(x):\n    return x / 2\n\n"
        "@hookimpl\ndef latentbench_boards():\n    return []\n"
    )
    selection = {"function": "formulas:half", "arguments": {"x": 1}}
    write(stranger.path, [], [claim("a", 0.5, kind="computed", role=None, selection=selection)])
    stranger.runpytest_inprocess("--claims", "--claims-plugin", "formulas.py").assert_outcomes(passed=1)
    result = stranger.runpytest_inprocess("--claims")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*p.yaml:*: claim 'a': no plugin is in a package 'formulas'*"])
    assert "Traceback" not in result.stdout.str()


def test_a_mistake_in_a_file_is_one_line_and_no_claims_are_an_error_of_use(stranger: pytest.Pytester) -> None:
    file = stranger.path / "claims" / "p.yaml"
    content = yaml.safe_load(file.read_text())
    content["claims"][1]["spread"] = {"value": 1}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    result = stranger.runpytest_inprocess("--claims")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*p.yaml:*: claims.1.spread has no 'kind'"])
    missing = stranger.runpytest_inprocess("--claims", "nowhere")
    assert missing.ret == pytest.ExitCode.USAGE_ERROR
    assert "no claims at nowhere: name their folder with --claims PATH" in missing.stderr.str()


def test_records_that_come_later_are_read(stranger: pytest.Pytester) -> None:
    write(stranger.path, runs("z", [0.80, 0.801, 0.802]), CLAIMS)
    stranger.runpytest_inprocess("--claims", "-k", "missing").assert_outcomes(passed=1, deselected=5)
    folder: Path = stranger.path / "results"
    assert len(list(folder.glob("*/*/*.json"))) == 12
