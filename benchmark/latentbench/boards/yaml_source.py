"""YAML with line numbers: a file's values, the line of each of them, and what is wrong with one as a line of text.

The values of a large file are kept in the cache folder (``latentbench.files.cache_folder``), since libyaml takes a
second for some ten thousand lines. They are believed by content alone: they count only for the same text, read by the
same code.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from latentbench.errors import LatentbenchError, did_you_mean
from latentbench.files import StorageError, cache_folder, replacing

__all__ = ["Source", "read_form"]

Form = TypeVar("Form", bound=BaseModel)
#: The form of each part of a file that maps keys to values, by the key that the part or a list of such parts has.
Parts = Mapping[str, type[BaseModel]]


#: Characters from which on it is quicker to look for kept values than to read the text.
_LARGE = 10_000


@dataclass(frozen=True)
class Source:
    """A YAML file that has been read, with the lines of its values."""

    path: Path
    text: str

    @cached_property
    def root(self) -> yaml.Node | None:
        """The tree of nodes; None: the file is empty. It is made when a line is asked for."""
        root: yaml.Node | None = (_FastLoader or _Loader)(self.text).get_single_node()
        return root

    def find(self, loc: Sequence[int | str]) -> tuple[list[str], int]:
        """The place of a pydantic location: the path of keys and indices to it, and its line (from 0).

        Steps that do not exist in the YAML are ignored: a missing key, and pydantic's names for members of a union.
        """
        steps: list[str] = []
        line, node = self.root.start_mark.line if self.root else 0, self.root
        for step in loc:
            if isinstance(node, yaml.MappingNode):
                entry = next(((key, value) for key, value in node.value if key.value == str(step)), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
                entry = (node.value[step], node.value[step])
            else:
                entry = None
            if entry:
                place, node = entry
                line = place.start_mark.line
                steps.append(str(step))
        return steps, line

    def mistake(self, loc: Sequence[int | str], what: str, mend: str = "") -> LatentbenchError:
        """An error that names the file and the line of ``loc``."""
        return _mistake(self.path, self.find(loc)[1], what, mend)


def read_form(
    path: Path, form: type[Form], kind: str, file: str, parts: Parts | Callable[[ValidationError], Parts]
) -> tuple[Source, Form]:
    """The file at ``path`` with line numbers, and its values in their form.

    Args:
        path: the file.
        form: of the whole file.
        kind: what is in it, in errors ("board").
        file: what such a file is called in errors ("file of claims").
        parts: the forms of its parts; or a function that gives them for an error, where they depend on the values.

    Raises:
        LatentbenchError: the file cannot be read; or ``path:line:`` and what is wrong there.
    """
    text = _text(path, kind)
    values = _kept(path, text)
    if values is None:
        values = _values(path, text)
        _keep(path, text, values)
    source = Source(path, text)
    if not isinstance(values, dict):
        raise source.mistake((), f"a {file} maps keys to values", f"its keys are {', '.join(form.model_fields)}")
    try:
        return source, form.model_validate(values)
    except ValidationError as error:
        of_parts = parts(error) if callable(parts) else parts
        raise _first_mistake(source, error, file, form, of_parts) from None


def _text(path: Path, noun: str) -> str:
    """What is in the file at ``path``; ``noun`` names its kind in errors ("board").

    Raises:
        LatentbenchError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise LatentbenchError(f"cannot read {noun} {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise LatentbenchError(f"cannot read {noun} {path}: it is not UTF-8 text (byte {error.start})") from None


def _values(path: Path, text: str) -> Any:
    """The plain values of a text in YAML.

    Raises:
        LatentbenchError: ``path:line:`` and why it is not valid YAML.
    """
    if _FastLoader:
        try:
            return _loaded(_FastLoader(text))
        except yaml.YAMLError:
            pass  # the other loader says what is wrong, in its own words everywhere
    try:
        return _loaded(_Loader(text))
    except yaml.reader.ReaderError as error:
        raise _mistake(path, text.count("\n", 0, error.position), "a character that YAML does not allow") from None
    except yaml.MarkedYAMLError as error:
        raise _mistake(path, error.problem_mark.line if error.problem_mark else 0, str(error.problem)) from None


def _loaded(loader: Any) -> Any:
    root = loader.get_single_node()
    if root:
        _refuse_repeated_keys(root)
    return loader.construct_document(root) if root else None


def _kept(path: Path, text: str) -> Any:
    """The values that are kept of a large text; None if there are none, or they are of another text."""
    if len(text) < _LARGE:
        return None
    try:
        digest, _, values = _kept_path(path).read_text(encoding="utf-8").partition("\n")
        return json.loads(values) if digest == _digest(text) else None
    except (OSError, ValueError):
        return None


def _keep(path: Path, text: str, values: Any) -> None:
    """Keep the values of a large text, in place of those that the file had before, where JSON tells them."""
    if len(text) < _LARGE:
        return
    try:
        told = json.dumps(values)
        if json.loads(told) != values:  # such as keys that are numbers
            return
        with replacing(_kept_path(path)) as file:
            file.write(f"{_digest(text)}\n{told}".encode())
    except (TypeError, ValueError, StorageError):  # such as a date
        return


def _kept_path(path: Path) -> Path:
    return cache_folder() / "yaml" / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}.json"


