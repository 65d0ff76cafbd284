"""Square patches of image batches on a grid of cells, and one Gaussian for each cell, for maps of anomalies."""

from latentbench_patches.gaussians import distances, moments, whitening
from latentbench_patches.grid import Grid, reduced

__all__ = ["Grid", "distances", "moments", "reduced", "whitening"]
