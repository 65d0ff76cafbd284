"""AE: an autoencoder (Hinton & Salakhutdinov, 2006) as a detector: it reconstructs unfamiliar images less well."""

from typing import Literal

from pydantic import Field
from torch import Tensor

from latentbench import Batch
from latentbench_autoencoders.autoencoder import Autoencoder

__all__ = ["AE"]


class AE(Autoencoder):
    """Autoencoder: z = encoder(x), trained so that p(x | z) is large.

    By default an image's score is the sum of its error map. For Gaussian pixels that is the squared error divided by
    2 sigma^2, the usual reconstruction error and what the model was trained to make small.
    """

    class Config(Autoencoder.Config):
        score: Literal["reconstruction", "maximum"] = Field(
            "reconstruction", description="reconstruction: sum of the error map; maximum: its largest value"
        )

    config: Config

    def encode(self, images: Tensor) -> Tensor:
        """(B, D): z, in float32."""
        z: Tensor = self.encoder(images)
        return z.float()

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """-log p(x | z), its mean over the batch."""
        x = batch.images
        return {"loss": self.likelihood.negative_log(self.outputs(self.encode(x)), x).mean()}

    def score(self, images: Tensor) -> Tensor:
        """(B,): the error of the reconstruction, over all pixels or at the worst one (option ``score``)."""
        error = self.localize(images).flatten(1)
        return error.sum(1) if self.config.score == "reconstruction" else error.amax(1)
