"""A folder in the layout of MVTec AD: every file has its place, and one that has none is refused."""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from latentbench import LatentbenchError
from latentbench_datasets.mvtec.folders import read_layout


def put(folder: Path, *names: str) -> Path:
    """Empty files: the layout goes by names alone."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


WHOLE = (
    "train/good/000.png", "train/good/001.png", "test/good/000.png", "test/hole/000.png", "test/hole/001.JPG",
    "test/crack/000.png", "ground_truth/hole/000_mask.png", "ground_truth/hole/001_mask.png",
    "ground_truth/crack/000_mask.png",
)  # fmt: skip


def message_of(folder: Path) -> str:
    with pytest.raises(LatentbenchError) as caught:
        read_layout(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_images_are_paired_with_their_masks_by_defect_and_name(tmp_path: Path) -> None:
    layout = read_layout(put(tmp_path, *WHOLE))
    names = [str(path.relative_to(tmp_path)) for path in layout.train]
    assert names == ["train/good/000.png", "train/good/001.png"]
    found = [
        (
            str(image.path.relative_to(tmp_path)),
            image.defective,
            image.mask and str(image.mask.relative_to(tmp_path)),
        )
        for image in layout.test
    ]
    assert found == [
        ("test/crack/000.png", True, "ground_truth/crack/000_mask.png"),
        ("test/good/000.png", False, None),
        ("test/hole/000.png", True, "ground_truth/hole/000_mask.png"),
        ("test/hole/001.JPG", True, "ground_truth/hole/001_mask.png"),
    ]
    assert {str(path.relative_to(tmp_path)) for path in layout.files} == set(WHOLE)


def test_an_image_without_its_mask_has_none(tmp_path: Path) -> None:
    put(tmp_path, *WHOLE)
    (tmp_path / "ground_truth/hole/001_mask.png").unlink()
    masks = {str(image.path.relative_to(tmp_path)): image.mask for image in read_layout(tmp_path).test}
    assert masks["test/hole/001.JPG"] is None
    assert masks["test/hole/000.png"] is not None


def test_without_ground_truth_no_image_has_a_mask(tmp_path: Path) -> None:
    layout = read_layout(put(tmp_path, *(name for name in WHOLE if not name.startswith("ground_truth"))))
    assert [image.mask for image in layout.test] == [None] * 4


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    whole = read_layout(put(tmp_path, *WHOLE))
    assert read_layout(put(tmp_path, "train/good/.DS_Store", "test/.cache/x.png", "test/hole/._000.png")) == whole


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ("ground_truth/hole/007_mask.png", "no image belongs to mask {}/ground_truth/hole/007_mask.png: "),
        ("ground_truth/dent/000_mask.png", "no image belongs to mask {}/ground_truth/dent/000_mask.png: "),
        ("ground_truth/hole/000.png", "is ground_truth/hole/NAME_mask.png"),
        ("train/good/Thumbs.db", "{}/train/good/Thumbs.db is no image file"),
        ("test/hole/more/000.png", "{}/test/hole/more is no image file"),
        ("test/hole/000.bmp", "{}/test/hole/000.bmp and 000.png are two images of one name"),
    ],
)
def test_a_file_without_a_place_is_refused(tmp_path: Path, extra: str, told: str) -> None:
    assert told.format(tmp_path) in message_of(put(tmp_path, *WHOLE, extra))


@pytest.mark.parametrize("name", ["train/good/link.png", "test/link", "ground_truth/hole/000_mask.png", "train"])
def test_a_broken_link_is_told_as_one(tmp_path: Path, name: str) -> None:
    put(tmp_path, *WHOLE)
    if (tmp_path / name).exists():
        (tmp_path / name).rename(tmp_path / ".elsewhere")
    (tmp_path / name).symlink_to("nowhere")
    assert message_of(tmp_path).startswith(f"{tmp_path / name} is a link to nowhere, which is not there: mend the link")


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_are_one_in_both_forms_of_unicode(tmp_path: Path, forms: Sequence[Literal["NFC", "NFD"]]) -> None:
    image, mask = (unicodedata.normalize(form, "Prüfung/Maß-é") for form in forms)
    put(tmp_path, *WHOLE, f"test/{image}.png", f"ground_truth/{mask}_mask.png")
    (found,) = (one for one in read_layout(tmp_path).test if "Ma" in one.path.name)
    assert found.mask == tmp_path / f"ground_truth/{mask}_mask.png"


def test_two_images_that_look_alike_are_told_apart_by_the_form(tmp_path: Path) -> None:
    put(tmp_path, *WHOLE, *(f"train/good/{unicodedata.normalize(form, 'é')}.png" for form in ("NFC", "NFD")))
    assert "are two images of one name, in two forms of Unicode: rename one of them" in message_of(tmp_path)


def test_the_form_of_a_name_decides_nothing(tmp_path: Path) -> None:
    layouts = {}
    for form in ("NFC", "NFD"):
        names = [f"train/good/{unicodedata.normalize(form, chr(code))}.png" for code in range(0xE0, 0xF6)]
        layouts[form] = read_layout(put(tmp_path / form, *WHOLE, *names))
    one, other = (
        [unicodedata.normalize("NFC", path.stem) for path in layout.split(0.5, 0)[1]] for layout in layouts.values()
    )
    assert one == other


def test_a_name_that_is_no_utf8_is_one_like_any_other(tmp_path: Path) -> None:
    name = os.fsdecode("Maß".encode("latin-1"))
    layout = read_layout(
        put(tmp_path, *WHOLE, f"test/hole/{name}.png", f"ground_truth/hole/{name}_mask.png", f"train/good/{name}.png")
    )
    assert [image.mask is not None for image in layout.test if image.path.stem == name] == [True]
    assert tmp_path / "train" / "good" / f"{name}.png" in {path for part in layout.split(0.5, 0) for path in part}


def test_several_masks_without_an_image_are_counted(tmp_path: Path) -> None:
    put(tmp_path, *WHOLE, *(f"ground_truth/hole/{number}_mask.png" for number in (105, 106, 107)))
    assert f"{tmp_path}/ground_truth/hole/105_mask.png and 2 more: " in message_of(tmp_path)


@pytest.mark.parametrize("part", ["train/good", "test/good"])
@pytest.mark.parametrize("emptied", [True, False], ids=["empty", "missing"])
def test_a_part_without_images_is_refused(tmp_path: Path, part: str, emptied: bool) -> None:
    put(tmp_path, *(name for name in WHOLE if not name.startswith(part)))
    if emptied:
        (tmp_path / part).mkdir(parents=True)
    assert message_of(tmp_path).startswith(f"no images in {tmp_path / part}: ")


def test_a_test_set_without_defects_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "train/good/000.png", "test/good/000.png")
    assert message_of(tmp_path).startswith(f"no images in {tmp_path}/test/<defect>: ")


def test_the_validation_images_are_a_share_chosen_by_the_seed(tmp_path: Path) -> None:
    names = [f"train/good/{number:03}.png" for number in range(50)]
    layout = read_layout(put(tmp_path, *WHOLE, *names))
    train, validation = layout.split(0.1, seed=0)
    assert (len(train), len(validation)) == (45, 5)
    assert sorted(train + validation) == list(layout.train)
    assert train == sorted(train)
    assert layout.split(0.1, seed=0) == (train, validation)
    assert layout.split(0.1, seed=1)[1] != validation
    assert set(layout.split(0.2, seed=0)[1]) > set(validation)
    assert layout.split(0.0, seed=0) == (list(layout.train), [])


def test_the_same_names_give_the_same_validation_images_in_any_folder(tmp_path: Path) -> None:
    names = [f"train/good/{number:03}" for number in range(50)]
    png = read_layout(put(tmp_path / "png", *WHOLE, *(f"{name}.png" for name in names)))
    jpg = read_layout(put(tmp_path / "jpg", *WHOLE[2:], *(f"{name}.jpg" for name in names)))
    chosen = [[path.stem for path in layout.split(0.1, seed=3)[1]] for layout in (png, jpg)]
    assert chosen[0] == chosen[1]