def _digest(text: str) -> str:
    """Of the text and the code that reads it."""
    code = f"{yaml.__version__} {yaml.__with_libyaml__} ".encode() + Path(__file__).read_bytes()
    return hashlib.sha256(code + text.encode()).hexdigest()


def _refuse_repeated_keys(root: yaml.Node) -> None:
    """Refuse the first mapping that has a key twice, in the order of the text."""
    seen = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            stack += reversed(node.value)
        elif isinstance(node, yaml.MappingNode):
            keys = set()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                if key.value in keys:
                    what = f"the key '{key.value}' is there twice"
                    raise yaml.composer.ComposerError(None, None, what, key.start_mark)
                keys.add(key.value)
            stack += [part for entry in reversed(node.value) for part in reversed(entry)]


def _first_mistake(
    source: Source, error: ValidationError, noun: str, form: type[BaseModel], parts: Parts
) -> LatentbenchError:
    """The one of pydantic's errors to report; the alternatives of a union are reported together.

    Wrong entries come before missing ones, and of a wrong value the innermost part is named.

    Args:
        source: the file.
        error: what pydantic says of its values.
        noun: the kind of the file in errors ("board").
        form: of the whole file.
        parts: the forms of its parts.
    """
    ranked = []
    for item in error.errors(include_url=False):
        loc = item["loc"]
        steps, line = source.find(loc)
        top = source.find(loc[:1])[1]
        ranked.append(((item["type"] == "missing", top, -len(steps), line), steps, item))
    _, steps, item = min(ranked, key=lambda one: one[0])
    key = str(item["loc"][-1])
    if item["type"] == "missing":
        return source.mistake(item["loc"], f"{'.'.join(steps) or f'the {noun}'} has no '{key}'")
    if item["type"] == "extra_forbidden":
        of = next((parts[step] for step in reversed(steps[:-1]) if step in parts), form)
        return source.mistake(item["loc"], f"unknown key '{key}'", did_you_mean(key, list(of.model_fields)))
    messages = [one["msg"].removeprefix("Value error, ") for _, at, one in ranked if at == steps]
    given = "" if isinstance(item["input"], dict | list) else f", got {item['input']!r}"
    return source.mistake(item["loc"], f"'{'.'.join(steps)}': {' or '.join(messages)}{given}")


class _Constructor(yaml.constructor.SafeConstructor):
    """PyYAML's safe constructor, with a line for every error."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # a scalar that looks like a date or a number but is invalid
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from None


class _Loader(_Constructor, yaml.SafeLoader):
    """PyYAML's own parser."""


if yaml.__with_libyaml__:

    class _LibyamlLoader(_Constructor, yaml.CSafeLoader):
        """That of libyaml, which takes a third of the time."""

    _FastLoader: type[_LibyamlLoader] | None = _LibyamlLoader
else:
    _FastLoader = None


def _mistake(path: Path, line: int, what: str, mend: str = "") -> LatentbenchError:
    return LatentbenchError(f"{path}:{line + 1}: {what}", mend)
