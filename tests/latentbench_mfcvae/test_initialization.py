"""What is set from data: clusters on clusters of codes, layers with outputs of a known scale."""

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch import nn

from latentbench import DataInfo
from latentbench_mfcvae.initialization import FIRST_STD, cluster_means, rescale_by_data
from latentbench_mfcvae.ladder import Convolutional


def test_means_are_found_where_codes_are_and_are_those_of_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    centres = 10 * np.eye(4)
    codes = centres[draw.integers(4, size=500)] + draw.normal(scale=0.1, size=(500, 4))
    found = cluster_means(torch.from_numpy(codes).float(), 4, seed=3)
    order = found.argmax(1).argsort()
    np.testing.assert_allclose(found[order], centres, atol=0.05)
    expected = GaussianMixture(4, covariance_type="diag", random_state=3).fit(codes.astype(np.float32).astype(float))
    np.testing.assert_allclose(found, expected.means_, rtol=1e-5, atol=1e-6)


def test_as_many_clusters_as_codes_and_equal_codes_give_finite_means() -> None:
    assert cluster_means(torch.randn(6, 2), 6, seed=0).isfinite().all()
    assert cluster_means(torch.zeros(20, 2), 6, seed=0).isfinite().all()


@pytest.mark.parametrize("train", [True, False])
def test_every_linear_and_transposed_layer_has_outputs_of_mean_0_and_the_wanted_std(train: bool) -> None:
    info = DataInfo(channels=3, height=16, width=16, train_size=64)
    torch.manual_seed(0)
    ladder = Convolutional(info, (3, 2), (4, 6)).train(train)
    images = torch.rand(64, *info.image_shape)
    convolutions = [layer for layer in ladder.modules() if isinstance(layer, nn.Conv2d)]
    before = [layer.weight.clone() for layer in convolutions]

    def run() -> None:
        ladder.decode([q.mean for q in ladder.encode(images)])

    rescale_by_data(ladder, run)

    outputs = {}
    for name, layer in ladder.named_modules():
        if isinstance(layer, nn.Linear | nn.ConvTranspose2d):
            layer.register_forward_hook(lambda _, __, output, name=name: outputs.update({name: output}))
    run()
    assert len(outputs) == 2 + 2 + 2 + 1  # heads, rungs, one level down, the output
    for name, output in outputs.items():
        axes = [axis for axis in range(output.ndim) if axis != 1]
        # Later layers see what training mode or running statistics make of the earlier ones, the same both times.
        torch.testing.assert_close(output.mean(axes), torch.zeros(output.shape[1]), rtol=0, atol=1e-3, msg=name)
        torch.testing.assert_close(
            output.std(axes), torch.full((output.shape[1],), FIRST_STD), rtol=2e-2, atol=0, msg=name
        )
    assert all(torch.equal(layer.weight, old) for layer, old in zip(convolutions, before, strict=True))
