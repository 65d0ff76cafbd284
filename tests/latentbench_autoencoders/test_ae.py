import pytest
import torch
from torch import Tensor, nn

from latentbench import Batch, DataInfo, Role, StoredSplit
from latentbench.capabilities import capabilities_of
from latentbench.running.training import TrainingLoop
from latentbench_autoencoders.ae import AE


def _ae(info: DataInfo, **options: object) -> AE:
    torch.manual_seed(0)
    return AE(AE.Config.parse(options, "ae"), info).eval()


def _linear(model: AE) -> AE:
    """A linear autoencoder that keeps the first two of four values and loses the others."""
    to_code, to_pixels = nn.Linear(4, 2, bias=False), nn.Linear(2, 4, bias=False)
    model.encoder = nn.Sequential(nn.Flatten(), to_code)
    model.decoder = nn.Sequential(to_pixels, nn.Unflatten(1, (1, 2, 2)))
    with torch.no_grad():
        to_code.weight.copy_(torch.eye(2, 4))
        to_pixels.weight.copy_(torch.eye(4, 2))
    return model


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, 1, 8, 16, generator=torch.Generator().manual_seed(0))


INFO = DataInfo(channels=1, height=8, width=16, train_size=5)
TINY = DataInfo(channels=1, height=2, width=2, train_size=1)


def test_it_scores_localizes_encodes_and_reconstructs() -> None:
    assert capabilities_of(AE) == ["score", "localize", "encode", "decode", "reconstruct"]


def test_the_score_is_what_the_reconstruction_lost() -> None:
    x = torch.tensor([[0.1, 0.9, 0.3, 0.4]]).view(1, 1, 2, 2)
    model = _linear(_ae(TINY, latent_dim=2, sigma=0.5))
    torch.testing.assert_close(model.encode(x), torch.tensor([[0.1, 0.9]]))
    torch.testing.assert_close(model.reconstruct(x), torch.tensor([[0.1, 0.9, 0, 0]]).view(1, 1, 2, 2))
    torch.testing.assert_close(model.localize(x), torch.tensor([[[0, 0], [0.09, 0.16]]]) / (2 * 0.5**2))
    torch.testing.assert_close(model.score(x), torch.tensor([0.25]) / (2 * 0.5**2))
    maximum = _linear(_ae(TINY, latent_dim=2, sigma=0.5, score="maximum"))
    torch.testing.assert_close(maximum.score(x), torch.tensor([0.16]) / (2 * 0.5**2))


def test_the_loss_is_the_mean_over_images_of_the_sum_over_pixels() -> None:
    x = torch.tensor([[0.1, 0.9, 0.3, 0.4], [0.1, 0.9, 0.0, 0.2]]).view(2, 1, 2, 2)
    loss = _linear(_ae(TINY, latent_dim=2, sigma=1)).training_step(Batch(x))["loss"]
    constant = 2 * torch.tensor(2 * torch.pi).log()
    torch.testing.assert_close(loss, torch.tensor((0.25 + 0.04) / 2 / 2) + constant)


@pytest.mark.parametrize("reconstruction", ["bernoulli", "gaussian", "ssim"])
def test_it_learns_a_handful_of_images_by_heart(reconstruction: str, images: Tensor) -> None:
    split = StoredSplit(Role.TRAIN, (images * 255).round().to(torch.uint8))
    model = _ae(INFO, epochs=300, reconstruction=reconstruction)
    before = (model.reconstruct(images) - images).abs().mean()
    model.fit(split, None, TrainingLoop(device=torch.device("cpu"), seed=0))
    after = (model.eval().reconstruct(images) - images).abs().mean()
    assert before > 0.2
    assert after < 0.03


@pytest.mark.parametrize("score", ["reconstruction", "maximum"])
def test_a_score_does_not_depend_on_the_batch(score: str, images: Tensor) -> None:
    model = _ae(INFO, score=score)
    with torch.inference_mode():
        alone = torch.cat([model.score(image[None]) for image in images])
        torch.testing.assert_close(model.score(images), alone)
        torch.testing.assert_close(model.score(images.flip(0)).flip(0), alone)


def test_the_forward_pass_may_run_in_bfloat16(images: Tensor) -> None:
    model = _ae(DataInfo(channels=1, height=8, width=16, train_size=5), trunk="conv")
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.training_step(Batch(images))["loss"]
        score, code = model.score(images), model.encode(images)
    assert loss.dtype == score.dtype == code.dtype == torch.float32
    torch.testing.assert_close(score, model.score(images), rtol=0.02, atol=0)
