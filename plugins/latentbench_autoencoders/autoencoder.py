"""What AE and VAE share: an encoder, a decoder and a likelihood of the pixels, with the reconstruction they give."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from latentbench import DataInfo, Model, Split, TrainingOptions, Where, import_torchvision
from latentbench_autoencoders.likelihoods import Reconstruction, likelihood
from latentbench_autoencoders.networks import Trunk, decoder, encoder, initialize, last_layer

if TYPE_CHECKING:
    from latentbench import Trainer

__all__ = ["Autoencoder", "smoothed"]

#: What the presets for faces share.
_FACES = {"latent_dim": 64, "learning_rate": 2e-3, "epochs": 20}
#: What the presets for industrial images at 128 pixels share. README.md says what they were chosen on.
_INDUSTRIAL_128: dict[str, Any] = {
    "latent_dim": 64,
    "width": 16,
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "initialization": "mean_image",
    "batch_size": 16,
    "memory_format": "channels_last",
}


class Autoencoder(Model, ABC):
    """Encoder x -> z and decoder z -> p(x | z). A subclass says what the encoder gives, how it trains and scores."""

    class Config(TrainingOptions):
        latent_dim: int = Field(32, ge=1, description="size of z")
        trunk: Trunk = Field("conv", description="networks: strided convolutions, or fully connected layers")
        width: int = Field(16, ge=1, description="channels of the first convolution; an mlp has 32x and 16x units")
        reconstruction: Reconstruction = Field("gaussian", description="p(x | z); ssim stands in for one")
        sigma: float = Field(0.1, gt=0, description="standard deviation of the gaussian, images being in [0, 1]")
        learning_rate: float = Field(1e-3, gt=0, description="of Adam")
        schedule: Literal["constant", "cosine"] = Field(
            "constant",
            description="of the learning rate; cosine: falls to 0 over all steps, along half a period",
            exclude_if=lambda schedule: schedule == "constant",
        )
        initialization: Literal["default", "mean_image"] = Field(
            "default",
            description="default: PyTorch's; mean_image: at first the decoder gives the mean training image for every "
            "z, by a bias for each pixel, and other layers are initialized by He et al. (2015)",
            exclude_if=lambda initialization: initialization == "default",
        )
        tile: int | None = Field(
            None,
            ge=2,
            description="side of the tiles that the networks encode and decode one by one, each by an equal share of "
            "z; None: the whole image",
            exclude_if=lambda tile: tile is None,
        )
        smoothing: float = Field(
            0.0,
            ge=0,
            description="standard deviation in pixels of a Gaussian that smooths the error map; 0: none",
            exclude_if=lambda smoothing: smoothing == 0,
        )

        def unused(self) -> Mapping[str, str]:
            """sigma, unless pixels are gaussian."""
            own = {} if self.reconstruction == "gaussian" else {"sigma": "only the reconstruction gaussian has one"}
            return {**super().unused(), **own}

    config: Config
    encoder: nn.Module
    decoder: nn.Sequential
    output_bias: nn.Parameter | None
    presets = {
        "mnist-shift": {"latent_dim": 64, "learning_rate": 2e-3, "batch_size": 100, "epochs": 40},
        "digits-shift": {"learning_rate": 3e-3, "sigma": 0.15, "batch_size": 100, "epochs": 40},
        "ood": {"latent_dim": 10, "trunk": "mlp", "learning_rate": 2e-3, "epochs": 12},
        "celeba": _FACES | {"batch_size": 100},
        "celeba-novelty": _FACES | {"batch_size": 100},
        "celeba-subset": _FACES | {"batch_size": 50},
        "celeba-subset-novelty": _FACES | {"batch_size": 50},
        "mvtec-ad": {"latent_dim": 64, "learning_rate": 2e-3, "batch_size": 16, "epochs": 20},
        "magnetic-tile": {"latent_dim": 64, "learning_rate": 2e-3, "batch_size": 16, "epochs": 8},
        "scenes": {"width": 8, "learning_rate": 3e-3, "batch_size": 64, "epochs": 10},
        "textures": {
            "latent_dim": 64,
            "width": 8,
            "learning_rate": 3e-3,
            "batch_size": 8,
            "epochs": 30,
            "initialization": "mean_image",
        },
        "mnist": {"learning_rate": 3e-3, "epochs": 5},
        # Some 1,200 to 1,400 steps each, 2,400 for the colour images of bottle and 3,600 for screws at any angle, whose
        # corrupted pixels, on normal images held out of training, are found best in maps that are smoothed so far.
        Where("mvtec-ad", image_size=128): {**_INDUSTRIAL_128, "epochs": 80},
        Where("mvtec-ad", image_size=128, category="bottle"): {"epochs": 200},
        Where("mvtec-ad", image_size=128, category="screw"): {"epochs": 200, "smoothing": 2.0},
        Where("mvtec-ad", image_size=128, category="grid"): {
            "epochs": 80,
            "tile": 32,
            "latent_dim": 512,
            "smoothing": 4.0,
        },
        Where("magnetic-tile", image_size=128): {**_INDUSTRIAL_128, "epochs": 30},
        Where("kolektor-sdd", image_size=(320, 128)): {**_INDUSTRIAL_128, "epochs": 85},
    }

    def build(self, info: DataInfo) -> None:
        """Make the encoder, the decoder and the likelihood for images of this size."""
        config = self.config
        self.encoder = encoder(info, self.encoder_outputs, config.trunk, config.width, config.tile)
        self.decoder = decoder(info, config.latent_dim, config.trunk, config.width, config.tile)
        self.likelihood = likelihood(config.reconstruction, config.sigma)
        self.output_bias = None
        if config.initialization == "mean_image":
            initialize(self.encoder)
            initialize(self.decoder)
            nn.init.zeros_(last_layer(self.decoder).weight)
            self.output_bias = nn.Parameter(torch.zeros(1, *info.image_shape))

    @property
    def encoder_outputs(self) -> int:
        """How many values the encoder gives for an image; by default those of z."""
        return self.config.latent_dim

    def optimizers(self) -> torch.optim.Optimizer:
        """Adam (Kingma & Ba 2015)."""
        return torch.optim.Adam(self.parameters(), self.config.learning_rate, fused=True)

    def schedulers(self, optimizers: Any) -> LRScheduler | Mapping[str, LRScheduler]:
        """With the schedule ``cosine``, the rate of step t of T: learning_rate (1 + cos(pi t / T)) / 2."""
        if self.config.schedule == "constant":
            return {}
        return CosineAnnealingLR(optimizers, self.progress.total_steps)

    def start(self, train: Split, trainer: "Trainer") -> None:
        """With the initialization ``mean_image``: ``output_bias`` gives the mean of one pass over ``train``.

        The decoder's last layer starts at 0, so that the output is this bias, whatever z is. Both are trained.
        """
        if self.output_bias is None:
            return
        parts = torch.split(torch.arange(len(train), device=trainer.device), self.config.batch_size)
        total = torch.zeros_like(self.output_bias)
        for part in parts:
            total += self.observed(train.batch(part, trainer.generator).images).sum(0)
        self.output_bias.copy_(self.likelihood.outputs(total / len(train)))

    def observed(self, images: Tensor) -> Tensor:
        """(B, C, H, W): what of the images the model sees. By default all of it."""
        return images

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """(B, D): z, or the mean of its distribution."""

    def outputs(self, z: Tensor) -> Tensor:
        """(B, D) -> (B, C, H, W) in float32: the outputs that the likelihood takes, any real numbers."""
        outputs: Tensor = self.decoder(z).float()
        return outputs if self.output_bias is None else outputs + self.output_bias

    def decode(self, codes: Tensor) -> Tensor:
        """(B, D) -> (B, C, H, W) in [0, 1]: the mean images at codes."""
        return self.likelihood.mean(self.outputs(codes))

    def reconstruct(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1]: the mean image of p(x | z) at the code of each image."""
        return self.decoded(self.observed(images), self.likelihood.mean)

    def localize(self, images: Tensor) -> Tensor:
        """(B, H, W): the error of the reconstruction by pixel, 0 where perfect (``Likelihood.error``); smoothed."""
        x = self.observed(images)
        error = self.decoded(x, lambda outputs: self.likelihood.error(outputs, x))
        return smoothed(error, self.config.smoothing) if self.config.smoothing else error

    def decoded(self, x: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
        """What ``of`` gives for the decoder's outputs at the codes of what is observed of images, (B, C, H, W)."""
        return of(self.outputs(self.encode(x)))


def smoothed(maps: Tensor, sigma: float) -> Tensor:
    """(B, H, W) -> (B, H, W): a Gaussian filter of standard deviation ``sigma`` pixels, cut off at three of them.

    Maps are padded by reflection, which sets a limit to its size on small ones.

    >>> line = torch.eye(7)[3].expand(1, 7, 7)
    >>> [round(value, 2) for value in smoothed(line, sigma=0.5)[0, 0].tolist()]
    [0.0, 0.0, 0.11, 0.79, 0.11, 0.0, 0.0]
    """
    import_torchvision()  # late, because it takes seconds
    from torchvision.transforms.v2.functional import gaussian_blur

    size = 2 * min(ceil(3 * sigma), min(maps.shape[1:]) - 1) + 1
    blurred: Tensor = gaussian_blur(maps, [size, size], [sigma, sigma])
    return blurred
