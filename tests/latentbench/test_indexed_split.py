"""A split of shared images gives what a split of its own copies gives, and neither copies nor reads them."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbench import MISSING, IndexedSplit, Role, StoredSplit, Targets

SHARED = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (9, 3, 4, 5), dtype=np.uint8))
ROWS = np.array([7, 2, 5])
LABELS = np.array([1, MISSING, 0])
META = torch.device("meta")


def split(**changes: Any) -> IndexedSplit:
    facts: dict[str, Any] = {
        "role": Role.TEST,
        "images": SHARED,
        "rows": ROWS,
        "images_hash": "abc",
        "targets": Targets(attributes={"side": LABELS}),
        "conditions": {"first": np.array([1.0, 0.0, 0.0])},
    }
    return IndexedSplit(**(facts | changes))


@settings(max_examples=30)
@given(st.data())
def test_it_gives_the_batches_of_a_stored_split_of_its_images(data):
    rows = np.array(data.draw(st.lists(st.integers(0, 8), min_size=1, max_size=20)), np.int64)
    targets = Targets(attributes={"side": np.arange(len(rows)) % 2})
    indexed = split(rows=rows, targets=targets, conditions={})
    stored = StoredSplit(Role.TEST, SHARED[torch.from_numpy(rows)], targets)
    index = torch.tensor(data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=20)), dtype=torch.int64)
    generator = torch.Generator()
    one, other = indexed.batch(index, generator), stored.batch(index, generator)
    assert torch.equal(one.images, other.images)
    assert one.images.dtype == other.images.dtype == torch.float32
    assert torch.equal(one.attributes["side"], other.attributes["side"])
    assert torch.equal(indexed.images, stored.images)
    assert len(indexed) == len(stored)


def test_it_copies_no_image_where_it_stays():
    shared = SHARED.clone()
    here = split(images=shared).to(torch.device("cpu"))
    shared[2] = 255
    assert (here.batch(torch.tensor([1]), torch.Generator()).images == 1).all()


def test_elsewhere_it_takes_its_own_images_along_and_no_others():
    moved = split().to(META)
    assert moved.images.shape == (3, 3, 4, 5)
    assert moved._store.shape == (3, 3, 4, 5)
    batch = moved.batch(torch.tensor([2, 0], device=META), torch.Generator())
    assert batch.images.device == batch.attributes["side"].device == META
    assert (len(moved), moved.role, moved.content_hash) == (3, Role.TEST, split().content_hash)


@pytest.mark.cuda
def test_on_a_gpu_it_gives_the_batches_that_it_gives_here():
    here, there = split(), split().to(torch.device("cuda"))
    index = torch.tensor([2, 0, 1, 1])
    expected = here.batch(index, torch.Generator())
    batch = there.batch(index.cuda(), torch.Generator("cuda"))
    # A GPU multiplies by the reciprocal of 255.
    torch.testing.assert_close(batch.images.cpu(), expected.images, rtol=0, atol=1e-7)
    assert torch.equal(batch.attributes["side"].cpu(), expected.attributes["side"])
    assert torch.equal(there.images.cpu(), here.images)


def test_its_hash_reads_no_image():
    unread = torch.empty((202_599, 3, 64, 64), dtype=torch.uint8, device=META)
    assert split(images=unread).content_hash == split().content_hash


@pytest.mark.parametrize(
    "change",
    [
        {"role": Role.VALIDATION},
        {"rows": np.array([2, 7, 5])},
        {"images_hash": "abd"},
        {"targets": Targets(attributes={"side": np.array([1, 1, 0])})},
        {"targets": Targets(anomaly=np.array([0, 0, 1], np.uint8), attributes={"side": LABELS})},
        {"conditions": {"first": np.array([1.0, 1.0, 0.0])}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_its_hash_tells_everything_that_decides_it(change):
    assert split(**change).content_hash != split().content_hash


@pytest.mark.parametrize("rows", [[0, 9], [-1], [0.5], [[0]]])
def test_rows_that_are_not_there_are_refused(rows):
    with pytest.raises(ValueError, match=r"rows must be \(N,\) int64 in \[0, 9\)"):
        split(rows=np.array(rows))


def test_images_must_be_bytes():
    with pytest.raises(ValueError, match=r"images must be \(M, C, H, W\) uint8"):
        split(images=SHARED.float())
