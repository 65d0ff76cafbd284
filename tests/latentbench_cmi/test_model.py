"""The models: their steps against a plain re-writing, weak labels, selection, presets, and every bad input."""

import runpy
from collections.abc import Mapping
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_sample_weight
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from latentbench import MISSING, Batch, DataInfo, LatentbenchError, Role, StoredSplit, Targets
from latentbench.capabilities import capabilities_of
from latentbench.running.training import TrainingLoop
from latentbench.testing import check_model
from latentbench_cmi.dependence import permutation_within
from latentbench_cmi.model import Independent, Shift, ShiftBalanced, ShiftBase, ShiftCMI, ShiftMI

LOOP = runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "cmi_loop.py"))
CPU = torch.device("cpu")
INFO = DataInfo(channels=1, height=4, width=8, train_size=64, attributes={"left": 2, "right": 2})
MODELS = [ShiftBase, ShiftBalanced, ShiftMI, ShiftCMI]


def build(cls: type[Shift], info: DataInfo = INFO, /, **options: Any) -> Any:
    torch.manual_seed(0)
    return cls(cls.Config.parse(options, f"model '{cls.name}'"), info)


def stored(attributes: Mapping[str, Any], role: Role = Role.TRAIN, images: int = 64) -> StoredSplit:
    pixels = torch.randint(256, (images, 1, 4, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    labels = {name: np.asarray(values, dtype=np.int64) for name, values in attributes.items()}
    return StoredSplit(role, pixels, Targets(attributes=labels))


LABELS = {"left": np.arange(64) % 2, "right": np.arange(64) // 2 % 2}


def train(model: Shift, split: StoredSplit | None = None, validation: StoredSplit | None = None) -> TrainingLoop:
    trainer = TrainingLoop(device=CPU, seed=0)
    torch.manual_seed(1)
    model.fit(split or stored(LABELS), validation, trainer)
    return trainer


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(3)
    labels = {name: torch.randint(-1, 2, (20,), generator=generator) for name in INFO.attributes}
    return Batch(torch.rand(20, 1, 4, 8, generator=generator), labels)


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize(
    ("attributes", "options"),
    [
        ({"left": 2, "right": 2}, {}),
        pytest.param({"shape": 3, "colour": 5, "place": 2}, {"subspace_dim": 2}, marks=pytest.mark.long),
        ({"only": 4}, {"encoder": "conv", "score": "free_energy"}),
        pytest.param({"left": 2, "right": 2}, {"precision": "bfloat16", "channel_copies": 3}, marks=pytest.mark.long),
    ],
)
def test_each_keeps_what_a_model_promises(
    cls: type[Shift], attributes: dict[str, int], options: dict[str, Any]
) -> None:
    check_model(cls, attributes=attributes, options=options)


def test_cmi_by_a_kernel_keeps_what_a_model_promises() -> None:
    check_model(ShiftCMI, attributes={"shape": 3, "colour": 5}, options={"estimator": "mmd", "groups": "mean"})


def test_names_capabilities_and_needs() -> None:
    assert [cls.name for cls in MODELS] == ["shift-base", "shift-balanced", "shift-mi", "shift-cmi"]
    for cls in MODELS:
        assert capabilities_of(cls) == ["score", "encode", "predict"]
        assert cls.needs == ("attributes",)


@pytest.mark.parametrize(
    ("cls", "option"), [(ShiftBase, "weight"), (ShiftBase, "estimator"), (ShiftBalanced, "weight"), (ShiftMI, "groups")]
)
def test_a_model_has_no_option_that_it_does_not_use(cls: type[Shift], option: str) -> None:
    with pytest.raises(LatentbenchError, match=f"model '{cls.name}' has no option '{option}'"):
        build(cls, **{option: "mean"})


def test_a_step_updates_encoder_heads_and_discriminators_in_this_order(batch: Batch) -> None:
    model = build(ShiftCMI)
    names = []
    codes = model.code(batch.images).detach()
    for name, losses in model.training_step(batch):
        names.append(name)
        if name == "encoder":
            assert losses["loss"] == losses["classification"] + losses["dependence"]
            with torch.no_grad():
                for parameter in model.encoder.parameters():
                    parameter.zero_()
        elif name == "heads":
            # They learn from the code as it was before the encoder's update.
            assert losses == model.classification(codes, model.labels(batch))
    assert names == [*model.optimizers()] == ["encoder", "heads", "discriminators"]
    assert [name for name, _ in build(ShiftBase).training_step(batch)] == ["encoder", "heads"]
    assert [name for name, _ in build(ShiftMI, estimator="mmd").training_step(batch)] == ["encoder", "heads"]


def test_training_is_that_of_the_losses_written_one_value_after_the_other() -> None:
    """Three steps of the harness's loop against three of a plain one: the same weights come out."""
    options: dict[str, Any] = {
        "epochs": 3,
        "batch_size": 64,
        "weight": 2.0,
        "subspace_dim": 2,
        "encoder_learning_rate": 1e-3,
    }
    model, plain = build(ShiftCMI, **options), build(ShiftCMI, **options)
    networks = LOOP["as_modules"](plain.discriminators)
    train(model)

    optimizers = {
        "encoder": torch.optim.Adam(plain.encoder.parameters(), 1e-3),
        "heads": torch.optim.Adam(plain.heads.parameters(), 1e-3),
        "discriminators": torch.optim.Adam([p for net in networks for p in net.parameters()], 1e-3),
    }
    split, order = stored(LABELS), TrainingLoop(device=CPU, seed=0).generator
    torch.manual_seed(1)
    for _ in range(3):
        batch = split.batch(torch.randperm(64, generator=order), order)
        s = torch.stack([batch.attributes["left"], batch.attributes["right"]])

        def losses(z: Tensor, real_is: int, s: Tensor = s) -> Tensor:
            partner = permutation_within(s)
            return LOOP["cmi_losses"](z, s, networks, 2, lambda k, items: partner[k, items], real_is=real_is)

        def classification(z: Tensor, s: Tensor = s) -> Tensor:
            return torch.stack([cross_entropy(head(z[:, k]), s[k]) for k, head in enumerate(plain.heads)]).mean()

        z = plain.encoder(batch.images).view(-1, 2, 2)
        code = z.detach()
        for name, loss in (
            ("encoder", lambda z=z: classification(z) + 2 * losses(z, 0)),
            ("heads", lambda z=code: classification(z)),
            ("discriminators", lambda z=code: losses(z, 1)),
        ):
            for optimizer in optimizers.values():
                optimizer.zero_grad()
            loss().backward()
            optimizers[name].step()
    for part in ("encoder", "heads"):
        for ours, theirs in zip(getattr(model, part).parameters(), getattr(plain, part).parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    first = torch.stack([net[0].weight.T for net in networks])
    torch.testing.assert_close(model.discriminators.weights[0], first, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cls", [ShiftMI, ShiftCMI])
@pytest.mark.parametrize("estimator", ["adversarial", "mmd"])
def test_with_weight_zero_each_is_base_bit_for_bit(cls: type[Independent], estimator: str) -> None:
    options: dict[str, Any] = {"epochs": 3, "batch_size": 16}
    base, other = build(ShiftBase, **options), build(cls, weight=0.0, estimator=estimator, **options)
    train(base)
    train(other)
    for name, weight in base.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name]), name


def test_the_mean_over_groups_levels_mi_and_cmi(batch: Batch) -> None:
    """With discriminators that know nothing: 2 log 2 for each of four groups, or for the one of MI."""
    z, s = torch.randn(20, 2, 5), torch.stack([batch.attributes["left"], batch.attributes["right"]])
    for model, expected in (
        (build(ShiftMI), 1), (build(ShiftCMI, groups="sum"), 4), (build(ShiftCMI, groups="mean"), 1)
    ):  # fmt: skip
        for parameter in model.discriminators.parameters():
            nn.init.zeros_(parameter)
        for loss in (model.dependence(z, s), model.discrimination(model.discriminators, z, s)):
            assert loss.item() == pytest.approx(expected * 2 * log(2))


@pytest.mark.parametrize("trunk", ["mlp", "conv"])
def test_channel_copies_train_as_an_encoder_does_that_sees_the_channel_so_often(trunk: str) -> None:
    options: dict[str, Any] = {"epochs": 3, "batch_size": 16, "encoder": trunk, "encoder_learning_rate": 1e-3}
    one = build(ShiftBase, channel_copies=3, **options)
    three = build(ShiftBase, DataInfo(3, 4, 8, 64, INFO.attributes), **options)
    first, *rest = three.encoder.parameters()
    ours, *others = one.encoder.parameters()
    with torch.no_grad():
        for theirs, mine in zip([*rest, *three.heads.parameters()], [*others, *one.heads.parameters()], strict=True):
            theirs.copy_(mine)
        parts = first.view(*ours.shape[:1], 3, -1)
        parts[:, 2] = ours.view(ours.shape[0], -1) - parts[:, 0] - parts[:, 1]
    split = stored(LABELS)
    wide = StoredSplit(Role.TRAIN, split.images.repeat(1, 3, 1, 1), split.targets)
    train(one, split)
    train(three, wide)
    summed = first.view(*ours.shape[:1], 3, -1).sum(1)
    torch.testing.assert_close(summed, ours.view(ours.shape[0], -1), rtol=1e-3, atol=1e-5)
    for theirs, mine in zip(rest, others, strict=True):
        torch.testing.assert_close(theirs, mine, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("trunk", ["mlp", "conv"])
def test_channel_copies_begin_as_an_encoder_does_that_sees_the_channel_so_often(trunk: str) -> None:
    def drawn(cls: type[Shift], channels: int, **options: Any) -> tuple[Tensor, Tensor]:
        """First weights, summed over the channels, and biases of a hundred encoders."""
        torch.manual_seed(0)
        config = cls.Config(encoder=trunk, **options)
        first = [
            [*cls(config, DataInfo(channels, 4, 8, 64, INFO.attributes)).encoder.parameters()][:2] for _ in range(100)
        ]
        weights = torch.stack([weight.detach().view(len(weight), channels, -1).sum(1) for weight, _ in first])
        return weights, torch.stack([bias.detach() for _, bias in first])

    weights, biases = drawn(ShiftBase, 1, channel_copies=3)
    expected_weights, expected_biases = drawn(ShiftBase, 3)
    torch.testing.assert_close(weights.std(), expected_weights.std(), rtol=0.02, atol=0)
    torch.testing.assert_close(biases.std(), expected_biases.std(), rtol=0.05, atol=0)
    torch.testing.assert_close(biases.abs().max(), expected_biases.abs().max(), rtol=0.01, atol=0)


def test_balanced_weighs_every_combination_the_same_among_items_with_the_same_labels_missing() -> None:
    unknown = np.full(10, MISSING)
    left = np.concatenate([np.repeat([0, 0, 1, 1], [40, 5, 15, 20]), np.repeat([0, 1], [8, 2]), unknown, unknown])
    right = np.concatenate([np.repeat([0, 1, 0, 1], [40, 5, 15, 20]), unknown, np.repeat([0, 1], [9, 1]), unknown])
    split = stored({"left": left, "right": right}, images=110)
    model = build(ShiftBalanced)
    model.start(split, TrainingLoop(device=CPU, seed=0))
    weights = model.weights(torch.tensor(np.stack([left, right]))).numpy()
    for begin, cells in ((0, [40, 5, 15, 20]), (80, [8, 2]), (90, [9, 1]), (100, [10])):
        for count in cells:
            np.testing.assert_allclose(weights[begin : begin + count], sum(cells) / len(cells) / count, rtol=1e-6)
            begin += count


def test_balanced_with_all_labels_is_scikit_learns_balanced_weighting_of_the_joint_label(batch: Batch) -> None:
    generator = np.random.default_rng(0)
    s = generator.choice(3, 64, p=[0.7, 0.2, 0.1]), generator.choice(4, 64, p=[0.1, 0.5, 0.2, 0.2])
    model = build(ShiftBalanced, DataInfo(1, 4, 8, 64, {"left": 3, "right": 4}))
    model.start(stored({"left": s[0], "right": s[1]}), TrainingLoop(device=CPU, seed=0))
    expected = compute_sample_weight("balanced", 4 * s[0] + s[1])
    weights = model.weights(torch.tensor(np.stack(s)))
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-6)
    z = torch.randn(64, 2, 5)
    losses = [
        log_loss(s[k], head(z[:, k]).detach().double().softmax(1).numpy(), labels=range(n), sample_weight=expected)
        for k, (head, n) in enumerate(zip(model.heads, (3, 4), strict=True))
    ]
    assert model.classification(z, torch.tensor(np.stack(s))).item() == pytest.approx(np.mean(losses), rel=1e-4)


def test_balanced_is_base_where_the_combinations_are_balanced_already() -> None:
    options: dict[str, Any] = {"epochs": 2, "batch_size": 16}
    base, balanced = build(ShiftBase, **options), build(ShiftBalanced, **options)
    train(base)
    train(balanced)
    for name, weight in base.state_dict().items():
        assert torch.equal(weight, balanced.state_dict()[name]), name


def test_balanced_says_where_there_are_too_many_combinations() -> None:
    info = DataInfo(1, 4, 8, 64, {str(attribute): 2 for attribute in range(40)})
    assert ShiftBalanced.suits(info) == "40 attributes have too many combinations to count"
    assert ShiftBalanced.suits(INFO) is None


@pytest.mark.parametrize("cls", MODELS)
def test_an_attribute_without_labels_in_a_batch_adds_nothing(cls: type[Shift], batch: Batch) -> None:
    unknown = torch.full((20,), MISSING)
    model = build(cls)
    half = Batch(batch.images, {"left": batch.attributes["left"], "right": unknown})
    none = Batch(batch.images, {"left": unknown})
    left = batch.attributes["left"]
    known = left != MISSING
    logits = model.predict(batch.images)["left"][known]
    torch.testing.assert_close(model.validation_step(half), cross_entropy(logits, left[known]) / 2)
    for each in (half, none):
        for name, losses in model.training_step(each):
            loss = losses["loss"] if isinstance(losses, Mapping) else losses
            parameters = [*getattr(model, name).parameters()]
            gradients = torch.autograd.grad(loss, parameters)
            assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    assert model.validation_step(none) == 0


def test_labels_of_one_attribute_that_are_missing_do_not_stop_the_others(batch: Batch) -> None:
    """CMI for an attribute uses the items that have its label; MI uses all."""
    s = torch.stack([batch.attributes["left"], torch.full((20,), MISSING)])
    z = torch.randn(20, 2, 5)
    contrast = build(ShiftCMI).contrast(z, s)
    assert contrast.count == 2
    assert contrast.shares[1].sum() == 0
    assert build(ShiftMI).contrast(z, s).shares.sum(2).count_nonzero() == 20


def test_selection_watches_the_classification_loss_on_validation(batch: Batch) -> None:
    model = build(ShiftCMI, epochs=4, batch_size=16, patience=4, weight=5.0)
    validation = stored({"left": LABELS["left"][:32], "right": LABELS["right"][:32]}, Role.VALIDATION, images=32)
    trainer = train(model, validation=validation)
    assert trainer.training is not None
    losses = [epoch["validation"] for epoch in trainer.training.losses]
    best = trainer.training.best_epoch
    assert best is not None
    assert losses[best - 1] == min(losses)
    everything = validation.batch(torch.arange(32), torch.Generator())
    assert model.validation_step(everything).item() == pytest.approx(min(losses), rel=1e-5)
    with pytest.raises(LatentbenchError, match="its fit selects on a test split"):
        train(build(ShiftCMI), validation=stored(LABELS, Role.TEST))


def test_codes_have_a_named_subspace_for_each_attribute_and_heads_read_nothing_else(batch: Batch) -> None:
    info = DataInfo(1, 4, 8, 64, {"a": 3, "b": 2, "c": 7})
    model = build(ShiftCMI, info, subspace_dim=4)
    codes, logits = model.encode(batch.images), model.predict(batch.images)
    assert {name: code.shape for name, code in codes.items()} == {"a": (20, 4), "b": (20, 4), "c": (20, 4)}
    assert {name: values.shape for name, values in logits.items()} == {"a": (20, 3), "b": (20, 2), "c": (20, 7)}
    torch.testing.assert_close(torch.cat(list(codes.values()), dim=1), model.encoder(batch.images))
    for name, head in zip(codes, model.heads, strict=True):
        torch.testing.assert_close(logits[name], codes[name] @ head.weight.T + head.bias)


def test_the_presets_are_the_published_settings() -> None:
    rates = ("encoder_learning_rate", "head_learning_rate", "discriminator_learning_rate")
    for cls, published in ((ShiftBase, (1e-4, 1e-3)), (ShiftMI, (1e-5, 1e-4, 1e-4)), (ShiftCMI, (1e-5, 1e-4, 1e-4))):
        mnist = cls.configure("mnist-shift", {}).model_dump()
        assert tuple(mnist[rate] for rate in rates if rate in mnist) == published
        assert (mnist["batch_size"], mnist["epochs"], mnist["channel_copies"]) == (100, 400, 3)
        assert mnist.get("weight", 1.0) == 1.0
        for dataset in ("celeba", "celeba-novelty"):
            celeba = cls.configure(dataset, {}).model_dump()
            assert tuple(celeba[rate] for rate in rates if rate in celeba) == (1e-5, 1e-4, 1e-4)[: len(published)]
            assert (celeba["batch_size"], celeba["epochs"], celeba.get("weight", 10.0)) == (100, 200, 10.0)
            assert celeba["patience"] is None
        assert ("weight" in mnist) == (cls is not ShiftBase)
