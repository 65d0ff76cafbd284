"""Global state of a process that plugins can change and other code depends on."""

import builtins
import math
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from inspect import unwrap
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np
import scipy.linalg
import scipy.special
import sklearn.metrics
import torch
import torch.nn.functional
import torch.nn.init
import torch.nn.utils
import torch.optim.lr_scheduler
from sklearn.cluster import KMeans
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from latentbench.plugins.discovery import FILE_MODULES

__all__ = ["ProcessState", "is_of_suite"]

#: What has functions.
_Owner = ModuleType | type

#: Modules in which a replaced function, or method of a class, would change the results of other code.
_MODULES: tuple[ModuleType, ...] = (
    torch,
    torch.nn,
    torch.nn.functional,
    torch.nn.init,
    torch.nn.utils,
    torch.linalg,
    torch.fft,
    torch.special,
    torch.optim,
    torch.optim.lr_scheduler,
    torch.random,
    torch.autograd,
    np,
    np.linalg,
    np.random,
    np.fft,
    math,
    random,
    builtins,
    scipy.special,
    scipy.linalg,
    sklearn.metrics,
)

#: Classes that are watched besides: tensors, and what readouts are made of.
_CLASSES: tuple[type, ...] = (
    torch.Tensor,
    torch.nn.Parameter,
    KMeans,
    LedoitWolf,
    LogisticRegression,
    NearestNeighbors,
    Pipeline,
    StandardScaler,
)


def _watched() -> tuple[_Owner, ...]:
    """The modules, their classes and those of the list, with those that they inherit from."""
    of_modules = (
        value
        for module in _MODULES
        if module not in (torch, np)  # most of whose classes nobody can patch
        for value in vars(module).values()
        if isinstance(value, type)
    )
    classes = {base: None for owner in (*of_modules, *_CLASSES) for base in owner.__mro__ if _root(base) in _LIBRARIES}
    return *_MODULES, *classes


#: Libraries whose classes are watched.
_LIBRARIES = ("torch", "numpy", "scipy", "sklearn", "random")


def is_of_suite(name: str) -> bool:
    """Whether a module is latentbench's or of a package that is called like its plugins; a plugin file's is not."""
    ours = name.startswith(("latentbench.", "latentbench_")) or name == "latentbench"
    return ours and not name.startswith(FILE_MODULES)


def _contents(module: ModuleType) -> dict[_Owner, dict[str, Any]]:
    """What a module and the classes that it defines have by name."""
    return {module: dict(vars(module)), **{one: dict(vars(one)) for one in _classes(module, module.__name__, "")}}


def _classes(owner: _Owner, module: str, prefix: str) -> Iterator[type]:
    for name, value in list(vars(owner).items()):
        if isinstance(value, type) and value.__module__ == module and value.__qualname__ == prefix + name:
            yield value
            yield from _classes(value, module, f"{prefix}{name}.")


#: What the suite's modules that were imported later than this one, and their classes, had by name at first.
_AS_IMPORTED: dict[_Owner, dict[str, Any]] = {}


def _functions() -> dict[_Owner, dict[str, Any]]:
    """What the modules and classes that are watched have by name: of libraries, and the suite's that are loaded."""
    earlier = [one for name, one in sys.modules.copy().items() if is_of_suite(name) and one not in _AS_IMPORTED]
    functions = {owner: dict(vars(owner)) for owner in (*_WATCHED, *_AS_IMPORTED)}
    return functions | {owner: names for module in earlier for owner, names in _contents(module).items()}


class _NotingLoader(SourceFileLoader):
    """Notes what a module has once it is imported: what imports it may be a plugin, and change it at once."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _AS_IMPORTED.update(_contents(module))


class _NotingFinder(MetaPathFinder):
    """Finds the suite's modules, to be noted."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if is_of_suite(name) else None
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _NotingLoader(spec.loader.name, spec.loader.path)
        return spec


sys.meta_path.insert(0, _NotingFinder())

#: Functions of PyTorch that run with every module or optimizer, by number.
_HOOKS: Mapping[str, dict[Any, Any]] = {
    f"{module.__name__}.{name}": value
    for module in map(import_module, ("torch.nn.modules.module", "torch.optim.optimizer"))
    for name, value in vars(module).items()
    if name.startswith("_global_") and isinstance(value, dict)
}


def _refill(place: dict[Any, Any], content: Mapping[Any, Any]) -> None:
    place.clear()
    place.update(content)


#: Settings of the process and its libraries by name: how to read them, and how to put them back.
_SETTINGS: Mapping[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "the default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "the default device": (lambda: str(torch.get_default_device()), torch.set_default_device),
    "the number of threads": (torch.get_num_threads, torch.set_num_threads),
    "the precision of float32 matrix products": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    "NumPy's handling of floating-point errors": (np.geterr, lambda before: np.seterr(**before)),
    "the flushing of denormal numbers": (lambda: not torch.full((), 1e-40).mul(1), torch.set_flush_denormal),
    **{
        f"{module.__name__}.{name}": (partial(getattr, module, name), partial(setattr, module, name))
        for module, name in (
            (torch.backends.mkldnn, "enabled"),
            (torch.backends.cudnn, "enabled"),
            (torch.backends.cudnn, "benchmark"),
            (torch.backends.cudnn, "deterministic"),
        )
    },
    **{name: (partial(dict, hooks), partial(_refill, hooks)) for name, hooks in _HOOKS.items()},
    "the working folder": (Path.cwd, os.chdir),
}


