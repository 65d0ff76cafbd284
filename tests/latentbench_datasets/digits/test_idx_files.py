"""MNIST and Fashion-MNIST on disk: read in either form, verified, downloaded; and every way in which that fails."""

import gzip
import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from latentbench import LatentbenchError
from latentbench.torchvision_compat import import_torchvision
from latentbench_datasets.digits import fashion_mnist_files as fashion_mnist
from latentbench_datasets.digits import kmnist_files as kmnist
from latentbench_datasets.digits import mnist_files as mnist
from latentbench_datasets.digits import notmnist_files as notmnist

SETS = [mnist, fashion_mnist]
TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
NAMES = [TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS]


@pytest.fixture(params=SETS, ids=["MNIST", "Fashion-MNIST"])
def published(request: pytest.FixtureRequest, publish: Callable[..., Any]) -> Any:
    return publish(request.param)


@pytest.fixture
def served(tmp_path: Path, published: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on a web server of this test, which torchvision takes for its only mirror."""
    folder = tmp_path / "served"
    folder.mkdir()
    for name, content in published.packed.items():
        (folder / f"{name}.gz").write_bytes(content)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(published.torchvision_class, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
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
def test_files_are_read_in_either_form(tmp_path: Path, published: Any, packed: Callable[[str], bool]) -> None:
    published.put(tmp_path, packed)
    published.assert_equal(published.files.read(tmp_path, "ood"))


def test_nothing_is_written_where_the_data_is(tmp_path: Path, published: Any) -> None:
    raw = published.put(tmp_path)
    published.files.read(tmp_path, "ood")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == sorted(f"{name}.gz" for name in NAMES)
    assert raw.is_dir()


def test_an_old_torchvisions_processed_files_are_not_taken_instead(tmp_path: Path, published: Any) -> None:
    published.put(tmp_path)
    processed = published.raw(tmp_path).parent / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        torch.save((torch.zeros(1, 28, 28, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64)), processed / name)
    published.assert_equal(published.files.read(tmp_path, "ood"))


@pytest.mark.parametrize(
    ("source", "title", "folder", "licence"),
    [(mnist, "MNIST", "MNIST", "CC BY-SA 3.0"), (fashion_mnist, "Fashion-MNIST", "FashionMNIST", "MIT")],
)
def test_a_missing_folder_is_told_with_place_licence_and_command(
    tmp_path: Path, source: Any, title: str, folder: str, licence: str
) -> None:
    message = message_of(lambda: source.read(tmp_path, "ood"))
    assert message.startswith(f"{title} is not complete in {tmp_path / folder / 'raw'}: missing ")
    assert all(f"{name}(.gz)" in message for name in NAMES)
    assert f"(licence {licence})" in message
    assert f"`latentbench data prepare ood --data-root {tmp_path}`" in message


def test_of_a_missing_file_only_that_one_is_named(tmp_path: Path, published: Any) -> None:
    raw = published.put(tmp_path)
    (raw / f"{TEST_LABELS}.gz").unlink()
    message = message_of(lambda: published.files.read(tmp_path, "ood"))
    assert f"missing {TEST_LABELS}(.gz): " in message
    assert TRAIN_IMAGES not in message


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("damage", ["cut short", "one bit", "empty"])
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_told_with_what_is_wrong_in_it(
    tmp_path: Path, published: Any, name: str, damage: str, packed: bool
) -> None:
    raw = published.put(tmp_path, lambda _: packed)
    path = raw / (f"{name}.gz" if packed else name)
    content = path.read_bytes()
    flipped = content[:-8] + bytes([content[-8] ^ 4]) + content[-7:]
    damaged = {"cut short": content[: len(content) // 2], "one bit": flipped, "empty": b""}[damage]
    path.write_bytes(damaged)
    message = message_of(lambda: published.files.read(tmp_path, "ood"))
    assert message.startswith(f"{path} is corrupt or cut short ({len(damaged):,} bytes; ")
    if not packed:
        assert f"expected {published.sha256[name]}, found {hashlib.sha256(damaged).hexdigest()}" in message
    assert "move it elsewhere and run `latentbench data prepare ood" in message


@pytest.mark.parametrize("level", [0, 1])
def test_files_that_were_compressed_anew_are_the_published_ones(tmp_path: Path, published: Any, level: int) -> None:
    raw = published.put(tmp_path)
    for name, content in published.plain.items():
        packed = gzip.compress(content, level, mtime=1_700_000_000)
        assert packed != published.packed[name]
        (raw / f"{name}.gz").write_bytes(packed)
    published.assert_equal(published.files.read(tmp_path, "ood"))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_link_that_leads_nowhere_is_told_as_one(tmp_path: Path, published: Any, suffix: str) -> None:
    raw = published.put(tmp_path)
    (raw / f"{TEST_LABELS}.gz").unlink()
    (raw / f"{TEST_LABELS}{suffix}").symlink_to("/nowhere/labels")
    message = message_of(lambda: published.files.read(tmp_path, "ood"))
    assert f"{raw / TEST_LABELS}{suffix} is a link to /nowhere/labels, which is not there: mend the link" in message


def test_preparing_downloads_what_reading_then_reads(tmp_path: Path, published: Any, served: Path) -> None:
    root = tmp_path / "data"
    published.files.download(root, "ood")
    published.assert_equal(published.files.read(root, "ood"))


def test_preparing_asks_nobody_for_what_is_there(tmp_path: Path, published: Any, served: Path) -> None:
    shutil.rmtree(served)
    published.put(tmp_path / "data")
    published.files.download(tmp_path / "data", "ood")
    published.assert_equal(published.files.read(tmp_path / "data", "ood"))


def test_preparing_completes_a_download_that_was_cut_off(tmp_path: Path, published: Any, served: Path) -> None:
    raw = published.raw(tmp_path / "data")
    raw.mkdir(parents=True)
    (raw / f"{TRAIN_IMAGES}.gz").write_bytes(published.packed[TRAIN_IMAGES][:1000])
    published.files.download(tmp_path / "data", "ood")
    published.assert_equal(published.files.read(tmp_path / "data", "ood"))


def test_preparing_tells_of_a_damaged_file_that_was_there(tmp_path: Path, published: Any, served: Path) -> None:
    raw = published.put(tmp_path / "data", lambda name: False)
    (raw / TEST_LABELS).write_bytes(b"not an idx file")
    message = message_of(lambda: published.files.download(tmp_path / "data", "ood"))
    assert f"{raw / TEST_LABELS} is corrupt" in message


def test_a_download_that_gives_other_bytes_is_one_clear_line(tmp_path: Path, published: Any, served: Path) -> None:
    (served / f"{TRAIN_LABELS}.gz").write_bytes(published.packed[TRAIN_LABELS][:-5])
    message = message_of(lambda: published.files.download(tmp_path / "data", "ood"))
    assert f"cannot download {published.files.title} into {published.raw(tmp_path / 'data')}" in message
    assert f"{TRAIN_LABELS}.gz" in message


@pytest.mark.parametrize("source", SETS)
def test_a_download_without_a_network_is_one_clear_line(
    tmp_path: Path, source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = "http://127.0.0.1:1/"  # nothing listens on port 1
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    name = source.FILES.torchvision_name
    monkeypatch.setattr(getattr(import_torchvision().datasets, name), "mirrors", [closed])
    message = message_of(lambda: source.download(tmp_path, "ood"))
    assert message.startswith(f"cannot download {source.FILES.title} into {tmp_path / name / 'raw'} (")
    assert closed in message
    assert "check the network" in message


@pytest.mark.parametrize("source", SETS)
def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path, source: Any) -> None:
    (tmp_path / source.FILES.torchvision_name).write_text("a file in the place of the folder")
    assert f"cannot download {source.FILES.title}" in message_of(lambda: source.download(tmp_path, "ood"))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("source", [kmnist, notmnist], ids=["KMNIST", "notMNIST"])
def test_a_set_of_outliers_needs_its_test_files_alone(
    tmp_path: Path, source: Any, packed: bool, publish: Callable[..., Any]
) -> None:
    published = publish(source)
    assert sorted(published.plain) == [TEST_IMAGES, TEST_LABELS]
    raw = published.put(tmp_path, lambda _: packed)
    digits = source.FILES.read_test(tmp_path, "ood")
    assert torch.equal(digits.images, torch.from_numpy(published.arrays[TEST_IMAGES]))
    assert torch.equal(digits.labels, torch.from_numpy(published.arrays[TEST_LABELS]).to(torch.int64))
    (path,) = raw.glob(f"{TEST_IMAGES}*")
    path.write_bytes(path.read_bytes()[:-20])
    message = message_of(lambda: source.FILES.read_test(tmp_path, "ood"))
    assert message.startswith(f"{path} is corrupt or cut short (")
    path.unlink()
    message = message_of(lambda: source.FILES.read_test(tmp_path, "ood"))
    assert f"{source.FILES.title} is not complete in {raw}: missing {TEST_IMAGES}(.gz): get it (licence" in message
    assert "put the two published files there" in message


def test_other_content_in_an_intact_archive_without_a_published_checksum_is_told(
    tmp_path: Path, publish: Callable[..., Any]
) -> None:
    raw = publish(notmnist).put(tmp_path)
    other = b"another file's content"
    (raw / f"{TEST_LABELS}.gz").write_bytes(gzip.compress(other))
    message = message_of(lambda: notmnist.FILES.read_test(tmp_path, "ood"))
    expected = notmnist.FILES.sha256[TEST_LABELS]
    found = hashlib.sha256(other).hexdigest()
    assert f"SHA-256 of what it compresses expected {expected}, found {found}" in message
    assert f"move it elsewhere and get it again from {notmnist.SOURCE}" in message


def test_what_torchvision_cannot_download_is_got_by_hand(tmp_path: Path) -> None:
    message = message_of(lambda: notmnist.FILES.download(tmp_path, "ood"))
    assert f"notMNIST is not complete in {tmp_path / 'notMNIST' / 'raw'}: missing" in message
    assert f"get it (licence none stated for the images) from {notmnist.SOURCE}" in message


@pytest.mark.real
@pytest.mark.parametrize("source", [kmnist, notmnist], ids=["KMNIST", "notMNIST"])
def test_the_published_outliers_have_as_many_of_each_class(
    data_root: Path, source: Any, skip_without: Callable[[Any], None]
) -> None:
    skip_without(source)
    digits = source.FILES.read_test(data_root, "ood")
    assert digits.images.shape == (10_000, 28, 28)
    assert torch.bincount(digits.labels).tolist() == [1000] * 10


@pytest.mark.real
@pytest.mark.parametrize(
    ("source", "counts"),
    [(mnist, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]), (fashion_mnist, [1000] * 10)],
    ids=["MNIST", "Fashion-MNIST"],
)
def test_the_published_files_are_read_alike_in_either_form(
    data_root: Path, tmp_path: Path, source: Any, counts: list[int], skip_without: Callable[[Any], None]
) -> None:
    skip_without(source)
    train, test = source.read(data_root, "ood")
    assert train.images.shape == (60_000, 28, 28)
    assert test.images.shape == (10_000, 28, 28)
    assert torch.bincount(test.labels).tolist() == counts

    name = source.FILES.torchvision_name
    raw = tmp_path / name / "raw"
    raw.mkdir(parents=True)
    for file in NAMES:
        origin = data_root / name / "raw" / file
        content = origin.read_bytes() if origin.is_file() else gzip.decompress(Path(f"{origin}.gz").read_bytes())
        (raw / file).write_bytes(content)
    again = source.read(tmp_path, "ood")
    assert torch.equal(again[0].images, train.images)
    assert torch.equal(again[1].labels, test.labels)

    (raw / TRAIN_IMAGES).write_bytes((raw / TRAIN_IMAGES).read_bytes()[:1_000_000])
    message = message_of(lambda: source.read(tmp_path, "ood"))
    assert f"1,000,000 bytes; SHA-256 expected {source.FILES.sha256[TRAIN_IMAGES]}, found" in message


@pytest.mark.real
@pytest.mark.parametrize("source", SETS, ids=["MNIST", "Fashion-MNIST"])
def test_a_truncated_copy_of_a_published_file_is_told(
    data_root: Path, tmp_path: Path, source: Any, skip_without: Callable[[Any], None]
) -> None:
    skip_without(source)
    folder = Path(source.FILES.torchvision_name, "raw")
    if not all((data_root / folder / f"{name}.gz").is_file() for name in NAMES):
        pytest.skip(f"the files in {data_root / folder} are decompressed")
    shutil.copytree(data_root / folder, tmp_path / folder, copy_function=shutil.copyfile)
    cut = tmp_path / folder / f"{TEST_IMAGES}.gz"
    cut.write_bytes(cut.read_bytes()[:-1])
    message = message_of(lambda: source.read(tmp_path, "ood"))
    assert f"{cut} is corrupt or cut short" in message
