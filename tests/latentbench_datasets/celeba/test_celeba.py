"""CelebA under correlation shift: which images, pixels and labels each split has; and what is refused."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from latentbench import MISSING, Data, IndexedSplit, LatentbenchError, Role
from latentbench.data.dataset import State
from latentbench.testing import check_dataset
from latentbench.torchvision_compat import import_torchvision
from latentbench_datasets import images as image_files
from latentbench_datasets.celeba import dataset as celeba
from latentbench_datasets.celeba import files as celeba_files
from latentbench_datasets.celeba.dataset import CelebA, CelebANovelty, CelebASubset, CelebASubsetNovelty, Faces
from latentbench_datasets.celeba.subsampling import cell_sizes

CELLS = (14, 20, 18, 11)
IMAGES = 3 * sum(CELLS)
GLASSES = 2
WITHOUT = tuple(count - GLASSES for count in CELLS)
CONDITIONS = {"correlated": 1, "uncorrelated": 0, "anticorrelated": -1}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, write: Any) -> tuple[Path, Any]:
    """A data root with the folder of a subset, decoded once for all tests; and the folder's rows."""
    data_root = tmp_path_factory.mktemp("data")
    rows = write(data_root / "celeba_10k", CELLS, glasses=GLASSES)
    return data_root, np.array(rows)


