"""A record's file: the same record comes back, small and reviewable, and what contradicts the schema does not."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentbench.errors import LatentbenchError
from latentbench.records.form import decode, encode
from latentbench.records.record import Environment, Failure, Record, Training, Value
from latentbench.spec import RunSpec

SPEC = RunSpec(
    model="m", model_version=1, config={"a": 1, "b": [1, 2]}, dataset="d", dataset_version=1, options={},
    split_hash="00", seed=0,
)  # fmt: skip
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def value(number: float, metric: str = "auroc", **facts: Any) -> Value:
    return Value.model_validate(
        {"value": number, "metric": metric, "version": 1, "title": metric, "higher_is_better": True, **facts}
    )


def record(**changes: Any) -> Record:
    where = Environment(python="3", platform="p", packages={}, cpu="c", threads=1, device="cpu", plugins={})
    fields = {
        "key": SPEC.key, "status": "finished", "spec": SPEC, "started": "s", "finished": "f", "environment": where,
        "values": {"auroc@test": value(0.5, bounds=(0.0, 1.0)), "auroc[kl]@test": value(1.0, bounds=(0.0, 1.0))},
    }  # fmt: skip
    return Record(**{**fields, **changes})


@given(
    st.lists(st.dictionaries(st.sampled_from(["loss", "kl", "validation"]), FLOATS, min_size=1)),
    st.dictionaries(st.sampled_from(["gap@test", "gap[x]@test/c", "size@test"]), FLOATS),
)
def test_losses_and_values_come_back_bit_for_bit(epochs: list[dict[str, float]], numbers: dict[str, float]) -> None:
    training = Training(steps=1, epochs=len(epochs), stopped="epochs", losses=epochs)
    values = {name: value(number, name.partition("@")[0].partition("[")[0]) for name, number in numbers.items()}
    written = record(training=training, values=values)
    read = decode(encode(written))
    assert read == written
    assert encode(read) == encode(written)  # where 0.0 is not -0.0


def test_a_byte_of_a_file_name_that_is_no_utf8_stands_as_its_escape_and_comes_back() -> None:
    failure = Failure(type="OSError", message="cannot read ma\udcdf.png", traceback="")
    written = record(status="failed", values={}, failure=failure)
    assert b"ma\\udcdf.png" in encode(written)
    assert decode(encode(written)) == written


def test_facts_stand_once_and_the_losses_of_a_name_on_one_line() -> None:
    losses = [{"loss": 1 / (epoch + 3), "validation": 0.1 * epoch} for epoch in range(200)]
    text = encode(record(training=Training(steps=9, epochs=200, stopped="epochs", losses=losses))).decode()
    assert text.count('"title"') == 1
    document = json.loads(text)
    assert document["values"] == {"auroc@test": 0.5, "auroc[kl]@test": 1.0}
    assert document["metrics"]["auroc"]["bounds"] == [0.0, 1.0]
    (line,) = [line for line in text.splitlines() if '"loss"' in line]
    assert json.loads("{" + line.strip().rstrip(",") + "}")["loss"] == [epoch["loss"] for epoch in losses]


def test_values_of_one_metric_that_were_read_by_several_readouts_keep_theirs() -> None:
    values = {"auroc@test": value(0.5, readout="knn"), "auroc[mahalanobis]@test": value(0.6, readout="mahalanobis")}
    written = record(values=values)
    assert json.loads(encode(written))["readouts"] == {"auroc[mahalanobis]@test": "mahalanobis"}
    assert decode(encode(written)) == written


def _edit(document: dict[str, Any], *path: str, to: Any) -> str:
    *folders, last = path
    part = document
    for folder in folders:
        part = part[folder]
    part[last] = to
    return json.dumps(document)


@pytest.mark.parametrize(
    ("path", "to", "message"),
    [
        (("values", "auroc@test"), "0.5", "valid number"),
        (("values", "auroc@test"), True, "valid number"),
        (("values", "auroc@test"), 8.0, "not within the bounds 0.0 to 1.0 of metric 'auroc'"),
        (("values", "auroc@test"), -1e-9, "not within the bounds"),
        (("values", "other@test"), 0.5, "no facts of value 'other@test'"),
        (("values", "no name"), 0.5, "not the name of a value"),
        (("values",), [], "should be objects"),
        (("metrics", "auroc", "version"), "1", "valid integer"),
        (("metrics", "auroc", "value"), 0.9, "no facts of value"),
        (("metrics", "f1"), {"version": 1, "title": "F1", "higher_is_better": True}, "no value is of metric 'f1'"),
        (("spec", "seed"), "0", "valid integer"),
        (("spec", "seed"), 0.0, "valid integer"),
        (("resumed",), -1, "greater than or equal to 0"),
        (("predictions",), {"file": "../../x.npz", "sha256": "0" * 64}, "match pattern"),
        (("unknown",), 1, "Extra inputs"),
    ],
    ids=str,
)
def test_what_the_schema_does_not_allow_is_refused_in_one_line(path: tuple[str, ...], to: Any, message: str) -> None:
    with pytest.raises(LatentbenchError, match=message) as caught:
        decode(_edit(json.loads(encode(record())), *path, to=to).encode())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e999"])
@pytest.mark.parametrize("place", ['"a": 1', '"auroc@test": 0.5'])
def test_numbers_that_no_float_holds_are_refused_wherever_they_stand(number: str, place: str) -> None:
    text = encode(record()).decode()
    assert place in text
    with pytest.raises(LatentbenchError, match="is not a finite number"):
        decode(text.replace(place, f"{place.rpartition(' ')[0]} {number}").encode())


def test_a_key_that_is_there_twice_is_refused() -> None:
    text = encode(record()).decode().replace('"auroc@test": 0.5', '"auroc@test": 0.5, "auroc@test": 0.9')
    with pytest.raises(LatentbenchError, match="the key 'auroc@test' is there twice"):
        decode(text.encode())
