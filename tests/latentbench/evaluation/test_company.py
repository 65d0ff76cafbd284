"""Results that depend on the other images in a batch are found and refused, or allowed by the board and marked."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from latentbench.commands.cli import main
from latentbench.data.splits import DataInfo
from latentbench.evaluation.company import TOLERANCE, change_in_batches, change_in_company, largest_change
from latentbench.evaluation.inference import Parts, infer
from latentbench.model import Model
from latentbench.records.record import Record
from latentbench.records.store import Store

IMAGES = torch.rand(100, 1, 8, 8, generator=torch.Generator().manual_seed(0))

#: What an image's results are, by capability.
Method = Callable[[Tensor], Any]


def sums(images: Tensor) -> Tensor:
    return images.flatten(1).sum(1)


def ranks(images: Tensor) -> Tensor:
    return sums(images).argsort().argsort().float()


def normalized(images: Tensor) -> Tensor:
    return nn.functional.batch_norm(images, None, None, training=True)


def rounded(images: Tensor) -> Tensor:
    """Sums in an order that depends on the size of the batch, as kernels add."""
    total = torch.zeros(len(images))
    for pixels in images.flatten(1).roll(len(images), 1).T:
        total = total + pixels
    return total


def order(images: Tensor) -> Tensor:
    """Depends on the place in the batch alone."""
    return sums(images) + torch.arange(len(images))


def size(images: Tensor) -> Tensor:
    return sums(images) / len(images)


def noisy(images: Tensor) -> Tensor:
    return sums(images) + torch.randn(len(images))


def noisy_ranks(images: Tensor) -> Tensor:
    return ranks(images) + torch.randn(len(images)) / 100


def runner(capability: str, method: Method) -> Callable[[Sequence[Any], int], Parts]:
    """``method`` as a model's capability, run on ``IMAGES`` by index."""

    class Bare(Model):
        def build(self, info: DataInfo) -> None:
            setattr(self, capability, method)

    model = Bare(Bare.Config(), DataInfo(1, 8, 8, 100, {"side": 2}))

    def run(batches: Sequence[Any], seed: int) -> Parts:
        given = (IMAGES[torch.as_tensor(np.array(index))] for index in batches)
        return infer(model, capability, given, model.info, seed=seed, device=torch.device("cpu"), where="it")

    return run


def change(capability: str, method: Method) -> float:
    """As ``collect`` has it: against results in batches of 40."""
    run = runner(capability, method)
    results = run(np.array_split(np.arange(100), [40, 80]), 5)
    return change_in_batches(run, results, labels=capability == "cluster")


@pytest.mark.parametrize(
    ("capability", "method"),
    [
        ("score", ranks),
        ("score", order),
        ("score", size),
        ("score", noisy_ranks),
        ("score", lambda images: {"own": sums(images), "ranked": ranks(images)}),
        ("score", lambda images: sums(images).double() - sums(images).double().mean()),
        ("log_likelihood", lambda images: -sums(images) - sums(images).max()),
        ("localize", lambda images: normalized(images)[:, 0]),
        ("encode", lambda images: {"z": images.flatten(1), "w": normalized(images).flatten(1)}),
        ("reconstruct", lambda images: (images - images.amin(0)).clamp(0, 1)),
        ("predict", lambda images: {"side": torch.softmax(normalized(images).flatten(1)[:, :2], 1)}),
        ("cluster", lambda images: {"half": (ranks(images) >= len(images) / 2).long()}),
    ],
)  # fmt: skip
def test_results_that_depend_on_the_batch_are_found(capability: str, method: Method) -> None:
    assert change(capability, method) > 100 * TOLERANCE