@pytest.fixture
def shared(prepared: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data root of ``prepared``; nothing in it may be changed."""
    data_root: Path = prepared[0]
    monkeypatch.setenv("LATENTBENCH_CACHE", str(data_root / "cache"))
    return data_root


@pytest.fixture
def truth(prepared: Any) -> npt.NDArray[np.int64]:
    """(N, 4) partition, Male, Smiling, Eyeglasses of the images in ``shared``."""
    rows: npt.NDArray[np.int64] = prepared[1]
    return rows


def subset(**options: Any) -> CelebASubset:
    return CelebASubset(CelebASubset.Config.parse({"images": IMAGES, **options}, "dataset 'celeba-subset'"))


def novelty(**options: Any) -> CelebASubsetNovelty:
    config = CelebASubsetNovelty.Config.parse({"images": IMAGES, **options}, "dataset 'celeba-subset-novelty'")
    return CelebASubsetNovelty(config)


def part(data: Data, name: str) -> IndexedSplit:
    split = data.splits[name]
    assert isinstance(split, IndexedSplit)
    return split


def counts(labels: npt.NDArray[np.int64], weights: Any = None) -> npt.NDArray[np.float64]:
    """(2, 2) images, or their weight, in each cell of (N, 2) labels."""
    table = np.zeros((2, 2))
    for (male, smiling), weight in zip(labels, np.ones(len(labels)) if weights is None else weights, strict=True):
        table[male, smiling] += weight
    return table


def message_of(action: Callable[[], Any]) -> str:
    with pytest.raises(LatentbenchError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    return message


# Splits


def test_images_have_the_roles_and_labels_that_the_lists_say(shared: Path, truth: Any) -> None:
    data = subset(correlation=0.5).load(shared)
    assert data.info.image_shape == (3, 64, 64)
    assert data.info.attributes == {"Male": 2, "Smiling": 2}
    assert data.info.train_size == len(data.train)
    for number, role in enumerate((Role.TRAIN, Role.VALIDATION, Role.TEST)):
        split = part(data, role)
        assert split.role is role
        assert (truth[split.rows, 0] == number).all()
        assert len(set(split.rows)) == len(split)
        assert split.targets.attributes["Male"].tolist() == truth[split.rows, 1].tolist()
        assert split.targets.attributes["Smiling"].tolist() == truth[split.rows, 2].tolist()
        assert not split.targets.has("anomaly")
    assert len(part(data, "test")) == sum(CELLS)
    batch = data.train.batch(torch.tensor([3, 0]), torch.Generator())
    assert set(batch.attributes) == {"Male", "Smiling"}
    assert batch.attributes["Male"].tolist() == truth[part(data, "train").rows[[3, 0]], 1].tolist()


@settings(max_examples=25)
@given(percent=st.integers(-80, 80))
def test_each_split_and_condition_has_the_largest_set_of_its_correlation(prepared: Any, percent: int) -> None:
    c = percent / 100
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENTBENCH_CACHE", str(prepared[0] / "cache"))
        data = subset(correlation=c).load(prepared[0])
    available, labels = np.array(CELLS).reshape(2, 2), prepared[1][:, 1:3]
    for name in ("train", "validation"):
        assert counts(labels[part(data, name).rows]).tolist() == cell_sizes(available, c).tolist()
        assert part(data, name).conditions == {}
    test = part(data, "test")
    assert list(test.conditions) == list(CONDITIONS)
    for name, sign in CONDITIONS.items():
        weights = test.conditions[name]
        assert set(weights) <= {0.0, 1.0}
        assert counts(labels[test.rows], weights).tolist() == cell_sizes(available, sign * c).tolist()


def test_the_conditions_of_the_test_split_overlap_as_much_as_they_can(shared: Path, truth: Any) -> None:
    test = part(subset(correlation=0.6).load(shared), "test")
    labels, (first, second, third) = truth[test.rows, 1:3], test.conditions.values()
    assert (counts(labels, first * second) == np.minimum(counts(labels, first), counts(labels, second))).all()
    assert (counts(labels, third * second) == np.minimum(counts(labels, third), counts(labels, second))).all()


def test_other_attributes_can_be_the_pair(shared: Path, truth: Any) -> None:
    data = subset(attributes=["Smiling", "Young"], correlation=0).load(shared)
    assert data.info.attributes == {"Smiling": 2, "Young": 2}
    rows = part(data, "train").rows
    assert part(data, "train").targets.attributes["Smiling"].tolist() == truth[rows, 2].tolist()
    assert part(data, "train").targets.attributes["Young"].tolist() == ((rows + 1) % 2).tolist()


def test_what_is_drawn_depends_on_the_options_alone(shared: Path) -> None:
    torch.manual_seed(1)
    outside = torch.get_rng_state()
    data = subset(labels=0.5).load(shared)
    assert torch.equal(torch.get_rng_state(), outside)
    torch.manual_seed(2)
    assert subset(labels=0.5).load(shared).split_hash == data.split_hash
    other = subset(labels=0.5, seed=1).load(shared)
    for name in data.splits:
        assert other.splits[name].content_hash != data.splits[name].content_hash
    assert sorted(part(other, "train").rows) != sorted(part(data, "train").rows)


def test_the_splits_are_those_of_version_one(shared: Path) -> None:
    """Other rows need another ``version``: results of two are never compared."""
    assert CelebASubset.version == CelebA.version == 1
    train = part(subset(correlation=0.8, labels=0.5).load(shared), "train")
    assert train.rows.tolist() == [
        8,
        14,
        16,
        17,
        27,
        59,
        83,
        86,
        89,
        90,
        100,
        102,
        107,
        108,
        112,
        121,
        126,
        132,
        146,
        158,
        161,
        163,
        174,
        182,
    ]
    assert train.targets.attributes["Male"].tolist() == [
        -1,
        -1,
        0,
        1,
        0,
        -1,
        0,
        -1,
        1,
        1,
        -1,
        -1,
        -1,
        1,
        -1,
        -1,
        0,
        0,
        1,
        1,
        1,
        -1,
        -1,
        -1,
    ]


# Pixels


@pytest.mark.parametrize("size", [(89, 109), (178, 218)], ids=str)
@pytest.mark.parametrize("image_size", [64, 48])
def test_pixels_are_those_of_torchvisions_transforms(
    tmp_path: Path, write: Any, size: tuple[int, int], image_size: int
) -> None:
    write(tmp_path / "celeba_10k", [1, 1, 1, 1], size=size)
    data = subset(images=12, correlation=0, image_size=image_size).load(tmp_path)
    transforms = import_torchvision().transforms
    crop = transforms.Compose(
        [transforms.CenterCrop(64 if size[0] == 89 else 128), transforms.Resize(image_size), transforms.PILToTensor()]
    )
    for name in data.splits:
        split = part(data, name)
        images = split.images
        assert len(images) == 4
        for row, image in zip(split.rows, images, strict=True):
            path = tmp_path / "celeba_10k" / "img_align_celeba" / f"{row + 1:06}.jpg"
            assert torch.equal(image, crop(Image.open(path)))


def test_halved_files_are_cropped_and_not_resized(tmp_path: Path, write: Any) -> None:
    write(tmp_path / "celeba_10k", [1, 1, 1, 1])
    split = part(subset(images=12, correlation=0).load(tmp_path), "train")
    path = tmp_path / "celeba_10k" / "img_align_celeba" / f"{split.rows[0] + 1:06}.jpg"
    np.testing.assert_array_equal(split.images[0].permute(1, 2, 0), np.asarray(Image.open(path))[22:86, 12:76])


def test_the_folder_is_decoded_once_for_all_options_that_choose_among_its_images(
    tmp_path: Path, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "celeba_10k", [3, 3, 3, 3], glasses=1)
    decoded: list[Path] = []

    def read(path: Path, *rest: int) -> Any:
        decoded.append(path)
        return image_files.read_centre(path, *rest)

    monkeypatch.setattr(celeba, "read_centre", read)
    subset(images=36, correlation=0).load(tmp_path)
    assert len(decoded) == 36
    for correlation, labels, seed in ((0.2, 1, 0), (0, 0.5, 0), (-0.3, 1, 7)):
        subset(images=36, correlation=correlation, labels=labels, seed=seed).load(tmp_path)
    subset(images=36, correlation=0, attributes=["Young", "Male"]).load(tmp_path)
    novelty(images=36, correlation=0).load(tmp_path)
    assert novelty(images=36, correlation=0).status(tmp_path).state is State.PREPARED
    assert len(decoded) == 36
    subset(images=36, correlation=0, image_size=32).load(tmp_path)
    assert len(decoded) == 72


def test_images_that_were_damaged_in_the_cache_are_noticed(shared: Path) -> None:
    data = subset().load(shared)
    expected = data.split_hash
    addresses = {split._store.untyped_storage().data_ptr() for split in (part(data, name) for name in data.splits)}
    assert len(addresses) == 1, "the splits share one array"
    (folder,) = (shared / "cache").glob("*/celeba/*/*")
    content = (folder / "images.npy").read_bytes()
    try:
        with (folder / "images.npy").open("r+b") as file:
            file.seek(-100, 2)
            file.write(b"x" * 100)
        assert "has changed since it was prepared" in message_of(lambda: subset().verify(shared))
        assert subset().status(shared).state is State.OUTDATED
        assert subset().load(shared).split_hash == expected
        assert (folder / "images.npy").read_bytes() == content, "they were prepared again"
    finally:
        (folder / "images.npy").write_bytes(content)
    assert subset().verify(shared) == expected


# Weak labels


@pytest.mark.parametrize(("share", "kept"), [(1, 28), (0.5, 14), (0.25, 7), (0.1, 3), (0.05, 2), (0.001, 1)])
def test_a_share_of_each_attributes_training_labels_is_kept(shared: Path, share: float, kept: int) -> None:
    full, weak = subset(correlation=0.5).load(shared), subset(correlation=0.5, labels=share).load(shared)
    assert len(full.train) == 28
    assert part(weak, "train").rows.tolist() == part(full, "train").rows.tolist()
    for name, values in weak.train.targets.attributes.items():
        labelled = values != MISSING
        assert labelled.sum() == kept
        assert (values[labelled] == full.train.targets.attributes[name][labelled]).all()
    for name in ("validation", "test"):
        assert weak.splits[name].content_hash == full.splits[name].content_hash


def test_fewer_labels_are_some_of_the_more_and_each_attribute_has_its_own(shared: Path) -> None:
    known = {
        share: {
            name: values != MISSING
            for name, values in subset(labels=share).load(shared).train.targets.attributes.items()
        }
        for share in (0.25, 0.5)
    }
    for name in ("Male", "Smiling"):
        assert (known[0.5][name] | ~known[0.25][name]).all()
    assert (known[0.5]["Male"] != known[0.5]["Smiling"]).any()


def test_the_published_label_counts_follow_from_the_shares() -> None:
    """Of 60,574 training images (Fig. 14), not of 10,260 as section B.5 says: that is the anticorrelated test."""
    expected = {1: 60574, 0.5: 30287, 0.25: 15144, 0.1: 6058, 0.05: 3029}
    attributes = np.zeros((60574, 40), np.uint8)
    for share, kept in expected.items():
        targets = subset(labels=share)._targets(Role.TRAIN, attributes)
        assert [(values != MISSING).sum() for values in targets.attributes.values()] == [kept, kept]


# Novelty


def test_what_is_held_out_is_in_no_training_image_and_is_the_tests_anomaly(shared: Path, truth: Any) -> None:
    data = novelty(correlation=0.5).load(shared)
    without = np.array(WITHOUT).reshape(2, 2)
    for name in ("train", "validation"):
        rows = part(data, name).rows
        assert not truth[rows, 3].any()
        assert counts(truth[rows, 1:3]).tolist() == cell_sizes(without, 0.5).tolist()
        assert not data.splits[name].targets.has("anomaly")
    test = part(data, "test")
    assert len(test) == sum(CELLS)
    anomaly = test.targets.anomaly
    assert anomaly is not None
    assert anomaly.tolist() == truth[test.rows, 3].tolist()
    assert anomaly.sum() == 4 * GLASSES
    novel = anomaly == 1
    for column, name in ((1, "Male"), (2, "Smiling")):
        assert (test.targets.attributes[name][novel] == MISSING).all()
        assert (test.targets.attributes[name][~novel] == truth[test.rows, column][~novel]).all()
    for name, sign in CONDITIONS.items():
        weights = test.conditions[name]
        assert (weights[novel] == 1).all()
        normal = counts(truth[test.rows, 1:3][~novel], weights[~novel])
        assert normal.tolist() == cell_sizes(without, sign * 0.5).tolist()


def test_another_attribute_can_be_held_out(shared: Path) -> None:
    data = novelty(novelty="Young", correlation=0).load(shared)
    assert (part(data, "train").rows % 2 == 1).all()
    anomaly = data.splits["test"].targets.anomaly
    assert anomaly is not None
    assert anomaly.tolist() == (1 - part(data, "test").rows % 2).tolist()


def test_a_test_part_without_an_anomaly_is_refused(shared: Path) -> None:
    message = message_of(lambda: novelty(novelty="Wearing_Hat").load(shared))
    assert "no test image has Wearing_Hat" in message


# The whole set and subsets of it


@pytest.fixture
def whole(tmp_path: Path, write: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with a small folder that stands for the whole, published set."""
    write(tmp_path / "celeba", CELLS, glasses=GLASSES, size=(178, 218))
    monkeypatch.setattr(celeba_files, "IMAGES", IMAGES)
    files = [
        ("", hashlib.md5((tmp_path / "celeba" / name).read_bytes()).hexdigest(), name)
        for name in ("list_attr_celeba.txt", "list_eval_partition.txt")
    ]
    monkeypatch.setattr(import_torchvision().datasets.CelebA, "file_list", files)
    return tmp_path


def test_they_keep_a_datasets_promises(whole: Path, shared: Path) -> None:
    check_dataset(CelebA, whole, options={"correlation": 0.5})
    check_dataset(CelebANovelty, whole, options={"correlation": 0.5})
    check_dataset(CelebASubset, shared, options={"images": IMAGES, "labels": 0.5})
    check_dataset(CelebASubsetNovelty, shared, options={"images": IMAGES})


def test_the_whole_set_splits_as_a_subset_does(whole: Path) -> None:
    data = CelebA(CelebA.Config(correlation=0.4)).load(whole)
    again = subset(folder="celeba", correlation=0.4).load(whole)
    assert data.split_hash == again.split_hash


@pytest.mark.parametrize(("dataset", "subset"), [(CelebA, "celeba-subset"), (CelebANovelty, "celeba-subset-novelty")])
def test_a_part_of_it_is_not_the_whole_set(
    whole: Path, monkeypatch: pytest.MonkeyPatch, dataset: type[Faces], subset: str
) -> None:
    monkeypatch.setattr(celeba_files, "IMAGES", 202_599)
    message = message_of(lambda: dataset().load(whole))
    assert message == (
        f"dataset '{dataset.name}' is the whole set of 202,599 images, and there are {IMAGES}: get the others; or take "
        f"dataset '{subset}' with the options folder=celeba and images={IMAGES}"
    )
    status = dataset().status(whole)
    assert (status.state, status.note) == (State.MISSING, message)


def test_other_lists_than_the_published_ones_are_refused(whole: Path) -> None:
    path = whole / "celeba" / "list_eval_partition.txt"
    path.write_text(path.read_text().replace(" 2\n", " 1\n", 1))
    message = message_of(lambda: CelebA().load(whole))
    assert f"{path} is not the published file (MD5 expected" in message


def test_what_is_missing_of_the_whole_set_is_named_with_the_command_and_what_to_put_where(tmp_path: Path) -> None:
    message = message_of(lambda: CelebA().load(tmp_path))
    assert message.startswith(f"dataset 'celeba' is not complete in {tmp_path / 'celeba'}: missing list_attr_celeba")
    for word in (
        f"latentbench data prepare celeba --data-root {tmp_path}`",
        "non-commercial research only",
        "img_align_celeba.zip",
    ):
        assert word in message
    assert CelebA().status(tmp_path).state is State.MISSING


def test_a_subset_says_so_in_its_name_title_status_and_options(shared: Path) -> None:
    for dataset in (CelebASubset, CelebASubsetNovelty):
        assert "subset" in dataset.name
        assert "subset of CelebA (10,000 of 202,599 images" in dataset.title
        assert "not the published one" in dataset.source
    assert CelebASubset.Config().images == 10_000
    status = subset().status(shared)
    assert status.note == f"a subset: {IMAGES} of 202,599 images; its partition is not the published one"
    subset().load(shared)
    assert subset().status(shared).facts == {
        "images": IMAGES,
        "train part": sum(CELLS),
        "validation part": sum(CELLS),
        "test part": sum(CELLS),
    }


def test_a_subset_of_another_size_than_its_option_says_is_refused_prepared_or_not(shared: Path) -> None:
    for _ in range(2):
        message = message_of(lambda: subset(images=IMAGES - 1).load(shared))
        assert (
            f"folder celeba_10k has {IMAGES} of CelebA's images, not {IMAGES - 1}: set the option images={IMAGES}"
            in message
        )
        subset().load(shared)
    status = subset(images=IMAGES - 1).status(shared)
    assert (status.state, status.note) == (State.MISSING, message)


def test_preparing_downloads_unpacks_and_decodes(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(celeba_files, "download", lambda folder: called.append(("download", folder)))
    monkeypatch.setattr(
        celeba_files, "unpack_images", lambda folder, published, progress: called.append((published, folder))
    )
    told: list[tuple[int, int]] = []
    dataset = CelebA()
    dataset.progress = lambda done, total: told.append((done, total))
    dataset.prepare(whole)
    assert called == [("download", whole / "celeba"), (True, whole / "celeba")]
    assert told == [(number, IMAGES) for number in range(1, IMAGES + 1)]
    assert dataset.status(whole).state is State.PREPARED


# What is refused


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"attributes": ["Mal", "Smiling"]}, "'attributes.0': unknown attribute; did you mean 'Male'"),
        ({"attributes": ["Male", "Smilling"]}, "'attributes.1': unknown attribute; did you mean 'Smiling'"),
        ({"attributes": ["Male", "Male"]}, "'attributes': Input should be two distinct attributes"),
        ({"attributes": ["Male"]}, "'attributes.1': Field required"),
        ({"novelty": "Eyeglases"}, "'novelty': unknown attribute; did you mean 'Eyeglasses'"),
        ({"novelty": "Male"}, "the novelty 'Male' is one of the two attributes: hold another one out"),
        ({"correlation": 1.5}, "'correlation': Input should be less than or equal to 1, got 1.5"),
        ({"labels": 0}, "'labels': Input should be greater than 0, got 0"),
        ({"labels": 1.1}, "'labels': Input should be less than or equal to 1, got 1.1"),
        ({"image_size": 256}, "'image_size': Input should be less than or equal to 128, got 256"),
        ({"images": 202_599}, "'images': Input should be less than 202599, got 202599"),
        ({"folder": "../elsewhere"}, "'folder': is not the path of a folder in the data root"),
        ({"corelation": 0.5}, "has no option 'corelation': did you mean 'correlation'?"),
    ],
)
def test_a_bad_option_is_one_clear_line(options: dict[str, Any], expected: str) -> None:
    message = message_of(lambda: novelty(**options))
    assert message.startswith("dataset 'celeba-subset-novelty'")
    assert expected in message


