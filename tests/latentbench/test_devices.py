"""Devices by name: what is there is opened, and what is not there is refused in one line that says what is."""

import time
from pathlib import Path
from subprocess import DEVNULL, Popen
from sys import executable

import pytest
import torch
from torch import nn

from latentbench import Model, Role, StoredSplit
from latentbench.commands.cli import main
from latentbench.devices import (
    NoDeviceError,
    device_name,
    fork_rng,
    nth_device,
    open_device,
    peak_memory,
    reset_peak_memory,
    resolve_device,
    synchronize,
)
from latentbench.records.store import read_record
from latentbench.running.training import TrainingLoop
from latentbench.testing.simulated_device import count_synchronizations

BOARD = """\
name: toys
title: Toys
datasets: [toy-blobs]
models: [centre-distance, pca, ae]
seeds: 1
rank: auroc@test
"""


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with two CUDA devices, as far as looking for them goes."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("two_gpus")
def test_the_devices_that_are_there_are_found_and_shared() -> None:
    assert resolve_device("auto") == "cuda"
    assert [resolve_device(name) for name in ("cpu", "cuda", "cuda:1", "sim")] == ["cpu", "cuda", "cuda:1", "sim"]
    assert [nth_device("cuda", number) for number in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert [nth_device(name, 3) for name in ("cuda:1", "cpu", "sim")] == ["cuda:1", "cpu", "sim"]
    with pytest.raises(NoDeviceError, match=r"--device cuda:2: .*: use auto, cpu, cuda:0, cuda:1, sim"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cpu:1", "meta", "sim:1", "", "cuda:x", "cuda:-1"])
def test_what_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(NoDeviceError, match=r"finds no such device: use auto, cpu, .*sim"):
        resolve_device(name)


def test_the_command_line_refuses_it_in_one_line(
    toys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "toys.yaml").write_text(BOARD)
    arguments = ["--plugin", str(toys), "run", str(tmp_path / "toys.yaml"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--device", "gpu"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--device gpu: this machine's PyTorch finds no such device: use auto, cpu, " in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["cpu", "sim", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_every_kind_is_asked_in_the_same_way(name: str) -> None:
    with open_device(name) as device:
        torch.manual_seed(3)
        expected = torch.rand(4), torch.rand(4, device=device)
        torch.manual_seed(3)
        with fork_rng(device):
            torch.rand(9), torch.rand(9, device=device)
        assert torch.equal(torch.rand(4), expected[0])
        assert torch.equal(torch.rand(4, device=device), expected[1])
        synchronize(device)
        reset_peak_memory(device)
        assert (peak_memory(device) is None) == (name != "cuda")
        assert device_name(device)


def test_the_simulated_device_is_waited_for_where_the_time_is_taken() -> None:
    with open_device("sim") as device, count_synchronizations() as found:
        synchronize(device)
    assert found == {"synchronize": 1}


class Draws(Model):
    """Its losses depend on what it draws on the device."""

    def build(self, info: object) -> None:
        self.layer = nn.Linear(4, 4)

    def optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 0.1)

    def training_step(self, batch: object) -> torch.Tensor:
        return self.layer(torch.randn(8, 4, device=self.layer.weight.device)).square().mean()


class CutOffError(Exception):
    """Ends a fit half-way."""


def fitted(name: str, checkpoint: Path, *, cut_off: bool = False) -> tuple[dict[str, torch.Tensor], int]:
    """The weights of a fit on the device, and how often it was resumed."""

    def notify(step: int, total: int, losses: dict[str, float]) -> None:
        if cut_off and 2 * step >= total:
            raise CutOffError

    with open_device(name) as device:
        torch.manual_seed(0)
        split = StoredSplit(Role.TRAIN, torch.zeros(32, 1, 2, 2, dtype=torch.uint8)).to(device)
        model = Draws(Draws.Config(epochs=3, batch_size=8), None).to(device)  # type: ignore[arg-type]
        loop = TrainingLoop(device=device, seed=0, checkpoint=checkpoint, checkpoint_seconds=0.0, notify=notify)
        if cut_off:
            with pytest.raises(CutOffError):
                loop.fit(model, split, None)
        else:
            loop.fit(model, split, None)
        return {key: value.cpu() for key, value in model.state_dict().items()}, loop.resumed


def test_a_checkpoint_holds_the_generator_of_the_device(tmp_path: Path) -> None:
    whole, _ = fitted("sim", tmp_path / "whole.pt")
    fitted("sim", tmp_path / "cut.pt", cut_off=True)
    resumed, times = fitted("sim", tmp_path / "cut.pt")
    assert times == 1
    assert all(torch.equal(resumed[key], value) for key, value in whole.items())


@pytest.mark.parametrize(("start", "end"), [("cpu", "sim"), ("sim", "cpu")])
def test_a_checkpoint_moves_between_devices_and_the_user_is_told(
    start: str, end: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fitted(start, tmp_path / "cut.pt", cut_off=True)
    weights, times = fitted(end, tmp_path / "cut.pt")
    assert times == 1
    assert all(bool(value.isfinite().all()) for value in weights.values())
    assert f"comes from '{start}': random numbers are drawn anew" in caplog.text


@pytest.mark.slow
def test_a_board_runs_on_the_simulated_device_is_killed_resumed_and_equals_the_cpu(toys: Path, tmp_path: Path) -> None:
    """None of its models draws from the global generator in its fit, and the kernels are the same: so are the bits."""
    (tmp_path / "toys.yaml").write_text(BOARD)
    options = ["--set", "epochs=20", "--set", "batch_size=8", "--checkpoint-seconds", "0.02", "--jobs", "1"]
    run = ["--plugin", str(toys), "run", str(tmp_path / "toys.yaml"), *options]
    assert main([*run, "--device", "cpu", "--out", str(tmp_path / "cpu")]) == 0

    process = Popen(
        [executable, "-m", "latentbench", *run, "--device", "sim", "--out", str(tmp_path / "sim")], stdout=DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "sim").glob(".work/*/checkpoint.pt")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert main([*run, "--device", "sim", "--out", str(tmp_path / "sim")]) == 0

    resumed = 0
    for path in (tmp_path / "cpu").glob("*/*/*.json"):
        here, there = read_record(path), read_record(tmp_path / "sim" / path.relative_to(tmp_path / "cpu"))
        assert (here.environment.device, there.environment.device) == ("cpu", "sim")
        assert there.result() == here.result()
        resumed += there.resumed
    assert resumed > 0, "no checkpoint was there when the command was killed: the test has become empty"
