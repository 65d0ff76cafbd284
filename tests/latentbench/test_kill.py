"""A run that is killed at any instant, and started again, ends as if nothing had happened."""

import hashlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from latentbench.commands.cli import main
from latentbench.records.store import Store, read_record

pytestmark = pytest.mark.slow

BOARD = """\
name: toys
title: Toys
datasets: [{name: toy-blobs, options: {size: 400}}]
models: [centre-distance, pca]
seeds: 1
rank: auroc@test
"""
#: Many updates and checkpoints, so that most instants fall between two of them; and so few images that no time goes to
#: metrics of samples.
OPTIONS = ["--set", "epochs=60", "--checkpoint-seconds", "0.02"]

#: Kills the command without killing the imports before it: the process is forked when they are done.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        "latentbench.running.execute",
        "latentbench.running.plan",
        "latentbench_metrics.fidelity",
        "torch._dynamo",
        "sklearn.cluster",
        "sklearn.linear_model",
        "sklearn.neighbors",
    ]
)


def _start(folder: Path, toys: Path, out: str, executor: str) -> multiprocessing.process.BaseProcess:
    arguments = ["--plugin", str(toys), "run", str(folder / "toys.yaml"), "--out", str(folder / out), "--jobs", "1"]
    process = _context.Process(target=main, args=([*arguments, *OPTIONS, "--executor", executor],))
    process.start()
    return process


def results(out: Path) -> dict[str, dict[str, object]]:
    """What must be equal, by key; on the way every file outside the work folders is checked to be whole."""
    found = {}
    for path in out.glob("[!.]*/*/*"):
        if path.suffix == ".json":
            record = read_record(path)
            pictures = {name: artefact.sha256 for name, artefact in record.artefacts.items()}
            found[path.stem] = record.result() | {"pictures": pictures}
            assert bool(pictures) is not record.spec.untrained
            for artefact in record.artefacts.values():
                assert hashlib.sha256(path.with_name(artefact.file).read_bytes()).hexdigest() == artefact.sha256
            Store(out).predictions(path, record)
            assert record.weights is not None
            weights = path.with_name(record.weights.file).read_bytes()
            assert hashlib.sha256(weights).hexdigest() == record.weights.sha256
        else:
            assert path.name.endswith((".npz.xz", ".safetensors", ".png")), path
    return found


@pytest.mark.parametrize(
    ("executor", "instants"),
    [("here", 3), ("local", 3), pytest.param("local", 40, marks=[pytest.mark.long, pytest.mark.timeout(3600)])],
)
def test_killed_at_any_instant_the_records_are_those_of_an_uninterrupted_run(
    executor: str, instants: int, tmp_path: Path, toys: Path
) -> None:
    """The process that writes is killed itself (``here``), or the one above it, after which it ends (``local``)."""
    (tmp_path / "toys.yaml").write_text(BOARD)
    for out in ("first", "whole"):  # the first one pays for what a process does once
        start = time.monotonic()
        process = _start(tmp_path, toys, out, executor)
        process.join()
        duration = time.monotonic() - start
    whole = results(tmp_path / "whole")
    assert len(whole) == 3  # one is an untrained twin

    draw = random.Random(0)
    resumed = 0
    for number in range(instants):
        out = f"killed-{number}"
        process = _start(tmp_path, toys, out, executor)
        if number % 2:  # most of a command's time is its start, so every other instant is one after a checkpoint
            while process.is_alive() and not list((tmp_path / out).glob(".work/*/checkpoint.pt")):
                time.sleep(0.002)
            time.sleep(draw.uniform(0, 0.2))
        else:
            time.sleep(draw.uniform(0, duration))
        process.kill()
        process.join()
        partial = results(tmp_path / out)
        assert partial.items() <= whole.items()

        process = _start(tmp_path, toys, out, executor)
        process.join()
        assert results(tmp_path / out) == whole
        assert not list((tmp_path / out / ".work").iterdir())
        resumed += sum(record.resumed for _, record in Store(tmp_path / out).records())
    assert resumed > 0, "no instant fell between two checkpoints: the test has become empty"


def _alive(mark: str) -> list[int]:
    """Processes whose environment holds ``mark``."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:  # gone, or not ours
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("seconds", [3.0, 6.0])
def test_a_killed_command_leaves_no_worker_behind(tmp_path: Path, toys: Path, seconds: float) -> None:
    (tmp_path / "toys.yaml").write_text(BOARD)
    command = [sys.executable, "-m", "latentbench", "--plugin", str(toys), "run", "toys.yaml", "--jobs", "2", *OPTIONS]
    mark = uuid.uuid4().hex
    environment = {**os.environ, "LATENTBENCH_TEST_MARK": mark}
    process = subprocess.Popen(
        [*command, "--set", "centre-distance.epochs=2000"], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        time.sleep(seconds)
        process.kill()
        process.wait()
        deadline = time.monotonic() + 20
        while _alive(mark) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert _alive(mark) == []
    finally:
        for pid in _alive(mark):
            os.kill(pid, signal.SIGKILL)
    assert main(["--plugin", str(toys), "run", str(tmp_path / "toys.yaml"), "--out", str(tmp_path / "results")]) == 0


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
def test_a_run_that_ignores_interrupts_ends_in_order_when_it_is_terminated(tmp_path: Path, toys: Path) -> None:
    """As a script's background job does: it leaves no process behind, and what it did is resumed."""
    (tmp_path / "toys.yaml").write_text(BOARD.replace(", pca", ""))
    arguments = [
        "--plugin",
        str(toys),
        "run",
        str(tmp_path / "toys.yaml"),
        "--out",
        str(tmp_path / "out"),
        "--jobs",
        "1",
    ]
    command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-m", "latentbench", *arguments]
    mark = uuid.uuid4().hex
    with subprocess.Popen(
        [*command, "--set", "epochs=100000", "--checkpoint-seconds", "0.02"], start_new_session=True,
        env={**os.environ, "LATENTBENCH_TEST_MARK": mark}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stderr is not None
        while not list((tmp_path / "out").glob(".work/*/checkpoint.pt")):
            assert child.poll() is None
            time.sleep(0.1)
        os.killpg(child.pid, signal.SIGINT)
        time.sleep(0.5)
        assert child.poll() is None
        child.terminate()
        assert child.wait(timeout=60) == 143
        assert (
            "latentbench: error: terminated: what is finished is kept, and the same command resum"
            in child.stderr.read()
        )
    deadline = time.monotonic() + 30
    while _alive(mark):
        assert time.monotonic() < deadline, "a process of it is left"
        time.sleep(0.1)
    assert not list((tmp_path / "out").glob("*/*/*.json"))
    (checkpoint,) = (tmp_path / "out").glob(".work/*/checkpoint.pt")
    assert checkpoint.stat().st_size > 0
