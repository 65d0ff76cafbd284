"""A fitted model is run where a metric needs it, on all images, in order and as its seed says."""

import numpy as np
import pytest
import torch
from tests.latentbench.evaluation.toys import (
    AGAIN,
    CPU,
    INFO,
    Accuracy,
    Base,
    Classifier,
    CodeWidth,
    Density,
    Detector,
    Encoder,
    MeanDifference,
    Noisy,
    PixelMean,
    collected,
    dataset,
    measured,
    model,
)

from latentbench import LatentbenchError
from latentbench.evaluation.collecting import collect


def test_only_what_an_applicable_metric_needs_and_the_model_can_do_is_run():
    fitted, data = model(Detector), dataset()
    predictions = collected(fitted, data, MeanDifference, Accuracy, PixelMean)  # no masks, no predict, no codes
    assert set(predictions.arrays) == {"test/score", "shifted/score"}  # validation has no anomalies
    assert fitted.calls == {"score": 2 + AGAIN}
    assert predictions.images == 50 + 30
    assert predictions.readouts == {}


@pytest.mark.parametrize("batch_size", [1, 7, 50, 500])
def test_outputs_are_of_all_images_in_order_whatever_the_batch(batch_size):
    data = dataset()
    predictions = collected(model(Detector), data, MeanDifference, batch_size=batch_size)
    for name in ("test", "shifted"):
        pixels = data.splits[name].images.numpy().astype(np.float64) / 255
        np.testing.assert_allclose(predictions.arrays[f"{name}/score"], pixels.mean((1, 2, 3)), rtol=1e-6)


def test_what_is_predicted_is_the_attribute_value_of_the_largest_logit():
    data = dataset()
    predictions = collected(model(Classifier), data, Accuracy)
    pixels = data.splits["test"].images.numpy() / 255
    left, right = pixels[..., :3].mean((1, 2, 3)), pixels[..., 3:].mean((1, 2, 3))
    np.testing.assert_array_equal(predictions.arrays["test/predict/left"], left > 0.3)
    nearest = np.abs(right[:, None] - np.array([0.24, 0.32, 0.4])).argmin(1)
    np.testing.assert_array_equal(predictions.arrays["test/predict/right"], nearest)
    assert predictions.arrays["test/predict/left"].dtype == np.int64
    assert {value.readout for value in measured(predictions, data, Accuracy).values()} == {"native"}


def test_one_unnamed_code_is_called_z_and_named_ones_keep_their_names():
    class One(Base):
        def encode(self, images):
            return images.flatten(1)

    data = dataset(shifted=None)
    assert set(collected(model(One), data, CodeWidth).arrays) == {"val/encode/z", "test/encode/z"}
    predictions = collected(model(Encoder), data, CodeWidth)
    assert set(predictions.arrays) == {
        f"{split}/encode/{part}" for split in ("val", "test") for part in INFO.attributes
    }
    assert measured(predictions, data, CodeWidth)["width@test"].value == 3 + 3


def test_a_random_output_depends_on_seed_split_and_capability_and_on_nothing_else():
    data = dataset()

    def arrays(model_class, *metrics, seed=0):  # batches of one size: PyTorch draws other numbers for other sizes
        return collected(model(model_class), data, *metrics, seed=seed, batch_size=10).arrays

    alone = arrays(Noisy, MeanDifference)
    torch.manual_seed(1)
    beside = arrays(Noisy, Density, MeanDifference)
    assert np.array_equal(alone["test/score"], beside["test/score"])

    mean = arrays(Detector, MeanDifference)
    noise, elsewhere = (alone[f"{name}/score"][:30] - mean[f"{name}/score"][:30] for name in ("test", "shifted"))
    reseeded = arrays(Noisy, MeanDifference, seed=1)["test/score"][:30] - mean["test/score"][:30]
    for other in (elsewhere, reseeded, beside["test/log_likelihood"][:30]):
        assert abs(np.corrcoef(noise, other)[0, 1]) < 0.6


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_it_gives_what_it_gives_on_a_cpu_and_leaves_the_gpus_generator_alone():
    class Both(Noisy, Encoder):
        def log_likelihood(self, images):
            return images.sum((1, 2, 3)) + 0 * torch.randn(len(images), device=images.device)

    cuda, metrics = torch.device("cuda"), {m.name: m for m in (Accuracy, Density)}
    torch.cuda.manual_seed(5)
    expected = torch.rand(3, device=cuda)
    torch.cuda.manual_seed(5)
    found = collect(model(Both).to(cuda), dataset().to(cuda), metrics, owner="acme 1.2", device=cuda, seed=0)
    assert torch.equal(torch.rand(3, device=cuda), expected)
    reference = collect(model(Both), dataset(), metrics, owner="acme 1.2", device=CPU, seed=0)
    assert found.readouts == reference.readouts
    for key, array in reference.arrays.items():
        np.testing.assert_allclose(found.arrays[key], array, rtol=1e-5)


def test_pytorchs_global_generator_is_left_where_it_was():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    collected(model(Noisy), dataset(), MeanDifference, Density)
    collected(model(Encoder), dataset(), Accuracy)
    assert torch.equal(torch.rand(3), expected)


def test_errors_name_plugin_model_capability_and_split():
    class Wrong(Base):
        name = "wrong"

        def score(self, images):
            return images.mean((2, 3))

    with pytest.raises(LatentbenchError) as error:
        collected(model(Wrong), dataset(), MeanDifference, batch_size=8)
    place = "plugin 'acme 1.2': model 'wrong', capability 'score' on split 'test'"
    assert str(error.value) == f"{place}: expected shape (8,), got (8, 1)"


def test_what_is_not_finite_is_counted_and_found_in_the_whole_split():
    class Nan(Base):
        def score(self, images):
            scores = images.mean((1, 2, 3))
            return torch.where(torch.arange(len(images)) == 5, torch.nan, scores)

    with pytest.raises(LatentbenchError, match=r"expected finite values, got 6 NaN of 50 \(first at image 5\)"):
        collected(model(Nan), dataset(), MeanDifference, batch_size=8)
