"""Every hook is documented, for its callers and for contributors, and is used by a test."""

import inspect
from pathlib import Path

import pytest

from latentbench.plugins import hookspecs
from latentbench.plugins.contracts import KINDS

ROOT = Path(__file__).parents[3]
HOOKS = sorted(name for name, value in vars(hookspecs).items() if hasattr(value, f"{hookspecs.PROJECT}_spec"))


def test_the_hooks_are_the_ones_of_the_kinds_and_the_notices():
    notices = {f"latentbench_run_{moment}" for moment in ("started", "progress", "finished")}
    assert set(HOOKS) == {kind.hook for kind in KINDS.values()} | notices


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_has_a_docstring_that_is_a_sentence(hook):
    text = inspect.getdoc(getattr(hookspecs, hook)) or ""
    assert len(text.split()) >= 5
    assert text.endswith(".")


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_is_described_to_contributors_with_its_arguments(hook):
    arguments = ", ".join(inspect.signature(getattr(hookspecs, hook)).parameters)
    assert f"| `{hook}({arguments})` | " in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_is_used_by_a_test(hook):
    others = (path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__))
    assert any(hook in path.read_text(encoding="utf-8") for path in others)
