"""Estimate TC(c|x) of a trained generator: how far its categorical codes are from independent, given an image.

For independent codes TC(c|x) = I(c; x) - sum_i I(c_i; x), identity (b) of ``latentbench_infostylegan.lemma``. Both
terms are bounded from below by networks that read the codes from generated images (Barber & Agakov 2003): one with a
softmax over all combinations of values, and one with a softmax for each code, of the same layers otherwise.

The estimate is a difference of two lower bounds, so it is a bound in neither direction: it is too low where the first
network reads worse than it could, and too high where the second does. It may be slightly negative.

Both networks are trained after the generator, on fakes that are drawn anew for every step, and measured on held-out
fakes. This procedure is ours: the paper's is not known.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log, prod, sqrt

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import logsumexp
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from latentbench import LatentbenchError

__all__ = ["MOST_COMBINATIONS", "Estimate", "conditional_permutations", "estimate"]

#: Combinations of values that the first network tells apart, at most.
MOST_COMBINATIONS = 1024
#: Fakes of a training step, and fakes that are read at a time.
_BATCH, _AT_ONCE = 128, 500
_LEARNING_RATE = 2e-3
#: Rounds of swaps that separate two permutations, the number that Berrett et al. use.
_ROUNDS = 50

Sample = Callable[[Tensor], Tensor]
Codes = npt.NDArray[np.int64]
Table = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """What the held-out fakes say; all information is in nats."""

    information: float
    """A lower bound of I(c; x)."""
    information_of_each: tuple[float, ...]
    """Lower bounds of I(c_i; x)."""
    entropies: tuple[float, ...]
    """H(c_i), the most that there can be."""
    error: float
    """Standard error of the total correlation, over held-out fakes: that of the networks' training is not in it."""
    p_value: float
    """Of the hypothesis that the codes are independent given the image; by permutations."""

    @property
    def total_correlation(self) -> float:
        """The estimate of TC(c|x): the difference of the bounds."""
        return self.information - sum(self.information_of_each)

    @property
    def interval(self) -> tuple[float, float]:
        """Of 95 %, by the standard error."""
        half = 1.96 * self.error
        return self.total_correlation - half, self.total_correlation + half


