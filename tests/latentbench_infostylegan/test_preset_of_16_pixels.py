"""The preset for scenes of 16 pixels, trained in half a minute: what information in the objective makes of codes."""

from pathlib import Path

import pytest
import torch

from latentbench.boards.significance import Summary
from latentbench.devices import cpu_threads
from latentbench.running.training import TrainingLoop
from latentbench_datasets.synthetic.scenes import Scenes
from latentbench_infostylegan.model import InfoStyleGAN

SCENES = Scenes.Config(image_size=16, factors=("shape", "size", "x", "y", "colour", "background"))
SEEDS = range(3)


def facts(mi: float, seed: int) -> dict[str, float]:
    """What a trained model says of itself; its readers saw neither validation nor test images, nor any other scene."""
    data = Scenes(SCENES).load(Path())
    with cpu_threads(1):
        torch.manual_seed(seed)
        model = InfoStyleGAN(InfoStyleGAN.configure("scenes", {"mi": mi}, SCENES), data.info)
        model.fit(data.splits["train"], None, TrainingLoop(device=torch.device("cpu"), seed=seed))
        return model.facts()


def test_scenes_of_16_pixels_have_a_preset_of_their_own_for_375_steps() -> None:
    config, larger = (InfoStyleGAN.configure("scenes", {}, options) for options in (SCENES, Scenes.Config()))
    assert isinstance(config, InfoStyleGAN.Config)
    assert isinstance(larger, InfoStyleGAN.Config)
    assert config.epochs * SCENES.train_images // config.batch_size == 375
    assert larger.epochs * SCENES.train_images // larger.batch_size == 200
    assert config.mi == larger.mi == 0.1


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_with_information_readers_recover_three_times_the_nats_that_they_recover_without() -> None:
    """Of new samples, sharp and blurred, in three seeds, and the interval of the difference is far above 0."""
    pairs = [(facts(0.1, seed), facts(0.0, seed)) for seed in SEEDS]
    for name in ("recovered_nats", "recovered_nats_blurred"):
        found, without = ([one[name] for one in side] for side in zip(*pairs, strict=True))
        difference = Summary.of([one - other for one, other in zip(found, without, strict=True)])
        print(f"{name}: {found} with information, {without} without; {difference.mean} ± {difference.half_width}")
        assert difference.half_width is not None
        assert difference.mean - difference.half_width > 2
        assert Summary.of(found).mean > 3 * Summary.of(without).mean
