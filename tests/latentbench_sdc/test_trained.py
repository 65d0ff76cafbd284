"""A small trained network does what the theory says of projections: on gratings, a manifold that is known."""

from math import pi

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from latentbench import DataInfo, Role, StoredSplit
from latentbench.running.training import TrainingLoop
from latentbench_augment import Corruption
from latentbench_sdc.model import SDC

SIDE, PERIOD = 32, 8.0


def gratings(phase: Tensor) -> Tensor:
    """(B, 1, SIDE, SIDE): oblique gratings; the phase is all in which they differ."""
    places = torch.arange(SIDE) * 2 * pi / PERIOD
    return 0.5 + 0.3 * torch.sin(places + places[:, None] / 2 + phase.view(-1, 1, 1, 1))


def phases(count: int, seed: int) -> Tensor:
    return 2 * pi * torch.rand(count, generator=torch.Generator().manual_seed(seed))


def trained(**options: object) -> SDC:
    torch.manual_seed(0)
    values = {"epochs": 30, "batch_size": 16, "smoothing": "fixed", "pooling": "maximum", **options}
    model = SDC(SDC.Config.parse(values, "model 'sdc'"), DataInfo(1, SIDE, SIDE, train_size=160))
    split = StoredSplit(Role.TRAIN, (gratings(phases(160, 0)) * 255).round().to(torch.uint8))
    model.fit(split, None, TrainingLoop(device=torch.device("cpu"), seed=0))
    return model.eval()


@pytest.fixture(scope="module")
def filtering() -> SDC:
    return trained()


@pytest.fixture(scope="module")
def plain() -> SDC:
    return trained(corruption="none")


@pytest.fixture(scope="module")
def images() -> Tensor:
    return gratings(phases(40, 1))


@pytest.fixture(scope="module")
def holes(images: Tensor) -> tuple[Tensor, Tensor]:
    """The images with opaque blobs of one grey value, and the masks of these."""
    opaque = Corruption(fills=("flat",), opacity=(1, 1), softness=0, coverage=(0.01, 0.1), clean=0)
    return opaque(images, torch.Generator().manual_seed(0))


def relative(change: Tensor, of: Tensor) -> float:
    return float(change.norm() / of.norm())


# The bounds below are about twice what was measured with three seeds; a network that does nothing of the kind has 1.


def test_it_is_nearly_the_identity_on_normal_images(filtering, images):
    with torch.inference_mode():
        centred = images - images.mean()
        assert relative(filtering.reconstruct(images) - images, centred) < 0.2


def test_it_fills_holes_with_what_is_normal_and_leaves_the_rest(filtering, plain, images, holes):
    corrupted, mask = holes
    with torch.inference_mode():
        restored, copied = filtering.reconstruct(corrupted), plain.reconstruct(corrupted)
    defect = mask * (corrupted - images)
    assert relative(mask * (restored - images), defect) < 0.5
    assert relative((1 - mask) * (restored - images), (1 - mask) * (images - images.mean())) < 0.2
    assert relative(mask * (copied - images), defect) > 2 * relative(mask * (restored - images), defect)


def test_it_is_nearly_idempotent(filtering, holes):
    """A second pass changes much less than the first."""
    with torch.inference_mode():
        once = filtering.reconstruct(holes.images)
        twice = filtering.reconstruct(once)
    assert relative(twice - once, once - holes.images) < 0.3


def test_its_jacobian_keeps_tangents_of_the_manifold_and_shrinks_what_leaves_it(filtering, images, holes):
    """u is the derivative with respect to the phase, and v the direction of a hole."""
    phase = phases(40, 1)
    u = (gratings(phase + 1e-3) - gratings(phase - 1e-3)) / 2e-3
    v = holes.images - images
    _, along = torch.func.jvp(filtering.network, (images,), (u,))
    _, across = torch.func.jvp(filtering.network, (images,), (v,))
    assert 0.7 < relative(along, u) < 1.3
    assert relative(across, v) < 0.6 * relative(along, u)


def test_its_residual_is_nearly_orthogonal_to_the_manifold(filtering, images, holes):
    phase = phases(40, 1)
    u = ((gratings(phase + 1e-3) - gratings(phase - 1e-3)) / 2e-3).flatten(1)
    with torch.inference_mode():
        residual = (holes.images - filtering.reconstruct(holes.images)).flatten(1)
    cosine = (residual * u).sum(1) / (residual.norm(dim=1) * u.norm(dim=1))
    assert float(cosine.abs().mean()) < 0.2


def test_it_finds_defects_that_it_was_not_trained_on_better_than_a_plain_autoencoder(filtering, plain, images):
    """Thin lines, lighter than the grating, of a shape and fill that no corruption has."""
    defective, mask = images.clone(), torch.zeros_like(images, dtype=torch.bool)
    for number, row in enumerate(np.random.default_rng(0).integers(4, 28, len(images))):
        mask[number, 0, row, 6:24] = True
    defective[mask] = (defective[mask] + 0.25).clamp(max=1)
    with torch.inference_mode():
        ours, theirs = (
            roc_auc_score(mask.flatten(), model.localize(defective).flatten()) for model in (filtering, plain)
        )
    assert ours > 0.95
    assert 1 - ours < 0.5 * (1 - theirs)
