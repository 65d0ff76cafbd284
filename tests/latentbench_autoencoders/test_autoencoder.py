"""What all autoencoders share: where training begins, how its rate falls, tiles, and the error map."""

from contextlib import suppress
from math import ceil, cos, pi
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.optim import Optimizer

import latentbench_boards
from latentbench import Batch, DataInfo, Role, StoredSplit
from latentbench.boards.board import load_board
from latentbench.plugins.registry import Plugins
from latentbench.running.training import TrainingLoop
from latentbench_autoencoders.ae import AE
from latentbench_autoencoders.autoencoder import Autoencoder, smoothed
from latentbench_autoencoders.beta_vae import BetaVAE
from latentbench_autoencoders.vae import VAE

A = TypeVar("A", bound=Autoencoder)
COUNT = 23
CPU = torch.device("cpu")
BOARD = Path(latentbench_boards.__file__).with_name("industrial-128.yaml")


def _pixels(channels: int, height: int, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(N, C, H, W), with a row that is always black and one that is always white."""
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, channels, height, width), dtype=np.uint8)
    pixels[:, :, 0], pixels[:, :, 1] = 0, 255
    return pixels


def _fitted(cls: type[A], pixels: np.ndarray[Any, np.dtype[np.uint8]], max_steps: int | None, **options: Any) -> A:
    torch.manual_seed(0)
    _, channels, height, width = pixels.shape
    model = cls(cls.Config.parse(options, cls.name), DataInfo(channels, height, width, COUNT))
    trainer = TrainingLoop(device=CPU, seed=0, max_steps=max_steps)
    model.fit(StoredSplit(Role.TRAIN, torch.from_numpy(pixels)), None, trainer)
    return model.eval()


@pytest.mark.parametrize("cls", [AE, VAE, BetaVAE])
@pytest.mark.parametrize("reconstruction", ["gaussian", "bernoulli", "ssim"])
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1, 8, 16), {"memory_format": "channels_last"}),
        ((3, 13, 9), {"batch_size": 5}),
        ((3, 5, 6), {"trunk": "mlp"}),
        ((1, 8, 16), {"tile": 4}),
    ],
)
def test_an_untrained_network_with_the_mean_image_reconstructs_it(
    cls: type[Autoencoder], reconstruction: str, shape: tuple[int, int, int], options: dict[str, Any]
) -> None:
    pixels = _pixels(*shape)
    model = _fitted(cls, pixels, 0, initialization="mean_image", reconstruction=reconstruction, **options)
    with torch.inference_mode():
        found = model.reconstruct(torch.rand(2, *shape))
    expected = np.broadcast_to(pixels.mean(0, dtype=np.float64) / 255, found.shape)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=2e-6)


def test_the_mean_image_is_that_of_the_pixels_that_the_model_sees() -> None:
    pixels = _pixels(1, 8, 16)
    options = {"initialization": "mean_image", "reconstruction": "bernoulli", "binarize": "threshold"}
    found = _fitted(VAE, pixels, 0, **options).decode(torch.randn(1, 32))
    np.testing.assert_allclose(found.detach().numpy()[0], (pixels > 127).mean(0), rtol=0, atol=2e-6)


def test_from_the_mean_image_all_parameters_are_trained() -> None:
    pixels = _pixels(1, 8, 16)
    start, trained = (
        dict(_fitted(AE, pixels, steps, initialization="mean_image").named_parameters()) for steps in (0, 2)
    )
    assert "output_bias" in start
    assert all((trained[name] != value).any() for name, value in start.items())


def test_a_mean_image_takes_the_first_steps_that_are_spent_on_it() -> None:
    """Images that differ little from a mean that is not gray: a few steps from the mean image are below it at once."""
    generator = np.random.default_rng(1)
    mean, variation = generator.integers(20, 236, (1, 1, 16, 16)), generator.integers(-20, 21, (COUNT, 1, 1, 16))
    pixels = (mean + variation).astype(np.uint8)
    of_mean = ((pixels - pixels.mean(0)) ** 2).mean() / 255**2

    def error(initialization: str) -> float:
        model = _fitted(AE, pixels, 40, epochs=40, initialization=initialization)
        images = torch.from_numpy(pixels) / 255
        with torch.inference_mode():
            return float((model.reconstruct(images) - images).square().mean())

    assert error("mean_image") < of_mean < error("default")


class Noting(AE):
    """Notes the learning rate of each step."""

    def build(self, info: DataInfo) -> None:
        super().build(info)
        self.rates: dict[int, float] = {}

    def optimizers(self) -> Optimizer:
        self.optimizer = super().optimizers()
        return self.optimizer

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        self.rates[self.progress.step] = self.optimizer.param_groups[0]["lr"]
        return super().training_step(batch)


class CutOffError(Exception):
    """Ends a fit."""


def _cosine(learning_rate: float, steps: int) -> dict[int, float]:
    return {step: learning_rate * (1 + cos(pi * step / steps)) / 2 for step in range(steps)}


@pytest.mark.parametrize("max_steps", [None, 7])
def test_the_cosine_schedule_has_its_closed_form_over_all_steps_or_those_of_a_budget(max_steps: int | None) -> None:
    pixels = _pixels(1, 8, 16)
    options: dict[str, Any] = {"epochs": 4, "batch_size": 5, "learning_rate": 0.02}
    model = _fitted(Noting, pixels, max_steps, schedule="cosine", **options)
    steps = max_steps or 4 * 5
    assert model.rates == pytest.approx(_cosine(0.02, steps), rel=1e-9)
    assert model.optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)  # after the last step
    constant = _fitted(Noting, pixels, max_steps, **options)
    assert set(constant.rates.values()) == {0.02}


def test_a_resumed_run_goes_on_from_its_rate_and_from_what_the_mean_image_has_become(tmp_path: Path) -> None:
    pixels = _pixels(3, 8, 16)
    options: dict[str, Any] = {"schedule": "cosine", "initialization": "mean_image", "epochs": 3, "batch_size": 5}
    whole = _fitted(Noting, pixels, None, **options)
    rates: dict[int, float] = {}
    for number, cut in enumerate((1, 6, 11, None)):

        def notify(step: int, total: int, losses: dict[str, float], cut: int | None = cut) -> None:
            if step == cut:
                raise CutOffError

        torch.manual_seed(number)  # from the second on, all comes from the checkpoint
        model = Noting(whole.config, whole.info)
        trainer = TrainingLoop(
            device=CPU, seed=0, checkpoint=tmp_path / "checkpoint.pt", checkpoint_seconds=0, notify=notify
        )
        with suppress(CutOffError):
            model.fit(StoredSplit(Role.TRAIN, torch.from_numpy(pixels)), None, trainer)
        rates |= model.rates
    assert trainer.resumed == 3
    assert rates == pytest.approx(_cosine(1e-3, 15), rel=1e-9)
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("sigma", [0.7, 2.0, 4.0])
def test_maps_are_smoothed_by_the_filter_of_scipy(sigma: float) -> None:
    maps = torch.rand(3, 13, 20)
    radius = min(ceil(3 * sigma), 12)
    expected = [gaussian_filter(one.double().numpy(), sigma, mode="mirror", radius=radius) for one in maps]
    np.testing.assert_allclose(smoothed(maps, sigma).numpy(), np.stack(expected), atol=1e-6)


@pytest.mark.parametrize("cls", [AE, VAE, BetaVAE])
def test_smoothing_changes_the_error_map_and_not_what_is_learned(cls: type[Autoencoder]) -> None:
    pixels = _pixels(3, 8, 16)
    plain, smooth = (_fitted(cls, pixels, 2, smoothing=sigma) for sigma in (0.0, 1.5))
    images = torch.from_numpy(pixels[:5]) / 255
    with torch.inference_mode():
        torch.testing.assert_close(smooth.localize(images), smoothed(plain.localize(images), 1.5))
        assert torch.equal(smooth.encode(images), plain.encode(images))


@pytest.mark.parametrize("cls", [AE, VAE, BetaVAE])
def test_a_tile_s_reconstruction_depends_on_no_other_tile(cls: type[Autoencoder]) -> None:
    pixels = _pixels(1, 8, 16)
    model = _fitted(cls, pixels, 5, tile=4, latent_dim=16, reconstruction="bernoulli")
    images = torch.from_numpy(pixels[:2]) / 255
    changed = images.clone()
    changed[:, :, 4:, 8:12] = 0.5
    with torch.inference_mode():
        differs = (model.reconstruct(changed) != model.reconstruct(images)).any(0)[0]
        assert (model.encode(changed) != model.encode(images)).sum() == 2 * 2  # of two images; 2 = 16 / 8 for each tile
    assert differs[4:, 8:12].all()
    assert differs.sum() == 4 * 4


@pytest.mark.parametrize("label", ["bottle-128", "screw-128", "grid-128", "magnetic-tile-128", "kolektor-sdd"])
def test_on_the_board_at_128_pixels_all_are_trained_alike(label: str) -> None:
    (entry,) = (dataset for dataset in load_board(BOARD).datasets if dataset.label == label)
    dataset = Plugins.load().get("datasets", entry.name).value.Config.parse(entry.options, label)
    configs = [cls.configure(entry.name, {}, dataset) for cls in (AE, VAE, BetaVAE)]
    own = {"reconstruction", "sigma", "score", "importance_samples", "reconstruct_at", "beta"}
    own |= {"kl_warmup", "clip_gradients"}
    first, *others = [config.model_dump(exclude=own) for config in configs]
    assert others == [first, first]
    assert (first["schedule"], first["initialization"]) == ("cosine", "mean_image")
    warmups = [config.model_dump().get("kl_warmup", 0) for config in configs]
    assert warmups == [0, 0.3 if label in ("bottle-128", "kolektor-sdd") else 0, 0.3]
    places = [config.model_dump().get("reconstruct_at", "mean") for config in configs]
    assert places == ["mean", "mean", "mean" if label in ("bottle-128", "screw-128") else "draws"]


def test_options_are_part_of_a_setting_only_where_they_are_chosen() -> None:
    chosen = {"schedule": "cosine", "initialization": "mean_image", "tile": 4, "smoothing": 2.0}
    assert not chosen.keys() & AE.Config().model_dump().keys()
    assert chosen.items() <= AE.Config.parse(chosen, "ae").model_dump().items()
    assert not any("output_bias" in name for name, _ in _fitted(AE, _pixels(1, 8, 16), 0).named_parameters())
