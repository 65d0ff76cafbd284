"""The store keeps records whole, finds them by key, and trusts no file."""

import errno
import fcntl
import hashlib
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from latentbench.errors import LatentbenchError
from latentbench.files import StorageError
from latentbench.records.record import Environment, Failure, Record, Value
from latentbench.records.store import BusyError, Store, read_record
from latentbench.spec import RunSpec


def spec(**changes: object) -> RunSpec:
    fields: dict[str, object] = {
        "model": "m", "model_version": 1, "config": {"a": 1}, "dataset": "d", "dataset_version": 1, "options": {},
        "split_hash": "00", "seed": 0,
    }  # fmt: skip
    return RunSpec.model_validate({**fields, **changes})


def record(of: RunSpec, **changes: object) -> Record:
    where = Environment(python="3", platform="p", packages={}, cpu="c", threads=1, device="cpu", plugins={})
    value = Value(value=0.5, metric="auroc", version=1, title="AUROC", higher_is_better=True)
    fields: dict[str, object] = {
        "key": of.key, "status": "finished", "spec": of, "values": {"auroc@test": value}, "started": "s",
        "finished": "f", "environment": where,
    }  # fmt: skip
    return Record.model_validate({**fields, **changes})


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StorageError, match=r"^cannot lock .*lock: No locks available: choose a folder on another file"):
        Store(tmp_path).lock(spec()).__enter__()


@pytest.mark.parametrize(
    "change",
    [
        {"model": "n"}, {"model_version": 2}, {"config": {"a": 2}}, {"dataset": "e"}, {"dataset_version": 2},
        {"options": {"c": 0.9}}, {"split_hash": "01"}, {"seed": 1}, {"budget": {"max_steps": 5}},
        {"harness_version": 99},
    ],
)  # fmt: skip
def test_everything_that_can_change_a_result_changes_the_key(change: dict[str, object]) -> None:
    assert spec(**change).key != spec().key


def test_the_key_ignores_the_order_of_options() -> None:
    assert spec(config={"a": 1, "b": 2}).key == spec(config={"b": 2, "a": 1}).key


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    written = record(spec(), failure=Failure(type="E", message="m", traceback="t", log=["l"]), status="failed")
    store.save_record(written)
    assert store.read(spec()) == written
    assert [r for _, r in store.records()] == [written]
    assert store.find(spec().key[:6]) == (store.path(spec()), written)


