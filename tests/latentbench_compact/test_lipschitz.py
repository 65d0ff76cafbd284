from collections.abc import Callable
from copy import deepcopy
from fractions import Fraction
from itertools import pairwise
from math import inf, nan, prod
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils import weight_norm as old_weight_norm

from latentbench import LatentbenchError
from latentbench_compact.certificate import certificate, in_float64, lipschitz_bound
from latentbench_compact.lipschitz import GroupSort, LipschitzEncoder, Mode, Scaled, UnitRows

MODES: list[Mode] = ["sphere", "ball", "simplex"]
SHAPE = (2, 7, 8)

rows = arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(1, 9)),
    elements=st.one_of(st.floats(-3, 3, width=32), st.sampled_from([0.0, 0.25, -0.25, 1.0, 1e-6, -40.0])),
)


def by_bisection(row: np.ndarray, mode: Mode) -> np.ndarray:
    """The projection of one row, with tau found by halving the interval that holds it."""
    size = row if mode == "simplex" else np.abs(row)
    if mode == "ball" and size.sum() <= 1:
        return row
    low, high = size.min() - 1, size.max()  # norms >= 1 and 0
    for _ in range(200):
        tau = (low + high) / 2
        if np.maximum(size - tau, 0).sum() > 1:
            low = tau
        else:
            high = tau
    signs = np.where((row < 0) & (mode != "simplex"), -1, 1)
    return signs * np.maximum(size - low, 0)


def dense(*sizes: int) -> list[nn.Module]:
    return [nn.Flatten(), *(nn.Linear(a, b) for a, b in pairwise(sizes))]


def mlp(M: float = 2.0, mode: Mode = "sphere", group: int | None = 2) -> LipschitzEncoder:
    torch.manual_seed(0)
    return LipschitzEncoder(SHAPE, dense(prod(SHAPE), 12, 8, 6), M, mode, group)


def conv(M: float = 2.0, mode: Mode = "sphere", group: int | None = 2) -> LipschitzEncoder:
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.Conv2d(4, 6, 3), nn.MaxPool2d(2)]
    return LipschitzEncoder(SHAPE, [*convolutions, *dense(6, 8, 6)], M, mode, group)


ENCODERS = [mlp, conv]


def weighted(network: nn.Module) -> list[Any]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


# --- the projection


@pytest.mark.parametrize("mode", MODES)
@given(rows)
def test_the_projection_is_that_of_a_bisection(mode: Mode, w: np.ndarray) -> None:
    found = UnitRows(mode)(torch.from_numpy(w)).numpy()
    np.testing.assert_allclose(found, [by_bisection(row, mode) for row in w], atol=1e-9)


@pytest.mark.parametrize("mode", MODES)
@given(rows, st.data())
def test_no_feasible_point_is_nearer(mode: Mode, w: np.ndarray, data: st.DataObject) -> None:
    found = UnitRows(mode)(torch.from_numpy(w)).numpy()
    n = w.shape[1]
    moves = data.draw(arrays(np.float64, (12, n), elements=st.floats(-1, 1, width=32)))
    for row, nearest in zip(w, found, strict=True):
        others = np.concatenate([moves, nearest + moves / 100, np.eye(n), -np.eye(n)])
        norms = np.abs(others).sum(1, keepdims=True)
        feasible = others[norms[:, 0] > 0] / norms[norms[:, 0] > 0]
        if mode == "simplex":
            feasible = feasible[(feasible >= 0).all(1)]
        if mode == "ball":
            feasible = np.concatenate([feasible, others[norms[:, 0] <= 1]])
        distances = np.linalg.norm(feasible - row, axis=1)
        assert distances.min() >= np.linalg.norm(nearest - row) - 1e-9


@pytest.mark.parametrize("mode", MODES)
@given(rows)
def test_norms_are_one_signs_are_kept_and_a_second_projection_changes_nothing(mode: Mode, w: np.ndarray) -> None:
    project = UnitRows(mode)
    found = project(torch.from_numpy(w))
    norms = found.abs().sum(1)
    assert (norms <= 1 + 1e-12).all()
    if mode != "ball":
        assert (norms >= 1 - 1e-12).all()
    assert ((found.numpy() if mode == "simplex" else found.numpy() * w) >= 0).all()
    torch.testing.assert_close(project(found), found, rtol=0, atol=1e-12)


