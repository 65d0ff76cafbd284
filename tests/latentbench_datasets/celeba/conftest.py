"""Small folders in CelebA's format, whose pictures and rows a test knows."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentbench.files import CACHE_VARIABLE
from latentbench_datasets.celeba.files import ATTRIBUTES

#: Partition, Male, Smiling, Eyeglasses.
Row = tuple[int, int, int, int]
Write = Callable[..., list[Row]]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def write() -> Write:
    """Call it with a folder, and how many faces of each cell (2 * Male + Smiling) every partition is to have.

    The last ``glasses`` of each cell wear glasses; every second row is "Young". ``size`` is width and height. Returns
    the rows, which are shuffled.
    """

    def write(folder: Path, cells: Sequence[int], *, glasses: int = 0, size: tuple[int, int] = (89, 109)) -> list[Row]:
        rows = [
            (partition, *divmod(cell, 2), int(place >= count - glasses))
            for partition in range(3)
            for cell, count in enumerate(cells)
            for place in range(count)
        ]
        random = np.random.default_rng(0)
        rows = [rows[place] for place in random.permutation(len(rows))]
        (folder / "img_align_celeba").mkdir(parents=True)
        attributes, partitions = [str(len(rows)), " ".join(ATTRIBUTES) + " "], []
        for number, (partition, male, smiling, wears) in enumerate(rows, start=1):
            name = f"{number:06}.jpg"
            coarse = Image.fromarray(random.integers(0, 256, (9, 7, 3), dtype=np.uint8))
            coarse.resize(size, Image.Resampling.BICUBIC).save(folder / "img_align_celeba" / name)
            known = {"Male": male, "Smiling": smiling, "Eyeglasses": wears, "Young": number % 2}
            attributes.append(name + "".join(f" {2 * known.get(attribute, 0) - 1:2}" for attribute in ATTRIBUTES))
            partitions.append(f"{name} {partition}")
        (folder / "list_attr_celeba.txt").write_text("\n".join(attributes) + "\n")
        (folder / "list_eval_partition.txt").write_text("\n".join(partitions) + "\n")
        return rows

    return write