@dataclass(frozen=True)
class ProcessState:
    """Global state at one moment: settings, generators, and functions.

    Functions are those of shared libraries, and of the harness and the built-in plugins.
    """

    deterministic: bool
    gradients: bool
    settings: dict[str, Any]
    """Values of ``_SETTINGS`` by name."""
    numpy_generator: int
    python_generator: int
    functions: Mapping[_Owner, Mapping[str, Any]]
    """What each of the modules and classes that are watched has by name."""

    @classmethod
    def now(cls, *, with_functions: bool = True) -> Self:
        """The current state, with or without the functions."""
        return cls(
            deterministic=torch.are_deterministic_algorithms_enabled(),
            gradients=torch.is_grad_enabled(),
            settings={name: read() for name, (read, _) in _SETTINGS.items()},
            numpy_generator=_numpy_state(),
            python_generator=hash(random.getstate()),
            functions=_functions() if with_functions else {},
        )

    def undo(self, *, with_generators: bool = True) -> list[str]:
        """Restore what has changed since, and return what that was.

        Generators are not restored. That one has advanced is reported, because the harness does not checkpoint it.

        Args:
            with_generators: whether generators that have advanced are among what is returned.

        Returns:
            A clause for each change, as in "the default dtype became torch.float64".
        """
        found = self.now(with_functions=False)
        changes = [*self._replaced_functions()]
        if found.deterministic != self.deterministic:
            changes.append(f"deterministic algorithms were turned {'on' if found.deterministic else 'off'}")
            torch.use_deterministic_algorithms(self.deterministic)
        if found.gradients != self.gradients:
            changes.append(f"gradients were turned {'on' if found.gradients else 'off'}")
            torch.set_grad_enabled(self.gradients)
        for name, value in self.settings.items():
            if found.settings[name] != value:
                changes.append(f"{name} became {found.settings[name]}")
                _SETTINGS[name][1](value)
        if not with_generators:
            return changes
        if found.numpy_generator != self.numpy_generator:
            changes.append("NumPy's global generator was drawn from, which a resumed run does not restore")
        if found.python_generator != self.python_generator:
            changes.append("Python's global generator was drawn from, which a resumed run does not restore")
        return changes

    def _replaced_functions(self) -> Iterator[str]:
        for owner, before in {**_AS_IMPORTED, **self.functions}.items():
            if _same(vars(owner), before):
                continue
            after = dict(vars(owner))
            for name in [*before, *(after.keys() - before.keys())]:
                original, present = before.get(name, _ABSENT), after.get(name, _ABSENT)
                if present is original or not _changes_results(owner, name, original, present):
                    continue
                where = owner.__name__ if isinstance(owner, ModuleType) else f"{owner.__module__}.{owner.__qualname__}"
                yield f"{where}.{name} was replaced by one of module {_module(present)}"
                if original is _ABSENT:
                    delattr(owner, name)
                else:
                    setattr(owner, name, original)


def _same(found: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether nothing changed, which is quickly told of what is the same object; False where values do not compare."""
    try:
        return found == before
    except Exception:
        return False


def _changes_results(owner: _Owner, name: str, original: Any, present: Any) -> bool:
    """Whether other code would run what somebody else has put there.

    A library may prepare its own functions late. An addition counts where it hides what had that name: a method that
    the class inherits, or a function that is built in.
    """
    if original is _ABSENT:
        hidden = [vars(base) for base in owner.__mro__[1:]] if isinstance(owner, type) else [vars(builtins)]
        original = next((names[name] for names in hidden if name in names), None)
    if not _is_function(original):
        return False
    innermost = unwrap(_function(present))
    if _root(present) in _LIBRARIES and innermost is unwrap(_function(original)):
        return False  # as PyTorch wraps the ``step`` of any optimizer
    return any(_root(one) != _root(owner) for one in (present, innermost))


def _is_function(value: Any) -> bool:
    return callable(value) or isinstance(value, (property, cached_property, classmethod))


def _function(value: Any) -> Any:
    """The function of a property or of a method."""
    if isinstance(value, cached_property):
        return value.func
    return getattr(value, "fget", None) or getattr(value, "__func__", value)


def _numpy_state() -> int:
    name, keys, place, *_ = np.random.get_state(legacy=True)  # noqa: NPY002  # to see whether anybody draws from it
    return hash((name, np.asarray(keys).tobytes(), place))


def _module(value: Any) -> str:
    """The module of the code that a callable runs, even if ``functools.wraps`` gives another one."""
    function = _function(value)
    return str(getattr(function, "__globals__", {}).get("__name__") or getattr(value, "__module__", None) or "unknown")


def _root(value: Any) -> str:
    name = value.__name__ if isinstance(value, ModuleType) else _module(value)
    return name.partition(".")[0]


#: What stands for a name that is not there.
_ABSENT = object()

#: Modules and classes of libraries in which a replaced function would change the results of other code.
_WATCHED = _watched()
