"""The networks: the published sizes, what they look like without the lowest facets, and the sides that they take."""

import pytest
import torch
from torch import nn
from torch.nn.functional import relu

from latentbench import DataInfo, LatentbenchError
from latentbench_mfcvae.ladder import Convolutional, FullyConnected, Ladder
from latentbench_mfcvae.model import MFCVAE

MNIST = DataInfo(channels=1, height=28, width=28, train_size=50_000)
COLOUR = DataInfo(channels=3, height=32, width=32, train_size=3840)


def make(convolutional: bool, dims: tuple[int, ...] = (3, 2), widths: tuple[int, ...] = (4, 6)) -> Ladder:
    torch.manual_seed(0)
    ladder = (Convolutional if convolutional else FullyConnected)(
        DataInfo(channels=2, height=16, width=32, train_size=9), dims, widths
    )
    for layer in ladder.modules():  # so that a shift or a scale that is left out is noticed
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(layer.bias)
            nn.init.normal_(layer.running_mean)  # type: ignore[arg-type]
    return ladder.eval()


def images(count: int = 5) -> torch.Tensor:
    return torch.rand(count, 2, 16, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("dataset", "info", "count", "fixed"),
    [("mnist", MNIST, 3_078_854, 0), ("3dshapes", COLOUR, 2_272_941, 80), ("svhn", COLOUR, 2_489_277, 250)],
)
def test_the_published_networks_have_as_many_parameters_as_the_authors_have(
    dataset: str, info: DataInfo, count: int, fixed: int
) -> None:
    """Of a factor L they count all D x D entries. Here the diagonal has parameters beside these."""
    model = MFCVAE(MFCVAE.configure(dataset, {}), info)
    mixtures = model.mixtures.values()
    uniform = [mixture.logits for mixture in mixtures if not mixture.logits.requires_grad]
    diagonals = [mixture.rho for mixture in mixtures if mixture.covariance == "full"]
    parameters = [*model.parameters(), *uniform]
    assert sum(logits.numel() for logits in uniform) == fixed
    assert sum(p.numel() for p in parameters) - sum(rho.numel() for rho in diagonals) == count


@pytest.mark.parametrize("convolutional", [False, True])
@pytest.mark.parametrize("dims", [(2,), (3, 2), (3, 2, 4)])
def test_the_ladder_gives_a_posterior_for_each_facet_and_images_of_the_right_shape(
    convolutional: bool, dims: tuple[int, ...]
) -> None:
    info = DataInfo(channels=2, height=32, width=64, train_size=9)
    widths = (4, 6, 8) if len(dims) == 3 else (4, 6)
    ladder = (Convolutional if convolutional else FullyConnected)(info, dims, widths).eval()
    x = torch.rand(5, *info.image_shape)
    posteriors = ladder.encode(x)
    assert [tuple(q.mean.shape) for q in posteriors] == [(5, dim) for dim in dims]
    assert ladder.decode([q.mean for q in posteriors]).shape == x.shape


@pytest.mark.parametrize("convolutional", [False, True])
def test_a_facet_of_weight_0_can_be_left_out(convolutional: bool) -> None:
    ladder = make(convolutional)
    z = [q.mean for q in ladder.encode(images())]
    torch.testing.assert_close(ladder.decode(z[1:]), ladder.decode(z, alpha=0.0))
    assert not torch.equal(ladder.decode(z[1:]), ladder.decode(z))
    (upper,) = ladder.encode(images(), first=1)
    assert torch.equal(upper.mean, z[1])


@pytest.mark.parametrize("convolutional", [False, True])
def test_a_facet_that_is_left_out_is_not_computed(convolutional: bool) -> None:
    ladder = make(convolutional)
    called: list[nn.Module] = []
    for module in [*ladder.heads, *ladder.rungs]:  # type: ignore[misc]
        module.register_forward_hook(lambda module, *_: called.append(module))
    (q,) = ladder.encode(images(), first=1)
    ladder.decode([q.mean])
    assert called == [ladder.heads[1], ladder.rungs[1]]  # type: ignore[index]


def test_the_fully_connected_rung_is_added_with_a_gate_of_a_tenth() -> None:
    ladder = make(convolutional=False)
    assert isinstance(ladder, FullyConnected)
    z_0, z_1 = torch.randn(5, 3), torch.randn(5, 2)
    below = relu(ladder.down[0](relu(ladder.rungs[1](z_1))))
    joined = relu(ladder.join[0](below + 0.1 * 0.5 * relu(ladder.rungs[0](z_0))))
    torch.testing.assert_close(ladder.decode([z_0, z_1], alpha=0.5).flatten(1), ladder.output(joined))


def test_sides_that_cannot_be_halved_are_refused_by_the_convolutional_network() -> None:
    odd = DataInfo(channels=1, height=16, width=18, train_size=60)
    with pytest.raises(LatentbenchError, match="sides of 16 and 18 pixels cannot be halved 2 times down to at least 4"):
        MFCVAE(MFCVAE.Config(network="conv"), odd)
    assert isinstance(MFCVAE(MFCVAE.Config(), odd).ladder, FullyConnected)
    assert isinstance(MFCVAE(MFCVAE.Config(network="conv"), COLOUR).ladder, Convolutional)
    assert not Convolutional.fits(DataInfo(channels=1, height=8, width=16, train_size=60), 2)
