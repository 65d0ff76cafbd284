import gzip
import hashlib
import shutil
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from latentbench import LatentbenchError
from latentbench.torchvision_compat import import_torchvision
from latentbench_datasets import mnist
from latentbench_datasets.shift import MnistShift

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
NAMES = [TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS]


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    """An array in the idx format: two zero bytes, the type's code, the number of dimensions, each size, the data."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


class Published:
    """Four small idx files that stand for the published ones."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.arrays = {
            TRAIN_IMAGES: random.integers(0, 256, (30, 28, 28), dtype=np.uint8),
            TRAIN_LABELS: random.integers(0, 10, 30, dtype=np.uint8),
            TEST_IMAGES: random.integers(0, 256, (10, 28, 28), dtype=np.uint8),
            TEST_LABELS: random.integers(0, 10, 10, dtype=np.uint8),
        }
        self.plain = {name: idx(array) for name, array in self.arrays.items()}
        self.packed = {name: gzip.compress(content, mtime=0) for name, content in self.plain.items()}

    def put(self, data_root: Path, packed: Callable[[str], bool] = lambda name: True) -> Path:
        """Write each file, as published or decompressed, and return their folder."""
        raw = data_root / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for name in NAMES:
            if packed(name):
                (raw / f"{name}.gz").write_bytes(self.packed[name])
            else:
                (raw / name).write_bytes(self.plain[name])
        return raw

    def assert_equal(self, read: tuple[Any, Any]) -> None:
        for digits, images, labels in zip(read, (TRAIN_IMAGES, TEST_IMAGES), (TRAIN_LABELS, TEST_LABELS), strict=True):
            np.testing.assert_array_equal(digits.images.numpy(), self.arrays[images])
            np.testing.assert_array_equal(digits.labels.numpy(), self.arrays[labels])
            assert digits.images.dtype == torch.uint8
            assert digits.labels.dtype == torch.int64


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Published:
    files = Published()
    sha256 = {name: hashlib.sha256(content).hexdigest() for name, content in files.plain.items()}
    md5 = [(f"{name}.gz", hashlib.md5(content).hexdigest()) for name, content in files.packed.items()]
    monkeypatch.setattr(mnist, "_SHA256", sha256)
    monkeypatch.setattr(import_torchvision().datasets.MNIST, "resources", md5)
    return files