def test_the_ball_leaves_what_is_in_it_bit_for_bit() -> None:
    w = torch.randn(50, 20, generator=torch.Generator().manual_seed(0))
    w = w / w.abs().sum(1, keepdim=True) * torch.linspace(0.1, 0.999, 50)[:, None]
    assert torch.equal(UnitRows("ball")(w), w)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4, 1e9])
def test_rows_of_any_size_have_norm_one_in_float32(mode: Mode, size: float) -> None:
    w = size * torch.randn(64, 784, generator=torch.Generator().manual_seed(0))
    norms = UnitRows(mode)(w).double().abs().sum(1)
    assert norms.max() < 1 + 1e-5
    if mode != "ball" or size >= 1:
        assert norms.min() > 1 - 1e-5


@pytest.mark.parametrize("mode", MODES)
def test_a_row_of_zeros_gives_numbers_and_so_does_its_gradient(mode: Mode) -> None:
    w = torch.zeros(2, 4, requires_grad=True)
    found = UnitRows(mode)(w)
    torch.testing.assert_close(found, torch.full((2, 4), 0.0 if mode == "ball" else 0.25))
    (found * torch.arange(8.0).view(2, 4)).sum().backward()
    assert w.grad is not None
    assert torch.isfinite(w.grad).all()


@pytest.mark.parametrize("mode", MODES)
def test_nan_stays_nan_so_that_training_can_report_it(mode: Mode) -> None:
    found = UnitRows(mode)(torch.tensor([[nan, 1.0], [2.0, 0.0]]))
    assert found[0].isnan().any()
    assert found[1].tolist() == [1, 0]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("norm", [0.3, 0.9, 3.0, 10.0])