def test_saving_the_record_drops_the_work_folder(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.lock(spec()):
        (store.work(spec()) / "checkpoint.pt").write_bytes(b"x")
        store.save_record(record(spec()))
    assert not store.work(spec()).exists()


def test_predictions_come_back_and_equal_arrays_give_equal_bytes(tmp_path: Path) -> None:
    scores = np.random.default_rng(0).random(1000).astype(np.float32)
    store = Store(tmp_path)
    artefact = store.save_predictions(spec(), {"test/score": scores, "test/predict/left": np.arange(3)})
    again = Store(tmp_path / "b").save_predictions(spec(), {"test/score": scores, "test/predict/left": np.arange(3)})
    assert artefact == again
    path = store.path(spec())
    assert artefact.sha256 == hashlib.sha256(path.with_suffix(".npz.xz").read_bytes()).hexdigest()
    found = store.predictions(path, record(spec(), predictions=artefact))
    assert list(found) == ["test/score", "test/predict/left"]  # in the order that they were given in
    np.testing.assert_array_equal(found["test/score"], scores)


def test_predictions_that_are_not_the_records_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    artefact = store.save_predictions(spec(), {"test/score": np.zeros(3)})
    path = store.path(spec())
    content = path.with_suffix(".npz.xz").read_bytes()
    path.with_suffix(".npz.xz").write_bytes(content[:-5])
    with pytest.raises(LatentbenchError, match=rf"its record expects {artefact.sha256}"):
        store.predictions(path, record(spec(), predictions=artefact))
    path.with_suffix(".npz.xz").unlink()
    with pytest.raises(LatentbenchError, match="No such file"):
        store.predictions(path, record(spec(), predictions=artefact))


def test_weights_are_safetensors_also_when_tensors_share_memory(tmp_path: Path) -> None:
    store = Store(tmp_path)
    shared = torch.arange(6.0)
    artefact = store.save_weights(spec(), {"a": shared, "b": shared[:3], "c": shared.reshape(2, 3).T})
    state = load_file(store.path(spec()).parent / artefact.file)
    torch.testing.assert_close(state["c"], shared.reshape(2, 3).T)
    torch.testing.assert_close(state["b"], shared[:3])


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"key": 1}', b"\x80\x04]q\x00.", b'{"schema_version": 2}'],
    ids=["empty", "cut", "list", "other", "pickle", "later"],
)
def test_a_file_that_is_no_record_is_left_out_with_a_warning(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    store.save_record(record(spec(seed=1)))
    bad = store.path(spec())
    bad.write_bytes(content)
    assert store.read(spec()) is None
    assert [r.spec.seed for _, r in store.records()] == [1]
    assert str(bad) in caplog.text
    with pytest.raises(LatentbenchError, match="is not a record of this version"):
        read_record(bad)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"seed": 0', '"seed": 4', "is not believed: its key is"),
        ('"auroc@test": 0.5', '"auroc@test": 8.0', "is not within the bounds"),
        ('"auroc@test": 0.5', '"auroc@test": "0.5"', "should be a valid number"),
        ('"a": 1', '"a": 1e400', "1e400 is not a finite number"),
    ],
)
def test_a_record_that_is_not_believed_counts_as_none_and_is_named(
    tmp_path: Path, old: str, new: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    value = Value(value=0.5, metric="auroc", version=1, title="AUROC", higher_is_better=True, bounds=(0.0, 1.0))
    store.save_record(record(spec(), values={"auroc@test": value}))
    path = store.path(spec())
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert store.read(spec()) is None
    assert list(store.records()) == []
    for line in caplog.messages:
        assert line.startswith(str(path))
        assert reason in line
    with pytest.raises(LatentbenchError, match=reason):
        store.find(spec().key)


@pytest.mark.parametrize("place", ["e/m/{key}.json", "d/n/{key}.json", "d/m/0123456789abcdef.json"])
def test_a_record_in_the_place_of_another_run_is_not_believed(tmp_path: Path, place: str) -> None:
    store = Store(tmp_path)
    store.save_record(record(spec()))
    other = tmp_path / place.format(key=spec().key)
    other.parent.mkdir(parents=True, exist_ok=True)
    store.path(spec()).rename(other)
    with pytest.raises(LatentbenchError, match="is not believed: its place is"):
        read_record(other)
    assert list(store.records()) == []


def test_targets_are_written_once_and_again_where_they_are_broken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    targets = {"facts": np.array("{}"), "test/anomaly": np.arange(50, dtype=np.uint8) % 2}
    artefact = store.save_targets(spec(), targets)
    path = tmp_path / "d" / artefact.file
    before = path.stat().st_mtime_ns
    assert store.save_targets(spec(seed=1), targets) == artefact
    assert path.stat().st_mtime_ns == before
    found = store.targets(store.path(spec()), record(spec(), targets=artefact))
    np.testing.assert_array_equal(found["test/anomaly"], targets["test/anomaly"])
    path.write_bytes(b"broken")
    assert store.save_targets(spec(), targets) == artefact
    assert "it is written again" in caplog.text


def test_a_key_prefix_must_name_one_run(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for seed in range(40):
        store.save_record(record(spec(seed=seed)))
    first, shared = Counter(path.stem[0] for path in store.paths()).most_common(1)[0]  # 40 keys, 16 digits
    with pytest.raises(LatentbenchError, match=rf"{shared} runs in .* with a key that begins with '{first}'"):
        store.find(first)
    with pytest.raises(LatentbenchError, match=r"no run in .* with a key that begins with ''"):
        store.find("")
    with pytest.raises(LatentbenchError, match=r"no run in .* 'xyz': a run is named by .*; 40 records are there"):
        store.find("xyz")


def _hold(root: Path, held: Callable[[], None], release: Callable[[], bool]) -> None:
    with Store(root).lock(spec()):
        held()
        release()


def test_a_run_is_held_by_one_process_and_let_go_by_a_killed_one(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held, release = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path, held.set, release.wait))
    process.start()
    assert held.wait(10)
    with (
        pytest.raises(BusyError, match="another process is carrying out m on d, seed 0"),
        Store(tmp_path).lock(spec(), 0.2),
    ):
        pass
    Store(tmp_path).clear_work(spec())
    assert (Store(tmp_path).work(spec()) / "lock").exists()
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with Store(tmp_path).lock(spec(), 5.0):
        assert (Store(tmp_path).work(spec()) / "lock").exists()
    Store(tmp_path).clear_work(spec())
    assert not Store(tmp_path).work(spec()).exists()
