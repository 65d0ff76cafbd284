"""The null for codes: a random projection of the pixels."""

import torch
from pydantic import Field
from torch import Tensor

from latentbench import DataInfo, Options
from latentbench_nulls.null import Null

__all__ = ["RandomProjection"]


class RandomProjection(Null):
    """A random linear map (Johnson & Lindenstrauss 1984) with independent Gaussian entries."""

    name = "null-random-projection"

    class Config(Options):
        dimensions: int = Field(32, ge=1, description="dimensions of the code")

    config: Config
    presets = {  # as many as the autoencoders' codes have there
        "mnist-shift": {"dimensions": 64},
        "ood": {"dimensions": 10},
        "celeba": {"dimensions": 64},
        "celeba-novelty": {"dimensions": 64},
        "celeba-subset": {"dimensions": 64},
        "celeba-subset-novelty": {"dimensions": 64},
        "mvtec-ad": {"dimensions": 64},
        "magnetic-tile": {"dimensions": 64},
        "textures": {"dimensions": 64},
    }

    projection: Tensor

    def build(self, info: DataInfo) -> None:
        """Draw the map, (C H W, D), with variance 1 / D, so that squared distances are kept on average."""
        d = self.config.dimensions
        self.register_buffer("projection", torch.randn(info.image_numel, d) / d**0.5)

    def encode(self, images: Tensor) -> Tensor:
        """(B, D)."""
        return images.flatten(1) @ self.projection