@pytest.mark.parametrize(
    ("capability", "method"),
    [
        ("score", sums),
        ("score", rounded),
        ("score", noisy),
        ("score", lambda images: 0 * sums(images)),
        ("score", lambda images: {"own": rounded(images), "other": noisy(images)}),
        ("log_likelihood", lambda images: rounded(1e4 * images)),
        ("localize", lambda images: images[:, 0]),
        ("encode", lambda images: 1e-7 * rounded(images)[:, None]),
        ("reconstruct", lambda images: (images + torch.randn_like(images)).sigmoid()),
        ("predict", lambda images: {"side": images.flatten(1)[:, :2]}),
        ("cluster", lambda images: {"half": (sums(images) > 32).long()}),
        ("cluster", lambda images: {"tie": rounded(images).mul(1e6).long() % 2}),
    ],
)  # fmt: skip
def test_results_that_do_not_depend_on_the_batch_are_not_suspected(capability: str, method: Method) -> None:
    assert change(capability, method) <= TOLERANCE


def test_rounding_is_seen_and_is_within_the_tolerance() -> None:
    found = change("score", lambda images: rounded(100 * images))
    assert 0 < found < TOLERANCE


def test_rounding_that_a_model_amplifies_is_told_from_a_small_dependence_on_other_images() -> None:
    def amplified(images: Tensor) -> Tensor:
        return images[:, 0, 0, 0] + 1e3 * (rounded(images) - sums(images))

    run = runner("score", amplified)
    again = np.arange(8)
    assert largest_change(run([again[:5], again[5:]], 0), run([again], 0)) > TOLERANCE
    assert change("score", amplified) == 0
    assert change("score", lambda images: sums(images) * (1 + images.mean() / 10)) > TOLERANCE


def test_a_change_is_told_relative_to_the_spread_of_the_results() -> None:
    run = runner("score", lambda images: 1e3 + sums(images) - sums(images).mean())
    with_others, alone = sums(IMAGES[:8]).double(), sums(IMAGES[[0, 1, 2, 3, 0, 0, 0, 0]]).double()
    expected, found = (with_others - with_others.mean())[:4], (alone - alone.mean())[:4]
    spread = torch.cat([found, expected]).max() - torch.cat([found, expected]).min()
    relative = (found - expected).abs().max() / spread
    assert change_in_company(run, np.arange(8)) == pytest.approx(float(relative), rel=1e-3)

    assert largest_change({"": np.array([1.0, 4.0])}, {"": np.array([1.0, 3.0])}) == pytest.approx(1 / 3)
    everything = {"": np.array([1.0, 3.0, 6.0])}
    assert largest_change({"": np.array([1.0, 4.0])}, {"": np.array([1.0, 3.0])}, everything) == pytest.approx(1 / 5)
    assert largest_change({"": np.array([0, 1, 1, 1])}, {"": np.array([0, 1, 1, 2])}) == 0.25


@pytest.mark.parametrize(
    "scaled",
    [
        lambda found: 1e-9 * found,
        lambda found: 1e-30 * found,
        lambda found: 1e6 + 1e-3 * found.double(),
        lambda found: 1e12 + found.double(),
        lambda found: 1e4 + 1e-2 * found,
        lambda found: -1e6 + found,
    ],
)
def test_another_unit_or_offset_hides_no_dependence_and_makes_none(scaled: Callable[[Tensor], Tensor]) -> None:
    """The area under the ROC curve, from pairs of the scores, is the same in any unit and with any offset."""
    found = scaled(ranks(IMAGES)).double()
    anomalous = ranks(IMAGES) >= 75
    assert bool((found[anomalous, None] > found[None, ~anomalous]).all()), "an area of 1"
    assert change("score", lambda images: scaled(ranks(images))) > 100 * TOLERANCE
    assert change("score", lambda images: scaled(sums(images))) <= TOLERANCE
    assert change("score", lambda images: scaled(rounded(images))) <= TOLERANCE


