"""Trials: a third-party plugin is first imported in a process of its own, where one that ends the process does no harm.

A plugin that raises can be left out. One that calls ``os._exit``, crashes the interpreter or never returns would take
every command with it, whatever it was asked for. So the code of each third-party plugin is tried once, and what came of
it is remembered by the contents of its files; only a plugin that let the process live is imported by a command.

What a plugin imports from other distributions is not looked at: where an update of these makes it fatal, it is tried
again when its own files change, or when ``plugins/`` in the cache folder is emptied.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from latentbench.files import StorageError, cache_folder, replacing

__all__ = ["PluginFile", "fatal"]

#: Seconds that a plugin may take to be imported and to say what it offers.
PATIENCE = 120.0
#: Seconds after which a plugin that was fatal is tried again: the cause may lie outside of its files.
_REMEMBERED = 3600.0
#: The stage that only a process reports that has come through.
_END = "the end"


@dataclass(frozen=True)
class PluginFile:
    """A plugin that is one local file."""

    path: Path
    """Absolute."""
    digest: str
    """Of the file, and of the siblings that it imports."""


#: What leads to a plugin.
Point = EntryPoint | PluginFile


def fatal(point: Point) -> str:
    """How the plugin ends or blocks the process that imports it or asks what it offers; empty if it does not.

    What it prints goes nowhere, and exceptions do not count: they are seen when it is loaded.
    """
    notes = _notes() / f"{_identity(point)}.json"
    if (known := _remembered(notes)) is not None:
        return known
    outcome = _try_out(point)
    with suppress(StorageError), replacing(notes) as file:
        file.write(json.dumps({"plugin": _named(point)[-2], "fatal": outcome, "time": time.time()}).encode())
    return outcome


def _named(point: Point) -> list[str]:
    """What the process of a trial needs to know: name, value and group of an entry point, or path and digest."""
    return [str(point.path), point.digest] if isinstance(point, PluginFile) else [point.name, point.value, point.group]


def _try_out(point: Point) -> str:
    """Import the plugin, and call its hooks, in a process of its own."""
    task = json.dumps([sys.path, *_named(point)])
    command = [sys.executable, "-c", "from latentbench.plugins.trial import _be_tried; _be_tried()", task]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        return f"does not return from {_stage(error.stdout)} within {PATIENCE:g} seconds"
    except OSError:  # no process can be started: it is loaded untried
        return ""
    stage = _stage(done.stdout)
    if stage == _END:
        return ""
    how = f"with exit code {done.returncode}" if done.returncode >= 0 else f"by signal {-done.returncode}"
    return f"ends the process {how} in {stage}"


def _be_tried() -> None:
    """What the process of a trial does: it reports each stage before it enters it, and ends at once after the last."""
    import pluggy

    from latentbench.plugins import hookspecs
    from latentbench.plugins.contracts import KINDS

    report = os.dup(1)
    os.dup2(2, 1)  # what the plugin prints is no report
    paths, *point = json.loads(sys.argv[1])
    sys.path[:] = paths
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    os.write(report, b"its import\n")
    with _survived():
        manager.register(EntryPoint(*point).load() if len(point) == 3 else _imported(Path(point[0])))
    for kind in KINDS.values():
        os.write(report, f"{kind.hook}()\n".encode())
        with _survived():
            getattr(manager.hook, kind.hook)()
    os.write(report, f"{_END}\n".encode())
    os._exit(0)


def _imported(path: Path) -> ModuleType:
    """The module of a plugin file: it is executed as it is now, whatever Python's bytecode cache has of it."""
    sys.path.append(str(path.parent))
    spec = spec_from_file_location("latentbench_file_tried", path)
    assert spec is not None
    module = sys.modules[spec.name] = module_from_spec(spec)
    exec(compile(path.read_bytes(), path, "exec"), vars(module))
    return module


@contextmanager
def _survived() -> Iterator[None]:
    """Pass over what can be caught; an interrupt, which nobody sent, would be taken for the user's."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise


def _stage(report: bytes | None) -> str:
    """The last stage that was reported."""
    return (report or b"").decode().strip().rpartition("\n")[2] or "its import"


def _identity(point: Point) -> str:
    """Digest of the entry point, the interpreter, and the files of the package that it leads to."""
    if isinstance(point, PluginFile):
        known = json.dumps([sys.version, sys.prefix, *_named(point)])
        return hashlib.sha256(known.encode()).hexdigest()[:16]
    found = hashlib.sha256(json.dumps([sys.version, sys.prefix, point.value]).encode())
    for name, file in _files(point):
        facts = file.stat()
        about = file.read_bytes() if file.suffix == ".py" else repr((facts.st_size, facts.st_mtime_ns)).encode()
        found.update(json.dumps([name, hashlib.sha256(about).hexdigest()]).encode())
    return found.hexdigest()[:16]


def _files(point: EntryPoint) -> Iterator[tuple[str, Path]]:
    """The Python files and compiled modules of the top-level package, by name; none where it cannot be found."""
    package = point.value.partition(":")[0].strip().partition(".")[0]
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return
    if spec is None:
        return
    for folder in map(Path, spec.submodule_search_locations or ()):
        files = sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".so") and path.is_file())
        yield from ((path.relative_to(folder).as_posix(), path) for path in files)
    if not spec.submodule_search_locations and spec.origin and Path(spec.origin).is_file():
        yield package, Path(spec.origin)


def _notes() -> Path:
    """Where outcomes are kept."""
    return cache_folder() / "plugins"


def _remembered(notes: Path) -> str | None:
    """The outcome of an earlier trial of the same files; None if there is none that is still believed."""
    try:
        note = json.loads(notes.read_bytes())
        outcome, age = note["fatal"], time.time() - note["time"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return outcome if isinstance(outcome, str) and (not outcome or 0 <= age < _REMEMBERED) else None
