"""Digests of record files that a process beside this one takes: of the files as they are, as far as it has come."""

import hashlib
import os
import tempfile
from pathlib import Path

import pytest
from tests.latentbench.boards.test_references import RANK, run, runs

from latentbench.files import content_of
from latentbench.records import index
from latentbench.records.digests import digested_meanwhile, record_places
from latentbench.records.index import indexed_records
from latentbench.records.store import Store

COUNT = 5


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "results")
    for record in runs("m", [0.1 * number for number in range(COUNT)]):
        store.save_record(record)
    return store


def true_digests(store: Store) -> dict[str, str]:
    return {place: hashlib.sha256((store.root / place).read_bytes()).hexdigest() for place in store.places()}


def wait() -> None:
    """Until the process beside this one has ended by itself; it stays to be collected."""
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)


def test_they_are_those_of_all_record_files(store: Store) -> None:
    (store.root / ".work" / "m").mkdir(parents=True)
    (store.root / ".work" / "m" / "x.json").write_text("no record")
    (store.root / "d" / "m" / "x.npz.xz").write_text("no record")
    (store.root / "d" / "m" / "a\nb\udcff.json").write_text("a name that is no text")
    with digested_meanwhile(store.root) as digests:
        wait()
        assert digests() == true_digests(store)
        assert len(digests()) == COUNT + 1
    assert [*record_places(store.root)] == store.places()


def test_a_process_that_is_ended_early_has_told_nothing_wrong(store: Store) -> None:
    for _ in range(10):
        with digested_meanwhile(store.root) as digests:
            assert digests().items() <= true_digests(store).items()


def test_the_process_is_gone_when_the_block_ends(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    fork = os.fork

    def noting() -> int:
        begun.append(fork())
        return begun[-1]

    monkeypatch.setattr(os, "fork", noting)
    with pytest.raises(KeyboardInterrupt), digested_meanwhile(store.root):
        raise KeyboardInterrupt
    with pytest.raises(ChildProcessError):
        os.waitpid(begun[0], 0)


@pytest.mark.parametrize("lacking", ["fork", "files"])
def test_without_a_second_process_there_are_none(store: Store, monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    def refuse() -> None:
        raise OSError("no more of them")

    if lacking == "fork":
        monkeypatch.setattr(os, "fork", refuse)
    else:
        monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with digested_meanwhile(store.root) as digests:
        assert digests() == {}


def test_from_a_file_that_cannot_be_read_on_there_are_none(store: Store) -> None:
    first, second, *_ = store.places()
    (store.root / second).unlink()
    (store.root / second).symlink_to("nowhere")
    with digested_meanwhile(store.root) as digests:
        wait()
        assert [*digests()] == [first]
        assert len(indexed_records(store, [RANK], digests=digests)) == COUNT - 1


def test_the_index_believes_what_it_has_of_such_a_file_and_reads_any_other_itself(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed_records(store, [RANK])
    taken = true_digests(store)
    record = run("m", 0.9, seed=1)
    store.save_record(record)
    now = true_digests(store)
    read: list[str] = []

    def noting(path: str) -> bytes:
        read.append(path)
        return content_of(path)

    monkeypatch.setattr(index, "content_of", noting)
    assert [one.values[RANK].value for one in indexed_records(store, [RANK], digests=lambda: now)].count(0.9) == 1
    assert read == [str(store.path(record.spec))]
    some = dict([*now.items()][:2])
    indexed_records(store, [RANK], digests=lambda: some)
    assert read[1:] == [str(store.root / place) for place in [*now][2:]]
    wrong = dict.fromkeys(taken, "0" * 64)
    found = indexed_records(store, [RANK], digests=lambda: wrong)
    assert [one.key for one in found] == [one.key for one in indexed_records(store, [RANK])]