@pytest.mark.parametrize("image", [0, 1, 50, 99])  # the first and the last are given again
@pytest.mark.parametrize("extreme", [1e3, 1e5, 1e9, -1e5])
def test_an_extreme_result_hides_no_dependence_and_makes_none(image: int, extreme: float) -> None:
    """As of a saturated image."""

    def with_extreme(method: Method) -> Method:
        def extended(images: Tensor) -> Tensor:
            found = method(images)
            is_it = images[:, 0, 0, 0] == IMAGES[image, 0, 0, 0]
            return torch.where(is_it.reshape(-1, *[1] * (found.ndim - 1)), extreme, found)

        return extended

    assert change("score", with_extreme(ranks)) > 100 * TOLERANCE
    assert change("score", with_extreme(lambda images: 1e-3 * ranks(images))) > 100 * TOLERANCE
    assert change("localize", with_extreme(lambda images: normalized(images)[:, 0])) > 100 * TOLERANCE
    for method in (sums, rounded, noisy):
        assert change("score", with_extreme(method)) <= TOLERANCE


def test_the_spread_is_that_of_most_results_and_of_all_where_most_are_equal() -> None:
    results = np.concatenate([np.linspace(0, 1, 99), [1e5]])
    found, expected = {"": results[:8] + 0.1}, {"": results[:8]}
    most = np.sort(results)[94 + 1] - np.sort(results)[4]
    assert largest_change(found, expected, {"": results}) == pytest.approx(0.1 / most)
    constant = np.zeros(100)
    constant[3] = 4.0
    assert largest_change({"": constant[:8] + 1}, {"": constant[:8]}, {"": constant}) == pytest.approx(1 / 5)
    maps = np.repeat(results, 2**15).reshape(100, 2**7, 2**8)  # some of which are enough
    assert largest_change({"": maps[:8] + 0.1}, {"": maps[:8]}, {"": maps}) == pytest.approx(0.1 / most, rel=0.1)


def test_numbers_that_are_rounding_alone_are_not_suspected() -> None:
    assert change("score", lambda images: (rounded(images) - sums(images)) / 64) == 0, "zeros but for rounding"
    assert change("score", lambda images: (1e6 + rounded(images)).double()) <= TOLERANCE, "float32 in float64"


@pytest.mark.parametrize("images", [1, 2, 3, 9])
def test_few_images_suffice(images: int) -> None:
    run = runner("score", sums)
    assert change_in_batches(run, run([np.arange(images)], 0), labels=False) <= TOLERANCE
    if images > 1:
        within = runner("score", size)
        assert change_in_batches(within, within([[i] for i in range(images)], 0), labels=False) > TOLERANCE


MODELS = """
import torch
from latentbench import hookimpl
from toys import CentreDistance


class Ranks(CentreDistance):
    # Ranks within its batch.
    def score(self, images):
        distance = super().score(images)
        return distance.argsort().argsort() / len(images)

    def training_step(self, batch):
        return super().score(batch.images).mean()


class NormalizesBatches(CentreDistance):
    # Its batch normalization stays in training mode.
    def build(self, info):
        super().build(info)
        self.normalization = torch.nn.BatchNorm1d(self.config.latent_dim)

    def encode(self, images):
        self.normalization.train()
        return self.normalization(super().encode(images))


class Noisy(CentreDistance):
    # Draws random numbers, which no other image changes.
    def score(self, images):
        return super().score(images) + torch.rand(len(images))


@hookimpl
def latentbench_models():
    return [Ranks, NormalizesBatches, Noisy]
"""

BOARD = """\
name: {name}
title: Toys
datasets: [toy-blobs]
models: [{models}]
rank: auroc@test
twins: false
transductive: {transductive}
"""

#: Runs the command line in process: (exit code, stdout, stderr).
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(toys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(toys.parent))
    (tmp_path / "models.py").write_text(MODELS)

    def call(*args: str) -> tuple[int, str, str]:
        code = main(["--plugin", str(toys), "--plugin", "models.py", *args])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def board(name: str, models: str, transductive: str = "refused") -> str:
    Path(f"{name}.yaml").write_text(BOARD.format(name=name, models=models, transductive=transductive))
    return f"{name}.yaml"


