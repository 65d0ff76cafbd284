import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import EmpiricalCovariance
from torch import Tensor

from latentbench import DataInfo
from latentbench_cmi.detector import SubspaceGaussians
from latentbench_cmi.model import ShiftBase


@pytest.fixture
def z() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.tensor([[1.0, 0.4], [0.0, 0.3]])
    return torch.randn(300, 2, 2, generator=generator) @ mixing


@pytest.fixture
def s() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.stack([torch.randint(-1, values, (300,), generator=generator) for values in (2, 3)])


def test_it_is_the_distance_to_the_nearest_mean_under_the_covariance_of_the_residuals(z: Tensor, s: Tensor) -> None:
    z = z + 3 * s.T[:, :, None]
    gaussians = SubspaceGaussians(subspaces=2, dims=2, values=3)
    gaussians.fit(z, s)
    points = torch.randn(20, 2, 2, generator=torch.Generator().manual_seed(2)) * 4
    expected = np.zeros(20)
    for k in range(2):
        codes, labels = z[s[k] >= 0, k].numpy().astype(float), s[k, s[k] >= 0].numpy()
        means = [codes[labels == v].mean(0) for v in np.unique(labels)]
        residuals = codes - np.stack(means)[labels]
        precision = np.linalg.inv(EmpiricalCovariance(assume_centered=True).fit(residuals).covariance_)
        for i, point in enumerate(points[:, k].numpy()):
            expected[i] += min(mahalanobis(point, mean, precision) ** 2 for mean in means)
    np.testing.assert_allclose(gaussians(points), expected, rtol=1e-3)


def test_it_follows_an_invertible_map_of_the_code(z: Tensor, s: Tensor) -> None:
    change = torch.tensor([[2.0, -1.0], [0.5, 3.0]])
    one, other = (SubspaceGaussians(subspaces=2, dims=2, values=3) for _ in range(2))
    one.fit(z, s)
    other.fit(z @ change + 7, s)
    torch.testing.assert_close(other(z @ change + 7), one(z), rtol=1e-3, atol=1e-4)


def test_a_value_without_items_attracts_nothing(z: Tensor, s: Tensor) -> None:
    gaussians = SubspaceGaussians(subspaces=2, dims=2, values=3)
    gaussians.fit(z + 50, s.clamp_max(1))
    assert not gaussians.known[:, 2].any()
    # The means of the third values are zeros: were they to count, zero would be near.
    assert gaussians(torch.zeros(1, 2, 2)) > 1000


def test_a_code_that_has_collapsed_to_a_point_still_gives_numbers(s: Tensor) -> None:
    gaussians = SubspaceGaussians(subspaces=2, dims=2, values=3)
    gaussians.fit(torch.ones(300, 2, 2), s)
    assert gaussians(torch.ones(1, 2, 2)).item() == pytest.approx(0, abs=1e-3)
    assert torch.isfinite(gaussians(torch.full((1, 2, 2), 5.0)))


def test_the_free_energy_is_that_of_every_head() -> None:
    model = ShiftBase(ShiftBase.Config(score="free_energy"), DataInfo(1, 4, 4, 10, {"a": 2, "b": 3}))
    images = torch.rand(6, 1, 4, 4)
    logits = model.predict(images)
    expected = sum(-torch.log(values.exp().sum(1)) for values in logits.values())
    torch.testing.assert_close(model.score(images), expected)
