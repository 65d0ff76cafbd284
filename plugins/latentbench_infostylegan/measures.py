"""What is measured of a trained generator: how much of the codes its images show, and how much the images vary.

The paper's own measure of control is not known. Ours is the information, in nats, that a network of another
architecture than Q reads from new images of 8 bits, sharp ones and blurred ones: a code that hides in marks that nobody
sees is lost by blurring and rounding. Blurring alone would not do: what it makes faint, a network still reads.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from latentbench_infostylegan.codes import Codes

__all__ = ["Reader", "blurred", "deviation", "recovered", "recovered_names", "rounded"]

#: Images of a step in which a reader learns, and its rate; images on which it is measured.
BATCH, LEARNING_RATE, HELD_OUT = 64, 1e-3, 1000
#: Side of a reader's last maps, at most.
SMALLEST = 4
#: Standard deviation of the blur as a share of an image's side; it is at least 1 pixel.
BLUR = 1 / 32


class Reader(nn.Module):
    """Plain strided convolutions down to at most 4x4 places, and a linear layer: another architecture than Q's.

    Args:
        size: side of the images.
        channels: of the images.
        outputs: numbers that ``Codes`` reads.
    """

    def __init__(self, size: int, channels: int, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, 32, 5, 2, 2), nn.ReLU()]
        side, width = -(-size // 2), 32
        while side > SMALLEST:
            layers += [nn.Conv2d(width, 64, 3, 2, 1), nn.ReLU()]
            side, width = -(-side // 2), 64
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * side**2, outputs))

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, outputs)."""
        outputs: Tensor = self.layers(2 * images - 1)
        return outputs


def recovered_names(codes: Codes) -> list[str]:
    """The names of what ``recovered`` gives, in its order."""
    kinds = ["r2"] * codes.continuous + ["accuracy"] * len(codes.categorical)
    each = [f"recovered_{kind}_{name}" for kind, name in zip(kinds, codes.names, strict=True)]
    return [f"{name}{suffix}" for suffix in ("", "_blurred") for name in ("recovered_nats", *each)]


def recovered(codes: Codes, draw: Callable[[int], tuple[Tensor, Tensor]], steps: int) -> Tensor:
    """Train readers of sharp and of blurred images, and measure both on images that are drawn afterwards.

    Every step has new images.

    Args:
        codes: the prior.
        draw: gives so many images, (N, C, H, W) in [0, 1], and their codes, (N, D).
        steps: of training.

    Returns:
        For sharp and then for blurred images: the nats of all codes, E log q(c | x) + H(c), and for each code the R2 of
        its mean, or the accuracy of its most probable value.
    """
    images, _ = draw(1)
    with torch.enable_grad():
        readers = [Reader(images.shape[2], images.shape[1], codes.outputs).to(images.device) for _ in range(2)]
        optimizers = [torch.optim.Adam(reader.parameters(), LEARNING_RATE) for reader in readers]
        for _ in range(steps):
            images, c = draw(BATCH)
            for reader, optimizer, seen in zip(readers, optimizers, _seen(images), strict=True):
                optimizer.zero_grad()
                (-codes.mean_log_q(reader(seen), c)).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    with torch.no_grad():
        parts = [draw(BATCH) for _ in range(-(-HELD_OUT // BATCH))]
        c = torch.cat([part for _, part in parts])
        both = zip(*(_seen(images) for images, _ in parts), strict=True)
        read = [torch.cat([reader(one) for one in part]) for reader, part in zip(readers, both, strict=True)]
        return torch.cat([_agreement(codes, outputs, c) for outputs in read])


def _seen(images: Tensor) -> tuple[Tensor, Tensor]:
    """The images, sharp and blurred, in 8 bits."""
    return rounded(images), rounded(blurred(images))


def _agreement(codes: Codes, outputs: Tensor, c: Tensor) -> Tensor:
    """(1 + codes,): nats, R2s and accuracies."""
    sizes = [codes.continuous, *codes.categorical]
    (x, *values), (mean, *probabilities) = torch.split(c, sizes, 1), torch.split(codes.mean(outputs), sizes, 1)
    r2 = 1 - (x - mean).square().mean(0) / x.var(0, correction=0)
    right = [
        (one.argmax(1) == other.argmax(1)).float().mean()[None]
        for one, other in zip(values, probabilities, strict=True)
    ]
    nats = codes.mean_log_q(outputs, c) + codes.entropy
    return torch.cat([nats[None], r2, *right])


def blurred(images: Tensor) -> Tensor:
    """(B, C, H, W) -> the same shape: smoothed by a Gaussian whose standard deviation is H / 32, and at least 1 pixel.

    >>> blurred(torch.full((1, 1, 16, 16), 0.25)).mean()
    tensor(0.2500)
    """
    sigma, channels = max(1.0, BLUR * images.shape[2]), images.shape[1]
    reach = round(3 * sigma)
    places = torch.arange(-reach, reach + 1, device=images.device)
    kernel = (-0.5 * (places / sigma).square()).exp()
    kernel = (kernel / kernel.sum()).expand(channels, 1, 1, -1)
    padded = pad(images, [reach] * 4, mode="reflect")
    return conv2d(conv2d(padded, kernel, groups=channels), kernel.transpose(2, 3), groups=channels)


def rounded(images: Tensor) -> Tensor:
    """(B, C, H, W) in [0, 1] -> the nearest values of 8 bits."""
    return (255 * images).round() / 255


def deviation(images: Tensor, group: Tensor | None = None) -> Tensor:
    """(): the root of the variance of a pixel over images, its mean over pixels and channels.

    Args:
        images: (N, C, H, W).
        group: (N,) int64; the variance is then that within the groups, pooled over them. Negative: left out.

    >>> images = torch.tensor([0.0, 0.0, 1.0, 1.0])[:, None, None, None]
    >>> deviation(images), deviation(images, torch.tensor([0, 0, 1, 1]))
    (tensor(0.5774), tensor(0.))
    """
    x = images.flatten(1)
    if group is None:
        return x.var(0).mean().sqrt()
    squares, freedom = x.new_zeros(()), 0
    for value in torch.unique(group[group >= 0]):
        members = x[group == value]
        squares = squares + (members - members.mean(0)).square().sum(0).mean()
        freedom += len(members) - 1
    return (squares / max(1, freedom)).sqrt()
