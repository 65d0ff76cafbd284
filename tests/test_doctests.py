"""The examples in docstrings give what they say."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
#: Every module of the source roots with an example in it; the others need not be imported.
MODULES = [
    ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    for root in (REPOSITORY / "benchmark", REPOSITORY / "plugins")
    for file in sorted(root.glob("*/**/*.py"))
    if ">>> " in file.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name: str) -> None:
    result = doctest.testmod(import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0
    assert result.failed == 0, "see the captured output"


def test_an_example_that_is_wrong_is_found() -> None:
    def wrong() -> None:
        """One plus one.

        >>> 1 + 1
        3
        """

    (test,) = doctest.DocTestFinder().find(wrong, "wrong", globs={})
    assert doctest.DocTestRunner(verbose=False).run(test, out=lambda _: None).failed == 1


def test_both_roots_have_examples() -> None:
    assert {name.partition(".")[0] for name in MODULES} >= {"latentbench", "latentbench_metrics", "latentbench_cmi"}
