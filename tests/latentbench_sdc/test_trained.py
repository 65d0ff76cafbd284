"""A small trained network does what the theory says of projections: on gratings, a manifold that is known."""

from math import pi

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from latentbench import DataInfo, Role, StoredSplit
from latentbench.running.training import TrainingLoop
from latentbench_augment import Corrupted, Corruption
from latentbench_sdc.model import SDC

pytestmark = pytest.mark.slow

SIDE, PERIOD = 32, 8.0


def gratings(phase: Tensor) -> Tensor:
    """(B, 1, SIDE, SIDE): oblique gratings; the phase is all in which they differ."""
    places = torch.arange(SIDE) * 2 * pi / PERIOD
    return 0.5 + 0.3 * torch.sin(places + places[:, None] / 2 + phase.view(-1, 1, 1, 1))


def phases(count: int, seed: int) -> Tensor:
    return 2 * pi * torch.rand(count, generator=torch.Generator().manual_seed(seed))


def trained(**options: object) -> SDC:
    torch.manual_seed(0)
    values = {
        "epochs": 25,
        "batch_size": 8,
        "learning_rate": 3e-3,
        "schedule": "cosine",
        "skips": "none",
        "residual": "squared",
        "smoothing": "fixed",
        **options,
    }
    model = SDC(SDC.Config.parse(values, "model 'sdc'"), DataInfo(1, SIDE, SIDE, train_size=120))
    split = StoredSplit(Role.TRAIN, (gratings(phases(120, 0)) * 255).round().to(torch.uint8))
    model.fit(split, None, TrainingLoop(device=torch.device("cpu"), seed=0))
    return model.eval()


@pytest.fixture(scope="module")
def filtering() -> SDC:
    return trained(clean_weight=0.9, masked_weight=0.1)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return gratings(phases(40, 1))


@pytest.fixture(scope="module")
def tangents() -> Tensor:
    """u, the derivative of the images with respect to the phase."""
    phase = phases(40, 1)
    return (gratings(phase + 1e-3) - gratings(phase - 1e-3)) / 2e-3


@pytest.fixture(scope="module")
def holes(images: Tensor) -> Corrupted:
    """The images with opaque blobs of one grey value, and the masks of these."""
    opaque = Corruption(fills=("flat",), opacity=(1, 1), softness=0, coverage=(0.01, 0.1), clean=0)
    return opaque(images, torch.Generator().manual_seed(0))


def relative(change: Tensor, of: Tensor) -> float:
    return float(change.detach().norm() / of.norm())


# A network that copies has 0 in the first test and 1 in the others. The bounds are twice the larger value of two seeds.


def test_it_is_nearly_the_identity_on_normal_images(filtering: SDC, images: Tensor) -> None:
    with torch.inference_mode():
        assert relative(filtering.reconstruct(images) - images, images - images.mean()) < 0.3


def test_it_fills_holes_with_what_is_normal_and_leaves_the_rest(
    filtering: SDC, images: Tensor, holes: Corrupted
) -> None:
    with torch.inference_mode():
        change = filtering.reconstruct(holes.images) - images
    assert relative(holes.mask * change, holes.images - images) < 0.2
    assert relative((1 - holes.mask) * change, (1 - holes.mask) * (images - images.mean())) < 0.3


def test_it_is_nearly_idempotent(filtering: SDC, holes: Corrupted) -> None:
    """A second pass changes much less than the first."""
    with torch.inference_mode():
        once = filtering.reconstruct(holes.images)
        twice = filtering.reconstruct(once)
    assert relative(twice - once, once - holes.images) < 0.2


def test_its_jacobian_keeps_tangents_of_the_manifold_and_shrinks_what_leaves_it(
    filtering: SDC, images: Tensor, tangents: Tensor, holes: Corrupted
) -> None:
    defects = holes.images - images
    along, across = (torch.func.jvp(filtering.network, (images,), (change,))[1] for change in (tangents, defects))
    assert 0.9 < relative(along, tangents) < 1.1
    assert relative(across, defects) < 0.25


def test_its_residual_is_nearly_orthogonal_to_the_manifold(filtering: SDC, tangents: Tensor, holes: Corrupted) -> None:
    with torch.inference_mode():
        residual = (holes.images - filtering.reconstruct(holes.images)).flatten(1)
    cosine = torch.cosine_similarity(residual, tangents.flatten(1))
    assert float(cosine.abs().mean()) < 0.15


@pytest.mark.long
def test_skips_let_defects_through_unless_the_network_was_trained_to_undo_some(images: Tensor) -> None:
    """Found are thin lines, lighter than the grating, which no corruption looks like."""
    defective, mask = images.clone(), torch.zeros_like(images, dtype=torch.bool)
    for number, row in enumerate(np.random.default_rng(0).integers(4, 28, len(images))):
        mask[number, 0, row, 6:24] = True
    defective[mask] = (defective[mask] + 0.25).clamp(max=1)
    found, kept = {}, {}
    for corruption in ("structured", "none"):
        model = trained(skips="convex", corruption=corruption)
        with torch.inference_mode():
            found[corruption] = roc_auc_score(mask.flatten(), model.localize(defective).flatten())
            restored = model.reconstruct(defective)
        kept[corruption] = relative(mask * (restored - images), defective - images)
    assert found["structured"] > 0.99
    assert 1 - found["structured"] < 0.2 * (1 - found["none"])
    assert kept["structured"] < 0.8 * kept["none"]
