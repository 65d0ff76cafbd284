"""Boards of several datasets, from image files to tables: of parts of one's own, and what there is of MVTec AD."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import latentbench_boards
from latentbench.commands.cli import main
from latentbench.files import CACHE_VARIABLE
from latentbench.records.store import Store

BOARDS = Path(latentbench_boards.__file__).parent
PARTS = """\
name: my-parts
title: Parts of my own
datasets:
  - {name: mvtec-like, label: gear, options: {folder: parts/gear}}
  - {name: mvtec-like, label: nut, options: {folder: parts/nut}, optional: true}
rank: auroc@test
columns: [pixel-auroc@test, pixel-ap@test, aupro30@test, aupro5@test, missing-masks@test]
average: true
models: []
"""
VARIANT = "variants: [{model: pca, label: pca-2, options: {components: 2}}]\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-parts.yaml").write_text(PARTS + VARIANT)
    return tmp_path


@pytest.mark.parametrize(
    "name", ["celeba", "celeba-subset", "facets", "magnetic-tile", "mnist-shift", "mvtec-ad", "ood"]
)
def test_beside_beta_vae_stands_a_row_of_its_likelihood_with_beta_one(name: str) -> None:
    from latentbench.boards.board import load_board
    from latentbench_autoencoders.beta_vae import BetaVAE
    from latentbench_autoencoders.vae import VAE

    board = load_board(BOARDS / f"{name}.yaml")
    for entry in board.datasets:
        rows = [v for v in board.variants_on(entry) if (v.model, v.options) == ("beta-vae", {"beta": 1})]
        options = BetaVAE.configure(entry.name, {"beta": 1}).model_dump()
        same_as_vae = (
            VAE.configure(entry.name, {}).model_dump().items()
            >= {option: value for option, value in options.items() if option not in ("beta", "sigma")}.items()
        )
        assert len(rows) == (not same_as_vae), entry.label


def make_part(folder: Path, *, masks: int) -> None:
    """Images of one dim brightness each; a defect is a white square, and the first ``masks`` of them have a mask."""
    draw = np.random.default_rng(len(folder.name))
    for kind, count in {"train/good": 12, "test/good": 4, "test/dent": 4}.items():
        (folder / kind).mkdir(parents=True)
        for number in range(count):
            image = np.full((24, 24), draw.integers(40, 80), np.uint8) + draw.integers(0, 8, (24, 24), dtype=np.uint8)
            if kind == "test/dent":
                image[4 + number : 10 + number, 8:14] = 255
            Image.fromarray(image).save(folder / kind / f"{number}.png")
    (folder / "ground_truth/dent").mkdir(parents=True)
    for number in range(masks):
        mask = np.zeros((24, 24), np.uint8)
        mask[4 + number : 10 + number, 8:14] = 255
        Image.fromarray(mask).save(folder / f"ground_truth/dent/{number}_mask.png")


def run(board: str, *more: str) -> int:
    options = ["--device", "cpu", "--jobs", "1", "--data-root", "."]
    return main(["run", board, *options, *more])


def lines(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    """The lines of a leaderboard's CSV by label and value; a mean's by "mean"."""
    with path.open(newline="") as file:
        return {
            ("mean" if line["dataset"] == "mean" else line["label"], line["value"]): line
            for line in csv.DictReader(file)
        }


def headings_of(path: Path) -> list[tuple[str, str]]:
    """The tables of a leaderboard's Markdown: each with what it is over, but for the split."""
    found = re.findall(r"^## (.*)\n\n(.*)$", path.read_text(), re.MULTILINE)
    return [(name, about.partition(", split")[0]) for name, about in found]


