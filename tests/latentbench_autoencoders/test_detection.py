"""The baselines on real digits (scikit-learn's, embedded): {3, 8} are normal, all others are anomalies."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from latentbench import DataInfo, Role, StoredSplit
from latentbench.running.training import TrainingLoop
from latentbench_autoencoders.ae import AE
from latentbench_autoencoders.beta_vae import BetaVAE
from latentbench_autoencoders.vae import VAE
from latentbench_pca.model import PCA

NORMAL = (3, 8)


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (PCA, {"components": 16}),
        (AE, {"latent_dim": 16, "epochs": 60, "batch_size": 32}),
        (VAE, {"latent_dim": 16, "epochs": 60, "batch_size": 32}),
        (BetaVAE, {"latent_dim": 16, "epochs": 60, "batch_size": 32}),
    ],
)
def test_foreign_digits_score_higher_than_normal_ones(cls: type[PCA | AE | VAE], options: dict[str, int]) -> None:
    digits = load_digits()
    images = torch.from_numpy((digits.images[:, None] / 16 * 255).round().astype(np.uint8))
    normal = np.isin(digits.target, NORMAL)
    train = normal & (np.arange(len(images)) % 2 == 0)
    split = StoredSplit(Role.TRAIN, images[torch.from_numpy(train)])

    torch.manual_seed(0)
    model = cls(cls.Config.parse(options, cls.name), DataInfo(1, 8, 8, len(split)))
    model.fit(split, None, TrainingLoop(device=torch.device("cpu"), seed=0))
    with torch.inference_mode():
        scores = model.eval().score(images[torch.from_numpy(~train)].float() / 255)
    assert roc_auc_score(~normal[~train], scores) > 0.85
