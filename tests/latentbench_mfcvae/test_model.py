"""The model: its objective against the five terms, its schedule, what it promises and what it refuses."""

from collections.abc import Mapping
from math import log
from typing import Any

import pytest
import torch
from tests.latentbench_mfcvae import five_terms
from torch import Tensor

from latentbench import Batch, DataInfo, LatentbenchError, Role, StoredSplit
from latentbench.model import TrainingProgress
from latentbench.running.training import TrainingLoop
from latentbench.testing import check_model
from latentbench_mfcvae import latentbench_models
from latentbench_mfcvae.model import MFCVAE

INFO = DataInfo(channels=1, height=8, width=10, train_size=60)
SMALL: dict[str, Any] = {"clusters": (3, 4), "dims": (2, 3), "network": "mlp", "widths": (16, 24)}
CONV: dict[str, Any] = {
    "clusters": (3, 4),
    "dims": (3, 2),
    "network": "conv",
    "widths": (4, 6),
    "covariance": "full",
    "learn_weights": False,
    "rescale_by_data": True,
}


def make(info: DataInfo = INFO, **options: Any) -> MFCVAE:
    torch.manual_seed(0)
    return MFCVAE(MFCVAE.Config.parse({**SMALL, **options}, "model 'mfcvae'"), info)


def split(images: Tensor) -> StoredSplit:
    return StoredSplit(Role.TRAIN, (images * 255).to(torch.uint8))


def fitted(model: MFCVAE, images: Tensor, **trainer_options: Any) -> MFCVAE:
    model.fit(split(images), None, TrainingLoop(device=torch.device("cpu"), seed=0, **trainer_options))
    return model.eval()


@pytest.fixture
def images() -> Tensor:
    """Bars at ten places, and noise."""
    generator = torch.Generator().manual_seed(0)
    bars = torch.eye(10)[torch.arange(60) % 10][:, None, None].expand(60, 1, 8, 10)
    return (0.8 * bars + 0.2 * torch.rand(60, 1, 8, 10, generator=generator)).clamp(0, 1)


def test_the_plugin_offers_it() -> None:
    assert [model.name for model in latentbench_models()] == ["mfcvae"]


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1, 8, 10), {**SMALL, "reconstruction": "bernoulli"}),
        pytest.param((3, 16, 16), {**CONV, "sigmoid": True, "precision": "bfloat16"}, marks=pytest.mark.long),
        ((1, 16, 32), {**CONV, "clusters": (5,), "dims": (2,), "covariance": "diagonal"}),
        ((3, 9, 13), {"clusters": (3, 4, 5), "dims": (3, 2, 2), "widths": (8, 8, 8), "samples": 3}),
    ],
)
def test_it_keeps_what_a_model_promises(shape: tuple[int, int, int], options: dict[str, Any]) -> None:
    """A step that waits for the device is among what this would find."""
    channels, height, width = shape
    check_model(MFCVAE, channels=channels, height=height, width=width, options=options)


@pytest.mark.parametrize("step", [10, 700, 990])
@pytest.mark.parametrize(
    "options",
    [
        {"reconstruction": "bernoulli"},
        {"covariance": "full", "learn_weights": False},
    ],
)
def test_the_loss_and_its_gradients_are_those_of_the_five_terms(
    images: Tensor, step: int, options: dict[str, Any]
) -> None:
    """With one draw: before the second facet, while it fades in, and afterwards."""
    model = make(**options, fade_in=0.8).train()
    with torch.no_grad():
        for mixture in model.mixtures.values():
            mixture.rho.add_(0.3)  # so that components overlap
    model.progress = TrainingProgress(step=step, total_steps=1000)
    gammas = {10: (0.0, 1.0), 700: (0.5, 1.0), 990: (1.0, 1.0)}[step]
    batch = Batch(images)

    torch.manual_seed(1)
    if step == 10:  # the lower facet draws nothing
        torch.randn(60, 2)
    found = model.training_step(batch)
    torch.manual_seed(1)
    expected = five_terms.loss(model, batch, gammas)

    parameters = list(model.parameters())
    torch.testing.assert_close(found["loss"], expected, rtol=1e-5, atol=0)
    ours: tuple[Tensor | None, ...] = torch.autograd.grad(found["loss"], parameters, allow_unused=True)
    theirs = torch.autograd.grad(expected, parameters)
    for one, other in zip(ours, theirs, strict=True):
        assert one is not None or not other.any()
        if one is not None:
            assert (one - other).norm() <= 1e-4 * other.norm()
    if step == 10:
        unused = [p for p, gradient in zip(parameters, ours, strict=True) if gradient is None]
        assert all(any(p is u for u in unused) for p in model.mixtures["z1"].parameters())


