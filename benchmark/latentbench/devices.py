"""Devices by name, and one interface to the CPU and all accelerators for what the harness needs of them."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from latentbench.errors import LatentbenchError

__all__ = [
    "AUTO",
    "NoDeviceError",
    "cpu_threads",
    "device_name",
    "fork_rng",
    "nth_device",
    "open_device",
    "peak_memory",
    "reset_peak_memory",
    "resolve_device",
    "synchronize",
]

#: Stands for a CUDA device where there is one, else for the CPU.
AUTO = "auto"
#: PyTorch's kinds of accelerators that are listed for a user who names a device that does not exist.
_LISTED = ("cuda", "xpu", "mps")
#: Kinds that PyTorch lacks -> module and context manager that open one. Imported only when a user names the kind.
_OPENERS = {"sim": ("latentbench.testing.simulated_device", "simulated_device")}
#: What numerical libraries read when they are loaded.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS")


class NoDeviceError(LatentbenchError):
    """There is no device of that name on this machine."""


def resolve_device(name: str) -> str:
    """The name of a device of this machine: ``name`` itself, or what "auto" stands for.

    Args:
        name: "auto", or a device as PyTorch calls it ("cpu", "cuda", "cuda:1"), or "sim", the simulated accelerator of
            ``latentbench.testing``, which is for tests.

    Raises:
        NoDeviceError: there is none of that name; the message lists those that exist.
    """
    if name == AUTO:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not _is_there(name):
        there = [AUTO, "cpu", *(f"{kind}:{index}" for kind in _LISTED for index in range(_count(kind)))]
        simulated = [f"{kind} (simulated, for tests)" for kind in _OPENERS]
        raise NoDeviceError(
            f"--device {name}: this machine's PyTorch finds no such device", f"use {', '.join([*there, *simulated])}"
        )
    return name


@contextmanager
def open_device(name: str) -> Iterator[torch.device]:
    """Open a device in this process and make it the current one of its kind, for the duration of a block.

    Raises:
        NoDeviceError: this machine has no device of that name.
    """
    name = resolve_device(name)
    kind = name.partition(":")[0]
    if kind in _OPENERS:
        module, opener = _OPENERS[kind]
        with getattr(import_module(module), opener)() as device:
            yield device
        return
    device = torch.device(name)
    if device.type != "cpu" and device.index is not None:
        torch.get_device_module(device).set_device(device)
    yield device


@contextmanager
def cpu_threads(number: int) -> Iterator[None]:
    """Compute with this number of CPU threads for the duration of a block, whatever the environment says.

    It holds for PyTorch, for every BLAS and OpenMP library that is loaded, and for those that are loaded in the block.
    """
    before, environment = torch.get_num_threads(), {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(number)))
    try:
        with threadpool_limits(number):
            torch.set_num_threads(number)
            yield
    finally:
        torch.set_num_threads(before)
        for name, value in environment.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def nth_device(name: str, number: int) -> str:
    """The device for worker ``number`` >= 0: workers share the devices of a kind in turn.

    A name with an index, or a kind of which the machine has only one device, is returned as it is.

    >>> nth_device("cpu", 3)
    'cpu'
    """
    count = 1 if name == "cpu" or ":" in name or name in _OPENERS else _count(name)
    return f"{name}:{number % count}" if count > 1 else name


def fork_rng(device: torch.device) -> AbstractContextManager[None]:
    """Restore PyTorch's global generators, that of the CPU and that of ``device``, after the block."""
    if device.type == "cpu":
        return torch.random.fork_rng(devices=[])
    return torch.random.fork_rng(devices=[device], device_type=device.type)


def synchronize(device: torch.device) -> None:
    """Wait until ``device``, the current one of its kind, has finished its work."""
    if device.type != "cpu":
        torch.get_device_module(device).synchronize()


def reset_peak_memory(device: torch.device) -> None:
    """Restart the measurement of ``peak_memory``."""
    reset = None if device.type == "cpu" else getattr(torch.get_device_module(device), "reset_peak_memory_stats", None)
    if reset:
        reset()


def peak_memory(device: torch.device) -> int | None:
    """Peak number of bytes that tensors took of ``device``'s own memory; None for the CPU, and where unknown."""
    peak = None if device.type == "cpu" else getattr(torch.get_device_module(device), "max_memory_allocated", None)
    return int(peak()) if peak else None


def device_name(device: torch.device) -> str:
    """What the hardware is called ("NVIDIA H100 80GB HBM3"); "cpu" for the CPU."""
    name = None if device.type == "cpu" else getattr(torch.get_device_module(device), "get_device_name", None)
    return str(name(device)) if name else device.type


def _is_there(name: str) -> bool:
    """Whether this machine has the device of that name."""
    kind, _, index = name.partition(":")
    if kind in _OPENERS:
        return index in ("", "0")
    try:
        device = torch.device(name)
    except RuntimeError:
        return False
    return (device.index or 0) < (1 if device.type == "cpu" else _count(device.type))


def _count(kind: str) -> int:
    """How many devices of a kind of accelerator there are."""
    module: Any = getattr(torch, kind, None)
    return module.device_count() if hasattr(module, "is_available") and module.is_available() else 0
