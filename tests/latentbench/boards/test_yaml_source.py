"""Files of YAML: libyaml's parser and PyYAML's own give the same values on the same lines, and the same errors."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbench.boards import yaml_source
from latentbench.boards.yaml_source import Source
from latentbench.errors import LatentbenchError

REPOSITORY = Path(__file__).parents[3]
COMMITTED = [
    *sorted((REPOSITORY / "leaderboards").rglob("*.yaml")),
    *sorted((REPOSITORY / "plugins/latentbench_boards").glob("*.yaml")),
]

pytestmark = pytest.mark.skipif(not yaml.__with_libyaml__, reason="PyYAML is without libyaml")


def lines(source: Source) -> Iterator[tuple[str, int]]:
    """The kind and the line of every node, in the order of the text."""
    stack = [source.root] if source.root else []
    while stack:
        node = stack.pop()
        yield f"{node.tag} {node.value if isinstance(node, yaml.ScalarNode) else ''}", node.start_mark.line
        if isinstance(node, yaml.MappingNode):
            stack += [part for entry in node.value for part in entry]
        elif isinstance(node, yaml.SequenceNode):
            stack += node.value


def read(path: Path, *, fast: bool) -> tuple[Any, Any]:
    """The values and the lines of a file; or what is said of it."""
    with pytest.MonkeyPatch.context() as patch:
        if not fast:
            patch.setattr(yaml_source, "_FastLoader", None)
        try:
            source, values = yaml_source._read_yaml(path, "board")
        except LatentbenchError as error:
            return str(error), None
        return values, list(lines(source))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_both_parsers_read_a_committed_file_alike(path: Path) -> None:
    fast = read(path, fast=True)
    assert isinstance(fast[0], dict)
    assert fast == read(path, fast=False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "a: 1\nb: [1, 2\n",
        "a: 1\n\tb: 2\n",
        "a: 1\na: 2\n",
        "a: &x {b: 1, b: 2}\nc: *x\n",
        "a: *nothing\n",
        "a: 2026-13-01\n",
        "a: 1\nb: \x07\n",
        "a: !!python/object:os.system 1\n",
        "a: {<<: &x {b: 1}, c: 2}\nd: {<<: *x, b: 3}\n",
        "? [a, b]\n: 1\n",
        "a: |\n  two\n  lines\nb: >-\n  one\n  line\n",
    ],
)
def test_both_parsers_say_the_same_of_other_files(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    assert read(tmp_path / "a.yaml", fast=True) == read(tmp_path / "a.yaml", fast=False)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None)
@given(values=st.dictionaries(st.text(min_size=1), VALUES, min_size=1, max_size=3), flow=st.booleans())
def test_both_parsers_read_back_what_was_written(tmp_path_factory: Any, values: Any, flow: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "a.yaml"
    path.write_text(yaml.safe_dump(values, default_flow_style=flow))
    fast = read(path, fast=True)
    assert fast[0] == values
    assert fast == read(path, fast=False)


def test_of_two_repeated_keys_the_first_in_the_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a:\n  - {b: 1, c: 2}\n  - {b: 1,\n     b: 2}\nd: 1\nd: 2\n")
    said, _ = read(tmp_path / "a.yaml", fast=True)
    assert said.endswith("a.yaml:6: the key 'd' is there twice")