def test_the_gradient_is_exact_away_from_the_kinks(mode: Mode, norm: float) -> None:
    w = torch.randn(3, 2, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    w = (norm * w / w.abs().sum((1, 2, 3), keepdim=True)).requires_grad_()
    found = UnitRows(mode)(w)
    tau = (w.abs() - found.abs()).flatten(1).where(found.flatten(1) != 0, inf).amin(1)[:, None]
    assert w.abs().min() > 1e-4
    assert (w.flatten(1).abs() - tau).abs().min() > 1e-4
    assert torch.autograd.gradcheck(UnitRows(mode), w)


def test_what_reaches_a_row_is_tangent_to_the_sphere() -> None:
    w = torch.randn(5, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).div(9).requires_grad_()
    UnitRows()(w).square().sum().backward()
    assert w.grad is not None
    torch.testing.assert_close((w.grad * w.sign()).sum(1), torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-12)
    assert w.grad.abs().amax(1).min() > 1e-3


def test_the_last_weight_of_a_row_stands_still() -> None:
    w = torch.tensor([[-4.0, 1.0, 2.0]], requires_grad=True)
    UnitRows()(w).square().sum().backward()
    assert w.grad is not None
    assert not w.grad.any()


def test_a_kernel_is_projected_as_one_row() -> None:
    w = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(UnitRows()(w), UnitRows()(w.flatten(1)).view_as(w))


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(LatentbenchError, match=r"no mode 'cube': use sphere, ball, simplex"):
        UnitRows("cube")  # type: ignore[arg-type]


# --- sorting


@pytest.mark.parametrize("group", [1, 2, 3, 6, None])
@given(arrays(np.float64, (2, 12, 3), elements=st.floats(-9, 9)), st.data())
def test_group_sort_sorts_its_groups_and_moves_no_further_apart(
    group: int | None, x: np.ndarray, data: st.DataObject
) -> None:
    other = data.draw(arrays(np.float64, x.shape, elements=st.floats(-9, 9)))
    sort = GroupSort(group)
    found = sort(torch.from_numpy(x)).numpy()
    size = group or 12
    np.testing.assert_array_equal(found, np.sort(x.reshape(2, -1, size, 3), axis=2).reshape(x.shape))
    assert np.abs(found - sort(torch.from_numpy(other)).numpy()).max() <= np.abs(x - other).max()


def test_group_sort_takes_images_in_any_memory_format() -> None:
    x = torch.randn(3, 6, 5, 4, generator=torch.Generator().manual_seed(0))
    for group in (2, 3, None):
        torch.testing.assert_close(
            GroupSort(group)(x.contiguous(memory_format=torch.channels_last)), GroupSort(group)(x)
        )
        assert GroupSort(group)(x[:0]).shape == (0, 6, 5, 4)


def test_groups_that_do_not_divide_the_features_are_refused_at_once() -> None:
    with pytest.raises(LatentbenchError, match="cannot split 5 features into groups of 2: use a multiple of 2"):
        GroupSort(2)(torch.zeros(3, 5))
    with pytest.raises(LatentbenchError, match="cannot split 9 features into groups of 4"):
        LipschitzEncoder(SHAPE, dense(prod(SHAPE), 8, 9, 6), 1.0, "sphere", 4)
    with pytest.raises(LatentbenchError, match="groups of 0"):
        GroupSort(0)


# --- the encoder


def test_the_mlp_is_the_algorithm() -> None:
    f, M, L = mlp(M=5.0), 5.0, 3
    x = torch.rand(4, *SHAPE)
    W = [layer.parametrizations.weight.original for layer in weighted(f)]
    b = [layer.bias for layer in weighted(f)]
    h = x.flatten(1)
    for l in range(L):  # noqa: E741
        rows = torch.stack([torch.from_numpy(by_bisection(w.detach().numpy(), "sphere")) for w in W[l]]).float()
        h = M ** (1 / L) * h @ rows.T + b[l]
        if l < L - 1:
            h = h.view(4, -1, 2).sort(2).values.flatten(1)
    torch.testing.assert_close(f(x), h)


def test_layers_with_weights_share_the_constant_and_all_but_the_last_are_sorted() -> None:
    for encoder, L in ((mlp(10.0), 3), (conv(10.0), 4)):
        kinds = [type(layer) for layer in encoder.layers]
        assert kinds.count(GroupSort) == L - 1
        assert kinds[-1] not in (GroupSort, nn.MaxPool2d)
        factors = [layer.parametrizations.weight[1].factor for layer in weighted(encoder)]
        assert factors == [10.0 ** (1 / L)] * L


@pytest.mark.parametrize("M", [0.0, -1.0, inf, nan])
def test_a_constant_that_is_none_is_refused(M: float) -> None:
    with pytest.raises(LatentbenchError, match="M must be finite and above 0"):
        mlp(M)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("make", ENCODERS)
def test_no_value_is_waited_for(make: Callable[..., LipschitzEncoder], mode: Mode) -> None:
    """Tensors of the meta device have no values: what asks for one, as a loop over the data must, fails there."""
    f = make(mode=mode).to("meta")
    f(torch.rand(3, *SHAPE, device="meta")).sum().backward()


# --- the certificate


def ratio(f: nn.Sequential, x: Tensor, other: Tensor) -> Tensor:
    """(B,): ||f(x) - f(x')||_inf / ||x - x'||_inf."""
    change = (in_float64(f, x) - in_float64(f, other)).flatten(1).abs().amax(1)
    return change / (x - other).flatten(1).abs().amax(1)


def strongest_attack(encoder: LipschitzEncoder, steps: int = 40, pairs: int = 48) -> float:
    """The largest ratio met while pairs, near and far, climb it."""
    f, generator = encoder.layers, torch.Generator().manual_seed(1)
    x = torch.rand(pairs, *encoder.image_shape, dtype=torch.float64, generator=generator)
    signs = torch.rand(x.shape, dtype=torch.float64, generator=generator).round() * 2 - 1
    signs[::3] *= torch.rand(signs[::3].shape, dtype=torch.float64, generator=generator)
    signs[-1] = 1
    other = x + signs * torch.logspace(-3, 1, pairs, dtype=torch.float64)[:, None, None, None]
    x.requires_grad_()
    other.requires_grad_()
    strongest = 0.0
    for _ in range(steps):
        reached = ratio(f, x, other)
        strongest = max(strongest, reached.max().item())
        gradients = torch.autograd.grad(reached.sum(), (x, other))
        with torch.no_grad():
            step = 0.1 * (x - other).flatten(1).abs().amax(1)[:, None, None, None]
            for point, gradient in zip((x, other), gradients, strict=True):
                point += step * gradient / gradient.flatten(1).abs().amax(1).clamp_min(1e-30)[:, None, None, None]
            # Spend the whole distance: every pixel as far apart as the farthest.
            difference = x - other
            far = difference.flatten(1).abs().amax(1)[:, None, None, None]
            other[::2] = x[::2] - far[::2] * difference[::2].sign()
    return strongest


@pytest.mark.parametrize("M", [0.5, 2.0, 20.0])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("make", ENCODERS)
def test_no_attack_exceeds_the_bound(make: Callable[..., LipschitzEncoder], mode: Mode, M: float) -> None:
    encoder = make(M, mode)
    bound = certificate(encoder).bound
    assert bound == pytest.approx(M, rel=1e-5)
    assert 0.05 * bound < strongest_attack(encoder) <= bound


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("make", "share"), [(mlp, 0.999), (conv, 0.7)])
def test_weights_of_one_sign_let_the_attack_come_near(
    make: Callable[..., LipschitzEncoder], share: float, mode: Mode
) -> None:
    """Nothing cancels: all pixels brighter by one makes every value larger by M, but for the zeros at the border."""
    encoder = make(5.0, mode)
    with torch.no_grad():
        for layer in weighted(encoder):
            layer.parametrizations.weight.original.abs_()
    bound = certificate(encoder).bound
    assert share * bound < strongest_attack(encoder) <= bound