def estimate(
    sample: Sample,
    values: Sequence[int],
    *,
    steps: int = 600,
    held_out: int = 4000,
    permutations: int = 199,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Estimate:
    """Estimate TC(c|x) of a generator whose categorical codes are independent and uniform.

    The permutation test is the one of Berrett, Wang, Barber & Samworth (JRSS B 82, 2020): the values of each code are
    permuted among the held-out fakes in such a way that they stay as probable given the images, by the second network's
    q_i(c_i|x). It is exact if these are p(c_i|x), and otherwise approximate. (To shuffle codes regardless of the images
    would test whether they say anything about them.) The statistic is the mean of log q(c|x) - sum_i log q(c_i|x) with
    marginals of the first network's own q, so that what it knows worse about single codes does not count.

    Args:
        sample: codes (N, m) int64 on ``device`` -> images (N, C, H, W) float32 there; what else an image depends on is
            drawn with PyTorch's global generator.
        values: K_i, the number of values of each code.
        steps: of the training of both networks, each on 128 new fakes.
        held_out: fakes that are measured on.
        permutations: how many, 19 or more for a p-value of 5 %.
        seed: of the codes, the networks and the permutations; PyTorch's global generator is left as it was.
        device: of the networks.

    Raises:
        LatentbenchError: there are fewer than two codes, or too many combinations of their values.
    """
    if len(values) < 2:
        raise LatentbenchError(f"total correlation takes two categorical codes, and there are {len(values)}")
    if (combinations := prod(values)) > MOST_COMBINATIONS:
        what = f"the categorical codes have {combinations} combinations of values"
        raise LatentbenchError(what, f"total correlation is estimated for {MOST_COMBINATIONS} at most")
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        together, one_by_one = _trained_readers(sample, values, steps, device)
        codes, log_joint, log_each = _read(sample, values, together, one_by_one, held_out, device)

    rows, entropies = np.arange(held_out), tuple(log(count) for count in values)
    of_each = [log_q[rows, codes[:, i]] for i, log_q in enumerate(log_each)]
    gain = log_joint[rows, np.ravel_multi_index(tuple(codes.T), tuple(values))] - sum(of_each)
    information_of_each = tuple(h + float(log_q.mean()) for h, log_q in zip(entropies, of_each, strict=True))

    dependence = _dependence(log_joint, values)
    observed = dependence[rows, *codes.T].mean()
    permuted = conditional_permutations(codes, log_each, permutations, np.random.default_rng(seed))
    as_large = dependence[rows, *np.moveaxis(permuted, -1, 0)].mean(1) >= observed - 1e-12
    return Estimate(
        information=sum(information_of_each) + float(gain.mean()),
        information_of_each=information_of_each,
        entropies=entropies,
        error=float(gain.std(ddof=1)) / sqrt(held_out),
        p_value=float(1 + as_large.sum()) / (1 + permutations),
    )


def _dependence(log_joint: Table, values: Sequence[int]) -> Table:
    """(N, K_1, ..., K_m): log q(c|x) less the log of its marginals, for log q(c|x) as (N, K_1 ... K_m)."""
    log_q = log_joint.reshape(-1, *values)
    codes = range(1, log_q.ndim)
    marginals = [logsumexp(log_q, axis=tuple(j for j in codes if j != i), keepdims=True) for i in codes]
    return np.asarray(log_q - sum(marginals))


def conditional_permutations(
    codes: Codes, log_each: Sequence[Table], count: int, draw: np.random.Generator
) -> npt.NDArray[np.int64]:
    """(count, N, m): codes whose values are permuted among images, independently for each code, given the images.

    A permutation is as probable as its values are under q_i(c_i|x). Rounds of swaps in random pairs leave this
    distribution as it is (algorithm 1 of Berrett et al. 2020). They lead from the observed codes back to a middle, and
    from there to each result, so that observed and permuted codes are exchangeable.

    Args:
        codes: (N, m).
        log_each: log q_i(c_i|x) for each code, (N, K_i).
        count: of permutations.
        draw: the source of random numbers.
    """
    results = []
    for i, log_q in enumerate(log_each):
        rounds = [draw.permutation(len(codes)) for _ in range(_ROUNDS)]
        middle = _swapped(codes[None, :, i], log_q, rounds[::-1], draw)
        results.append(_swapped(np.repeat(middle, count, axis=0), log_q, rounds, draw))
    return np.stack(results, axis=-1)


def _swapped(code: Codes, log_q: Table, rounds: Sequence[Codes], draw: np.random.Generator) -> Codes:
    """Values (chains, N) of one code after a swap, or none, in each pair of each round: entries j and j + N/2 of it."""
    code, half = code.copy(), code.shape[1] // 2
    for order in rounds:
        a, b = order[:half], order[half : 2 * half]
        of_a, of_b = code[:, a], code[:, b]
        log_odds = log_q[a, of_b] + log_q[b, of_a] - log_q[a, of_a] - log_q[b, of_b]
        swap = draw.logistic(size=log_odds.shape) < log_odds
        code[:, a], code[:, b] = np.where(swap, of_b, of_a), np.where(swap, of_a, of_b)
    return code


def _trained_readers(
    sample: Sample, values: Sequence[int], steps: int, device: torch.device
) -> tuple[nn.Module, nn.Module]:
    """Two networks that have learned to read codes from the same fakes: all together, and one by one."""
    shape = _fakes(sample, values, 1, device)[1].shape[1:]
    together, one_by_one = _reader(shape, prod(values)).to(device), _reader(shape, sum(values)).to(device)
    optimizer = torch.optim.Adam([*together.parameters(), *one_by_one.parameters()], _LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        codes, images = _fakes(sample, values, _BATCH, device)
        each = zip(torch.split(one_by_one(images), list(values), 1), codes.T, strict=True)
        losses = [F.cross_entropy(together(images), _flat(codes, values)), *(F.cross_entropy(*one) for one in each)]
        optimizer.zero_grad()
        torch.autograd.backward(losses)
        optimizer.step()
        schedule.step()
    return together, one_by_one


def _reader(shape: Sequence[int], outputs: int) -> nn.Module:
    """Convolutions, each followed by averages of 2x2 pixels, down to 4 pixels or fewer; two linear layers."""
    channels, height, width = shape
    layers: list[nn.Module] = []
    inputs, features = channels, 16
    while min(height, width) > 4:
        layers += [nn.Conv2d(inputs, features, 3, padding=1), nn.LeakyReLU(0.2), nn.AvgPool2d(2)]
        inputs, features, height, width = features, min(2 * features, 64), height // 2, width // 2
    hidden = nn.Linear(inputs * height * width, 128)
    return nn.Sequential(*layers, nn.Flatten(), hidden, nn.LeakyReLU(0.2), nn.Linear(128, outputs))


def _fakes(sample: Sample, values: Sequence[int], count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Random codes, (count, m), and images of them."""
    codes = torch.stack([torch.randint(number, (count,), device=device) for number in values], 1)
    with torch.no_grad():
        return codes, sample(codes)


def _flat(codes: Tensor, values: Sequence[int]) -> Tensor:
    """(N,): the number of each combination of values, the last code running fastest."""
    index = torch.zeros_like(codes[:, 0])
    for code, number in zip(codes.T, values, strict=True):
        index = index * number + code
    return index


@torch.no_grad()
def _read(
    sample: Sample, values: Sequence[int], together: nn.Module, one_by_one: nn.Module, count: int, device: torch.device
) -> tuple[Codes, Table, list[Table]]:
    """Codes of held-out fakes, (count, m), and what the networks read: log q(c|x) and log q_i(c_i|x)."""
    codes, joint, each = [], [], []
    for start in range(0, count, _AT_ONCE):
        of_these, images = _fakes(sample, values, min(_AT_ONCE, count - start), device)
        codes.append(of_these.cpu())
        joint.append(together(images).cpu().double())
        each.append(one_by_one(images).cpu().double())
    softmaxes = [one.log_softmax(1).numpy() for one in torch.split(torch.cat(each), list(values), 1)]
    return torch.cat(codes).numpy(), torch.cat(joint).log_softmax(1).numpy(), softmaxes
