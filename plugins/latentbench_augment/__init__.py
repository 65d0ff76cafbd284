"""Corruption of image batches on the device, for models that learn to undo it; and the drawing of blobs and noise."""

from latentbench_augment.corrupted import Corrupted
from latentbench_augment.corruption import Corruption
from latentbench_augment.noise import GridNoise
from latentbench_augment.probes import PROBES
from latentbench_augment.textures import MOST_TEXTURES, read_textures

__all__ = ["MOST_TEXTURES", "PROBES", "Corrupted", "Corruption", "GridNoise", "read_textures"]
