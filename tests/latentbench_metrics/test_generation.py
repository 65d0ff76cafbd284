"""Metrics of samples: their arithmetic against oracles, what they refuse, and what the shipped features see."""

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import linalg, ndimage

from latentbench import Evaluation, LatentbenchError, Metric, Targets
from latentbench.testing import check_metric
from latentbench_metrics import attribute_extractor, attribute_training, fidelity, generation, weights
from latentbench_metrics.generation import (
    FID,
    KID,
    FDCelebAAttributes,
    FDMnistFashion,
    FDScenes,
    KDCelebAAttributes,
    KDMnistFashion,
    KDScenes,
    Precision,
    PrecisionCelebAAttributes,
    PrecisionMnistFashion,
    PrecisionScenes,
    Recall,
    RecallCelebAAttributes,
    RecallMnistFashion,
    RecallScenes,
)

SHIPPED: list[type[Metric]] = [FDMnistFashion, KDMnistFashion, PrecisionMnistFashion, RecallMnistFashion]
FACES: list[type[Metric]] = [FDCelebAAttributes, KDCelebAAttributes, PrecisionCelebAAttributes, RecallCelebAAttributes]
SCENES: list[type[Metric]] = [FDScenes, KDScenes, PrecisionScenes, RecallScenes]
MNIST_FASHION = weights.MNIST_FASHION.name
INCEPTION: list[type[Metric]] = [FID, KID, Precision, Recall]


