"""A pytest plugin: ``pytest --claims [PATH]`` collects every claim as a test. Without the option it does nothing.

A refuted claim fails. One that differs, is inconclusive, was not run or is only cited is skipped, with its evidence as
the reason. Where no other path is named on the command line, claims alone are collected.

Claims about speed are timed by pytest-benchmark, whose report has them. They are ratios within one run: published
seconds hold for one machine, and are citations.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from latentbench.claims.schema import Claim, Paper
    from latentbench.claims.verdicts import Judgement
    from latentbench.plugins.registry import Plugins

__all__ = ["pytest_addoption", "pytest_configure"]

#: Where the claims are that ``--claims`` alone means: the first of these folders that is there.
_FOLDERS = ("leaderboards/claims", "claims")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of this plugin."""
    group = parser.getgroup("latentbench", "published numbers")
    group.addoption(
        "--claims",
        metavar="PATH",
        nargs="?",
        const="",
        help=f"Test the claims in this folder or file; by default those in {' or '.join(_FOLDERS)}.",
    )
    group.addoption(
        "--claims-results",
        metavar="FOLDER",
        help="Folder of the records that the claims are read against; by default results, beside that of the claims.",
    )
    group.addoption(
        "--claims-plugin",
        metavar="FILE.py",
        action="append",
        default=[],
        help="A local file that is a plugin of latentbench. Repeatable.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect claims, if that is asked for."""
    place = config.getoption("claims")
    if place is None:
        return
    root = config.invocation_params.dir
    folders = [root / place] if place else [root / name for name in _FOLDERS if (root / name).is_dir()]
    if not folders or not folders[0].exists():
        raise pytest.UsageError(f"no claims at {place or ' or '.join(_FOLDERS)}: name their folder with --claims PATH")
    config.addinivalue_line("markers", "claim: a published number (pytest --claims)")
    config.pluginmanager.register(_Claims(config, folders[0]), "latentbench-claims-asked-for")
    alone = config.args_source is not pytest.Config.ArgsSource.ARGS
    config.args[:] = [*([] if alone else config.args), str(folders[0])]


class _Claims:
    """The claims that are asked for, and the hooks that make tests of them."""

    def __init__(self, config: pytest.Config, place: Path) -> None:
        from latentbench.claims.ledger import claim_files, records_beside

        root = config.invocation_params.dir
        named = config.getoption("claims_results")
        self.results = root / named if named else records_beside(place)
        self._plugin_files = [root / name for name in config.getoption("claims_plugin")]
        self.files = [file.resolve() for file in claim_files(place)]

    @cached_property
    def plugins(self) -> "Plugins":
        """Those that are installed, and the files that are named."""
        from latentbench.plugins.registry import Plugins

        return Plugins.load(self._plugin_files)

    @cached_property
    def judged(self) -> "dict[str, Judgement]":
        """The verdicts by the claim's name; made when the first claim is tested.

        Raises:
            LatentbenchError: a mistake in a file of claims or in a plugin.
        """
        from latentbench.claims.ledger import load_ledger
        from latentbench.claims.verdicts import judge

        return {one.name: one for one in judge(load_ledger(self.files, self.plugins), self.results, self.plugins)}

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> "_File | None":
        if file_path.resolve() not in self.files:
            return None
        made: _File = _File.from_parent(parent, path=file_path)
        made.claims = self
        return made

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        from latentbench.claims.telling import tally

        reports = [one for several in terminalreporter.stats.values() for one in several]
        called = [one for one in reports if getattr(one, "when", "") == "call"]
        told = [dict(one.user_properties).get("verdict") for one in called]
        if words := tally(verdict for verdict in told if verdict):
            terminalreporter.write_line(f"claims: {words}")


class _File(pytest.File):
    """A file of claims."""

    claims: _Claims

    def collect(self) -> "Iterator[_Claimed]":
        from latentbench.claims.schema import Timed, load_paper
        from latentbench.errors import LatentbenchError

        try:
            paper = load_paper(self.path)
        except LatentbenchError as error:
            raise self.CollectError(str(error)) from None
        for claim in paper.claims:
            name = f"{paper.full_name(claim)}: {claim.cell}"
            made: _Claimed
            if isinstance(claim.selection, Timed) and self.config.pluginmanager.hasplugin("benchmark"):
                made = _TimedItem.from_parent(self, name=name, callobj=_timing(paper, claim, self.claims))
            else:
                made = _Item.from_parent(self, name=name)
            made.paper, made.claim, made.claims = paper, claim, self.claims
            made.add_marker("claim")
            yield made


class _RefutedError(Exception):
    """A published number that does not come out."""


class _Claimed(pytest.Item):
    """A claim."""

    paper: "Paper"
    claim: "Claim"
    claims: _Claims

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        from latentbench.errors import LatentbenchError

        if isinstance(excinfo.value, _RefutedError | LatentbenchError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.paper.line(self.claim), self.name


class _Item(_Claimed):
    """A claim about what the records have, or about what is computed."""

    def runtest(self) -> None:
        one = self.claims.judged[self.paper.full_name(self.claim)]
        _tell(one, lambda name, value: self.user_properties.append((name, value)))


class _TimedItem(_Claimed, pytest.Function):
    """A claim about speed: a test function that has the fixture of pytest-benchmark."""


def _timing(paper: "Paper", claim: "Claim", claims: _Claims) -> Callable[..., None]:
    """The test function of a claim about speed."""

    def timing(benchmark: Any, record_property: Callable[[str, object], None]) -> None:
        from latentbench.claims.schema import Timed
        from latentbench.claims.timing import prepare, timed

        assert isinstance(claim.selection, Timed)
        if benchmark.disabled:
            pytest.skip("not run: pytest-benchmark is disabled, as it is with -n")
        first, other = prepare(paper, claim, claims.plugins)
        others = []

        def other_first() -> None:
            start = perf_counter()
            other()
            others.append(perf_counter() - start)

        rounds = claim.selection.rounds
        benchmark.pedantic(first, setup=other_first, rounds=rounds, warmup_rounds=1)
        one = timed(paper, claim, benchmark.stats.stats.data, others[-rounds:])
        benchmark.extra_info["times as fast"] = one.computed
        _tell(one, record_property)

    return timing


def _tell(one: "Judgement", record_property: Callable[[str, object], None]) -> None:
    """Fail if the claim is refuted, and skip unless it is reproduced."""
    from latentbench.claims.telling import evidence_line, published_text

    record_property("verdict", one.verdict)
    told = f"published {published_text(one.claim)}; {evidence_line(one)}"
    if one.command:
        told += f" ({one.command})"
    if one.verdict == "refuted":
        raise _RefutedError(f"refuted: {told}")
    if one.verdict != "reproduced":
        pytest.skip(f"{one.verdict}: {told}")
