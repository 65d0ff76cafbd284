"""Separated attribute predictability."""

import numpy as np
import numpy.typing as npt

from latentbench_metrics.disentanglement import CodedFactors, Disentanglement
from latentbench_metrics.information import totals

__all__ = ["SAP"]

#: The regularization's C and the number of images that it is meant for, both disentanglement_lib's.
_C, _IMAGES = 0.01, 10_000


class SAP(Disentanglement):
    """How much better the best single dimension predicts a factor than the second best; the mean, and each as a part.

    A dimension predicts a factor by a linear support vector machine on it alone, values weighted alike; its score is
    the share of images that it gets right. A constant dimension has the score of a guess, one over the number of
    values.

    Ours, where disentanglement_lib differs: the images are the split's own and are scored by what was fitted to them
    (two numbers for each value have no room to overfit, and nothing depends on a draw); the codes have a standard
    scale; the weights are scaled to the 10,000 images that the library fits on, so that C means the same on any split.
    """

    name = "sap"
    title = "SAP"
    source = (
        "Kumar, Sattigeri and Balakrishnan, ICLR 2018, section 3; for discrete factors as in disentanglement_lib: "
        "LinearSVC, C = 0.01, balanced"
    )

    def value(self, images: CodedFactors) -> dict[str, float]:
        """The mean over factors under "", and each factor's gap under its name."""
        images = images.distinct()
        codes = images.standard_codes
        gaps = {}
        for name, values in images.factors.items():
            second, first = np.sort([_score(code, values, images.weights) for code in codes.T])[-2:]
            gaps[name] = float(first - second)
        return {"": sum(gaps.values()) / len(gaps), **gaps}


def _score(code: npt.NDArray[np.float64], values: npt.NDArray[np.int64], weights: npt.NDArray[np.float64]) -> float:
    """Accuracy of a linear classifier of ``values``, (N,), from one dimension, (N,), on the images that it learned."""
    from sklearn.svm import LinearSVC

    shares = totals(values, weights) / weights.sum()
    if np.ptp(code) == 0:
        return 1 / len(shares)
    balance = dict(enumerate(1 / (len(shares) * shares)))  # "balanced", by weight instead of by number
    machine = LinearSVC(C=_C, class_weight=balance, dual=False, tol=1e-6, random_state=0)
    machine.fit(code[:, None], values, sample_weight=weights * (_IMAGES / weights.sum()))
    return float(np.average(machine.predict(code[:, None]) == values, weights=weights))