def pictures(count, channels=1, side=12, seed=0, brightness=0):
    """Grey noise with a bright square somewhere."""
    draw = np.random.default_rng(seed)
    images = draw.integers(0, 60, (count, channels, side, side))
    for image, (top, left) in zip(images, draw.integers(0, side // 2, (count, 2)), strict=True):
        image[:, top : top + side // 2, left : left + side // 2] += 120 + brightness
    return images.astype(np.uint8)


def evaluation(images, samples, targets=None):
    """Of samples that are given as bytes."""
    count = len(images)
    return Evaluation(samples.astype(np.float32) / 255, targets or Targets(), np.ones(count), {}, lambda: images)


# The arithmetic


def features(count, width, seed, spread=1.0):
    draw = np.random.default_rng(seed)
    mix = draw.normal(size=(width, width))
    return torch.from_numpy(draw.normal(size=(count, width)) @ mix * spread + draw.normal(size=width))


@pytest.mark.parametrize(("counts", "width"), [((300, 200), 5), ((90, 90), 40), ((1000, 64), 12)])
def test_frechet_distance_is_the_closed_form_by_scipys_matrix_square_root(counts, width):
    a, b = features(counts[0], width, 1), features(counts[1], width, 2, 1.5)
    means = [np.mean(x.numpy(), axis=0) for x in (a, b)]
    c, d = (np.cov(x.numpy(), rowvar=False) for x in (a, b))
    root = linalg.sqrtm(c @ d).real
    expected = np.sum((means[0] - means[1]) ** 2) + np.trace(c + d - 2 * root)
    assert fidelity.frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


@given(
    st.lists(st.floats(0.1, 5), min_size=3, max_size=3),
    st.lists(st.floats(0.1, 5), min_size=3, max_size=3),
    st.floats(-3, 3),
)
@settings(max_examples=30)
def test_frechet_distance_of_gaussians_of_known_mean_and_covariance(a, b, shift):
    """Sets whose sample means and covariances are exactly diag(a^2) and diag(b^2): each side ± along each axis."""
    steps = np.concatenate([np.eye(3), -np.eye(3)]) * np.sqrt(5 / 2)  # six points of sample covariance I
    sets = [torch.from_numpy(steps * np.array(scale) + offset) for scale, offset in ((a, 0), (b, shift))]
    expected = 3 * shift**2 + np.sum((np.array(a) - np.array(b)) ** 2)
    assert fidelity.frechet_distance(*sets) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_kernel_distance_is_the_unbiased_estimate_summed_pair_by_pair():
    x, y = features(12, 4, 1).numpy(), features(12, 4, 2).numpy()

    def kernel(u, v):
        return (u @ v / 4 + 1) ** 3

    pairs = [(i, j) for i in range(12) for j in range(12)]
    within = sum(kernel(x[i], x[j]) + kernel(y[i], y[j]) for i, j in pairs if i != j) / (12 * 11)
    across = sum(kernel(x[i], y[j]) for i, j in pairs) / 12**2
    found = fidelity.kernel_distance(torch.from_numpy(x), torch.from_numpy(y), subsets=1, size=12)
    assert found == pytest.approx(within - 2 * across, rel=1e-9)


def test_kernel_distance_has_no_bias_where_the_distributions_are_equal():
    draw = np.random.default_rng(0)
    pairs = (torch.from_numpy(draw.normal(size=(60, 3))).split(30) for _ in range(200))
    values = [fidelity.kernel_distance(a, b, subsets=1, size=30) for a, b in pairs]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 4 * error
    assert min(values) < 0 < max(values)


@pytest.mark.parametrize("counts", [(40, 40), (9, 9)])
def test_precision_and_recall_are_those_of_a_search_for_neighbours_one_by_one(counts):
    both = features(sum(counts), 6, 3).numpy()
    samples, reals = both[: counts[0]] + 1.5, both[counts[0] :]

    def radii(points):
        return [sorted(np.linalg.norm(points - point, axis=1))[3] for point in points]  # [0] is the point itself

    def near(points, centres):
        reach = radii(centres)
        return np.mean([any(np.linalg.norm(p - c) <= r for c, r in zip(centres, reach, strict=True)) for p in points])

    found = fidelity.precision_and_recall(torch.from_numpy(samples), torch.from_numpy(reals))
    assert found == pytest.approx((near(samples, reals), near(reals, samples)), abs=1e-6)
    assert 0 < found[0] < 1
    assert 0 < found[1] < 1


def test_of_the_larger_side_as_many_are_drawn_as_the_smaller_has_whatever_their_order():
    both = features(90, 6, 3)
    samples, reals = both[:30] + 1, both[30:]
    found = fidelity.precision_and_recall(samples, reals)
    assert fidelity.precision_and_recall(samples.flip(0), reals.flip(0)) == found
    assert round(found[0] * 30, 4) % 1 == round(found[1] * 30, 4) % 1 == 0  # shares of thirty


def test_torch_fidelity_itself_gives_the_same_with_the_registered_extractor():
    import torch_fidelity
    from torch.utils.data import Dataset

    class Bytes(Dataset):
        def __init__(self, images):
            self.images = torch.from_numpy(images)

        def __len__(self):
            return len(self.images)

        def __getitem__(self, index):
            return self.images[index]

    samples, reals = pictures(400, 3, seed=1, brightness=20), pictures(400, 3, seed=2)
    expected = torch_fidelity.calculate_metrics(
        input1=Bytes(samples), input2=Bytes(reals), feature_extractor=MNIST_FASHION, cuda=False, verbose=False,
        fid=True, kid=True, kid_subsets=1, kid_subset_size=400, prc=True, save_cpu_ram=True,
    )  # fmt: skip
    given = evaluation(reals, samples)
    # calculate_metrics keeps features and means in float32
    assert FDMnistFashion().compute(given) == pytest.approx(expected["frechet_inception_distance"], rel=1e-4)
    assert KDMnistFashion().compute(given) == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-3)
    assert PrecisionMnistFashion().compute(given) == pytest.approx(expected["precision"], abs=1 / 400)
    assert RecallMnistFashion().compute(given) == pytest.approx(expected["recall"], abs=1 / 400)


# The metrics


@pytest.mark.parametrize("metric_class", SHIPPED)
def test_metrics_of_the_shipped_extractor_keep_their_promises(metric_class):
    samples, reals = pictures(370, seed=1, brightness=30), pictures(420, seed=2)
    anomaly = (np.arange(420) >= 360).astype(np.uint8)
    check_metric(metric_class, evaluation=evaluation(reals, samples, Targets(anomaly=anomaly)))


@pytest.mark.parametrize("channels", [1, 3])
def test_equal_sets_have_no_distance_and_everything_is_near(channels):
    images = pictures(400, channels)
    given = evaluation(images, images[::-1])
    assert FDMnistFashion().compute(given) == pytest.approx(0, abs=1e-9)
    assert PrecisionMnistFashion().compute(given) == RecallMnistFashion().compute(given) == 1
    assert KDMnistFashion().compute(given) <= 0  # unbiased: the pairs of equals are missing within, not across


def test_a_model_that_repeats_one_good_image_is_precise_and_recalls_next_to_nothing():
    reals = pictures(400)
    given = evaluation(reals, np.repeat(reals[:1], 400, axis=0))
    assert PrecisionMnistFashion().compute(given) == 1
    assert RecallMnistFashion().compute(given) == pytest.approx(1 / 400)


def test_only_normal_images_are_the_reference():
    normal, foreign, samples = pictures(370), pictures(90, seed=5, brightness=-100), pictures(370, seed=1)
    anomaly = np.repeat(np.array([0, 1], np.uint8), [370, 90])
    mixed = evaluation(np.concatenate([normal, foreign]), samples, Targets(anomaly=anomaly))
    for metric_class in SHIPPED:
        assert metric_class().compute(mixed) == metric_class().compute(evaluation(normal, samples))


def test_a_split_with_too_few_normal_images_is_left_alone():
    few, enough = (Targets(anomaly=np.repeat(np.array([0, 1], np.uint8), [count, 300])) for count in (349, 350))
    for metric_class in SHIPPED:
        assert not metric_class().applies(few, {})
        assert metric_class().applies(enough, {})
        assert metric_class().applies(Targets(), {"any": np.ones(3)})


def test_samples_are_clipped_and_rounded_to_the_nearest_byte():
    samples = np.array([-0.2, 0.0, 0.4 / 255, 0.6 / 255, 254.4 / 255, 1.0, 7.0], np.float32).reshape(7, 1, 1, 1)
    found = generation._as_bytes(samples, np.zeros((3, 1, 1, 1), np.uint8))
    assert found.ravel().tolist() == [0, 0, 0, 1, 254, 255, 255]


def test_every_version_holds_its_number_of_samples_and_every_value_its_weights():
    assert {metric.measured_version() for metric in SHIPPED} == {2_002_000}
    assert {metric.measured_version() for metric in INCEPTION} == {1_010_000}
    assert {metric.measured_version() for metric in (*FACES, *SCENES)} == {1_002_000}
    for metrics, shipped in zip((SHIPPED, FACES, SCENES), weights.SHIPPED.values(), strict=True):
        assert {metric.instrument for metric in metrics} == {f"{shipped.name} sha256:{shipped.sha256}"}
    assert {metric.instrument for metric in INCEPTION} == {"inception-2015-12-05 sha256:6726825d"}


def test_a_substitute_is_never_called_as_the_metric_that_it_stands_for():
    for metrics, name in zip((SHIPPED, FACES, SCENES), weights.SHIPPED, strict=True):
        for metric in metrics:
            assert metric.name.endswith(f"-{name}")
            assert f"({name})" in metric.title
            assert not {"fid", "kid"} & set(metric.name.split("-"))


# What they refuse


def bad(**changes):
    images = changes.pop("images", pictures(360))
    return replace(evaluation(images, pictures(360, seed=1)), **changes)


def with_pixel(value):
    samples = pictures(360, seed=1).astype(np.float32) / 255
    samples[3, 0, 1, 1] = value
    return samples


@pytest.mark.parametrize("metric_class", SHIPPED)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (bad(output=with_pixel(np.nan)), "1 of 51840 sample values are NaN or infinite"),
        (bad(output=with_pixel(np.inf)), "1 of 51840 sample values are NaN or infinite"),
        (
            bad(output=np.zeros((360, 3, 12, 12), np.float32)),
            r"samples are \(360, 3, 12, 12\), images \(360, 1, 12, 12\)",
        ),
        (bad(output=np.zeros((360, 12, 12), np.float32)), r"samples are \(360, 12, 12\)"),
        (
            bad(output=np.zeros((360, 2, 12, 12), np.float32), images=np.zeros((360, 2, 12, 12), np.uint8)),
            "it needs equal .* and C of 1 or 3",
        ),
        (bad(output=np.zeros((349, 1, 12, 12), np.float32)), "there are 349 samples: it needs at least 350"),
        (bad(output=np.zeros((1, 1, 12, 12), np.float32)), "there are 1 samples: it needs at least 350"),
        (bad(output=np.zeros((0, 1, 12, 12), np.float32)), "there are 0 samples: it needs at least 350"),
        (bad(images=pictures(349)), "there are 349 normal images: it needs at least 350"),
        (bad(targets=Targets(anomaly=np.arange(360, dtype=np.uint8) % 2)), "there are 180 normal images"),
    ],
    ids=["nan", "inf", "channels", "dimensions", "two-channels", "few", "one", "none", "few-images", "anomalies"],
)
def test_bad_input_is_an_error_that_says_what(metric_class, given, message):
    with pytest.raises(LatentbenchError, match=message):
        metric_class().compute(given)


