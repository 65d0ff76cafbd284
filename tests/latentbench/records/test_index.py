"""The index gives what the records give, believes contents and nothing else, and is made again where it is in doubt."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.latentbench.boards.test_references import ERROR, RANK, run, runs

from latentbench.records import index as module
from latentbench.records.index import index_path, indexed_records, indexed_replicates
from latentbench.records.record import Artefact, BatchDependence, Record, Value
from latentbench.records.replicates import REPLICATES, read_replicates, replicates_path, write_replicates
from latentbench.records.store import Store, read_record
from latentbench.records.values import numbers_of

COMMITTED = Path(__file__).parents[3] / "leaderboards" / "results"
KEPT = ("key", "spec", "status", "null", "deterministic", "environment", "predictions", "targets", "finished", "facts")


def with_files(record: Record, digit: str = "0") -> Record:
    """The record, naming a file of predictions that is not there."""
    predictions = Artefact(file=f"{record.key}.npz.xz", sha256=digit * 64)
    return record.model_copy(update={"predictions": predictions})


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are parsed as records."""
    found: list[Path] = []
    read = read_record

    def noting(path: Path, content: bytes | None = None) -> Record:
        found.append(path)
        return read(path, content)

    monkeypatch.setattr(module, "read_record", noting)
    return found


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "results")
    for record in (*runs("m", [0.1, 0.2, 0.3]), *runs("x", [0.4], dataset="e", null=True)):
        store.save_record(record)
    return store


def numbers(store: Store, *names: str) -> dict[str, dict[str, float]]:
    found = indexed_records(store, names or (RANK,))
    return {record.key: {name: value.value for name, value in record.values.items()} for record in found}


def test_indexed_records_are_the_records_as_far_as_they_go(parsed: list[Path]) -> None:
    """The committed ones, with all their values, when the index is made and when it is there."""
    store = Store(COMMITTED)
    full = dict(list(store.records())[:60])
    datasets = {record.spec.dataset for record in full.values()}
    names = {name for record in full.values() for name in record.values}
    for _ in range(2):
        found = {one.key: one for one in indexed_records(store, names, datasets)}
        for record in full.values():
            one = found[record.key]
            assert {name: getattr(one, name) for name in KEPT} == {name: getattr(record, name) for name in KEPT}
            assert one.values == record.values
            assert one.transductive == record.transductive
            assert one.spec.key == record.key
            assert one.training is None
    assert len(parsed) == len(set(parsed))


def test_nothing_is_parsed_twice_and_what_changed_is_parsed_again(store: Store, parsed: list[Path]) -> None:
    before = numbers(store)
    assert len(parsed) == len(before) == 4
    assert numbers(store) == before
    assert len(parsed) == 4
    path = store.paths()[0]
    changed = path.read_text().replace(f'"{RANK}": 0.', f'"{RANK}": 0.9')
    path.write_text(changed)
    after = numbers(store)
    assert {key for key in after if after[key] != before[key]} == {path.stem}
    assert parsed[4:] == [path]


def test_a_file_of_the_same_size_and_times_is_not_taken_for_the_old_one(store: Store) -> None:
    path, stamp = store.paths()[0], store.paths()[0].stat()
    before = numbers(store)[path.stem][RANK]
    path.write_text(path.read_text().replace(f'"{RANK}": {before}', f'"{RANK}": {before + 0.5}'))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stamp.st_size, stamp.st_mtime_ns)
    assert numbers(store)[path.stem][RANK] == pytest.approx(before + 0.5)


