"""The frame holds what the records hold, and says where a run has no such option."""

from pathlib import Path

import pandas as pd
import pytest

from latentbench.commands.cli import main
from latentbench.records.frame import values_frame
from latentbench.records.store import Store


def test_every_value_of_every_finished_run_is_a_line(toys: Path, tmp_path: Path) -> None:
    board = tmp_path / "toys.yaml"
    board.write_text(
        "name: toys\ntitle: Toys\ndatasets: [toy-blobs]\nmodels: [nan-scores, centre-distance, pca]\nseeds: 2\n"
        "rank: auroc@test\n"
    )
    assert main(["--plugin", str(toys), "run", str(board), "--out", str(tmp_path / "r"), "--jobs", "1"]) == 2

    frame = values_frame(str(tmp_path / "r"))  # as the README calls it
    pd.testing.assert_frame_equal(frame, values_frame(tmp_path / "r"))

    finished = [record for _, record in Store(tmp_path / "r").records() if record.status == "finished"]
    records = [record for record in finished if not record.spec.untrained]
    assert (len(records), len(finished)) == (4, 6)
    twins = values_frame(tmp_path / "r", untrained=True)
    assert set(twins["key"]) == {record.key for record in finished} - set(frame["key"])
    assert len(frame) == sum(len(record.values) for record in records)
    for record in records:
        lines = frame[frame["key"] == record.key].set_index("value_name")
        assert {name: lines.loc[name, "value"] for name in lines.index} == {
            name: value.value for name, value in record.values.items()
        }
        assert set(lines["seed"]) == {record.spec.seed}
    assert frame.loc[frame["model"] == "centre-distance", "model.latent_dim"].eq(4).all()
    assert frame.loc[frame["model"] == "pca", "model.latent_dim"].isna().all()
    means = frame[frame["value_name"] == "auroc@test"].groupby("model")["value"].mean()
    assert means["pca"] == pytest.approx(
        sum(record.values["auroc@test"].value for record in records if record.spec.model == "pca") / 2
    )


def test_a_folder_without_records_gives_an_empty_frame(tmp_path: Path) -> None:
    assert isinstance(values_frame(tmp_path), pd.DataFrame)
    assert values_frame(str(tmp_path)).empty