def test_constant_images_are_defined():
    reals, grey, white = (
        pictures(400),
        np.full((400, 1, 12, 12), 90, np.uint8),
        np.full((400, 1, 12, 12), 255, np.uint8),
    )
    for images, samples in ((reals, grey), (grey, white)):
        given = evaluation(images, samples)
        assert FDMnistFashion().measure(given)[""] > 1
        assert KDMnistFashion().measure(given)[""] > 0
        assert PrecisionMnistFashion().measure(given) == {"": 0}
        assert RecallMnistFashion().measure(given) == {"": 0}
    # the distance of two points is that of their means
    a, b = (fidelity.features(MNIST_FASHION, images)[0] for images in (grey, white))
    assert FDMnistFashion().compute(evaluation(grey, white)) == pytest.approx(float((a - b).square().sum()), rel=1e-9)
    same = evaluation(grey, grey)
    assert FDMnistFashion().compute(same) == 0
    assert PrecisionMnistFashion().compute(same) == RecallMnistFashion().compute(same) == 1


# The shipped extractor


def test_a_colour_image_is_read_channel_by_channel():
    images = pictures(20, 3)
    whole = fidelity.features(MNIST_FASHION, images)
    assert whole.shape == (20, 336)
    each = [fidelity.features(MNIST_FASHION, np.ascontiguousarray(images[:, [c]])) for c in range(3)]
    torch.testing.assert_close(whole, torch.cat(each, 1), rtol=1e-5, atol=1e-5)


