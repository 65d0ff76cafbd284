"""AE: an autoencoder (Hinton & Salakhutdinov 2006) as a detector: it reconstructs worse what it was not trained on."""

from typing import Literal

from pydantic import Field
from torch import Tensor

from latentbench import Batch
from latentbench_autoencoders.autoencoder import Autoencoder

__all__ = ["AE"]


class AE(Autoencoder):
    """Autoencoder.

    By default it scores by the sum of its error map. Its pixels being Gaussian, that is the squared error over
    2 sigma^2: what it was trained to make small, and the field's standard reconstruction error.
    """

    class Config(Autoencoder.Config):
        """Options."""

        score: Literal["reconstruction", "maximum"] = Field(
            "reconstruction", description="reconstruction: sum of the error map; maximum: its largest value"
        )

    config: Config

    def encode(self, images: Tensor) -> Tensor:
        """(B, D): z."""
        z: Tensor = self.encoder(images)
        return z.float()

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Mean -log p(x | z) of the images."""
        x = batch.images
        return {"loss": self.likelihood.negative_log(self.outputs(self.encode(x)), x).mean()}

    def score(self, images: Tensor) -> Tensor:
        """(B,): the error of the reconstruction."""
        error = self.localize(images).flatten(1)
        return error.sum(1) if self.config.score == "reconstruction" else error.amax(1)
