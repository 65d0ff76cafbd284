"""The pairs of ood on small files of which every image is known, its refusals, and the real files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latentbench import Data, LatentbenchError, Role, StoredSplit
from latentbench.testing import check_dataset
from latentbench_datasets.digits import fashion_mnist_files as fashion_mnist
from latentbench_datasets.digits import kmnist_files as kmnist
from latentbench_datasets.digits import mnist_files as mnist
from latentbench_datasets.digits import notmnist_files as notmnist
from latentbench_datasets.digits.ood import Ood
from latentbench_datasets.digits.scaled import ScaledSplit

PAIRS = ["mnist-fashion", "fashion-mnist", "mnist-held-out"]
#: Of the intensities in the supplement's table 6.
TABLE_6 = (1, 3, 5, 7, 9, 11, 13, 15)
OUTLIERS = ("kmnist", "notmnist")


class Root:
    """A data root with small files of all sets, and what is in them."""

    def __init__(self, folder: Path, publish: Callable[..., Any]) -> None:
        self.folder = folder
        self.mnist, self.fashion = publish(mnist, 120, 80), publish(fashion_mnist, 60, 50)
        self.kmnist, self.notmnist = publish(kmnist, test=90), publish(notmnist, test=70)
        for published in (self.mnist, self.fashion, self.kmnist, self.notmnist):
            published.put(folder)

    def load(self, **options: Any) -> Data:
        return Ood(Ood.Config.parse(options, "dataset 'ood'")).load(self.folder)


@pytest.fixture
def root(tmp_path: Path, publish: Callable[..., Any]) -> Root:
    return Root(tmp_path, publish)


def images_of(split: Any) -> np.ndarray:
    """(N, H, W) in 0..255 as given out."""
    batch = split.batch(torch.arange(len(split)), torch.Generator())
    return np.rint(batch.images.numpy()[:, 0] * 255)


def message_of(action: Callable[[], Any]) -> str:
    with pytest.raises(LatentbenchError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        *({"pair": pair} for pair in PAIRS),
        {"intensities": TABLE_6, "test_images": 9},
        {"intensities": (0.5, 1)},
        {"outliers": OUTLIERS},
    ],
)
def test_it_keeps_what_a_dataset_promises(root: Root, options: dict[str, Any]) -> None:
    check_dataset(Ood, root.folder, options=options)


@pytest.mark.parametrize(
    ("pair", "inside", "outside"), [("mnist-fashion", "mnist", "fashion"), ("fashion-mnist", "fashion", "mnist")]
)
def test_a_set_is_normal_and_the_other_anomalous(root: Root, pair: str, inside: str, outside: str) -> None:
    data = root.load(pair=pair)
    normal, anomalous = (getattr(root, side).arrays for side in (inside, outside))
    train = normal["train-images-idx3-ubyte"]
    fitted = len(train) * 5 // 6
    np.testing.assert_array_equal(images_of(data.train), train[:fitted])
    np.testing.assert_array_equal(images_of(data.validation), train[fitted:])

    images, anomaly = images_of(data.splits["test"]), data.splits["test"].targets.anomaly
    assert anomaly is not None
    assert anomaly.tolist() == [0] * 50 + [1] * 50  # all of Fashion-MNIST's test, as many of MNIST's
    smaller, larger = (anomalous, normal) if inside == "mnist" else (normal, anomalous)
    of_the_smaller = images[anomaly == (inside == "mnist")]
    of_the_larger = images[anomaly == (inside != "mnist")]
    np.testing.assert_array_equal(of_the_smaller, smaller["t10k-images-idx3-ubyte"])
    places = [find(image, larger["t10k-images-idx3-ubyte"]) for image in of_the_larger]
    assert places == sorted(set(places))  # each once, in their order


def find(image: np.ndarray, images: np.ndarray) -> int:
    """The index of the one of ``images`` that is ``image``."""
    (place,) = np.flatnonzero((images == image).all(axis=(1, 2)))
    return int(place)


@pytest.mark.parametrize("classes", [None, (7,), (8, 2, 5)])
def test_held_in_digits_are_normal_and_all_others_anomalous(root: Root, classes: tuple[int, ...] | None) -> None:
    data = root.load(pair="mnist-held-out", classes=classes)
    held_in, arrays = classes or (0, 1), root.mnist.arrays
    for split, part in ((data.train, slice(100)), (data.validation, slice(100, None))):
        inside = np.isin(arrays["train-labels-idx1-ubyte"][part], held_in)
        np.testing.assert_array_equal(images_of(split), arrays["train-images-idx3-ubyte"][part][inside])

    images, anomaly = images_of(data.splits["test"]), data.splits["test"].targets.anomaly
    labels = [arrays["t10k-labels-idx1-ubyte"][find(image, arrays["t10k-images-idx3-ubyte"])] for image in images]
    np.testing.assert_array_equal(~np.isin(labels, held_in), anomaly)
    assert len(np.unique(images, axis=0)) == len(images)
    assert anomaly is not None
    most = min(np.bincount(np.isin(arrays["t10k-labels-idx1-ubyte"], held_in)))
    assert np.bincount(anomaly).tolist() == [most, most]


def test_held_out_digits_need_no_fashion(tmp_path: Path, publish: Callable[..., Any]) -> None:
    publish(mnist, 120, 80).put(tmp_path)
    root = tmp_path
    assert len(Ood(Ood.Config(pair="mnist-held-out")).load(root).splits) == 3
    assert message_of(lambda: Ood().load(root)).startswith(f"Fashion-MNIST is not complete in {root / 'FashionMNIST'}")


@pytest.mark.parametrize("pair", PAIRS)
def test_preparing_asks_for_what_the_pair_needs_and_nothing_else(
    tmp_path: Path, publish: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, pair: str
) -> None:
    published = publish(mnist), publish(fashion_mnist)
    asked = []
    for one in published:

        def download(self: Any, root: Any, one: Any = one, **options: Any) -> None:
            asked.append(one.files.title)
            one.put(Path(root))

        monkeypatch.setattr(one.torchvision_class, "__init__", download)
    Ood(Ood.Config(pair=pair)).prepare(tmp_path)
    assert sorted(asked) == (["MNIST"] if pair == "mnist-held-out" else ["Fashion-MNIST", "MNIST"])


def test_a_smaller_test_is_a_part_of_a_larger_one_and_another_seed_takes_others(root: Root) -> None:
    def taken(**options: Any) -> list[set[bytes]]:
        images = images_of(root.load(**options).splits["test"])
        return [{image.tobytes() for image in side} for side in np.split(images, 2)]

    small, large, other = taken(test_images=10), taken(test_images=40), taken(test_images=10, seed=1)
    assert [len(side) for side in small] == [10, 10]
    assert all(one < whole for one, whole in zip(small, large, strict=True))
    assert all(one != another for one, another in zip(small, other, strict=True))


@pytest.mark.parametrize("scaled", ["out", "all"])
def test_a_further_factor_is_a_test_of_the_same_images_multiplied(root: Root, scaled: str) -> None:
    data = root.load(intensities=(1, 3, 0.5), scaled=scaled)
    assert list(data.splits) == ["train", "validation", "test", "test-x3", "test-x0.5"]
    test = data.splits["test"]
    images, anomaly = test.batch(torch.arange(100), torch.Generator()).images, test.targets.anomaly
    for factor in (3, 0.5):
        split = data.splits[f"test-x{factor}"]
        expected = images.clone()
        expected[50 if scaled == "out" else 0 :] *= factor
        assert split.role is Role.TEST
        assert split.targets.anomaly is anomaly
        assert split.image_range == (0.0, max(1.0, factor))
        index = torch.tensor([99, 0, 50, 49])
        assert torch.equal(split.batch(index, torch.Generator()).images, expected[index])
    assert torch.equal(test.batch(torch.arange(100), torch.Generator()).images, images)  # left as they are


def test_intensities_share_the_stored_images(root: Root) -> None:
    data = root.load(intensities=TABLE_6)
    test, *scaled = (split for split in data.splits.values() if split.role is Role.TEST)
    assert isinstance(test, StoredSplit)
    for split in scaled:
        assert isinstance(split, ScaledSplit)
        assert split._stored.images is test.images


@pytest.mark.parametrize("pair", PAIRS)
def test_outliers_are_further_tests_of_the_same_normal_images(root: Root, pair: str) -> None:
    plain, data = root.load(pair=pair), root.load(pair=pair, outliers=OUTLIERS)
    assert list(data.splits) == ["train", "validation", "test", "test-kmnist", "test-notmnist"]
    for name in plain.splits:
        assert data.splits[name].content_hash == plain.splits[name].content_hash
    test = data.splits["test"]
    anomaly = test.targets.anomaly
    assert anomaly is not None
    for name in OUTLIERS:
        split = data.splits[f"test-{name}"]
        assert split.role is Role.TEST
        np.testing.assert_array_equal(split.targets.anomaly, anomaly)
        np.testing.assert_array_equal(images_of(split)[anomaly == 0], images_of(test)[anomaly == 0])
        published = getattr(root, name).arrays["t10k-images-idx3-ubyte"]
        places = [find(image, published) for image in images_of(split)[anomaly == 1]]
        assert places == sorted(set(places))


def test_a_set_of_outliers_is_the_same_alone_and_beside_another(root: Root) -> None:
    both = root.load(outliers=OUTLIERS)
    for name in OUTLIERS:
        alone = root.load(outliers=[name])
        assert alone.splits[f"test-{name}"].content_hash == both.splits[f"test-{name}"].content_hash
    assert Ood.Config(outliers=("notmnist", "kmnist")) == Ood.Config(outliers=OUTLIERS), "one setting, one key"
    assert "outliers" not in Ood.Config().model_dump(mode="json"), "the key of before there were any"


def test_missing_outliers_are_named_with_how_to_get_them_and_how_to_do_without(
    tmp_path: Path, publish: Callable[..., Any]
) -> None:
    for one in (mnist, fashion_mnist, kmnist):
        publish(one, 120, 80).put(tmp_path)
    ood = Ood(Ood.Config(outliers=OUTLIERS))
    message = message_of(lambda: ood.load(tmp_path))
    assert message.startswith(f"notMNIST is not complete in {tmp_path / 'notMNIST' / 'raw'}: missing t10k-images")
    assert notmnist.SOURCE in message
    assert message.endswith("; or leave 'notmnist' out of the option 'outliers'")
    (tmp_path / "KMNIST" / "raw" / "t10k-labels-idx1-ubyte.gz").unlink()
    message = message_of(lambda: ood.load(tmp_path))
    command = f"latentbench data prepare ood --set 'outliers=[kmnist,notmnist]' --data-root {tmp_path}"
    assert f"(licence CC BY-SA 4.0) with `{command}`" in message
    assert len(Ood().load(tmp_path).splits) == 3


def test_preparing_downloads_the_outliers_that_can_be_downloaded(
    tmp_path: Path, publish: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in (mnist, fashion_mnist):
        publish(one).put(tmp_path)
    published = publish(kmnist)
    monkeypatch.setattr(
        published.torchvision_class, "__init__", lambda self, root, **_: published.put(Path(root)) and None
    )
    publish(notmnist)
    message = message_of(lambda: Ood(Ood.Config(outliers=OUTLIERS)).prepare(tmp_path))
    assert message.startswith("notMNIST is not complete")
    assert len(Ood(Ood.Config(outliers=("kmnist",))).load(tmp_path).splits) == 4


def test_everything_that_changes_an_image_changes_the_hash(root: Root) -> None:
    plain, bright = root.load(), root.load(intensities=(1, 3))
    assert bright.splits["test"].content_hash == plain.splits["test"].content_hash
    changes: list[dict[str, Any]] = [
        {},
        {"seed": 1},
        {"test_images": 49},
        {"intensities": (1, 3)},
        {"intensities": (1, 4)},
        {"intensities": (1, 3), "scaled": "all"},
        {"outliers": ["kmnist"]},
        {"outliers": ["notmnist"]},
        {"outliers": OUTLIERS},
        *({"pair": pair} for pair in PAIRS[1:]),
    ]
    hashes = [root.load(**options).split_hash for options in changes]
    assert len(set(hashes)) == len(hashes)
    names = {name: split.content_hash for name, split in root.load(intensities=TABLE_6).splits.items()}
    assert len(set(names.values())) == len(names)


def test_moving_keeps_images_targets_and_hash(root: Root) -> None:
    data = root.load(intensities=(1, 7))
    moved = data.to(torch.device("cpu"))
    assert moved.split_hash == data.split_hash
    assert moved.splits["test-x7"].image_range == (0.0, 7.0)
    np.testing.assert_array_equal(images_of(moved.splits["test-x7"]), images_of(data.splits["test-x7"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pair": "mnist-cifar"}, "'pair': Input should be 'mnist-fashion', 'fashion-mnist' or 'mnist-held-out'"),
        ({"pair": "mnist-held-out", "classes": ()}, "'classes': Input should be one to nine distinct digits"),
        ({"pair": "mnist-held-out", "classes": (1, 1)}, "'classes': Input should be one to nine distinct digits"),
        ({"pair": "mnist-held-out", "classes": range(10)}, "'classes': Input should be one to nine distinct digits"),
        ({"pair": "mnist-held-out", "classes": (10,)}, "'classes.0': Input should be less than or equal to 9"),
        ({"classes": (0, 1)}, "pair mnist-fashion has all classes on either side: leave classes out"),
        ({"intensities": ()}, "'intensities': Input should be distinct factors, 1 among them"),
        ({"intensities": (3, 5)}, "'intensities': Input should be distinct factors, 1 among them"),
        ({"intensities": (1, 3, 3)}, "'intensities': Input should be distinct factors, 1 among them"),
        ({"intensities": (1, 3, 3.0000001)}, "'intensities': Input should be distinct factors, 1 among them"),
        ({"intensities": (1, 0)}, "'intensities.1': Input should be greater than 0"),
        ({"intensities": (1, float("inf"))}, "'intensities.1': Input should be a finite number"),
        ({"scaled": "all"}, "'scaled' has no effect: 1 is the only factor of intensities: leave it out"),
        ({"scaled": "in"}, "'scaled': Input should be 'out' or 'all'"),
        ({"outliers": ["emnist"]}, "'outliers.0': Input should be 'kmnist' or 'notmnist'"),
        ({"outliers": ["kmnist", "kmnist"]}, "'outliers': Input should be distinct sets"),
        ({"test_images": 0}, "'test_images': Input should be greater than or equal to 1"),
    ],
)
def test_a_wrong_option_is_one_clear_line(root: Root, options: dict[str, Any], message: str) -> None:
    found = message_of(lambda: root.load(**options))
    assert found.startswith("dataset 'ood'")
    assert message in found


def test_more_test_images_than_a_side_has_are_refused_with_both_counts(root: Root) -> None:
    message = message_of(lambda: root.load(test_images=51))
    assert message == (
        "dataset 'ood': 51 test images on each side, but mnist-fashion has 80 normal and 50 anomalous ones: "
        "use at most 50"
    )


def test_options_survive_their_json() -> None:
    config = Ood.Config(pair="mnist-held-out", classes=(1, 7), intensities=TABLE_6)
    assert Ood.Config.parse(json.loads(json.dumps(config.model_dump(mode="json"))), "options") == config


@pytest.mark.real
@pytest.mark.parametrize(
    ("pair", "sizes", "split_hash"),
    [
        ("mnist-fashion", [50_000, 10_000, 20_000], "2c1e3fea2240d9653d8cb6c1f9f405c546b354ac5a3c97b55af08b7fd198b435"),
        ("fashion-mnist", [50_000, 10_000, 20_000], "b9fb2d9900855a68323b15a87f22d971790f0d53c37d9c8c4c26ad2c701d37d8"),
        ("mnist-held-out", [10_610, 2055, 4230], "a860684f5e530bae945449e7d7b30ae826030d877394d9c6761b98fa234563a1"),
    ],
    ids=PAIRS,
)
def test_the_real_pairs_are_always_the_same_and_no_training_image_is_in_a_test(
    data_root: Path, skip_without: Callable[[Any], None], pair: str, sizes: list[int], split_hash: str
) -> None:
    skip_without(fashion_mnist)
    data = Ood(Ood.Config(pair=pair)).load(data_root)
    assert [len(split) for split in data.splits.values()] == sizes
    assert data.split_hash == split_hash
    if all((data_root / one.FILES.torchvision_name).is_dir() for one in (kmnist, notmnist)):
        more = Ood(Ood.Config(pair=pair, outliers=OUTLIERS)).load(data_root)
        assert [len(split) for split in more.splits.values()] == [*sizes, sizes[-1], sizes[-1]]
        assert [split.content_hash for split in more.splits.values()][:3] == [
            split.content_hash for split in data.splits.values()
        ]
    known = {image.tobytes() for split in (data.train, data.validation) for image in images_of(split)}
    assert not any(image.tobytes() in known for image in images_of(data.splits["test"]))
