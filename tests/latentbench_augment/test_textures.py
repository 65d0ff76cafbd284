import runpy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from latentbench import LatentbenchError
from latentbench_augment import Corruption, read_textures


def save(path: Path, pixels: object) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(np.asarray(pixels)).save(path)


def shade(level: int, height: int = 4, width: int = 4) -> object:
    return np.full((height, width), level, np.uint8)


def test_files_below_a_folder_are_read_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for level, name in [(30, "b/1.png"), (10, "a/2.png"), (20, "a/3.PNG"), (40, "4.bmp")]:
        save(tmp_path / name, shade(level))
    (tmp_path / "labels.txt").write_text("not an image")
    (tmp_path / "a" / "._2.png").write_text("a trace of another system")
    textures = read_textures(tmp_path, channels=1, size=3)
    assert textures.dtype == torch.float32
    assert torch.equal(textures, torch.tensor([40, 10, 20, 30])[:, None, None, None].expand(4, 1, 3, 3) / 255)


def test_at_most_so_many_are_read_evenly_spaced(tmp_path: Path) -> None:
    for level in range(10):
        save(tmp_path / f"{level}.png", shade(level))
    for limit, levels in [(1, [0]), (3, [0, 3, 6]), (5, [0, 2, 4, 6, 8]), (20, list(range(10)))]:
        found = read_textures(tmp_path, channels=1, size=4, limit=limit)[:, 0, 0, 0] * 255
        assert found.round().tolist() == levels


def test_the_central_square_is_taken_and_resized(tmp_path: Path) -> None:
    pixels = np.zeros((8, 16), np.uint8)
    pixels[:, 4:8], pixels[:, 8:12] = 100, 200  # the square's left and right half; what lies beside it is black
    save(tmp_path / "wide.png", pixels)
    (texture,) = read_textures(tmp_path, channels=1, size=8)
    assert torch.equal((texture[0] * 255).round().int(), torch.tensor([100] * 4 + [200] * 4).int().expand(8, 8))
    assert read_textures(tmp_path, channels=1, size=5).shape == (1, 1, 5, 5)


def test_colours_become_luma_and_grey_becomes_equal_channels(tmp_path: Path) -> None:
    save(tmp_path / "red.png", np.broadcast_to(np.array([255, 0, 0], np.uint8), (4, 4, 3)))
    save(tmp_path / "shade.png", shade(80))
    grey = read_textures(tmp_path, channels=1, size=4)[:, 0, 0, 0] * 255
    assert grey.round().tolist() == [76, 80]  # 0.299 of 255, as Rec. 601 has it
    colour = read_textures(tmp_path, channels=3, size=4)[:, :, 0, 0] * 255
    assert colour.round().tolist() == [[255, 0, 0], [80, 80, 80]]


def test_a_folder_without_images_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("soon")
    with pytest.raises(LatentbenchError, match=rf"^no textures in {tmp_path}: put images there that end in \.png.*$"):
        read_textures(tmp_path, channels=3, size=8)


def test_a_folder_that_is_not_there_or_is_a_file_is_refused_and_says_where_relative_paths_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "one.png", shade(1))
    monkeypatch.chdir(tmp_path)
    refused: dict[Path | str, str] = {
        "missing": rf"there is no folder missing: .*; a relative path starts from the working folder, {tmp_path}$",
        "one.png": rf"one\.png is a file: .*; a relative path starts from the working folder, {tmp_path}$",
        tmp_path / "missing": rf"there is no folder {tmp_path}/missing: give the path of a folder of images$",
        tmp_path / "one.png": rf"{tmp_path}/one\.png is a file: give the path of a folder of images$",
    }
    for folder, message in refused.items():
        with pytest.raises(LatentbenchError, match=f"^textures cannot be read: {message}"):
            read_textures(folder, channels=3, size=8)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    save(tmp_path / "cut.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    content = (tmp_path / "cut.png").read_bytes()
    for damaged in (content[: len(content) // 2], b"no image", b""):
        (tmp_path / "cut.png").write_bytes(damaged)
        with pytest.raises(LatentbenchError, match=r"texture .*cut\.png cannot be read \(.*\): save it anew") as raised:
            read_textures(tmp_path, channels=3, size=8)
        assert str(raised.value).count("cut.png") == 1
        assert "_io." not in str(raised.value)


def test_images_of_more_than_8_bits_are_refused(tmp_path: Path) -> None:
    files = runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "image_files.py"))
    deep: dict[str, npt.NDArray[Any]] = {
        "deep.png": np.full((4, 4), 30_000, np.uint16),
        "colour.png": np.full((4, 4, 3), 700, np.uint16),
        "alpha.png": np.full((4, 4, 2), 65535, np.uint16),
        "colour.tif": np.full((4, 4, 3), 700, np.uint16),
        "signed.tif": np.full((4, 4), -7, np.int8),
    }
    for name, pixels in deep.items():
        path = files[name[-3:].replace("tif", "tiff")](tmp_path / name, pixels, pixels.itemsize * 8)
        with pytest.raises(LatentbenchError, match=rf"texture .*{name} has channels of (16|8) bits .*: save it with 8"):
            read_textures(tmp_path, channels=1, size=4)
        path.unlink()
    page = Image.fromarray(np.zeros((4, 4), np.uint8))
    page.save(tmp_path / "pages.tif", save_all=True, append_images=[page])
    with pytest.raises(LatentbenchError, match=r"pages\.tif holds 2 images"):
        read_textures(tmp_path, channels=1, size=4)


def test_other_numbers_of_channels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LatentbenchError, match="textures of 2 channels"):
        read_textures(tmp_path, channels=2, size=4)


@pytest.mark.real
def test_the_describable_textures_dataset_fills_blobs(data_root: Path) -> None:
    if not (data_root / "dtd").is_dir():
        pytest.skip(f"no folder {data_root / 'dtd'}")
    textures = read_textures(data_root / "dtd", channels=3, size=64, limit=20)
    assert textures.shape == (20, 3, 64, 64)
    assert 0 <= float(textures.min()) < 0.1 < 0.9 < float(textures.max()) <= 1
    images = torch.rand(4, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    found, mask = Corruption(fills=("textures",))(images, torch.Generator().manual_seed(0), textures=textures)
    assert bool(((found == images) | (mask > 0)).all())