def test_the_loss_is_the_sum_of_the_terms_that_it_reports(images: Tensor) -> None:
    model = make(samples=4).train()
    model.progress = TrainingProgress(step=700, total_steps=1000)
    with torch.no_grad():
        for mixture in model.mixtures.values():
            mixture.rho.add_(0.3)
    terms = model.training_step(Batch(images))
    total = terms["reconstruction"] + terms["log_q_z"] - terms["log_p_z_given_c"] + terms["log_q_c"] - terms["log_p_c"]
    torch.testing.assert_close(terms["loss"], total, rtol=1e-5, atol=1e-5)
    assert terms["log_q_c"] <= 0
    assert terms["log_q_c"] >= terms["log_p_c"]  # a KL divergence


def test_in_eval_mode_the_loss_is_taken_at_the_posteriors_mean_and_draws_nothing(images: Tensor) -> None:
    model = make().eval()
    torch.manual_seed(0)
    first = model.training_step(Batch(images))["loss"]
    torch.manual_seed(1)
    assert torch.equal(model.training_step(Batch(images))["loss"], first)


@pytest.mark.parametrize(
    ("options", "step", "expected"),
    [
        ({"stages": (200, 201), "fade_in": 15_000 / (201 * 118)}, 23_599, (1, 1.0)),
        ({"stages": (200, 201), "fade_in": 15_000 / (201 * 118)}, 23_600, (0, 0.0)),
        ({"stages": (200, 201), "fade_in": 15_000 / (201 * 118)}, 23_600 + 59, (0, 59 / 15_000)),
        ({"stages": (200, 201), "fade_in": 15_000 / (201 * 118)}, 23_600 + 15_000, (0, 1.0)),
        ({"stages": (200, 201), "fade_in": 15_000 / (201 * 118)}, 47_317, (0, 1.0)),
        ({"fade_in": 0.0}, 23_659, (0, 1.0)),
        ({"progressive": False}, 0, (0, 1.0)),
        ({"clusters": (3,), "dims": (2,)}, 40_000, (0, 1.0)),
        ({"clusters": (3, 3, 3), "dims": (2, 2, 2), "widths": (4, 4, 4), "fade_in": 0.5}, 0, (2, 1.0)),
        ({"clusters": (3, 3, 3), "dims": (2, 2, 2), "widths": (4, 4, 4), "fade_in": 0.5}, 19_716, (1, 0.5)),
        ({"clusters": (3, 3, 3), "dims": (2, 2, 2), "widths": (4, 4, 4), "fade_in": 0.5}, 35_000, (0, 0.438)),
    ],
)
def test_facets_are_introduced_from_the_top_and_fade_in_as_published(
    options: dict[str, Any], step: int, expected: tuple[int, float]
) -> None:
    """Published on MNIST, in 401 epochs of 118 batches: the second facet begins with epoch 201 and is whole at 15,000
    batches, and has a weight of 0.0039 after 59.
    """
    model = make(**options)
    model.progress = TrainingProgress(step=step, total_steps=401 * 118)
    first, weight = model.introduced()
    assert first == expected[0]
    assert weight == pytest.approx(expected[1], abs=1e-3)


def test_a_budget_shortens_all_stages_alike() -> None:
    model = make(fade_in=0.5)
    for step, expected in {0: (1, 1.0), 4: (1, 1.0), 5: (0, 0.0), 6: (0, 0.4), 8: (0, 1.0)}.items():
        model.progress = TrainingProgress(step=step, total_steps=10, steps_per_epoch=1000)
        assert model.introduced() == pytest.approx(expected)


