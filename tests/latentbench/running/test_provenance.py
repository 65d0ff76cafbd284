"""What a phase cost is told of that phase, however late it is asked."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from latentbench.running.provenance import Meter, environment, kernels

MEBIBYTE = 2**20


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="this system forgets no peak of a process")
def test_each_block_has_its_own_peak_also_when_both_are_asked_at_the_end() -> None:
    with Meter(torch.device("cpu")) as large:
        filled = np.ones(300 * MEBIBYTE, np.uint8)
        del filled
    with Meter(torch.device("cpu")) as small:
        resident = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line)
    peaks = [meter.phase(0).peak_memory_bytes for meter in (large, small)]
    assert peaks[0] - peaks[1] > 250 * MEBIBYTE
    assert peaks[1] == pytest.approx(int(resident.split()[1]) * 1024, rel=0.2)


def test_earlier_seconds_count_in_time_and_in_the_rate() -> None:
    with Meter(torch.device("cpu")) as meter:
        pass
    phase = meter.phase(images=500, earlier_seconds=10.0)
    assert phase.seconds == pytest.approx(10, abs=0.1)
    assert phase.images_per_second == pytest.approx(50, rel=0.01)
    assert meter.phase(images=0).images_per_second is None


def test_the_kernels_of_this_cpu_stand_in_the_environment() -> None:
    made = environment(torch.device("cpu"), plugins={})
    assert made.kernels == kernels()
    assert made.kernels["capability"] == torch.backends.cpu.get_cpu_capability()
    assert all(made.kernels.values())
