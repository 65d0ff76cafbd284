"""Discovery of plugins: entry points of installed distributions, and local files."""

import ast
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distribution, distributions
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Literal

from latentbench.errors import LatentbenchError, describe, did_you_mean
from latentbench.plugins.contracts import OfferError
from latentbench.plugins.hookspecs import PROJECT

__all__ = ["FILE_MODULES", "Found", "PluginInfo", "find_files", "find_installed"]

#: Names of the third-party plugins or distributions to load, separated by commas; "" or "none": none; not set: all.
CHOICE = "LATENTBENCH_PLUGINS"

#: How the modules' names of plugin files begin.
FILE_MODULES = "latentbench_file"

#: The folders of plugin files, from which these may have imported modules.
_folders_of_files: set[Path] = set()


@dataclass
class PluginInfo:
    """Facts about a plugin."""

    name: str
    """The name of its entry point; for a file, the file's name without ``.py``."""
    distribution: str
    """The distribution that ships it; for a file, its path."""
    version: str
    """The distribution's version; for a file, the beginning of its SHA-256, and of that of siblings that it imports."""
    builtin: bool = False
    """Whether latentbench itself ships it."""
    reasons: list[str] = field(default_factory=list)
    """Everything that is wrong with it, each in one line."""
    offers: dict[str, list[str]] = field(default_factory=dict)
    """Kind -> names of the plugin's offers, for the kinds that have been queried."""

    @property
    def status(self) -> Literal["ok", "broken"]:
        """Broken if anything is wrong with it; what else it offers stays usable."""
        return "broken" if self.reasons else "ok"

    @property
    def reason(self) -> str:
        """Why it is broken, in one line; empty if it is not."""
        return "; ".join(self.reasons)

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def blamed_for(self, what: str) -> str:
        """``what`` is the plugin's, as the beginning of an error: "plugin 'acme 1.2': model 'vae'"."""
        return what if self.builtin else f"plugin '{self}': {what}"


@dataclass(frozen=True)
class Found:
    """A plugin that has been found but not loaded."""

    info: PluginInfo
    load: Callable[[], object]
    """Imports and returns the module (or object) that holds the hook implementations."""
    named: bool = False
    """Whether the user named it on the command line."""


def find_installed() -> list[Found]:
    """Plugins of installed distributions: latentbench's own first, then by distribution and name.

    Raises:
        LatentbenchError: ``LATENTBENCH_PLUGINS`` names something that is not installed.
    """
    found = sorted(_entry_points(), key=lambda one: (not one.info.builtin, *_names(one.info)))
    choice = os.environ.get(CHOICE)
    if choice is None:
        return found
    wanted = [] if choice.strip() == "none" else [name.strip() for name in choice.split(",") if name.strip()]
    known = {_canonical(name) for one in found for name in _names(one.info)}
    for name in wanted:
        if _canonical(name) not in known:
            raise LatentbenchError(f"{CHOICE} names the unknown plugin '{name}'", did_you_mean(name, known))
    chosen = set(map(_canonical, wanted))
    return [one for one in found if one.info.builtin or chosen.intersection(_names(one.info))]


def find_files(paths: Sequence[Path], *, trial: bool = True) -> list[Found]:
    """Plugins that are one local file each, in the order given.

    A file may import modules and packages that lie beside it; what is installed comes first. With ``trial`` it is
    imported only where it has let another process live.

    Raises:
        LatentbenchError: no such file, or not Python.
    """
    found = {}
    for path in paths:
        if path.suffix != ".py":
            raise LatentbenchError(f"plugin {path} is not a Python file", "give the path of a .py file")
        try:
            content = path.read_bytes()
        except OSError as error:
            raise LatentbenchError(f"cannot read plugin {path}: {error.strerror}") from None
        siblings = _siblings(path.resolve().parent, content)
        digest = _digest(content, siblings)
        info = PluginInfo(path.stem, distribution=str(path), version=f"sha256:{digest}")
        found[path.resolve()] = Found(
            info, partial(_import_file, path.resolve(), content, digest, siblings, trial=trial), named=True
        )
    return list(found.values())


def _entry_points() -> Iterator[Found]:
    """The entry points of all distributions, each looked at on its own: one that cannot be read hides no other.

    Of several versions of a distribution the first on the path counts, and what is listed twice is one plugin.
    """
    seen: set[tuple[str, str]] = set()
    for found in distributions():
        try:
            points, fault = list(found.entry_points.select(group=PROJECT)), ""
        except Exception as error:  # it is no UTF-8, or no list of names and values
            points, fault = [], f"its entry_points.txt, in {found.locate_file('')}, cannot be read ({describe(error)})"
            os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"  # torch would read it, too, and could not be imported
        if not points and not fault:
            continue
        name, version = _identity(found)
        if _is_hidden(found, name, version):
            continue
        builtin = _canonical(name) == PROJECT
        plugins = [(point.value, point.name, partial(_load, point, builtin)) for point in points]
        for what, title, load in plugins or [(fault, name, partial(_refuse, fault))]:
            if (name, what) not in seen:
                seen.add((name, what))
                yield Found(PluginInfo(title, name, version, builtin), load)


def _identity(found: Distribution) -> tuple[str, str]:
    """Name and version of a distribution."""
    try:
        return found.name or "unknown", found.version or "unknown"
    except Exception:  # what its missing or unreadable metadata raise depends on Python's version
        return "unknown", "unknown"