def test_options_survive_their_json() -> None:
    config = CelebASubsetNovelty.Config(attributes=("Young", "Bald"), correlation=-0.5, novelty="Male")
    values = json.loads(json.dumps(config.model_dump(mode="json")))
    assert CelebASubsetNovelty.Config.parse(values, "options") == config


@pytest.mark.parametrize("correlation", [0.95, -0.95])
def test_a_correlation_that_leaves_a_cell_empty_is_refused_with_the_cells(shared: Path, correlation: float) -> None:
    message = message_of(lambda: subset(correlation=correlation).load(shared))
    assert f"its train part has too few images for correlation={correlation}" in message
    assert "14 with Male=0 and Smiling=0, 20 with Male=0 and Smiling=1, 18 with Male=1 and Smiling=0, 11" in message


def test_an_empty_cell_is_refused(tmp_path: Path, write: Any) -> None:
    write(tmp_path / "celeba_10k", [3, 0, 3, 3])
    message = message_of(lambda: subset(images=27, correlation=0).load(tmp_path))
    assert "0 with Male=0 and Smiling=1" in message
    assert subset(images=27, correlation=0).status(tmp_path).state is State.PREPARED, "the images are in order"


def damage(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:300] + bytes(len(content) - 300))


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (lambda path: path.write_bytes(b""), "is empty (0 bytes)"),
        (lambda path: path.write_bytes(path.read_bytes()[:-400]), "is corrupt or cut short"),
        (damage, "is corrupt or cut short"),
        (lambda path: path.write_text("no image"), "is corrupt or cut short"),
        (lambda path: path.unlink(), "is not there, but has a row in the lists"),
        (lambda path: Image.new("RGB", (178, 218)).save(path), "has 178x218 pixels: the first one has 89x109"),
        (lambda path: Image.new("RGB", (64, 64)).save(path), "has 64x64 pixels: the first one has 89x109"),
    ],
)
def test_an_image_that_is_not_as_it_should_be_is_named_and_nothing_is_prepared(
    tmp_path: Path, write: Any, harm: Callable[[Path], Any], expected: str
) -> None:
    write(tmp_path / "celeba_10k", [1, 1, 1, 1])
    path = tmp_path / "celeba_10k" / "img_align_celeba" / "000007.jpg"
    content = path.read_bytes()
    harm(path)
    message = message_of(lambda: subset(images=12, correlation=0).load(tmp_path))
    assert f"image {path} {expected}" in message
    assert subset(images=12, correlation=0).status(tmp_path).state is State.PRESENT
    path.write_bytes(content)
    assert len(subset(images=12, correlation=0).load(tmp_path).train) == 4