def test_clusters_begin_where_codes_are_and_codes_are_those_of_the_untrained_encoder(images: Tensor) -> None:
    model = make()
    codes = {name: code.detach() for name, code in model.eval().encode((images * 255).to(torch.uint8) / 255).items()}
    with torch.no_grad():
        model.start(split(images), TrainingLoop(device=torch.device("cpu"), seed=0))
    for name, mixture in model.mixtures.items():
        low, high = codes[name].min(0).values, codes[name].max(0).values
        assert ((low <= mixture.mu) & (mixture.mu <= high)).all()
        nearest = torch.cdist(codes[name], mixture.mu.detach()).argmin(1)
        assert len(nearest.unique()) == len(mixture.mu)


def test_the_upper_facet_finds_the_places_of_bars_and_the_model_reports_its_clusters(images: Tensor) -> None:
    model = fitted(make(clusters=(2, 15), sigma=0.1, epochs=200, batch_size=20, learning_rate=3e-3), images)
    places = torch.arange(60) % 10
    shares = {
        facet: sum(int(places[found == c].bincount().max()) for c in found.unique()) / 60
        for facet, found in model.cluster(images).items()
    }
    assert shares["z2"] > 0.7
    assert shares["z1"] <= 0.2  # two clusters cannot do better
    facts = model.facts()
    assert facts["empty_clusters_z2"] == (model.mixtures["z2"].occupancy == 0).sum()
    assert facts["smallest_weight_z1"] <= 0.5
    assert 0 <= facts["assignment_entropy_z2"] <= log(15)
    assert model.mixtures["z2"].occupancy.sum() == pytest.approx(1)


def test_a_cluster_that_has_lost_its_weight_stops_nothing_and_is_reported(images: Tensor) -> None:
    class Collapsed(MFCVAE):
        def start(self, train: Any, trainer: Any) -> None:
            super().start(train, trainer)
            self.mixtures["z2"].logits[0] = -200.0  # its weight is 0 in float32

    torch.manual_seed(0)
    model = fitted(Collapsed(MFCVAE.Config(**SMALL, epochs=4, batch_size=20), INFO), images)
    assert all(value.isfinite().all() for value in model.state_dict().values())
    facts = model.facts()
    assert facts["smallest_weight_z2"] == 0
    assert facts["empty_clusters_z2"] >= 1
    assert model.sample(50).isfinite().all()


def test_samples_hold_what_is_given_and_draw_the_rest(images: Tensor) -> None:
    model = make().eval()
    codes = model.encode(images[:4])
    torch.testing.assert_close(model.sample(4, codes), model.reconstruct(images[:4]))

    seen: dict[str, Tensor] = {}

    def decode(z: Mapping[str, Tensor]) -> Tensor:
        seen.update(z)
        return MFCVAE.decode(model, z)

    model.decode = decode  # type: ignore[method-assign, assignment]
    model.sample(500, {"z1": torch.full((500,), 2)})
    z1, z2 = seen["z1"], seen["z2"]
    mixture = model.mixtures["z1"]
    assert ((z1 - mixture.mu[2]).abs() < 0.6).all()  # six standard deviations of 0.1
    nearest = torch.cdist(z2, model.mixtures["z2"].mu.detach()).argmin(1)
    assert len(nearest.unique()) == 4


def test_the_pictures_exchange_facets_between_images_and_show_samples_of_each_cluster(images: Tensor) -> None:
    model = fitted(make(epochs=1), images)
    torch.manual_seed(0)
    pictures = {**model.pictures(images[:16]), **model.generated_pictures()}
    assert {name: tuple(tiles.shape[:2]) for name, tiles in pictures.items()} == {
        "exchange-z1": (8, 8),
        "exchange-z2": (8, 8),
        "samples-z1": (3, 3),
        "samples-z2": (4, 4),
    }
    table = pictures["exchange-z2"]
    codes = model.encode(images[:7])
    assert torch.equal(table[0, 1:], images[:7])
    assert torch.equal(table[1:, 0], images[:7])
    expected = model.decode({"z1": codes["z1"][2:3], "z2": codes["z2"][5:6]})[0]
    torch.testing.assert_close(table[3, 6], expected)  # all but z2 of the third image, z2 of the sixth


