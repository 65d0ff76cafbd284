"""Capabilities that optimize at test time: gradients of a latent code, against the closed form of least squares."""

import re

import pytest
import torch
from torch import Tensor, nn

from latentbench import DataInfo, Model, Options, capabilities
from latentbench.evaluation.inference import infer
from latentbench.testing import check_model

INFO = DataInfo(channels=1, height=4, width=6, train_size=10)
IMAGES = torch.rand((7, 1, 4, 6), generator=torch.Generator().manual_seed(0))


class Projected(Model):
    """Distance of an image to what the best code is decoded to, found by gradient descent for each image."""

    class Config(Options):
        latent_dim: int = 3
        projection_steps: int = 400
        projection_rate: float = 0.2

    config: Config
    mean: Tensor

    def build(self, info: DataInfo) -> None:
        self.decoder = nn.Sequential(
            nn.Linear(self.config.latent_dim, info.image_numel), nn.Unflatten(1, info.image_shape)
        )
        layer = self.decoder[0]
        assert isinstance(layer, nn.Linear)
        nn.init.orthogonal_(layer.weight)
        self.register_buffer("mean", torch.full((), 0.5))

    def fit(self, train, validation, trainer):
        pass

    def project(self, images: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            z = torch.zeros(len(images), self.config.latent_dim, device=images.device, requires_grad=True)
            for _ in range(self.config.projection_steps):
                distance = (self.decoder(z) + self.mean - images).square().flatten(1).sum(1)
                (gradient,) = torch.autograd.grad(distance.sum(), z)
                z = (z - self.config.projection_rate * gradient).detach().requires_grad_()
            return z.detach()

    def score(self, images: Tensor) -> Tensor:
        return self.localize(images).flatten(1).sum(1)

    def localize(self, images: Tensor) -> Tensor:
        return (self.decoder(self.project(images)) + self.mean - images).square().sum(1)


@pytest.mark.parametrize("capability", ["score", "localize"])
def test_a_code_optimized_for_each_image_is_the_least_squares_solution(capability: str) -> None:
    model = Projected(Projected.Config(), INFO)
    layer = model.decoder[0]
    assert isinstance(layer, nn.Linear)
    batches = torch.split(IMAGES, [3, 4])
    found = infer(model, capability, batches, INFO, seed=0, device=torch.device("cpu"), where="")[""]

    design = layer.weight.detach().double()
    target = IMAGES.flatten(1).double() - layer.bias.detach().double() - 0.5
    residual = target.T - design @ torch.linalg.lstsq(design, target.T).solution
    expected = residual.T.square().view(7, 4, 6)
    if capability == "score":
        expected = expected.flatten(1).sum(1)
    torch.testing.assert_close(torch.from_numpy(found).double(), expected, rtol=1e-4, atol=1e-6)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_that_optimizes_at_test_time_keeps_the_contract() -> None:
    report = check_model(Projected, height=4, width=6, options={"projection_steps": 40})
    assert "score() gives an image the same result in any batch" in report


def test_the_example_of_the_contract_computes() -> None:
    example = re.search(r"::\n\n(    def score.*)", capabilities.__doc__ or "", re.DOTALL)
    assert example
    names: dict[str, object] = {"torch": torch}
    exec("class Example:\n" + example[1], names)
    model = Projected(Projected.Config(), INFO)
    nn.init.zeros_(model.mean)
    example_score = names["Example"].score  # type: ignore[attr-defined]
    with torch.inference_mode():
        scores = example_score(model, IMAGES)
    torch.testing.assert_close(scores, model.score(IMAGES), rtol=1e-4, atol=1e-6)