@pytest.mark.parametrize("make", ENCODERS)
def test_the_bound_is_attained_by_rows_that_pass_their_input_on(make: Callable[..., LipschitzEncoder]) -> None:
    """Every row one-hot: no smaller number would be a bound."""
    encoder = make(3.0)
    with torch.no_grad():
        for layer in weighted(encoder):
            original = layer.parametrizations.weight.original.flatten(1)
            original.zero_()
            middle = 4 if isinstance(layer, nn.Conv2d) else 0  # of a 3x3 kernel, the pixel itself
            original[:, middle] = 1
    x = torch.zeros(1, *SHAPE, dtype=torch.float64)
    bound = certificate(encoder).bound
    assert ratio(encoder.layers, x + 1, x).item() == pytest.approx(bound, rel=1e-12)
    assert ratio(encoder.layers, x + 1, x).item() <= bound


@pytest.mark.parametrize("layer", [nn.Linear(40, 6), nn.Conv2d(3, 4, 3)])
def test_the_bound_of_a_layer_is_attained_where_its_kernel_fits(layer: nn.Linear | nn.Conv2d) -> None:
    row = layer.weight.detach().flatten(1)[layer.weight.detach().flatten(1).abs().sum(1).argmax()].double()
    x = row.sign().view(1, *layer.weight.shape[1:])
    network = nn.Sequential(layer)
    assert ratio(network, x, 0 * x).item() == pytest.approx(lipschitz_bound(network), rel=1e-12)


@pytest.mark.parametrize("make", ENCODERS)
def test_the_bound_is_rounded_up_from_the_exact_product(make: Callable[..., LipschitzEncoder]) -> None:
    for M in (0.5, 2.0, 20.0):
        encoder = make(M)
        norms = [
            max(sum(abs(Fraction(v)) for v in row) for row in layer.weight.flatten(1).tolist())
            for layer in weighted(encoder)
        ]
        exact = prod(norms)
        assert exact <= Fraction(certificate(encoder).bound) <= exact * (1 + Fraction(1, 10**12))