def test_features_of_an_image_do_not_depend_on_the_images_beside_it():
    images = pictures(30)
    whole = fidelity.features(MNIST_FASHION, images)
    torch.testing.assert_close(fidelity.features(MNIST_FASHION, images[7:12]), whole[7:12], rtol=1e-5, atol=1e-5)


def test_features_are_remembered_for_equal_images_and_few_of_them():
    images = pictures(20)
    first = fidelity.features(MNIST_FASHION, images)
    assert fidelity.features(MNIST_FASHION, images.copy()) is first
    for seed in range(1, fidelity._KEPT + 2):
        fidelity.features(MNIST_FASHION, pictures(20, seed=seed))
    again = fidelity.features(MNIST_FASHION, images)
    assert again is not first
    assert torch.equal(again, first)


@pytest.mark.parametrize("shipped", weights.SHIPPED.values(), ids=weights.SHIPPED)
def test_the_shipped_weights_are_small_and_are_those_that_the_values_name(shipped):
    content = shipped.content()
    assert len(content) < 2**20
    assert hashlib.sha256(content).hexdigest() == shipped.sha256
    network = fidelity.ShippedExtractor(shipped.name, ["features"]).classifier
    assert all(bool(torch.isfinite(value).all()) for value in network.state_dict().values())


def test_other_weights_than_the_shipped_ones_are_refused(tmp_path):
    changed = tmp_path / "weights.safetensors"
    content = bytearray(weights.SCENES.content())
    content[-1] ^= 1
    changed.write_bytes(content)
    with pytest.raises(LatentbenchError, match="is not what was shipped"):
        weights.SCENES.content(changed)
    with pytest.raises(LatentbenchError, match=r"cannot read .*absent: No such file"):
        weights.SCENES.content(tmp_path / "absent")


# The extractors of attributes


def labelled(count, names, seed=0):
    draw = np.random.default_rng(seed)
    return Targets(attributes={name: draw.integers(0, 2, count) for name in names})


@pytest.mark.parametrize("metric_class", [*FACES, *SCENES])
def test_metrics_of_attributes_keep_their_promises(metric_class):
    samples, reals = pictures(370, 3, seed=1, brightness=30), pictures(420, 3, seed=2)
    names = ("Male", "Smiling") if metric_class in FACES else ("shape", "colour")
    check_metric(metric_class, evaluation=evaluation(reals, samples, labelled(420, names)))


def test_they_are_measured_where_the_attributes_are_those_that_their_extractor_knows():
    faces, scenes = labelled(400, ("Male", "Smiling")), labelled(400, ("shape", "x"))
    others = [Targets(), labelled(400, ("digit",)), labelled(400, ("shape", "floor_hue")), labelled(349, ("Male",))]
    novel = replace(faces, anomaly=np.repeat(np.array([0, 1], np.uint8), [349, 51]))
    for metrics, own, foreign in ((FACES, faces, scenes), (SCENES, scenes, faces)):
        for metric_class in metrics:
            assert metric_class().applies(own, {"correlated": np.ones(400)})
            assert not any(metric_class().applies(one, {}) for one in (foreign, novel, *others[:3]))
    assert all(metric_class().applies(others[3], {}) for metric_class in FACES)  # their number is not known before


