"""Global state of a process that plugins can change and other code depends on."""

import builtins
import math
import os
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional

__all__ = ["ProcessState"]

#: Modules and classes in which a replaced function would change the results of other code.
_WATCHED: tuple[ModuleType | type, ...] = (
    torch,
    torch.Tensor,
    torch.nn.Module,
    torch.nn.functional,
    torch.linalg,
    torch.optim,
    torch.random,
    np,
    np.linalg,
    np.random,
    math,
    builtins,
)

#: Numerical settings of PyTorch by name: how to read them, and how to put them back.
_SETTINGS: Mapping[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "the precision of float32 matrix products": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
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
}


@dataclass(frozen=True)
class ProcessState:
    """Global state at one moment: numeric defaults, folder, threads, generators, and functions of shared libraries."""

    dtype: torch.dtype
    device: str
    deterministic: bool
    gradients: bool
    threads: int
    settings: dict[str, Any]
    """Values of ``_SETTINGS`` by name."""
    folder: Path
    numpy_generator: int
    python_generator: int
    functions: dict[tuple[int, str], Any]
    """(index of the module or class, name) -> the callable."""

    @classmethod
    def now(cls) -> Self:
        """The current state."""
        return cls(
            dtype=torch.get_default_dtype(),
            device=str(torch.get_default_device()),
            deterministic=torch.are_deterministic_algorithms_enabled(),
            gradients=torch.is_grad_enabled(),
            threads=torch.get_num_threads(),
            settings={name: read() for name, (read, _) in _SETTINGS.items()},
            folder=Path.cwd(),
            numpy_generator=_numpy_state(),
            python_generator=hash(random.getstate()),
            functions={
                (place, name): value
                for place, owner in enumerate(_WATCHED)
                for name, value in vars(owner).items()
                if callable(value)
            },
        )

    def undo(self) -> list[str]:
        """Restore what has changed since, and return what that was.

        Generators are not restored. That one has advanced is reported, because the harness does not checkpoint it.

        Returns:
            A clause for each change, as in "the default dtype became torch.float64".
        """
        found = self.now()
        changes = [*self._replaced_functions()]
        if found.dtype != self.dtype:
            changes.append(f"the default dtype became {found.dtype}")
            torch.set_default_dtype(self.dtype)
        if found.device != self.device:
            changes.append(f"the default device became {found.device}")
            torch.set_default_device(self.device)
        if found.deterministic != self.deterministic:
            changes.append(f"deterministic algorithms were turned {'on' if found.deterministic else 'off'}")
            torch.use_deterministic_algorithms(self.deterministic)
        if found.gradients != self.gradients:
            changes.append(f"gradients were turned {'on' if found.gradients else 'off'}")
            torch.set_grad_enabled(self.gradients)
        if found.threads != self.threads:
            changes.append(f"the number of threads became {found.threads}")
            torch.set_num_threads(self.threads)
        for name, value in self.settings.items():
            if found.settings[name] != value:
                changes.append(f"{name} became {found.settings[name]}")
                _SETTINGS[name][1](value)
        if found.folder != self.folder:
            changes.append(f"the working folder became {found.folder}")
            os.chdir(self.folder)
        if found.numpy_generator != self.numpy_generator:
            changes.append("NumPy's global generator was drawn from, which a resumed run does not restore")
        if found.python_generator != self.python_generator:
            changes.append("Python's global generator was drawn from, which a resumed run does not restore")
        return changes

    def _replaced_functions(self) -> Iterator[str]:
        for (place, name), original in self.functions.items():
            owner = _WATCHED[place]
            present = vars(owner).get(name)
            if present is original or _root(present) == _root(owner):  # a library may prepare its own functions late
                continue
            where = owner.__name__ if isinstance(owner, ModuleType) else f"{owner.__module__}.{owner.__qualname__}"
            yield f"{where}.{name} was replaced by one of module {_module(present)}"
            setattr(owner, name, original)


def _numpy_state() -> int:
    name, keys, place, *_ = np.random.get_state(legacy=True)  # noqa: NPY002  # to see whether anybody draws from it
    return hash((name, np.asarray(keys).tobytes(), place))


def _module(value: Any) -> str:
    """The module of the code that a callable runs, even if ``functools.wraps`` gives another one."""
    function = getattr(value, "__func__", value)
    return str(getattr(function, "__globals__", {}).get("__name__") or getattr(value, "__module__", None) or "unknown")


def _root(value: Any) -> str:
    name = value.__name__ if isinstance(value, ModuleType) else _module(value)
    return name.partition(".")[0]
