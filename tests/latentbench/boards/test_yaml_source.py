"""Files of YAML: libyaml's parser and PyYAML's own give the same values on the same lines, and the same errors."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from latentbench.boards import yaml_source
from latentbench.boards.yaml_source import Source, read_form
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
            text = yaml_source._text(path, "board")
            values = yaml_source._values(path, text)
        except LatentbenchError as error:
            return str(error), None
        return values, list(lines(Source(path, text)))


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


class Form(BaseModel):
    a: Any
    names: list[str]


LARGE = "a: 1\nnames:\n" + "".join(f"  - name {number}\n" for number in range(1000))


@pytest.fixture
def parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are parsed; the folder of caches is empty at first."""
    found: list[str] = []
    values = yaml_source._values

    def noting(path: Path, text: str) -> Any:
        found.append(text)
        return values(path, text)

    monkeypatch.setattr(yaml_source, "_values", noting)
    monkeypatch.setenv("LATENTBENCH_CACHE", str(tmp_path / "cache"))
    return found


def form(path: Path) -> tuple[Source, Form]:
    return read_form(path, Form, "form", "file of forms", {})


def test_a_large_file_is_parsed_once_and_again_when_its_text_is_another(tmp_path: Path, parsed: list[str]) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(LARGE)
    before = file.stat()
    first, second = form(file), form(file)
    assert first[1] == second[1]
    assert parsed == [LARGE]
    assert second[0].find(["names", 3])[1] == 5
    file.write_text(LARGE.replace("a: 1", "a: 2"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # of the same size and time
    assert form(file)[1].a == 2
    assert len(parsed) == 2
    assert len(list((tmp_path / "cache/yaml").iterdir())) == 1


@pytest.mark.parametrize("value", ["2026-11-29", "{1: x}", ".nan", "!!set {x}", "[1.0, 1, true, null, '1']"])
def test_kept_values_are_those_of_the_text_whatever_their_types(tmp_path: Path, parsed: list[str], value: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(LARGE.replace("a: 1", f"a: {value}"))
    first, second = form(file)[1].a, form(file)[1].a
    assert repr(first) == repr(second)
    assert len(parsed) == (1 if value.startswith("[") else 2)


def test_kept_values_that_are_damaged_or_cannot_be_kept_are_read_from_the_text(
    tmp_path: Path, parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(LARGE)
    form(file)
    (kept,) = (tmp_path / "cache/yaml").iterdir()
    whole = kept.read_text()
    for damaged in ("", whole[:-5], "other" + whole):
        kept.write_text(damaged)
        assert form(file)[1].a == 1
    assert len(parsed) == 4
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LATENTBENCH_CACHE", str(tmp_path / "file"))
    assert form(file)[1].a == 1


def test_a_mistake_in_a_large_file_is_told_with_its_line_each_time(tmp_path: Path, parsed: list[str]) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(LARGE.replace("- name 7\n", "- [7]\n"))
    for _ in range(2):
        with pytest.raises(LatentbenchError, match=r"a.yaml:10: 'names.7'"):
            form(file)
    file.write_text(LARGE + "a: 2\n")
    for _ in range(2):
        with pytest.raises(LatentbenchError, match=r"a.yaml:1003: the key 'a' is there twice"):
            form(file)
