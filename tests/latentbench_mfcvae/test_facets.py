"""Two known facets of rendered scenes: what the object is, and the ground it stands on."""

from pathlib import Path

import numpy as np
import pytest
import torch

from latentbench.running.training import TrainingLoop
from latentbench_datasets.synthetic.scenes import Scenes
from latentbench_mfcvae.model import MFCVAE


@pytest.mark.long
def test_each_facet_takes_one_label_and_leaves_the_other(tmp_path: Path) -> None:
    """Chance is 1/4 for the shape and 1/6 for the background, and somewhat more with many clusters."""
    scenes = Scenes(Scenes.Config(image_size=16, factors=("shape", "colour", "background"), train_images=576))
    data = scenes.load(tmp_path)
    options = {"epochs": 250, "batch_size": 72, "sigma": 0.15, "precision": "float32"}  # sigma as 0.3 at twice the size
    torch.manual_seed(0)
    model = MFCVAE(MFCVAE.configure("scenes", options), data.info)
    model.fit(data.train, None, TrainingLoop(device=torch.device("cpu"), seed=0))
    model.eval()

    test = data.splits["test"]
    images = test.batch(torch.arange(len(test)), torch.Generator()).images
    with torch.no_grad():
        facets = model.cluster(images)

    def accuracy(facet: str, label: str) -> float:
        found, truth = facets[facet].numpy(), test.targets.attributes[label]
        return sum(int(np.bincount(truth[found == c]).max()) for c in np.unique(found)) / len(truth)

    assert accuracy("z1", "shape") > accuracy("z2", "shape") + 0.3
    assert accuracy("z2", "background") > accuracy("z1", "background") + 0.3