def run_records() -> dict[str, Record]:
    return {record.spec.model: record for _, record in Store(Path("results")).records()}


def test_transductive_runs_are_refused_in_a_line_and_lose_nothing(cli: Cli) -> None:
    models = "ranks, normalizes-batches, noisy, centre-distance"
    code, out, err = cli("run", board("strict", models), "--jobs", "1")
    assert code == 2
    assert "2 of 4 runs are finished" in out
    assert "2 of 4 runs failed" in err
    records = run_records()
    for model, capabilities in {"ranks": {"score"}, "normalizes-batches": {"score", "encode"}}.items():
        record = records[model]
        assert (record.status, record.values) == ("failed", {})
        assert record.weights is not None
        assert record.predictions is not None
        assert record.transductive.keys() == capabilities
        assert record.failure is not None
        assert "\n" not in record.failure.message
        assert record.failure.message.startswith(
            f"model '{model}' is transductive: an image's results change with the other images in its batch ("
        )
        for capability, found in record.transductive.items():
            assert 0.01 < found <= 2
            assert f"{capability} by {found:.2g}" in record.failure.message
        assert "'transductive: allowed'" in record.failure.message
    for model in ("noisy", "centre-distance"):
        assert records[model].status == "finished"
        assert records[model].batches.keys() == {"encode", "score"}
        assert not records[model].transductive
        assert all(found.split == "test" for found in records[model].batches.values())


def test_a_board_may_allow_them_and_then_every_rendering_marks_the_row(cli: Cli) -> None:
    board("strict", "ranks, centre-distance")
    board("lenient", "ranks, centre-distance", "allowed")
    cli("run", "strict.yaml", "--jobs", "1")
    assert cli("run", "lenient.yaml", "--jobs", "1")[0] == 2, "the failed run is left alone"
    code, out, _ = cli("run", "lenient.yaml", "--jobs", "1", "--retry-failed")
    assert code == 0
    assert "2 of 2 runs are finished" in out
    record = run_records()["ranks"]
    assert "auroc@test" in record.values
    assert record.transductive.keys() == {"score"}
    assert (
        f"transductive: an image's score changes with the others in its batch, by {record.transductive['score']:.2g}"
        in cli("show", record.key)[1]
    )

    cli("leaderboard", "lenient.yaml")
    (table,) = Path().rglob("lenient.md")
    text = " ".join(table.read_text().split())
    assert "| `ranks` § " in text
    assert "`centre-distance` §" not in text
    assert (
        "- § `ranks` is transductive: an image's results change with the other images in its batch (`score by " in text
    )
    lines = list(csv.DictReader(table.with_suffix(".csv").read_text().splitlines()))
    assert {(line["model"], line["transductive"]) for line in lines} == {("ranks", "score"), ("centre-distance", "")}

    code, out, _ = cli("run", "strict.yaml", "--jobs", "1")
    assert (code, "1 runs are transductive, which the board does not allow" in out) == (0, True)
    cli("leaderboard", "strict.yaml")
    (table,) = Path().rglob("strict.md")
    assert "Left out, for the board allows no transductive runs: 1 of `ranks`." in table.read_text()
    assert "| `ranks`" not in table.read_text()


def test_evaluating_again_refuses_what_the_run_did_not_check(cli: Cli) -> None:
    cli("run", board("lenient", "ranks", "allowed"), "--jobs", "1")
    store = Store(Path("results"))
    ((_, record),) = store.records()
    without = record.model_copy(update={"predictions": None})  # so that the model is run again
    store.save_record(without)
    assert cli("evaluate", "--metrics", "auroc")[0] == 0, "its board allowed it"
    ((_, again),) = store.records()
    assert again.values["auroc@test"].value == record.values["auroc@test"].value
    assert again.batches == record.batches

    store.save_record(without.model_copy(update={"batches": {}}))
    code, _, err = cli("evaluate", "--metrics", "auroc")
    assert (code, "model 'ranks' is transductive" in err) == (2, True)