@pytest.mark.parametrize("shipped", [weights.CELEBA_ATTRIBUTES, weights.SCENES], ids=lambda one: one.name)
def test_a_grey_image_has_three_equal_channels_and_colours_are_seen_together(shipped):
    grey = pictures(20)
    alike = fidelity.features(shipped.name, np.repeat(grey, 3, axis=1))
    assert alike.shape == (20, attribute_extractor.FEATURES)
    torch.testing.assert_close(fidelity.features(shipped.name, grey), alike, rtol=1e-5, atol=1e-5)
    coloured = pictures(20, 3)
    turned = np.ascontiguousarray(np.roll(coloured, 1, axis=1))
    assert not torch.allclose(fidelity.features(shipped.name, coloured), fidelity.features(shipped.name, turned))


@pytest.mark.parametrize("shipped", [weights.CELEBA_ATTRIBUTES, weights.SCENES], ids=lambda one: one.name)
def test_an_image_of_another_size_is_resampled_as_pillow_does(shipped):
    classifier = attribute_extractor.load(shipped)
    images = np.repeat(np.repeat(pictures(5, 3, side=50), 2, axis=2), 2, axis=3)
    found = attribute_extractor.pictures(torch.from_numpy(images), classifier.size)
    size = (classifier.size, classifier.size)
    bands = [[Image.fromarray(band.astype(np.float32)).resize(size, Image.Resampling.BILINEAR) for band in image]
             for image in images]  # fmt: skip
    expected = torch.from_numpy(np.array(bands)) / 127.5 - 1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_the_extractor_of_scenes_tells_the_factors_of_scenes_that_it_has_not_seen():
    held_out = attribute_training.read(weights.SCENES.name, Path(), train=False)
    found = attribute_training.accuracy(attribute_extractor.load(weights.SCENES), held_out, weights.SCENES.name)
    assert found.keys() == {"shape", "size", "x", "y", "colour", "background"}
    assert min(found.values()) > 0.95


SCENE_DISTORTIONS = {
    "noise": lambda images, level: images + np.random.default_rng(0).normal(0, level, images.shape),
    "blur": lambda images, width: ndimage.gaussian_filter(images.astype(float), (0, 0, width, width)),
    "cast": lambda images, share: images * (1 - share) + np.roll(images, 1, axis=1) * share,
    "moved": lambda images, pixels: np.roll(images, pixels, axis=3),
}


@pytest.mark.parametrize(
    ("how", "strengths"),
    [("noise", (10, 20, 40, 80)), ("blur", (0.6, 1.2, 2.4)), ("cast", (0.1, 0.3, 0.6)), ("moved", (1, 3, 6))],
)
def test_the_distance_of_scenes_grows_with_their_distortion(how, strengths):
    whole = attribute_training.read(weights.SCENES.name, Path(), train=False).images.numpy()
    reals, others = (fidelity.features(weights.SCENES.name, half) for half in (whole[::2], whole[1::2]))
    distort = SCENE_DISTORTIONS[how]
    worse = [np.rint(np.clip(distort(whole[1::2], one), 0, 255)).astype(np.uint8) for one in strengths]
    far = [fidelity.frechet_distance(fidelity.features(weights.SCENES.name, one), reals) for one in worse]
    far.insert(0, fidelity.frechet_distance(others, reals))
    assert far == sorted(far)
    assert far[-1] > 10 * far[0]


# Inception's weights


@pytest.fixture
def choose(monkeypatch):
    """Names a file as the user's Inception weights, and takes its hash for the published one."""

    def chosen(path: Path, right_hash: bool = True):
        monkeypatch.setenv(weights.VARIABLE, str(path))
        if right_hash:
            prefix = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
            monkeypatch.setattr(weights, "INCEPTION_HASH_PREFIX", prefix)

    return chosen


def test_without_weights_fid_and_its_like_are_unavailable_and_say_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.delenv(weights.VARIABLE, raising=False)
    for metric_class in INCEPTION:
        assert "latentbench extractor fetch" in (metric_class.unavailable() or "")
    assert all(metric_class.unavailable() is None for metric_class in SHIPPED)
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path / "absent.pth"))
    assert all(metric_class.unavailable() is None for metric_class in INCEPTION)


