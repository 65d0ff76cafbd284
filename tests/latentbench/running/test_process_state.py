"""Numerical settings of a process that a plugin changed are told by name, and put back."""

from collections.abc import Callable

import pytest
import torch

from latentbench.running.process_state import ProcessState


def turn(module: object, name: str) -> Callable[[], None]:
    return lambda: setattr(module, name, not getattr(module, name))


@pytest.mark.parametrize(
    ("change", "clause"),
    [
        (
            lambda: torch.set_float32_matmul_precision("medium"),
            "the precision of float32 matrix products became medium",
        ),
        (lambda: torch.set_flush_denormal(True), "the flushing of denormal numbers became True"),
        (turn(torch.backends.mkldnn, "enabled"), "torch.backends.mkldnn.enabled became False"),
        (turn(torch.backends.cudnn, "enabled"), "torch.backends.cudnn.enabled became False"),
        (turn(torch.backends.cudnn, "benchmark"), "torch.backends.cudnn.benchmark became True"),
        (turn(torch.backends.cudnn, "deterministic"), "torch.backends.cudnn.deterministic became True"),
        (lambda: torch.set_num_threads(3), "the number of threads became 3"),
        (lambda: torch.set_default_dtype(torch.float64), "the default dtype became torch.float64"),
    ],
)
def test_a_changed_setting_is_told_and_put_back(change: Callable[[], None], clause: str) -> None:
    before = ProcessState.now()
    assert before.undo() == []
    change()
    assert before.undo() == [clause]
    assert before.undo() == []
    assert torch.full((), 1e-40).mul(1) > 0