def test_a_users_folders_get_the_board_of_mvtec_ad(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_part(root / "parts/gear", masks=4)
    make_part(root / "parts/nut", masks=3)
    assert run("my-parts.yaml", "--set", "image_size=24") == 0
    out = capsys.readouterr().out
    assert "pca-2 on gear, seed 0: finished, auroc@test 1.000" in out
    assert "pca-2 on nut, seed 0: finished, auroc@test 1.000" in out
    assert main(["leaderboard", "my-parts.yaml"]) == 0
    headings = [
        ("`gear`", "Dataset `mvtec-like` (`folder=parts/gear, image_size=24`)"),
        ("`nut`", "Dataset `mvtec-like` (`folder=parts/nut, image_size=24`)"),
    ]
    assert headings_of(root / "results/my-parts.md") == headings
    note = "No run is in the board's options for the dataset: these have `image_size=24` and no part in means."
    assert note in (root / "results/my-parts.md").read_text()
    board = (root / "my-parts.yaml").read_text()
    (root / "my-parts.yaml").write_text(re.sub(r"folder: parts/\w+", r"\g<0>, image_size: 24", board))
    assert run("my-parts.yaml") == 0
    assert "0 to do\n2 of 2 runs are finished" in capsys.readouterr().out
    assert main(["leaderboard", "my-parts.yaml"]) == 0
    means = "Mean over 2 of 2 datasets (`gear`, `nut`), 1 seed, ranked by test images alone."
    assert headings_of(root / "results/my-parts.md") == [("Means", means), *headings]
    found = lines(root / "results/my-parts.csv")
    for value in ("auroc@test", "pixel-auroc@test", "aupro30@test"):
        of_parts = [float(found[part, value]["mean"]) for part in ("gear", "nut")]
        assert min(of_parts) > 0.99  # the squares are far from every normal image
        assert float(found["mean", value]["mean"]) == pytest.approx(sum(of_parts) / 2, rel=1e-15)
    assert found["gear", "missing-masks@test"]["mean"] == ""
    assert found["nut", "missing-masks@test"]["mean"] == "1.0"
    assert found["mean", "missing-masks@test"]["label"] == "nut"


def test_a_folder_that_is_not_there_is_left_out_and_named_in_one_line(
    root: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    make_part(root / "parts/gear", masks=4)
    assert run("my-parts.yaml") == 0
    told = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert told == ["left out 'nut': dataset 'mvtec-like' is not there: no folder parts/nut"]
    assert "1 of 1 runs are finished" in capsys.readouterr().out
    assert main(["leaderboard", "my-parts.yaml"]) == 0
    assert (
        "\nMean over 1 of 2 datasets (`gear`), 1 seed, ranked by test images alone.\n"
        in (root / "results/my-parts.md").read_text()
    )

    capsys.readouterr()
    assert run("my-parts.yaml", "--datasets", "nut") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "latentbench: error: dataset 'mvtec-like' is not there: no folder parts/nut: put images there"
    )


def test_a_corrupt_image_of_an_optional_folder_is_refused_by_name_and_the_others_are_run(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_part(root / "parts/gear", masks=4)
    make_part(root / "parts/nut", masks=4)
    corrupt = root / "parts/nut/train/good/3.png"
    corrupt.write_bytes(corrupt.read_bytes()[:40])
    assert run("my-parts.yaml") == 2
    printed = capsys.readouterr()
    assert (
        "error: 1 of 2 datasets were left out: 'nut': dataset 'mvtec-like', load(): image parts/nut/train"
        in printed.err
    )
    assert "1 of 1 runs are finished" in printed.out


def test_the_board_of_mvtec_ad_names_the_categories_in_order_and_nothing_is_needed_of_it(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from latentbench.boards.board import load_board
    from latentbench_datasets.mvtec.dataset import CATEGORIES

    board = load_board(BOARDS / "mvtec-ad.yaml")
    assert [entry.label for entry in board.datasets] == [entry.options["category"] for entry in board.datasets]
    assert tuple(entry.label for entry in board.datasets) == CATEGORIES
    assert all(entry.optional for entry in board.datasets)
    assert run("mvtec-ad", "--models", "pca") == 2
    (line,) = capsys.readouterr().err.splitlines()  # the first category's reason alone, with the licence
    assert "no folder mvtec_ad/bottle: accept its licence (CC BY-NC-SA 4.0)" in line


@pytest.mark.real
def test_the_industrial_sets_at_128_pixels_are_found_at_their_sizes_and_no_board_of_256_takes_them(
    data_root: Path,
) -> None:
    from latentbench.boards.board import load_board
    from latentbench_datasets.mvtec.dataset import KolektorSDD, MagneticTile, MvtecAd

    datasets = {one.name: one for one in (KolektorSDD, MagneticTile, MvtecAd)}
    board = load_board(BOARDS / "industrial-128.yaml")
    assert not board.average
    assert all(entry.optional for entry in board.datasets)
    shapes = {}
    for entry in board.datasets:
        dataset = datasets[entry.name]
        made = dataset(dataset.Config.parse(entry.options, entry.label))
        shapes[entry.label] = made.shape
        if not made.folder(data_root).is_dir():
            pytest.skip(f"no {made.folder(data_root)}")
    square = dict.fromkeys(("bottle-128", "screw-128", "grid-128", "magnetic-tile-128"), (128, 128))
    assert shapes == square | {"kolektor-sdd": (320, 128)}
    for entry in load_board(BOARDS / "mvtec-ad.yaml").datasets:
        assert "128" not in str(MvtecAd(MvtecAd.Config.parse(entry.options, entry.label)).folder(data_root))


@pytest.mark.real
@pytest.mark.slow
def test_mvtec_ad_is_the_mean_over_the_categories_that_are_there(
    root: Path, data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    there = [name for name in ("bottle", "screw") if (data_root / "mvtec_ad_256" / name).is_dir()]
    if len(there) < 2:
        pytest.skip(f"no mvtec_ad_256/bottle and screw in {data_root}")
    text = (BOARDS / "mvtec-ad.yaml").read_text()
    text = text.replace("name: mvtec-ad\n", "name: small\n").replace("256}", "32, folder: mvtec_ad_256}")
    before, _, after = text.partition("models: all\n")
    (root / "small.yaml").write_text(f"{before}models: []\n{VARIANT}{after[after.index('seeds:') :]}")
    assert run("small.yaml", "--data-root", str(data_root), "--seeds", "1") == 0
    assert sum("left out" in record.getMessage() for record in caplog.records) == 13
    assert main(["leaderboard", "small.yaml"]) == 0

    assert (
        "Mean over 2 of 15 datasets (`bottle`, `screw`), 1 seed, ranked by test images alone.\n"
        in (root / "results/small.md").read_text()
    )
    found = lines(root / "results/small.csv")
    assert found["bottle", "missing-masks@test"]["mean"] == ""  # every mask is there: no value says otherwise
    for value in ("auroc@test", "auprc@test", "pixel-auroc@test", "aupro30@test"):
        of_categories = [float(found[category, value]["mean"]) for category in there]
        assert float(found["mean", value]["mean"]) == pytest.approx(sum(of_categories) / 2, rel=1e-15)
    assert {record.spec.options["category"] for _, record in Store(root / "results").records()} == set(there)
