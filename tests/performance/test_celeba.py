"""Reading prepared CelebA into batches against torchvision's dataset class behind a 2-worker loader, in one run."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from latentbench import Data
from latentbench.torchvision_compat import import_torchvision
from latentbench_datasets.celeba import CelebASubset

BATCH = 100


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


#: A crowded machine can spoil a measurement: what is too slow is so every time.
ATTEMPTS = 3


def peer(folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The class on the files of ``folder``, unchecked; the lists that it wants beside them are made up."""
    torchvision = import_torchvision()
    monkeypatch.setattr(torchvision.datasets.CelebA, "_check_integrity", lambda self: True)
    (root / "celeba").mkdir()
    for path in folder.iterdir():
        (root / "celeba" / path.name).symlink_to(path)
    names = [line.split()[0] for line in (folder / "list_eval_partition.txt").read_text().splitlines()]
    for name, values, header in (
        ("identity_CelebA.txt", 1, []),
        ("list_bbox_celeba.txt", 4, ["0", ""]),
        ("list_landmarks_align_celeba.txt", 10, ["0", ""]),
    ):
        rows = [f"{image}{' 0' * values}" for image in names]
        (root / "celeba" / name).write_text("\n".join([*header, *rows]) + "\n")

    transforms = torchvision.transforms
    crop = transforms.Compose([transforms.CenterCrop(64), transforms.Resize(64), transforms.ToTensor()])
    return torchvision.datasets.CelebA(root, split="train", transform=crop)


def loaded_per_second(batches: Iterator[Any], count: int) -> float:
    start = perf_counter()
    images = sum(len(batch[0]) for batch in islice(batches, count))
    return images / (perf_counter() - start)


def read_per_second(data: Data) -> float:
    """One pass in random order."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(data.train), generator=generator)
    start = perf_counter()
    images = sum(len(data.train.batch(index, generator).images) for index in torch.split(order, BATCH))
    return images / (perf_counter() - start)


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_batches_come_at_least_twenty_times_as_fast_as_from_torchvisions_class(
    benchmark: Any, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = data_root / "celeba_10k"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")
    data = CelebASubset(CelebASubset.Config(correlation=0)).load(data_root)
    dataset = peer(folder, tmp_path, monkeypatch)
    batch = data.train.batch(torch.arange(BATCH), torch.Generator())
    assert batch.images.shape == (BATCH, *dataset[0][0].shape)
    assert batch.images.dtype == dataset[0][0].dtype == torch.float32

    benchmark(read_per_second, data)
    ratios: list[float] = []
    while len(ratios) < ATTEMPTS and max(ratios, default=0.0) < 20:
        loader = iter(DataLoader(dataset, BATCH, shuffle=True, num_workers=2))
        next(loader)  # its workers have started
        # Taken in turns, so that what else the machine does falls on both; the loader's queue is drained first.
        rounds = []
        for _ in range(4):
            list(islice(loader, 4))
            rounds.append((max(read_per_second(data) for _ in range(3)), loaded_per_second(loader, 10)))
        ratios.append(max(ours for ours, _ in rounds) / max(theirs for _, theirs in rounds))
        benchmark.extra_info["times the images per second of torchvision's class"] = ratios[-1]
        benchmark.extra_info["images per second"] = max(ours for ours, _ in rounds)
    assert ratios[-1] >= 20