def test_images_of_another_size_than_celebas_are_refused(tmp_path: Path, write: Any) -> None:
    write(tmp_path / "celeba_10k", [1, 1, 1, 1], size=(178, 178))
    message = message_of(lambda: subset(images=12, correlation=0).load(tmp_path))
    assert "000001.jpg has 178x178 pixels: aligned images of CelebA have 178x218 or 89x109" in message


def test_a_mistake_in_a_list_refuses_the_dataset(tmp_path: Path, write: Any) -> None:
    write(tmp_path / "celeba_10k", [1, 1, 1, 1])
    path = tmp_path / "celeba_10k" / "list_eval_partition.txt"
    path.write_text(path.read_text().replace("000007.jpg ", "000007.jpg 1"))
    assert f"{path}:7: the value '1" in message_of(lambda: subset(images=12, correlation=0).load(tmp_path))
    shutil.rmtree(tmp_path / "celeba_10k")
    message = message_of(lambda: subset().load(tmp_path))
    assert "missing list_attr_celeba.txt, list_eval_partition.txt, img_align_celeba/: put a part of CelebA" in message


@pytest.mark.real
def test_ten_thousand_real_faces_have_these_counts(data_root: Path) -> None:
    if not (data_root / "celeba_10k").is_dir():
        pytest.skip(f"no folder {data_root / 'celeba_10k'}")
    available = np.array([[1824, 2208], [1817, 1151]])
    for c, sizes in {0: (1151, 1151), 0.2: (1151, 767), 0.4: (1151, 493), 0.6: (1151, 287), 0.8: (1151, 127)}.items():
        data = CelebASubset(CelebASubset.Config(correlation=c)).load(data_root)
        attributes = data.train.targets.attributes
        table = counts(np.stack([attributes["Male"], attributes["Smiling"]], 1))
        assert table.tolist() == [[sizes[0], sizes[1]], [sizes[1], sizes[0]]] == cell_sizes(available, c).tolist()
    assert data.info.image_shape == (3, 64, 64)
    test = CelebASubsetNovelty().load(data_root).splits["test"]
    assert test.targets.anomaly is not None
    assert (len(test), int(test.targets.anomaly.sum())) == (2000, 129)
    assert {name: int(weights.sum()) for name, weights in test.conditions.items()} == {
        "correlated": 2 * (303 + 33) + 129,
        "uncorrelated": 4 * 303 + 129,
        "anticorrelated": 2 * (48 + 439) + 129,
    }