@pytest.fixture
def served(tmp_path: Path, published: Published, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on a web server of this test, which torchvision takes for its only mirror."""
    folder = tmp_path / "served"
    folder.mkdir()
    for name, content in published.packed.items():
        (folder / f"{name}.gz").write_bytes(content)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(import_torchvision().datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


def message_of(action: Callable[[], Any]) -> str:
    with pytest.raises(LatentbenchError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "packed",
    [lambda name: True, lambda name: False, lambda name: "labels" in name],
    ids=["as published", "decompressed", "some of each"],
)
def test_files_are_read_in_either_form(tmp_path: Path, published: Published, packed: Callable[[str], bool]) -> None:
    published.put(tmp_path, packed)
    published.assert_equal(mnist.read(tmp_path, "mnist-shift"))


def test_nothing_is_written_where_the_data_is(tmp_path: Path, published: Published) -> None:
    raw = published.put(tmp_path)
    mnist.read(tmp_path, "mnist-shift")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == sorted(f"{name}.gz" for name in NAMES)
    assert raw.is_dir()


def test_an_old_torchvisions_processed_files_are_not_taken_instead(tmp_path: Path, published: Published) -> None:
    published.put(tmp_path)
    processed = tmp_path / "MNIST" / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        torch.save((torch.zeros(1, 28, 28, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64)), processed / name)
    published.assert_equal(mnist.read(tmp_path, "mnist-shift"))


def test_a_missing_folder_is_told_with_place_licence_and_command(tmp_path: Path) -> None:
    message = message_of(lambda: MnistShift().load(tmp_path))
    assert str(tmp_path / "MNIST" / "raw") in message
    assert all(f"{name}(.gz)" in message for name in NAMES)
    assert "CC BY-SA 3.0" in message
    assert f"`latentbench data prepare mnist-shift --data-root {tmp_path}`" in message


def test_of_a_missing_file_only_that_one_is_named(tmp_path: Path, published: Published) -> None:
    raw = published.put(tmp_path)
    (raw / f"{TEST_LABELS}.gz").unlink()
    message = message_of(lambda: mnist.read(tmp_path, "mnist-shift"))
    assert f"missing {TEST_LABELS}(.gz): " in message
    assert TRAIN_IMAGES not in message


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("damage", ["cut short", "one bit", "empty"])
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_told_with_both_hashes(
    tmp_path: Path, published: Published, name: str, damage: str, packed: bool
) -> None:
    raw = published.put(tmp_path, lambda _: packed)
    path = raw / (f"{name}.gz" if packed else name)
    content = path.read_bytes()
    flipped = content[:-9] + bytes([content[-9] ^ 4]) + content[-8:]
    damaged = {"cut short": content[: len(content) // 2], "one bit": flipped, "empty": b""}[damage]
    path.write_bytes(damaged)
    algorithm = hashlib.md5 if packed else hashlib.sha256
    message = message_of(lambda: mnist.read(tmp_path, "mnist-shift"))
    assert str(path) in message
    assert f"expected {algorithm(content).hexdigest()}, found {algorithm(damaged).hexdigest()}" in message
    assert "delete it and run `latentbench data prepare mnist-shift" in message


def test_preparing_downloads_what_reading_then_reads(tmp_path: Path, published: Published, served: Path) -> None:
    root = tmp_path / "data"
    mnist.download(root, "mnist-shift")
    published.assert_equal(mnist.read(root, "mnist-shift"))


def test_preparing_asks_nobody_for_what_is_there(tmp_path: Path, published: Published, served: Path) -> None:
    shutil.rmtree(served)
    published.put(tmp_path / "data")
    mnist.download(tmp_path / "data", "mnist-shift")
    published.assert_equal(mnist.read(tmp_path / "data", "mnist-shift"))


def test_preparing_completes_a_download_that_was_cut_off(tmp_path: Path, published: Published, served: Path) -> None:
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / f"{TRAIN_IMAGES}.gz").write_bytes(published.packed[TRAIN_IMAGES][:1000])
    mnist.download(tmp_path / "data", "mnist-shift")
    published.assert_equal(mnist.read(tmp_path / "data", "mnist-shift"))


def test_preparing_tells_of_a_damaged_file_that_was_there(tmp_path: Path, published: Published, served: Path) -> None:
    raw = published.put(tmp_path / "data", lambda name: False)
    (raw / TEST_LABELS).write_bytes(b"not an idx file")
    assert f"{raw / TEST_LABELS} is corrupt" in message_of(lambda: mnist.download(tmp_path / "data", "mnist-shift"))


def test_a_download_that_gives_other_bytes_is_one_clear_line(
    tmp_path: Path, published: Published, served: Path
) -> None:
    (served / f"{TRAIN_LABELS}.gz").write_bytes(published.packed[TRAIN_LABELS][:-5])
    message = message_of(lambda: mnist.download(tmp_path / "data", "mnist-shift"))
    assert f"cannot download MNIST into {tmp_path / 'data' / 'MNIST' / 'raw'}" in message
    assert f"{TRAIN_LABELS}.gz" in message


def test_a_download_without_a_network_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = "http://127.0.0.1:1/"  # nothing listens on port 1
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(import_torchvision().datasets.MNIST, "mirrors", [closed])
    message = message_of(lambda: MnistShift().prepare(tmp_path))
    assert message.startswith(f"cannot download MNIST into {tmp_path / 'MNIST' / 'raw'} (")
    assert closed in message
    assert "check the network" in message


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "MNIST").write_text("a file in the place of the folder")
    assert "cannot download MNIST" in message_of(lambda: MnistShift().prepare(tmp_path))


@pytest.mark.real
def test_the_published_files_are_read_alike_in_either_form(data_root: Path, tmp_path: Path) -> None:
    train, test = mnist.read(data_root, "mnist-shift")
    assert train.images.shape == (60_000, 28, 28)
    assert test.images.shape == (10_000, 28, 28)
    assert torch.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]

    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in NAMES:
        source = data_root / "MNIST" / "raw" / name
        content = source.read_bytes() if source.is_file() else gzip.decompress(Path(f"{source}.gz").read_bytes())
        (raw / name).write_bytes(content)
    again = mnist.read(tmp_path, "mnist-shift")
    assert torch.equal(again[0].images, train.images)
    assert torch.equal(again[1].labels, test.labels)

    (raw / TRAIN_IMAGES).write_bytes((raw / TRAIN_IMAGES).read_bytes()[:1_000_000])
    message = message_of(lambda: mnist.read(tmp_path, "mnist-shift"))
    assert (
        "1,000,000 bytes; SHA-256 expected ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db" in message
    )


@pytest.mark.real
def test_a_truncated_copy_of_a_published_file_is_told(data_root: Path, tmp_path: Path) -> None:
    source = data_root / "MNIST" / "raw"
    if not all((source / f"{name}.gz").is_file() for name in NAMES):
        pytest.skip(f"the files in {source} are decompressed")
    shutil.copytree(source, tmp_path / "MNIST" / "raw", copy_function=shutil.copyfile)
    cut = tmp_path / "MNIST" / "raw" / f"{TEST_IMAGES}.gz"
    cut.write_bytes((source / cut.name).read_bytes()[:-1])
    message = message_of(lambda: MnistShift().load(tmp_path))
    assert f"{cut} is corrupt or cut short" in message
    assert "MD5 expected 9fb629c4189551a2d022fa330f9573f3" in message
