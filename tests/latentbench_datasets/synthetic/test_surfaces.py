import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from latentbench_datasets.synthetic.surfaces import SURFACES, THREAD, TILE, grain, tiles, weave

KINDS = pytest.mark.parametrize("kind", SURFACES)


def draw(kind: str, count: int, size: int, seed: int = 0) -> Tensor:
    return SURFACES[kind](torch.Generator().manual_seed(seed), count, size)


def autocorrelation(surface: Tensor, lag: int, dim: int) -> float:
    """Correlation of the red plane with itself, ``lag`` pixels on."""
    red = surface[:, 0] - surface[:, 0].mean((1, 2), keepdim=True)
    there = red.narrow(dim, lag, red.shape[dim] - lag)
    here = red.narrow(dim, 0, red.shape[dim] - lag)
    return float((here * there).mean() / red.square().mean())


@KINDS
def test_a_surface_is_in_colour_within_the_levels_and_no_two_samples_are_alike(kind: str) -> None:
    surface = draw(kind, 8, 64)
    assert surface.shape == (8, 3, 64, 64)
    assert surface.dtype == torch.float32
    assert float(surface.min()) > -10
    assert float(surface.max()) < 275
    red, green, blue = surface.mean((0, 2, 3)).tolist()
    assert max(red, green, blue) - min(red, green, blue) > 10
    differences = (surface[:, None] - surface[None]).abs().mean((2, 3, 4))
    assert float(differences[~torch.eye(8, dtype=torch.bool)].min()) > 3
    assert float(surface.std((2, 3)).min()) > 5


@KINDS
def test_a_seed_draws_one_surface_and_touches_no_other_generator(kind: str) -> None:
    outside = torch.get_rng_state()
    assert torch.equal(draw(kind, 3, 32), draw(kind, 3, 32))
    assert not torch.equal(draw(kind, 3, 32), draw(kind, 3, 32, seed=1))
    assert torch.equal(torch.get_rng_state(), outside)


@KINDS
def test_a_surface_looks_the_same_at_any_resolution(kind: str) -> None:
    coarse, fine = draw(kind, 4, 64), avg_pool2d(draw(kind, 4, 256), 4)
    for one, other in zip(coarse.flatten(1), fine.flatten(1), strict=True):
        assert float(torch.corrcoef(torch.stack([one, other]))[0, 1]) > 0.95


@pytest.mark.parametrize("dim", [1, 2])
def test_threads_of_the_weave_take_turns(dim: int) -> None:
    surface = weave(torch.Generator().manual_seed(0), 8, 128)
    thread = round(THREAD * 128 / 64)
    assert autocorrelation(surface, thread, dim) < -0.4
    assert autocorrelation(surface, 2 * thread, dim) > 0.4


@pytest.mark.parametrize("dim", [1, 2])
def test_joints_of_the_tiles_recur_at_the_tiles_distance(dim: int) -> None:
    surface = tiles(torch.Generator().manual_seed(0), 8, 128)
    side = round(TILE * 128 / 64)
    assert autocorrelation(surface, side, dim) > autocorrelation(surface, side // 2, dim) + 0.3


def test_grain_runs_along_the_rows() -> None:
    surface = grain(torch.Generator().manual_seed(0), 8, 64)
    along, across = (surface.diff(dim=dim).square().mean() for dim in (3, 2))
    assert float(across) > 3 * float(along)