@pytest.mark.parametrize("make", ENCODERS)
def test_the_images_of_the_unit_cube_lie_in_the_ball_and_scaled_ones_in_a_larger(
    make: Callable[..., LipschitzEncoder],
) -> None:
    encoder = make(2.0)
    found = certificate(encoder)
    assert found.radius == found.bound
    assert found.centre.shape == (6,)
    torch.testing.assert_close(found.centre, encoder(torch.zeros(1, *SHAPE))[0].double())
    x = torch.rand(500, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[::2] = x[::2].round()
    for k in (1.0, 3.0, 15.0):
        distance = (in_float64(encoder.layers, k * x) - found.centre).abs().max().item()
        assert distance <= found.radius_at(k)
        assert Fraction(found.radius_at(k)) >= Fraction(k) * Fraction(found.bound)


@pytest.mark.parametrize("make", ENCODERS)
def test_float32_strays_by_no_more_than_is_said(make: Callable[..., LipschitzEncoder]) -> None:
    encoder = make(20.0)
    x = torch.rand(100, *SHAPE, generator=torch.Generator().manual_seed(0))
    error = (encoder(x) - in_float64(encoder.layers, x)).abs().max().item()
    weights = sum(layer.weight[0].numel() for layer in weighted(encoder))
    assert 0 < error < 2**-24 * weights * 20


@pytest.mark.parametrize("make", ENCODERS)
@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_certificate_reads_the_weights_not_the_options(make: Callable[..., LipschitzEncoder], index: int) -> None:
    encoder = make(2.0)
    layer = weighted(encoder)[index]
    parametrize.remove_parametrizations(layer, "weight")
    with torch.no_grad():
        layer.weight.mul_(3)
    bound = certificate(encoder).bound
    assert bound == pytest.approx(6.0, rel=1e-5)
    assert strongest_attack(encoder, steps=10) <= bound


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("make", ENCODERS)
def test_training_leaves_the_bound_in_place(make: Callable[..., LipschitzEncoder], mode: Mode) -> None:
    encoder = make(4.0, mode)
    before = [layer.weight.detach().clone() for layer in weighted(encoder)]
    optimizer = torch.optim.Adam(encoder.parameters(), 0.05)
    x = torch.rand(32, *SHAPE, generator=torch.Generator().manual_seed(0))
    losses = []
    for _ in range(15):
        loss = (encoder(x) - 50 * x.flatten(1)[:, :6]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert not any(torch.equal(layer.weight, w) for layer, w in zip(weighted(encoder), before, strict=True))
    bound = certificate(encoder).bound
    assert bound <= 4 * (1 + 1e-5)
    if mode != "ball":
        assert bound >= 4 * (1 - 1e-5)
    assert strongest_attack(encoder, steps=10) <= bound


@pytest.mark.parametrize("make", ENCODERS)
def test_without_negative_weights_a_brighter_image_has_no_smaller_output(make: Callable[..., LipschitzEncoder]) -> None:
    encoder = make(3.0, "simplex")
    generator = torch.Generator().manual_seed(0)
    dark = torch.rand(50, *SHAPE, generator=generator)
    bright = dark + torch.rand(50, *SHAPE, generator=generator).sub(0.5).clamp_min(0)
    assert (encoder(bright) >= encoder(dark) - 1e-6).all()
    assert (encoder(15 * dark) > encoder(dark)).all()


def test_a_layer_of_ours_without_its_projection_is_bounded_by_its_own_norm() -> None:
    """The baselines' networks, too: their constant can be held against M."""
    layer, leaky = nn.Linear(5, 4), nn.LeakyReLU(-3.0)
    norm = layer.weight.abs().sum(1).max().item()
    assert lipschitz_bound(nn.Sequential(layer, nn.ReLU())) == pytest.approx(norm)
    assert lipschitz_bound(nn.Sequential(nn.Sequential(layer, nn.LeakyReLU(0.2)), nn.Identity())) == pytest.approx(norm)
    assert lipschitz_bound(nn.Sequential(layer, leaky)) == pytest.approx(3 * norm)
    square = nn.Linear(5, 5)
    norm = square.weight.abs().sum(1).max().item()
    assert lipschitz_bound(nn.Sequential(square, square)) == pytest.approx(norm**2)
    assert lipschitz_bound(nn.Sequential()) == 1


class Doubled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def hooked() -> nn.Linear:
    layer = nn.Linear(4, 4)
    layer.register_forward_hook(lambda module, given, out: 2 * out)
    return layer


def patched() -> nn.Linear:
    layer = nn.Linear(4, 4)
    layer.forward = lambda x: 2 * x  # type: ignore[assignment,method-assign]
    return layer


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (lambda: nn.BatchNorm1d(4), r"layer '1' \(BatchNorm1d\): its type"),
        (lambda: nn.Sequential(nn.ReLU(), nn.Softplus(9)), r"layer '1.1' \(Softplus\)"),
        (lambda: nn.Dropout(), "Dropout"),
        (lambda: nn.ConvTranspose2d(1, 1, 3), "ConvTranspose2d"),
        (lambda: nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), "pads with reflect"),
        (lambda: Doubled(4, 4), r"layer '1' \(Doubled\): its type"),
        (hooked, "forward hook"),
        (patched, "forward of its own"),
        (lambda: old_weight_norm(nn.Linear(4, 4)), "hook"),
        (lambda: parametrizations.spectral_norm(nn.Linear(4, 4)), "a parametrization other than"),
        (lambda: parametrizations.weight_norm(nn.Linear(4, 4)), "a parametrization other than"),
        (mlp, r"\(LipschitzEncoder\): its type"),
    ],
)
def test_what_cannot_be_bounded_is_refused_by_name(layer: Callable[[], nn.Module], reason: str) -> None:
    with pytest.raises(LatentbenchError, match=f"no Lipschitz bound of .*{reason}"):
        lipschitz_bound(nn.Sequential(nn.Linear(4, 4), layer()))


