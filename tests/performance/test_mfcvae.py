"""A training step of MFCVAE on MNIST against the five terms written out, and what a run costs beside its steps."""

from collections.abc import Callable
from functools import partial
from time import perf_counter, thread_time
from typing import Any

import pytest
import torch
from tests.latentbench_mfcvae import five_terms
from tests.performance import turns

from latentbench import Batch, DataInfo, Role, StoredSplit
from latentbench.model import TrainingProgress
from latentbench.running.training import TrainingLoop
from latentbench.running.updates import Updates
from latentbench_mfcvae.initialization import cluster_means
from latentbench_mfcvae.model import MFCVAE

CPU = torch.device("cpu")
INFO = DataInfo(channels=1, height=28, width=28, train_size=50_000)
PUBLISHED_STEPS, BATCH = 47_318, 512
#: A crowded machine can spoil a measurement: what is too slow is so every time.
ATTEMPTS = 3
#: Of wall-clock time, since steps of one test take two threads.
least_seconds = partial(turns.least_seconds, rounds=12, clock=perf_counter)
FIRST_STAGE, LAST_STAGE = (TrainingProgress(step=step, total_steps=100) for step in (1, 99))


def build(precision: str = "float32", progress: TrainingProgress = LAST_STAGE) -> MFCVAE:
    torch.manual_seed(0)
    model = MFCVAE(MFCVAE.configure("mnist", {"precision": precision}), INFO).train()
    model.progress = progress
    return model


def batch() -> Batch:
    return Batch(torch.rand(BATCH, *INFO.image_shape, generator=torch.Generator().manual_seed(0)))


def stepper(model: MFCVAE) -> Callable[[], None]:
    """A step as the harness makes it."""
    data, updates = batch(), Updates(model, model.config, CPU)

    def step() -> None:
        for _ in updates.step(data):
            pass

    return step


def plain_stepper(model: MFCVAE) -> Callable[[], None]:
    """The objective by ``torch.distributions``, an update, and the clusters of the batch computed again."""
    data, optimizer = batch(), torch.optim.Adam(model.parameters(), 5e-4)

    def step() -> None:
        optimizer.zero_grad()
        five_terms.loss(model, data, (1.0, 1.0)).backward()
        optimizer.step()
        five_terms.reassigned(model, data)

    return step


def test_a_step_is_a_tenth_faster_than_the_five_terms_with_reassignment(benchmark: Any) -> None:
    """On two threads, all in float32; the report has bfloat16 beside it, which the processor may or may not support."""
    torch.set_num_threads(2)
    ours, plain, bfloat16 = stepper(build()), plain_stepper(build()), stepper(build("bfloat16"))
    ratios: list[float] = []
    while len(ratios) < ATTEMPTS and max(ratios, default=0.0) < 1.1:
        fast, slow = least_seconds(ours, plain)
        ratios.append(slow / fast)
    (half,) = least_seconds(bfloat16, rounds=1)  # reported, not asserted
    benchmark.extra_info |= {
        "step, ms": 1e3 * fast,
        "step with the five terms, ms": 1e3 * slow,
        "ratio": ratios[-1],
        "ratio in bfloat16": slow / half,
        "published run, hours": PUBLISHED_STEPS * fast / 3600,
        "published run in bfloat16, hours": PUBLISHED_STEPS * half / 3600,
    }
    benchmark(ours)
    assert ratios[-1] >= 1.1


def test_a_facet_that_has_not_been_introduced_costs_nothing(benchmark: Any) -> None:
    """A step of the first stage is no slower than one of a model that has its facet alone, within a twentieth."""
    first, whole = stepper(build(progress=FIRST_STAGE)), stepper(build())
    torch.manual_seed(0)
    options = {"clusters": (25,), "dims": (5,), "precision": "float32"}
    alone = stepper(MFCVAE(MFCVAE.configure("mnist", options), INFO).train())
    ratios: list[float] = []
    while len(ratios) < ATTEMPTS and min(ratios, default=2.0) > 1.05:
        of_first, of_alone, of_whole = least_seconds(first, alone, whole)
        ratios.append(of_first / of_alone)
    benchmark.extra_info |= {"first stage over one facet": ratios[-1], "first stage over both": of_first / of_whole}
    benchmark(first)
    assert ratios[-1] <= 1.05


def test_the_rest_of_a_run_takes_less_than_a_twentieth_of_it(benchmark: Any) -> None:
    """Clusters from the untrained encoder and the count of images at the end, of a fifth of MNIST's images."""
    model, share = build("bfloat16"), 1 / 5
    images = torch.randint(256, (int(share * INFO.train_size), *INFO.image_shape), dtype=torch.uint8)
    train, trainer = StoredSplit(Role.TRAIN, images), TrainingLoop(device=CPU, seed=0)

    def rest() -> None:
        with torch.no_grad():
            model.eval()
            model.start(train, trainer)
            model.count(train, trainer)
            model.train()

    (step,) = least_seconds(stepper(build("bfloat16")), rounds=2)
    benchmark.pedantic(rest, rounds=1)
    part = benchmark.stats.stats.min / share / (PUBLISHED_STEPS * step)
    benchmark.extra_info["share of the run"] = part
    assert part < 0.05


@pytest.mark.slow
def test_two_hundred_clusters_of_seventy_thousand_codes_are_found_in_a_minute(benchmark: Any) -> None:
    codes = torch.randn(70_000, 22, generator=torch.Generator().manual_seed(0))
    codes = codes + 2 * torch.randn(300, 22, generator=torch.Generator().manual_seed(1))[torch.arange(70_000) % 300]
    begun = thread_time()
    means = benchmark.pedantic(lambda: cluster_means(codes, 200, seed=0), rounds=1)
    benchmark.extra_info["seconds of one core"] = thread_time() - begun
    assert thread_time() - begun < 60
    assert means.isfinite().all()