def test_a_record_at_another_place_is_not_believed_though_its_content_is_known(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    numbers(store)
    path = store.paths()[0]
    stray = path.with_name("0123456789abcdef.json")
    stray.write_bytes(path.read_bytes())
    assert stray.stem not in numbers(store)
    assert "is not believed: its place is" in caplog.text


def test_a_file_that_is_no_record_is_warned_of_each_time(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    path = store.paths()[0]
    path.write_text(path.read_text()[:-40])
    for _ in range(2):
        caplog.clear()
        assert path.stem not in numbers(store)
        assert "is not a record of this version" in caplog.text
    newer = json.loads(store.paths()[1].read_text()) | {"schema_version": 99}
    store.paths()[1].write_text(json.dumps(newer))
    numbers(store)
    assert "it has schema 99" in caplog.text


def test_a_removed_record_is_gone_and_one_of_another_dataset_is_left_alone(store: Store, parsed: list[Path]) -> None:
    numbers(store)
    removed, kept = store.paths()[0], store.paths()[-1]
    assert (removed.parts[-3], kept.parts[-3]) == ("d", "e")
    removed.unlink()
    assert {record.key for record in indexed_records(store, (), {"d"})} == {
        path.stem for path in store.paths() if path.parts[-3] == "d"
    }
    assert set(numbers(store)) == {path.stem for path in store.paths()}
    assert len(parsed) == 4


def test_other_values_of_an_indexed_record_need_no_parsing(tmp_path: Path, parsed: list[Path]) -> None:
    store = Store(tmp_path / "results")
    store.save_record(run("m", 0.5, error=0.25))
    assert [*numbers(store).values()] == [{RANK: 0.5}]
    assert [*numbers(store, ERROR, "none@test").values()] == [{ERROR: 0.25}]
    assert [*numbers(store, ERROR, RANK).values()] == [{RANK: 0.5, ERROR: 0.25}]
    assert len(parsed) == 1


def test_what_makes_a_run_transductive_is_kept(tmp_path: Path) -> None:
    batches = {
        "score": BatchDependence(change=0.5, split="test", transductive=True),
        "encode": BatchDependence(change=1e-7, split="test", transductive=False),
    }
    store = Store(tmp_path / "results")
    store.save_record(run("m", 0.5, batches=batches))
    (found,) = indexed_records(store, [RANK])
    assert found.transductive == {"score": 0.5}


def test_what_a_model_tells_of_itself_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    for seed, facts in enumerate(({"bound": 1.5}, {"bound": 2.5, "spread": 1e-300}, {})):
        store.save_record(run("m", 0.5, seed).model_copy(update={"facts": facts}))
    for _ in range(2):
        found = {record.spec.seed: record.facts for record in indexed_records(store, [RANK])}
        assert found == {0: {"bound": 1.5}, 1: {"bound": 2.5, "spread": 1e-300}, 2: {}}


def test_facts_of_values_that_differ_are_kept_apart(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    for seed, version in enumerate((1, 2)):
        value = Value(value=0.5, metric="accuracy", version=version, title=f"t{seed}", higher_is_better=True)
        store.save_record(run("m", 0.5, seed).model_copy(update={"values": {RANK: value}}))
    found = {one.spec.seed: one.values[RANK] for one in indexed_records(store, [RANK])}
    assert {seed: (value.version, value.title) for seed, value in found.items()} == {0: (1, "t0"), 1: (2, "t1")}


def test_a_number_is_that_of_the_value_in_its_version_and_by_its_code(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    value = Value(value=0.5, metric="accuracy", version=2, title="t", higher_is_better=True, plugin="toys 1")
    store.save_record(run("m", 0.5).model_copy(update={"values": {RANK: value}}))
    for record in (*(one for _, one in store.records()), *indexed_records(store, [RANK])):
        assert numbers_of([record], RANK, 2, "toys 1") == [(record, 0.5)]
        assert numbers_of([record], RANK, 1, "toys 1") == []
        assert numbers_of([record], RANK, 2, None) == []
        assert numbers_of([record], ERROR, 2, "toys 1") == []


def test_numbers_of_records_whose_facts_differ_are_told_apart(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    for seed, version in enumerate((2, 2, 1, 2)):
        value = Value(value=seed / 10, metric="accuracy", version=version, title="t", higher_is_better=True)
        store.save_record(run("m", 0.5, seed).model_copy(update={"values": {RANK: value}}))
    parsed, indexed = [one for _, one in store.records()], indexed_records(store, [RANK])
    for records in (parsed, indexed, [*parsed, *indexed], [*indexed, *parsed]):
        found = [(one.spec.seed, number) for one, number in numbers_of(records, RANK, 2, None)]
        assert found == [(one.spec.seed, one.spec.seed / 10) for one in records if one.spec.seed != 2]


def test_an_index_that_is_damaged_or_of_other_code_is_made_again(
    store: Store, parsed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = numbers(store)
    for damaged in (b"no database", b"", index_path(store).read_bytes()[:5000]):
        parsed.clear()
        index_path(store).write_bytes(damaged)
        assert numbers(store) == before
        assert len(parsed) == 4
    parsed.clear()
    monkeypatch.setattr(module, "_code", lambda: "other code")
    assert numbers(store) == before
    assert len(parsed) == 4


def test_without_a_folder_for_the_index_the_records_are_read_all_the_same(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LATENTBENCH_CACHE", str(tmp_path / "file"))
    assert len(numbers(store)) == 4


def test_two_processes_may_make_the_index_at_once(store: Store, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from latentbench.records.index import indexed_records; "
        "from latentbench.records.store import Store; "
        f"print(len(indexed_records(Store(Path({str(store.root)!r})), ['{RANK}'])), 'torch' in sys.modules)"
    )
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [one.communicate()[0].split() for one in both] == [["4", "False"]] * 2
    assert len(numbers(store)) == 4


# Replicates


def test_replicates_are_those_of_their_files_and_of_the_record_s_own_predictions(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    record = with_files(run("m", 0.5, error=0.25))
    store.save_record(record)
    write_replicates(store, record, {RANK: np.linspace(0, 1, REPLICATES), ERROR: np.zeros(REPLICATES)})
    for _ in range(2):
        for names in ((RANK,), (ERROR, RANK)):
            (lean,) = indexed_records(store, names)
            found = indexed_replicates(store, [lean])[record.key]
            expected = {name: array for name, array in read_replicates(store, record).items() if name in names}
            assert found.keys() == expected.keys()
            assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert indexed_replicates(store, [with_files(record, "2")]) == {record.key: {}}


def test_a_changed_or_damaged_file_of_replicates_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path / "results")
    record = with_files(run("m", 0.5))
    write_replicates(store, record, {RANK: np.zeros(REPLICATES)})
    assert indexed_replicates(store, [record])[record.key][RANK].sum() == 0
    write_replicates(store, record, {RANK: np.ones(REPLICATES)})
    assert indexed_replicates(store, [record])[record.key][RANK].sum() == REPLICATES
    replicates_path(store, record).write_bytes(b"nothing")
    with caplog.at_level(logging.WARNING):
        assert indexed_replicates(store, [record]) == {}
    assert "is no file of named arrays" in caplog.text
    assert indexed_replicates(store, [run("m", 0.5, seed=7)]) == {}
