"""A lineup beside the records: written and read again as it was, and what is kept of models that are not here."""

import json
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentbench.boards.board import Board, find_board
from latentbench.boards.lineup import Lineup, lineup_path, read_lineup, write_lineup
from latentbench.errors import LatentbenchError
from latentbench.plugins.registry import Plugins

BOARD = Board.model_validate(
    {
        "name": "b",
        "title": "t",
        "rank": "a@b",
        "datasets": ["d", {"name": "e", "label": "two"}],
        "variants": [{"model": "vae", "label": "vae-2d"}],
    }
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
CONFIGS = st.dictionaries(st.text(), JSON, max_size=4)


@given(
    st.builds(
        Lineup,
        datasets=st.dictionaries(st.sampled_from(["d", "two"]), CONFIGS),
        rows=st.dictionaries(st.sampled_from(["d", "two"]), st.dictionaries(st.text(), CONFIGS, min_size=1)),
    )
)
def test_what_is_written_is_what_is_read(tmp_path_factory: pytest.TempPathFactory, lineup: Lineup) -> None:
    results = tmp_path_factory.mktemp("results")
    write_lineup(results, BOARD, lineup)
    assert read_lineup(results, BOARD) == lineup
    before = lineup_path(results, BOARD).read_bytes()
    backwards = Lineup(datasets=dict(reversed([*lineup.datasets.items()])), rows=dict(reversed([*lineup.rows.items()])))
    write_lineup(results, BOARD, backwards)
    assert lineup_path(results, BOARD).read_bytes() == before


def test_a_lineup_that_stays_as_it_is_is_not_written_again(tmp_path: Path) -> None:
    write_lineup(tmp_path, BOARD, Lineup(rows={"d": {"vae": {"a": 1}}}))
    before = lineup_path(tmp_path, BOARD).stat()
    write_lineup(tmp_path, BOARD, Lineup(rows={"d": {"vae": {"a": 1}}}))
    assert lineup_path(tmp_path, BOARD).stat().st_ino == before.st_ino
    write_lineup(tmp_path, BOARD, Lineup(rows={"d": {"vae": {"a": 2}}}))
    assert lineup_path(tmp_path, BOARD).stat().st_ino != before.st_ino


def test_without_a_file_there_is_no_lineup(tmp_path: Path) -> None:
    assert read_lineup(tmp_path, BOARD) == Lineup()


def test_models_that_are_not_here_keep_their_settings_and_what_the_board_names_no_more_goes(tmp_path: Path) -> None:
    vae = {"latent_dim": 3}
    stranger = {"depth": 5}
    rows = {"d": {"vae": vae, "stranger": stranger, "vae-2d": {"latent_dim": 1}}}
    write_lineup(tmp_path, BOARD, Lineup(datasets={"d": {"size": 8}, "two": {"size": 9}}, rows=rows))
    rows = {"d": {"vae": {"latent_dim": 4}}, "two": {"vae": vae}}
    write_lineup(tmp_path, BOARD, Lineup(datasets={"d": {"size": 16}}, rows=rows))
    assert read_lineup(tmp_path, BOARD) == Lineup(
        datasets={"d": {"size": 16}, "two": {"size": 9}},
        rows={"d": {"stranger": stranger, "vae": {"latent_dim": 4}}, "two": {"vae": vae}},
    )
    fewer = BOARD.model_copy(update={"models": ["ae"], "variants": [], "datasets": BOARD.datasets[:1]})
    write_lineup(tmp_path, fewer, Lineup(rows={"d": {"ae": vae}}))
    assert read_lineup(tmp_path, BOARD) == Lineup(datasets={"d": {"size": 16}}, rows={"d": {"ae": vae}})


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"rows": {"d": 3}}', '{"rows": {"d": {"vae": []}}}', '{"d": {"vae": {}}}', "\xff"]
)
def test_a_file_that_is_no_lineup_is_named_with_the_command_that_writes_it_and_is_written_anew(
    tmp_path: Path, text: str
) -> None:
    path = lineup_path(tmp_path, BOARD)
    path.write_text(text, encoding="latin-1")
    with pytest.raises(LatentbenchError) as caught:
        read_lineup(tmp_path, BOARD)
    assert str(caught.value).startswith(f"{path} is no lineup: ")
    assert str(caught.value).endswith(f": write it again with: latentbench plan b --out {tmp_path}")
    assert "\n" not in str(caught.value)
    write_lineup(tmp_path, BOARD, Lineup(rows={"d": {"vae": {"a": 1}}}))
    assert json.loads(path.read_text()) == {"datasets": {}, "rows": {"d": {"vae": {"a": 1}}}}


def test_the_command_that_writes_a_damaged_lineup_again_names_the_board_as_it_was_asked_for(tmp_path: Path) -> None:
    file, results = tmp_path / "my b.yml", tmp_path / "my results"
    file.write_text("name: my b\ntitle: t\nrank: a@b\ndatasets: [d]\n")
    board = find_board(str(file), Plugins([]))
    results.mkdir()
    lineup_path(results, board).write_text("[]")
    with pytest.raises(LatentbenchError) as caught:
        read_lineup(results, board)
    words = shlex.split(str(caught.value).partition("write it again with: ")[2])
    assert words == ["latentbench", "plan", str(file), "--out", str(results)]
