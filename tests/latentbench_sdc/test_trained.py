"""A small trained network does what the theory says of projections: on gratings, a manifold that is known."""

from collections.abc import Callable
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


#: The network and its objective as they are by default, and without skips, where the clean part counts more.
SETTINGS: dict[str, dict[str, object]] = {
    "by default": {"skips": SDC.Config().skips},
    "without skips": {"clean_weight": 0.9, "masked_weight": 0.1},
}


#: Upper bounds: of a defect, what is left in a hole; of what a first pass changes, what a second one does; and of a
#: small defect, what the Jacobian keeps. Skips from the encoder let some of a hole through after so short a training.
BOUNDS = {"by default": (0.5, 0.65, 0.8), "without skips": (0.2, 0.2, 0.25)}


@pytest.fixture(scope="module", params=SETTINGS)
def setting(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def filtering(setting: str) -> SDC:
    return trained(**SETTINGS[setting])


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


# What maps that learned nothing have, beside each bound: a copy of the image, and one grey image for all.


def test_it_is_nearly_the_identity_on_normal_images(filtering: SDC, images: Tensor) -> None:
    with torch.inference_mode():
        assert relative(filtering.reconstruct(images) - images, images - images.mean()) < 0.3  # copy 0, grey 1


def test_it_fills_holes_with_what_is_normal_and_leaves_the_rest(
    filtering: SDC, setting: str, images: Tensor, holes: Corrupted
) -> None:
    with torch.inference_mode():
        change = filtering.reconstruct(holes.images) - images
    assert relative(holes.mask * change, holes.images - images) < BOUNDS[setting][0]  # copy 1, grey 0.8
    assert relative((1 - holes.mask) * change, (1 - holes.mask) * (images - images.mean())) < 0.3  # copy 0, grey 1


def test_it_is_nearly_idempotent(filtering: SDC, setting: str, holes: Corrupted) -> None:
    """A second pass changes less than the first."""
    with torch.inference_mode():
        once = filtering.reconstruct(holes.images)
        twice = filtering.reconstruct(once)
    assert relative(twice - once, once - holes.images) < BOUNDS[setting][1]  # copy: 0 / 0, grey 0


def test_its_jacobian_keeps_tangents_of_the_manifold_and_shrinks_what_leaves_it(
    filtering: SDC, setting: str, images: Tensor, tangents: Tensor, holes: Corrupted
) -> None:
    defects = holes.images - images
    along, across = (torch.func.jvp(filtering.network, (images,), (change,))[1] for change in (tangents, defects))
    assert relative(along - tangents, tangents) < 0.6  # copy 0, grey 1
    assert relative(across, defects) < BOUNDS[setting][2]  # copy 1, grey 0


def residual_is_the_defect_and_orthogonal(restored: Tensor, images: Tensor, tangents: Tensor, holes: Corrupted) -> bool:
    """Whether what was taken away is about as large as the defect, and has little along the manifold.

    Of an orthogonal projection it has nothing along the manifold. A copy takes nothing away, and one grey image for all
    takes the gratings with it, which are orthogonal to their tangents: four times as much as the defect.
    """
    defects, residual = holes.images - images, holes.images - restored
    directions = torch.nn.functional.normalize(tangents.flatten(1))
    along = (residual.flatten(1) * directions).sum(1)
    return 0.7 < relative(residual, defects) < 1.5 and relative(along, defects) < 0.2


def test_its_residual_is_nearly_orthogonal_to_the_manifold(
    filtering: SDC, images: Tensor, tangents: Tensor, holes: Corrupted
) -> None:
    with torch.inference_mode():
        restored = filtering.reconstruct(holes.images)
    assert residual_is_the_defect_and_orthogonal(restored, images, tangents, holes)


@pytest.mark.parametrize(
    "learned_nothing",
    [
        lambda x: x,
        lambda x: torch.full_like(x, 0.5),
        torch.zeros_like,
        lambda x: x.roll(1, 3),
    ],
    ids=["a copy", "a grey image", "zeros", "a wrong phase"],
)
def test_that_tells_it_from_maps_that_learned_nothing(
    learned_nothing: Callable[[Tensor], Tensor], images: Tensor, tangents: Tensor, holes: Corrupted
) -> None:
    assert not residual_is_the_defect_and_orthogonal(learned_nothing(holes.images), images, tangents, holes)


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