def test_an_encoder_that_does_something_else_gets_no_certificate() -> None:
    class Squared(LipschitzEncoder):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).square()

    with pytest.raises(LatentbenchError, match="no Lipschitz bound of the encoder: its type"):
        certificate(Squared((1, 2, 2), [nn.Flatten(), nn.Linear(4, 2)], 1.0, "sphere", 2))
    encoder = mlp()
    encoder.layers.register_forward_pre_hook(lambda module, given: (given[0] * 2,))
    with pytest.raises(LatentbenchError, match="the network: it has a forward hook"):
        certificate(encoder)


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_weights_that_are_not_finite_get_no_certificate(name: str) -> None:
    encoder = mlp(mode="ball")
    parameters = dict(encoder.layers[3].named_parameters())
    with torch.no_grad():
        next(value for key, value in parameters.items() if name in key).flatten()[0] = nan
    with pytest.raises(LatentbenchError, match=r"layer '3' \(Linear\): its weights are not finite"):
        certificate(encoder)


# --- what the store does


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("make", ENCODERS)
def test_the_state_goes_through_a_file(make: Callable[..., LipschitzEncoder], mode: Mode) -> None:
    encoder, x = make(3.0, mode), torch.rand(5, *SHAPE)
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in encoder.state_dict().items()}
    assert {name.split(".", 2)[2] for name in state} == {"bias", "parametrizations.weight.original"}
    other = make(3.0, mode)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.normal_()
    assert not torch.equal(other(x), encoder(x))
    other.load_state_dict(load(save(state)))
    assert torch.equal(other(x), encoder(x))
    assert certificate(other).bound == certificate(encoder).bound


@pytest.mark.parametrize("make", ENCODERS)
def test_a_copy_is_equal_and_on_its_own(make: Callable[..., LipschitzEncoder]) -> None:
    encoder, x = make(), torch.rand(5, *SHAPE)
    before = encoder(x)
    copy = deepcopy(encoder)
    assert torch.equal(copy(x), before)
    assert certificate(copy).bound == certificate(encoder).bound
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.add_(torch.rand(parameter.shape))
    assert torch.equal(encoder(x), before)
    assert not torch.equal(copy(x), before)


def test_scaled_multiplies() -> None:
    assert torch.equal(Scaled(3.0)(torch.ones(2, 2)), torch.full((2, 2), 3.0))