def test_chosen_weights_that_are_not_there_or_not_the_published_ones_are_refused(choose, tmp_path):
    choose(tmp_path / "absent.pth", right_hash=False)
    with pytest.raises(LatentbenchError, match=r"cannot read the Inception weights .*absent\.pth: No such file"):
        weights.inception()
    other = tmp_path / "weights-inception-2015-12-05-6726825d.pth"
    torch.save({}, other)
    choose(other, right_hash=False)
    with pytest.raises(LatentbenchError, match=r"does not hold the Inception weights \(SHA-256 expected 6726825d"):
        weights.inception()


class Payload:
    """Unpickled, it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("how", [torch.save, lambda thing, path: path.write_bytes(pickle.dumps(thing, 2))])
def test_weights_are_never_unpickled_even_with_the_right_hash(choose, tmp_path, how):
    file, touched = tmp_path / "weights.pth", tmp_path / "touched"
    how({"fc.bias": Payload(touched)}, file)
    choose(file)
    with pytest.raises(LatentbenchError, match="holds more than weights, or is broken"):
        weights.inception()
    assert not touched.exists()


def test_what_torch_fidelity_reads_are_the_chosen_weights(choose, tmp_path):
    file = tmp_path / "weights.pth"
    state = {"fc.bias": torch.arange(5.0)}
    torch.save(state, file)
    choose(file)
    assert torch.equal(torch.load(weights.inception(), weights_only=True)["fc.bias"], state["fc.bias"])


def test_a_download_is_kept_where_pytorch_keeps_its_own_and_its_failure_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    published = tmp_path / "published.pth"
    published.write_bytes(b"weights")
    monkeypatch.setattr(weights, "_URL", published.as_uri())
    with pytest.raises(LatentbenchError, match=r"cannot download .*invalid hash value"):
        weights.download_inception()
    assert not (tmp_path / "checkpoints" / "published.pth").exists()
    monkeypatch.setattr(weights, "INCEPTION_HASH_PREFIX", hashlib.sha256(b"weights").hexdigest()[:8])
    path = weights.download_inception()
    assert path.read_bytes() == b"weights"
    monkeypatch.setattr(weights, "_URL", (tmp_path / "elsewhere" / "published.pth").as_uri())
    assert weights.download_inception() == path  # it is there
    path.unlink()
    with pytest.raises(LatentbenchError, match=r"cannot download .*No such file"):
        weights.download_inception()


@pytest.fixture
def untrained_inception(choose, tmp_path, monkeypatch):
    """The network of torch-fidelity with random weights, which are chosen; FID cannot be had here, its path can."""
    from torch_fidelity import feature_extractor_inceptionv3 as module

    with monkeypatch.context() as patched:
        patched.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patched.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        torch.manual_seed(0)
        network = module.FeatureExtractorInceptionV3(weights.INCEPTION, ["2048"])
    file = tmp_path / "weights.pth"
    torch.save(network.state_dict(), file)
    choose(file)
    fidelity._inception.cache_clear()
    yield network
    fidelity._inception.cache_clear()


def test_inception_is_torch_fidelitys_with_the_chosen_weights_and_reads_grey_as_three_equal_channels(
    untrained_inception,
):
    grey = pictures(3)
    found = fidelity.features(weights.INCEPTION, grey)
    assert found.shape == (3, 2048)
    with torch.inference_mode():
        expected = untrained_inception(torch.from_numpy(np.repeat(grey, 3, axis=1)))[0]
    torch.testing.assert_close(found, expected.double(), rtol=1e-4, atol=1e-4)


def test_the_metrics_of_inception_are_the_same_arithmetic_on_its_features(monkeypatch):
    assert (KID.subsets, KID.size) == (100, 1000)
    samples, reals = features(1000, 16, 1), features(1100, 16, 2)
    monkeypatch.setattr(fidelity, "features", lambda name, images: samples if len(images) == 1000 else reals)
    given = evaluation(np.zeros((1100, 1, 2, 2), np.uint8), np.zeros((1000, 1, 2, 2), np.uint8))
    assert FID().compute(given) == fidelity.frechet_distance(samples, reals)
    monkeypatch.setattr(KID, "subsets", 2)
    assert KID().compute(given) == fidelity.kernel_distance(samples, reals, subsets=2, size=1000)
    assert (Precision().compute(given), Recall().compute(given)) == fidelity.precision_and_recall(samples, reals)
    with pytest.raises(LatentbenchError, match="there are 999 normal images: it needs at least 1000"):
        FID().compute(replace(given, images=lambda: np.zeros((999, 1, 2, 2), np.uint8)))
