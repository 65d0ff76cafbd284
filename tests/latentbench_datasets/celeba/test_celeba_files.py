"""CelebA's files: read strictly, what is wrong named with file and line; fetched, checked and unpacked."""

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latentbench import LatentbenchError
from latentbench.torchvision_compat import import_torchvision
from latentbench_datasets.celeba import files as celeba_files
from latentbench_datasets.celeba.files import IMAGES, download, find, missing, read_listing, unpack_images

ATTRIBUTES, PARTITION = "list_attr_celeba.txt", "list_eval_partition.txt"


@pytest.fixture
def folder(tmp_path: Path, write: Any) -> Path:
    """Twelve faces."""
    write(tmp_path / "celeba", [1, 1, 1, 1])
    return tmp_path / "celeba"


def read(folder: Path) -> celeba_files.Listing:
    return read_listing(folder, find(folder)[1])


def message_of(action: Callable[[], Any]) -> str:
    with pytest.raises(LatentbenchError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    return message


def edit(path: Path, line: int, change: Callable[[str], str | None]) -> None:
    """Change one line, counted from 1; None takes it out."""
    lines = path.read_text().splitlines()
    changed = change(lines[line - 1])
    lines[line - 1 : line] = [] if changed is None else changed.split("\n")
    path.write_text("\n".join(lines) + "\n")


def test_the_lists_are_read_as_they_are(tmp_path: Path, write: Any) -> None:
    rows = write(tmp_path, [1, 1, 1, 1], glasses=1)
    listing = read(tmp_path)
    partitions, males, smiles, glasses = (list(column) for column in zip(*rows, strict=True))
    assert [path.name for path in listing.images] == [f"{number:06}.jpg" for number in range(1, 13)]
    column = celeba_files.ATTRIBUTES.index
    assert listing.attributes[:, column("Male")].tolist() == males
    assert listing.attributes[:, column("Smiling")].tolist() == smiles
    assert listing.attributes[:, column("Eyeglasses")].tolist() == glasses == [1] * 12
    assert listing.attributes[:, column("Young")].tolist() == [1, 0] * 6
    assert listing.attributes.sum() == sum(males + smiles + glasses) + 6
    assert listing.partition.tolist() == partitions


def test_the_files_may_end_their_lines_as_windows_does(folder: Path) -> None:
    expected = read(folder).attributes.tolist()
    for name in (ATTRIBUTES, PARTITION):
        (folder / name).write_bytes((folder / name).read_bytes().replace(b"\n", b"\r\n"))
    assert read(folder).attributes.tolist() == expected


@pytest.mark.parametrize(
    ("file", "line", "change", "expected"),
    [
        (ATTRIBUTES, 1, lambda text: "13", f"{ATTRIBUTES}:1: it counts 13 images, and 12 rows follow"),
        (ATTRIBUTES, 1, lambda text: "twelve", f"{ATTRIBUTES}:1: 'twelve' is no number of images"),
        (ATTRIBUTES, 1, lambda text: None, f"{ATTRIBUTES}:1: '5_o_Clock_Shadow"),
        (ATTRIBUTES, 2, lambda text: text.replace("Male", "Mail"), f"{ATTRIBUTES}:2: it does not name the 40"),
        (ATTRIBUTES, 5, lambda text: None, f"{ATTRIBUTES}:1: it counts 12 images, and 11 rows follow"),
        (ATTRIBUTES, 5, lambda text: f"{text}\n{text}", f"{ATTRIBUTES}:1: it counts 12 images, and 13 rows follow"),
        (ATTRIBUTES, 5, lambda text: text.replace("03.jpg", "02.jpg"), f"{ATTRIBUTES}:5: '000002.jpg' has a row"),
        (ATTRIBUTES, 5, lambda text: text[:-3], f"{ATTRIBUTES}:5: the row has 39 values: it needs 40"),
        (ATTRIBUTES, 5, lambda text: text[:-2] + " 0", f"{ATTRIBUTES}:5: the value '0': an attribute is -1 or 1"),
        (ATTRIBUTES, 5, lambda text: text[:-2] + "nan", f"{ATTRIBUTES}:5: the value 'nan'"),
        (ATTRIBUTES, 5, lambda text: "", f"{ATTRIBUTES}:5: the row has 0 values"),
        (PARTITION, 3, lambda text: None, f"{PARTITION}:3: a row of '000004.jpg' where {ATTRIBUTES} has one of '00"),
        (PARTITION, 12, lambda text: None, f"{PARTITION}:12: no row where {ATTRIBUTES} has one of '000012.jpg'"),
        (PARTITION, 12, lambda text: f"{text}\nx.jpg 0", f"{PARTITION}:13: a row of 'x.jpg' where {ATTRIBUTES} has no"),
        (PARTITION, 3, lambda text: "000003.jpg 3", f"{PARTITION}:3: the value '3': 0 is training, 1 validation, 2"),
        (PARTITION, 3, lambda text: "000003.jpg", f"{PARTITION}:3: the value ''"),
        (PARTITION, 3, lambda text: "000003.jpg 1 1", f"{PARTITION}:3: the value '1 1'"),
        (PARTITION, 3, lambda text: "../000003.jpg 1", f"{PARTITION}:3: a row of '../000003.jpg' where"),
    ],
)
def test_a_mistake_in_a_list_is_named_with_its_line(
    folder: Path, file: str, line: int, change: Callable[[str], str | None], expected: str
) -> None:
    edit(folder / file, line, change)
    assert f"{folder}/{expected}" in message_of(lambda: read(folder))


def test_a_list_that_is_no_text_or_empty_is_named(folder: Path) -> None:
    (folder / PARTITION).write_bytes(b"000001.jpg \xff")
    assert f"{PARTITION}: it is not text (byte 11)" in message_of(lambda: read(folder))
    (folder / ATTRIBUTES).write_bytes(b"")
    assert f"{ATTRIBUTES}:1: '' is no number of images" in message_of(lambda: read(folder))


def test_an_image_without_a_row_and_a_row_without_an_image_are_named(folder: Path) -> None:
    images = folder / "img_align_celeba"
    (images / "000004.jpg").rename(images / "strange.jpg")
    message = message_of(lambda: read(folder))
    assert f"image {images / '000004.jpg'} is not there, but has a row in the lists" in message
    (images / "000004.jpg").touch()
    (images / "000013.jpg").touch()
    assert f"{images / '000013.jpg'} (and 1 more) has no row in {ATTRIBUTES}" in message_of(lambda: read(folder))


def test_hidden_files_are_passed_over(folder: Path) -> None:
    (folder / "img_align_celeba" / ".DS_Store").touch()
    assert len(read(folder).images) == 12


def test_a_folder_among_the_images_is_named_and_nothing_is_to_be_removed(folder: Path) -> None:
    images = folder / "img_align_celeba"
    (images / "more").mkdir()
    message = message_of(lambda: find(folder))
    assert f"{images / 'more'} is a folder or no plain file: the images lie in {images} itself: move those" in message
    assert "remove" not in message


@pytest.mark.parametrize("name", ["img_align_celeba/000007.jpg", "img_align_celeba", ATTRIBUTES])
def test_a_broken_link_is_told_as_one(folder: Path, name: str) -> None:
    (folder / name).rename(folder / "elsewhere")
    (folder / name).symlink_to("nowhere")
    message = message_of(lambda: (missing(folder), find(folder)))
    assert (
        message
        == f"{folder / name} is a link to nowhere, which is not there: mend the link, or put there what it leads to"
    )


def test_images_that_lie_one_folder_deeper_as_a_mirror_has_them_are_taken(folder: Path) -> None:
    images = folder / "img_align_celeba"
    plain = read(folder)
    images.rename(folder / "inner")
    images.mkdir()
    (folder / "inner").rename(images / "img_align_celeba")
    (images / ".DS_Store").touch()
    assert missing(folder) == []
    nested = read(folder)
    assert [path.relative_to(images / "img_align_celeba") for path in nested.images] == [
        path.relative_to(images) for path in plain.images
    ]
    (nested.images[0]).unlink()
    assert f"image {nested.images[0]} is not there, but has a row" in message_of(lambda: read(folder))


def test_what_is_missing_is_named(folder: Path) -> None:
    assert missing(folder) == []
    (folder / PARTITION).unlink()
    (folder / "img_align_celeba").rename(folder / "img")
    assert missing(folder) == [PARTITION, "img_align_celeba/"]


def test_torchvisions_class_knows_the_files_and_the_number_is_that_of_the_paper() -> None:
    assert IMAGES == 202_599
    assert len(set(celeba_files.ATTRIBUTES)) == 40
    published = celeba_files._published()
    assert published[ATTRIBUTES].md5 == "75e246fa4810816ffd6ee81facbd244c"
    assert published[PARTITION].md5 == "d32c9cbf5e040fd4025c592c306e6668"
    assert published["img_align_celeba.zip"].md5 == "00d2c5bc6d35e252742224ab0c1e8fcb"


@pytest.fixture
def drive(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What torchvision's function then "downloads", by name: the folder's files, and what it was asked for under ""."""
    archive = folder.parent / "img_align_celeba.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in (folder / "img_align_celeba").iterdir():
            file.write(path, f"img_align_celeba/{path.name}")
    contents = {name: (folder / name).read_bytes() for name in (ATTRIBUTES, PARTITION)}
    contents[archive.name] = archive.read_bytes()
    torchvision = import_torchvision()
    files = [(f"id of {name}", hashlib.md5(content).hexdigest(), name) for name, content in contents.items()]
    monkeypatch.setattr(torchvision.datasets.CelebA, "file_list", files)

    def fetch(file_id: str, root: Path, filename: str, md5: str) -> None:
        content = contents[filename]
        assert (file_id, md5) == (f"id of {filename}", hashlib.md5(content).hexdigest())
        root.mkdir(parents=True, exist_ok=True)
        (root / filename).write_bytes(content)

    monkeypatch.setattr(torchvision.datasets.utils, "download_file_from_google_drive", fetch)
    return contents


def test_what_is_missing_and_no_more_is_downloaded(drive: dict[str, bytes], tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / ATTRIBUTES).write_text("mine")
    (other / "img_align_celeba.zip").write_text("mine")
    download(other)
    assert (other / PARTITION).read_bytes() == drive[PARTITION]
    assert (other / ATTRIBUTES).read_text() == (other / "img_align_celeba.zip").read_text() == "mine"
    download(tmp_path / "empty")
    assert {path.name: path.read_bytes() for path in (tmp_path / "empty").iterdir()} == drive


def test_nothing_is_downloaded_where_all_is_there(
    drive: dict[str, bytes], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive.clear()  # a download fails
    download(folder)


def test_a_refused_download_says_which_files_to_put_where_and_their_licence(
    drive: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise RuntimeError("Too many users\nhave viewed this file")

    monkeypatch.setattr(import_torchvision().datasets.utils, "download_file_from_google_drive", refuse)
    message = message_of(lambda: download(tmp_path / "empty"))
    assert "cannot download list_attr_celeba.txt of CelebA" in message
    assert "(Too many users have viewed this file)" in message
    for part in (
        ATTRIBUTES,
        PARTITION,
        "img_align_celeba.zip",
        str(tmp_path / "empty"),
        "non-commercial research only",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("installed", "told"), [(True, "often refuses it"), (False, "pip install latentbench[celeba]")]
)
def test_a_failed_download_names_the_extra_where_it_is_not_installed(
    drive: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool, told: str
) -> None:
    drive.clear()
    monkeypatch.setattr(celeba_files, "find_spec", lambda name: installed or None)
    assert told in message_of(lambda: download(tmp_path / "empty"))


def test_the_archive_is_unpacked_where_the_images_are_not(drive: dict[str, bytes], folder: Path) -> None:
    before = read(folder)
    expected = [path.read_bytes() for path in before.images]
    other = folder.parent / "other"
    other.mkdir()
    for name, content in drive.items():
        (other / name).write_bytes(content)
    unpack_images(other, published=True, progress=lambda done, total: None)
    assert missing(other) == []
    assert [path.read_bytes() for path in read(other).images] == expected


def test_another_archive_than_the_published_one_is_refused(drive: dict[str, bytes], tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    content = bytearray(drive["img_align_celeba.zip"])
    content[100] ^= 1
    (other / "img_align_celeba.zip").write_bytes(content)
    message = message_of(lambda: unpack_images(other, published=True, progress=lambda done, total: None))
    assert "img_align_celeba.zip" in message
    assert missing(other) == [ATTRIBUTES, PARTITION, "img_align_celeba/"]
