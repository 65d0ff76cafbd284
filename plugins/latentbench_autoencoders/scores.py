"""Anomaly scores that any VAE can give, most of them from N draws z ~ q(z | x): the hole indicator and its baselines.

As defined in the supplement, section G, of Glazunov & Zarras (UAI 2023, PMLR 216:701-711). All are larger for
anomalies.
"""

import io
from dataclasses import dataclass
from math import log

import numpy as np
import torch
from torch import Tensor

from latentbench import LatentbenchError

__all__ = ["Draws", "compressed_bits", "debiased_negative_log_likelihood", "input_complexity", "typicality"]


@dataclass(frozen=True)
class Draws:
    """The log densities of N draws of z for each of B images, in nats."""

    log_p_x: Tensor
    """(N, B): log p(x | z)."""
    log_w: Tensor
    """(N, B): log p(x, z) - log q(z | x), the importance weights."""

    def log_likelihood(self) -> Tensor:
        """(B,): log p(x), importance-weighted: the lower bound L_k of Burda et al. (2016, eq. 8) with k = N."""
        return self.log_w.logsumexp(0) - log(len(self.log_w))

    def hole_indicator(self) -> Tensor:
        """(B,): standard deviation of log p(x | z), the sample's, over N - 1 (eq. 8).

        It depends on the decoder and the posterior only, and neither on the prior nor on statistics of training data.
        """
        return self.log_p_x.std(0)

    def log_ratio_std(self) -> Tensor:
        """(B,): standard deviation of the log importance weights ("stds of LLs", eq. 7).

        The text takes the weights themselves, all of which underflow; the authors' earlier paper takes their logarithms
        (UAI 2022, eq. 19).
        """
        return self.log_w.std(0)


def debiased_negative_log_likelihood(log_likelihood: Tensor, images: Tensor) -> Tensor:
    """(B,): -log p(x) in nats, less the least that it can be for Bernoulli pixels.

    A Bernoulli's cross entropy is never below the entropy of the gray levels x, sum of -x log x - (1 - x) log(1 - x),
    which depends on the image alone: images of many gray levels have a low likelihood under every decoder. Chauhan et
    al. (CVPR 2022, *Robust outlier detection by de-biasing VAE likelihoods*) subtract the likelihood of a perfect
    reconstruction, of which this is the case of Bernoulli pixels; Caterini & Loaiza-Ganem (2021, *Entropic issues in
    likelihood-based OOD detection*) give the argument. What remains of the exact -log p(x) is >= 0.

    Pixels outside of [0, 1], as in a sweep of intensities, have no such entropy: it is that of the clamped ones.

    >>> gray = torch.full((1, 1, 1, 2), 0.5)
    >>> best = torch.tensor([-2 * log(2)])  # both pixels white with the probability 1/2
    >>> debiased_negative_log_likelihood(best, gray).tolist()
    [0.0]
    """
    x = images.clamp(0, 1)
    entropy: Tensor = (torch.special.entr(x) + torch.special.entr(1 - x)).sum((1, 2, 3))
    return -log_likelihood - entropy


def typicality(log_likelihood: Tensor, entropy: Tensor) -> Tensor:
    """(B,): | -log p(x) - H |, where H is the mean of -log p over training images.

    Eq. 9 as printed lacks the factor 1/|D| and has a wrong sign; this is eq. 17 of the UAI 2022 paper.

    >>> typicality(torch.tensor([-3.0, -1.0]), entropy=torch.tensor(3.0)).tolist()
    [0.0, 2.0]
    """
    return (-log_likelihood - entropy).abs()


def input_complexity(log_likelihood: Tensor, images: Tensor) -> Tensor:
    """(B,): -log p(x) - L(x) in bits per dimension, where L is the length of the compressed image (eq. 10).

    Pixels outside of [0, 1], as in a sweep of intensities, are clamped for the compressor, which has 256 gray levels.

    >>> images = torch.stack([torch.zeros(1, 28, 28), torch.rand(1, 28, 28)])
    >>> flat, noisy = input_complexity(torch.zeros(2), images)
    >>> bool(flat > noisy)  # at the same likelihood a simple image is the more anomalous one
    True
    """
    dims = images[0].numel()
    return (-log_likelihood / log(2) - compressed_bits(images.clamp(0, 1))) / dims


def compressed_bits(images: Tensor) -> Tensor:
    """Length in bits of each image as a raw, lossless JPEG 2000 codestream, without the boxes of the file format.

    For a 28x28 image the headers of the codestream are still a good part of it; they are the same for all images.

    Args:
        images: (B, C, H, W) in [0, 1], C being 1 or 3; it is rounded to 8 bits and compressed on the CPU.

    Returns:
        (B,) in the dtype and on the device of ``images``.

    Raises:
        LatentbenchError: pixels outside [0, 1], or images that are neither gray nor RGB.

    >>> flat, noisy = compressed_bits(torch.stack([torch.zeros(1, 28, 28), torch.rand(1, 28, 28)])).tolist()
    >>> flat < noisy
    True
    """
    from PIL import Image

    channels = images.shape[1]
    if channels not in (1, 3):
        raise LatentbenchError(f"images of {channels} channels cannot be compressed", "JPEG 2000 takes 1 or 3 here")
    pixels = images.detach().cpu().float().movedim(1, 3).numpy()
    if pixels.size and not (pixels.min() >= 0 and pixels.max() <= 1):
        raise LatentbenchError("images with pixels outside [0, 1] cannot be compressed", "clamp them")
    lengths = []
    for image in np.rint(pixels * 255).astype(np.uint8):
        file = io.BytesIO()
        Image.fromarray(image.squeeze(2) if channels == 1 else image).save(file, "JPEG2000", no_jp2=True)
        lengths.append(8 * file.tell())
    return torch.tensor(lengths, dtype=images.dtype, device=images.device)
