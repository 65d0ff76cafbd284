"""What the harness's tests share: third-party plugins, really installed."""

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

# As an executor does: datasets are loaded in processes that are forked from a server, and many tests have no executor.
multiprocessing.get_context("forkserver").set_forkserver_preload(["latentbench.running.execute"])

Install = Callable[..., Path]


@pytest.fixture(autouse=True)
def _plugins_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LATENTBENCH_PLUGINS", raising=False)


@pytest.fixture(autouse=True)
def _untried(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plugins are imported without a trial, which takes a process; a test of trials asks for ``_tried``."""
    if "_tried" not in request.fixturenames:
        monkeypatch.setattr("latentbench.plugins.trial.fatal", lambda point: "")


@pytest.fixture
def _tried() -> None:
    """Plugins are tried before they are imported, as they are outside of tests."""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Call it with a distribution's name and its module's source: both are then on ``sys.path``.

    ``entry`` is the entry point's name and ``target`` what it points at; by default the distribution's name and module.
    Returns the folder on the path, for a subprocess.
    """
    site = tmp_path / "site"
    modules = set()

    def install(
        distribution: str,
        source: str,
        *,
        version: str = "1.0",
        entry: str = "",
        target: str = "",
        metadata: bool = True,
    ) -> Path:
        module = distribution.replace("-", "_")
        modules.add(module)
        info = site / f"{module}-{version}.dist-info"
        info.mkdir(parents=True)
        (site / f"{module}.py").write_text(dedent(source))
        (info / "entry_points.txt").write_text(f"[latentbench]\n{entry or distribution} = {target or module}\n")
        if metadata:
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        monkeypatch.syspath_prepend(site)
        return site

    yield install
    for module in modules:
        sys.modules.pop(module, None)