def test_the_log_likelihood_is_below_that_of_numerical_integration_and_near_it(images: Tensor) -> None:
    """A model of two facets with one dimension each: p(x) by quadrature over the plane."""
    model = make(dims=(1, 1), importance_samples=4000, sigma=0.5).eval()
    with torch.no_grad():
        for mixture in model.mixtures.values():
            mixture.rho.fill_(0.5)
            mixture.mu.mul_(0.3)
        grid = torch.linspace(-6, 6, 241)
        z_1, z_2 = torch.meshgrid(grid, grid, indexing="ij")
        x = images[:3]
        outputs = model.outputs([z_1.reshape(-1, 1), z_2.reshape(-1, 1)])
        log_p_x = torch.stack([-model.likelihood.negative_log(outputs, one.expand_as(outputs)) for one in x])
        log_p_z = sum(
            mixture.log_marginal(z.reshape(-1, 1))
            for mixture, z in zip(model.mixtures.values(), (z_1, z_2), strict=True)
        )
        expected = (log_p_x + log_p_z).logsumexp(1) + 2 * torch.log(grid[1] - grid[0])
        torch.testing.assert_close(model.log_likelihood(x), expected, rtol=0, atol=0.1)
        assert torch.equal(model.score(x)["negative_log_likelihood"], -model.log_likelihood(x))


def test_images_of_large_norm_have_finite_scores(images: Tensor) -> None:
    model = make(reconstruction="gaussian").eval()
    with torch.no_grad():
        for scale in (1e3, 1e6):
            assert all(score.isfinite().all() for score in model.score(scale * images[:3]).values())


def test_images_outside_0_and_1_have_no_bernoulli_likelihood(images: Tensor) -> None:
    model = make(reconstruction="bernoulli").eval()
    for wrong in (2 * images, images - 0.5, images * torch.nan):
        with pytest.raises(LatentbenchError, match=r"pixels outside \[0, 1\] have no likelihood under .* bernoulli"):
            model.log_likelihood(wrong)
        assert model.encode(wrong).keys() == {"z1", "z2"}


def test_more_clusters_than_images_are_refused() -> None:
    with pytest.raises(LatentbenchError, match="61 clusters, but 60 training images: set fewer"):
        make(clusters=(61, 3))
    make(clusters=(60, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dims": (2, 0)}, "'dims.1': Input should be greater than 0, got 0"),
        ({"clusters": (0, 2)}, "'clusters.0': Input should be greater than 0, got 0"),
        ({"clusters": (), "dims": ()}, "at least 1 item"),
        ({"clusters": (3,)}, "2 facets in dims, but 1 in clusters"),
        ({"stages": (1, 2, 3)}, "2 facets, but 3 stages"),
        ({"widths": (5,)}, "2 facets need as many levels, each with a width, and there are 1"),
        ({"patience": 3, "select_after": 15, "epochs": 20}, "patience needs select_after of at least 16"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(LatentbenchError) as error:
        make(**options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_it_selects_with_patience_and_does_not_validate_otherwise(images: Tensor) -> None:
    trainer = TrainingLoop(device=torch.device("cpu"), seed=0)
    validation = StoredSplit(Role.VALIDATION, (images[:20] * 255).to(torch.uint8))
    make(epochs=2).fit(split(images), validation, trainer)
    assert trainer.training is not None
    assert all("validation" not in losses for losses in trainer.training.losses)
    trainer = TrainingLoop(device=torch.device("cpu"), seed=0)
    make(epochs=10, patience=2, select_after=8).fit(split(images), validation, trainer)
    assert trainer.training is not None
    assert trainer.training.best_epoch in (9, 10)


def test_sides_of_more_than_64_pixels_do_not_suit() -> None:
    assert MFCVAE.suits(INFO) is None
    reason = MFCVAE.suits(DataInfo(channels=3, height=64, width=65, train_size=9))
    assert reason == "its networks are for sides of at most 64 pixels"
