"""What AE and VAE share: an encoder, a decoder and a likelihood of the pixels, with the reconstruction they give."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from latentbench import DataInfo, Model, TrainingOptions
from latentbench_autoencoders.likelihoods import Reconstruction, likelihood
from latentbench_autoencoders.networks import Trunk, decoder, encoder

__all__ = ["Autoencoder"]

#: What the presets for faces share.
_FACES = {"latent_dim": 64, "learning_rate": 2e-3, "epochs": 20}


class Autoencoder(Model, ABC):
    """Encoder x -> z and decoder z -> p(x | z). A subclass says what the encoder gives, how it trains and scores."""

    class Config(TrainingOptions):
        latent_dim: int = Field(32, ge=1, description="size of z")
        trunk: Trunk = Field("conv", description="networks: strided convolutions, or fully connected layers")
        width: int = Field(16, ge=1, description="channels of the first convolution; an mlp has 32x and 16x units")
        reconstruction: Reconstruction = Field("gaussian", description="p(x | z); ssim stands in for one")
        sigma: float = Field(0.1, gt=0, description="standard deviation of the gaussian, images being in [0, 1]")
        learning_rate: float = Field(1e-3, gt=0, description="of Adam")

        def unused(self) -> Mapping[str, str]:
            """sigma, unless pixels are gaussian."""
            own = {} if self.reconstruction == "gaussian" else {"sigma": "only the reconstruction gaussian has one"}
            return {**super().unused(), **own}

    config: Config
    encoder: nn.Module
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
        "textures": {"latent_dim": 64, "width": 8, "learning_rate": 3e-3, "batch_size": 8, "epochs": 30},
        "mnist": {"learning_rate": 3e-3, "epochs": 5},
    }

    def build(self, info: DataInfo) -> None:
        """Make the encoder, the decoder and the likelihood for images of this size."""
        config = self.config
        self.encoder = encoder(info, self.encoder_outputs, config.trunk, config.width)
        self.decoder = decoder(info, config.latent_dim, config.trunk, config.width)
        self.likelihood = likelihood(config.reconstruction, config.sigma)

    @property
    def encoder_outputs(self) -> int:
        """How many values the encoder gives for an image; by default those of z."""
        return self.config.latent_dim

    def optimizers(self) -> torch.optim.Optimizer:
        """Adam (Kingma & Ba 2015)."""
        return torch.optim.Adam(self.parameters(), self.config.learning_rate, fused=True)

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """(B, D): z, or the mean of its distribution."""

    def outputs(self, z: Tensor) -> Tensor:
        """(B, D) -> (B, C, H, W) in float32: the outputs that the likelihood takes, any real numbers."""
        outputs: Tensor = self.decoder(z)
        return outputs.float()

    def decode(self, codes: Tensor) -> Tensor:
        """(B, D) -> (B, C, H, W) in [0, 1]: the mean images at codes."""
        return self.likelihood.mean(self.outputs(codes))

    def reconstruct(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1]: the mean image of p(x | z) at the code of each image."""
        return self.likelihood.mean(self.outputs(self.encode(images)))

    def localize(self, images: Tensor) -> Tensor:
        """(B, H, W): the error of the reconstruction by pixel, 0 where it is perfect (``Likelihood.error``)."""
        return self.likelihood.error(self.outputs(self.encode(images)), images)