def _is_hidden(found: Distribution, name: str, version: str) -> bool:
    """Whether another version of the distribution comes first on the path."""
    try:
        first = distribution(name)
    except (PackageNotFoundError, ValueError):  # it has no name
        return False
    return (first.locate_file(""), *_identity(first)) != (found.locate_file(""), name, version)


def _load(point: EntryPoint, builtin: bool) -> object:
    """Import what an entry point leads to; third-party code only where it has let another process live."""
    if not EntryPoint.pattern.match(point.value):
        raise OfferError(f"its entry point '{point.value}' is not of the form MODULE or MODULE:OBJECT")
    if not builtin:
        from latentbench.plugins.trial import fatal  # only third-party code needs it

        if reason := fatal(point):
            raise OfferError(reason)
    return point.load()


def _refuse(reason: str) -> object:
    raise OfferError(reason)


def _names(info: PluginInfo) -> tuple[str, str]:
    """The names that the user may choose a plugin by."""
    return _canonical(info.distribution), _canonical(info.name)


def _canonical(name: str) -> str:
    """A distribution's normalized name: lower case, with runs of ``-``, ``_`` and ``.`` replaced."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _digest(content: bytes, siblings: Mapping[str, bytes]) -> str:
    """The beginning of the SHA-256 of a file's content, and of its siblings' where it has some."""
    import hashlib

    found = hashlib.sha256(content)
    for name, other in sorted(siblings.items()):
        found.update(f"{name} {hashlib.sha256(other).hexdigest()}".encode())
    return found.hexdigest()[:12]


def _siblings(folder: Path, content: bytes) -> dict[str, bytes]:
    """The contents of the files beside a plugin file that it imports, directly or not, by their path in the folder."""
    found: dict[str, bytes] = {}
    left = [content]
    while left:
        for name in _imported(left.pop()):
            for file in _files_of(folder, name):
                place = file.relative_to(folder).as_posix()
                if place not in found and file.is_file():
                    found[place] = file.read_bytes()
                    left.append(found[place])
    return found


def _files_of(folder: Path, name: str) -> list[Path]:
    """The files that a module or package of this name has in a folder, or would have."""
    package, module = folder / name, folder / f"{name}.py"
    if (package / "__init__.py").is_file():
        return sorted(package.rglob("*.py"))
    if module.is_file() or not package.is_dir() or _is_installed(name):
        return [module]
    files = []
    for place, folders, names in os.walk(package):  # a namespace package, which may hold anything else, too
        here = Path(place)
        folders[:] = [one for one in folders if one.isidentifier() and not (here / one / "pyvenv.cfg").exists()]
        files += [here / one for one in names if one.endswith(".py")]
    return sorted(files)


def _is_installed(name: str) -> bool:
    """Whether a top-level module is found, other than as a namespace package or beside a plugin file."""
    try:
        spec = find_spec(name)
    except ValueError:  # a module without a spec, such as __main__
        return True
    if spec is None or spec.origin is None:
        return False
    file = Path(spec.origin).resolve()
    return (file.parent.parent if spec.submodule_search_locations else file.parent) not in _folders_of_files


def _imported(content: bytes) -> set[str]:
    """The top-level modules that a source file imports, anywhere in it; none where it cannot be parsed.

    Where a call imports by a name that it does not spell out, every string in the file may be that name.
    """
    try:
        nodes = list(ast.walk(ast.parse(content)))
    except (SyntaxError, ValueError, RecursionError):  # its import tells
        return set()
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    for node in nodes:
        if isinstance(node, ast.Call) and _last_name(node.func) in ("import_module", "__import__"):
            names += _module_names(ast.walk(node)) or _module_names(nodes)
    return {name.partition(".")[0] for name in names}


def _last_name(function: ast.expr) -> str:
    """The name that a function is called by, without what it belongs to."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _module_names(nodes: Iterable[ast.AST]) -> list[str]:
    """The strings that may be a module's name, or the beginning of one, such as ``parts.``."""
    strings = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [text for text in strings if all(part.isidentifier() for part in text.removesuffix(".").split("."))]


def _import_file(path: Path, content: bytes, digest: str, siblings: Mapping[str, bytes], *, trial: bool) -> ModuleType:
    """Import a file once, under a name that no package has; its classes can be pickled by reference.

    What is executed is the content that was hashed. Python's bytecode cache goes by size and whole seconds, and would
    take a quick edit for the old file.

    Raises:
        OfferError: another plugin file has imported a sibling of the name of one of this file's; or the file ends or
            blocks the process that imports it.
    """
    for place in siblings:
        module = place.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")
        own = (path.parent / place).resolve()
        loaded = Path(getattr(sys.modules.get(module), "__file__", None) or own).resolve()
        if loaded != own and any(folder in loaded.parents for folder in _folders_of_files):
            raise OfferError(f"its sibling {place} is hidden by {loaded}, of another plugin file: rename one of them")
    name = FILE_MODULES + re.sub(r"\W", "_", f"{path}_{digest}")
    if trial and name not in sys.modules:
        from latentbench.plugins.trial import PluginFile, fatal

        if reason := fatal(PluginFile(path, digest)):
            raise OfferError(reason)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    _folders_of_files.add(path.parent)
    if name not in sys.modules:
        spec = spec_from_file_location(name, path)
        assert spec is not None
        sys.modules[name] = module_from_spec(spec)
        try:
            exec(compile(content, path, "exec"), vars(sys.modules[name]))
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]
