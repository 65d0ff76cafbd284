"""Provenance of a result: the environment of a run, and the cost of each of its phases."""

import hashlib
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

import latentbench
from latentbench import devices
from latentbench.records.record import Environment, Phase

__all__ = ["Meter", "environment", "kernels"]

#: Environment variables that make numerical libraries choose other kernels, or count threads otherwise.
_VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_DYNAMIC",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_DYNAMIC",
    "OMP_THREAD_LIMIT",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)

#: How the flags of vector instructions begin in ``/proc/cpuinfo``.
_SIMD = ("sse", "avx", "fma", "f16c", "amx")

_PACKAGES = ("latentbench", "torch", "torchvision", "numpy", "scipy", "scikit-learn")


def environment(
    device: torch.device,
    plugins: Mapping[str, str],
    loaded: Mapping[str, str] | None = None,
    distributions: Iterable[str] = (),
    changes: Iterable[str] = (),
) -> Environment:
    """The environment of this process.

    Args:
        device: what the run computes on.
        plugins: role in the run ("model", "dataset", ...) -> the plugin's name and version.
        loaded: name -> distribution and version of every plugin in the process that is not built in.
        distributions: further packages whose versions matter.
        changes: what plugins have changed of the process.
    """
    commit, dirty = _git(Path(latentbench.__file__).parent)
    cuda = device.type == "cuda"
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        packages={name: found for name in sorted({*_PACKAGES, *distributions}) if (found := _version(name))},
        cpu=_cpu(),
        threads=torch.get_num_threads(),
        device=devices.device_name(device),
        cuda=torch.version.cuda if cuda else None,
        driver=_output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader") if cuda else None,
        commit=commit,
        dirty=dirty,
        plugins=dict(plugins),
        loaded=dict(loaded or {}),
        kernels=kernels(),
        variables={name: os.environ[name] for name in _VARIABLES if name in os.environ},
        changes=list(changes),
    )


def kernels() -> dict[str, str]:
    """What decides which kernels are used on this CPU.

    Returns:
        "cpu": vendor, family, model and cache size; "capability": the vector instructions that PyTorch's kernels use,
        "AVX2" or "AVX512"; "simd": a digest of all those that the CPU says it has, by which MKL and oneDNN choose.
    """
    facts: dict[str, str] = {}
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
        facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    known = [facts[name] for name in ("vendor_id", "cpu family", "model", "cache size") if name in facts]
    flags = sorted(flag for flag in facts.get("flags", "").split() if flag.startswith(_SIMD))
    return {
        "cpu": " ".join(known) or platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "simd": hashlib.sha256(" ".join(flags).encode()).hexdigest()[:8],
    }


class Meter:
    """Wall time and peak memory of a block: ``with Meter(device) as meter: ...; meter.phase()``."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def __enter__(self) -> Self:
        _reset_peak_memory()
        devices.synchronize(self._device)
        devices.reset_peak_memory(self._device)
        self._start = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        devices.synchronize(self._device)
        self.seconds = time.perf_counter() - self._start
        self._peak_memory = _peak_memory()  # now: the next block forgets this one's peak
        self._peak_device_memory = devices.peak_memory(self._device)

    def phase(self, images: int, earlier_seconds: float = 0.0) -> Phase:
        """The cost of the block, which processed ``images`` images and had spent ``earlier_seconds`` before."""
        seconds = self.seconds + earlier_seconds
        return Phase(
            seconds=round(seconds, 3),
            peak_memory_bytes=self._peak_memory,
            peak_device_memory_bytes=self._peak_device_memory,
            images_per_second=round(images / seconds, 1) if images else None,
        )


def _reset_peak_memory() -> None:
    """Reset the process's peak on Linux; elsewhere the peak is measured since the process started."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak_memory() -> int:
    """Peak resident memory in bytes."""
    try:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _git(folder: Path) -> tuple[str | None, bool | None]:
    """The commit of the checkout that contains ``folder``, and whether tracked files differ from it."""
    commit = _output("git", "-C", str(folder), "rev-parse", "HEAD")
    if commit is None:
        return None, None
    return commit, bool(_output("git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no"))


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
