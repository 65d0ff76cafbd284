"""Records that earlier versions wrote keep all that they say; those of later versions are refused and stay."""

import json
from pathlib import Path

import pytest

from latentbench.errors import LatentbenchError
from latentbench.records.form import decode, encode
from latentbench.records.migrate import NewerRecordError
from latentbench.records.store import Store, read_record

OLD = Path(__file__).parents[2] / "fixtures" / "records_schema_1"
FILES = sorted(OLD.glob("*/*/*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_a_record_of_schema_1_keeps_all_that_it_says(path: Path) -> None:
    written = json.loads(path.read_text())
    record = read_record(path)
    assert written["schema_version"] == 1
    assert (record.schema_version, record.written_by) == (2, written["environment"]["packages"]["latentbench"])
    for name, value in written["values"].items():
        found = record.values[name]
        assert {field: getattr(found, field) for field in value} == value
        assert (found.bounds, found.capability, found.measured) == (None, None, None)
    assert list(record.values) == list(written["values"])
    if "training" in written:
        assert record.training is not None
        assert record.training.losses == written["training"]["losses"]
    same = ("key", "spec", "unmeasured", "probe", "kmeans", "phases", "environment", "predictions", "weights")
    dumped = record.model_dump(mode="json", exclude_none=True)
    expected = {field: written[field] for field in same if field in written}
    assert {field: dumped[field] for field in expected} == expected
    assert decode(encode(record)) == record


def test_a_folder_of_old_records_is_read_whole(caplog: pytest.LogCaptureFixture) -> None:
    store = Store(OLD)
    assert [path for path, _ in store.records()] == FILES
    assert caplog.text == ""
    (path, record) = next((path, record) for path, record in store.records() if record.spec.dataset == "ood")
    assert store.predictions(path, record)["test/score"].shape == (4230,)


def test_an_old_record_whose_values_contradict_each_other_is_refused(tmp_path: Path) -> None:
    source = next(path for path in FILES if path.parent.parent.name == "scenes")
    document = json.loads(source.read_text())
    next(value for name, value in document["values"].items() if name.startswith("ari["))["version"] = 7
    with pytest.raises(LatentbenchError, match=r"is not a record of schema 1: value 'ari.* has other facts"):
        decode(json.dumps(document).encode())


def test_a_later_schema_is_refused_with_the_version_that_wrote_it(tmp_path: Path) -> None:
    record = read_record(FILES[0])
    path = Store(tmp_path).path(record.spec)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"schema_version": 3, "written_by": "0.9.1", "new": "meaning"}))
    with pytest.raises(
        NewerRecordError, match=r"it has schema 3, written by latentbench 0\.9\.1: .*update latentbench"
    ):
        Store(tmp_path).read(record.spec)  # a run would write over it
    assert list(Store(tmp_path).records()) == []


@pytest.mark.parametrize("version", [0, -1, 1.0, "2", True, None])
def test_what_is_no_version_is_refused(version: object) -> None:
    with pytest.raises(LatentbenchError, match="'schema_version' is"):
        decode(json.dumps({"schema_version": version}).encode())
