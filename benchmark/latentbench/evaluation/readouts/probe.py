"""The probe: reads attributes out of unsupervised codes by multinomial logistic regression."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from latentbench.data.splits import MISSING
from latentbench.errors import LatentbenchError
from latentbench.evaluation.inference import Parts
from latentbench.evaluation.readouts.readout import Codes, Readout, TrainingCodes, side_by_side

__all__ = ["PROBE", "STRENGTHS", "UNCHOSEN", "LabelledCodes", "Probe", "fit_probe"]

#: Inverse regularization strengths C that validation chooses from, the strongest regularization first.
STRENGTHS = tuple(10.0**exponent for exponent in range(-4, 5))
#: The C of an attribute for which there are no validation labels to choose by.
UNCHOSEN = 1.0


@dataclass(frozen=True)
class LabelledCodes:
    """Codes of images whose attributes may be known."""

    codes: npt.NDArray[np.float32]
    """(N, D)."""
    labels: Mapping[str, npt.NDArray[np.int64]]
    """Attribute -> (N,), MISSING where it is not known."""

    def of(self, attribute: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Codes (M, D) and labels (M,) of the images for which ``attribute`` is known."""
        labels = self.labels.get(attribute, np.full(len(self.codes), MISSING))
        known = labels != MISSING
        return self.codes[known].astype(np.float64), labels[known]


@dataclass(frozen=True)
class Probe:
    """A fitted probe: a logistic regression for each attribute."""

    readers: Mapping[str, Pipeline]
    """Attribute -> scaler and classifier."""
    strengths: Mapping[str, float]
    """Attribute -> its C, the inverse regularization strength."""

    @property
    def facts(self) -> Mapping[str, float]:
        """Attribute -> its C."""
        return self.strengths

    def read(self, codes: Parts) -> dict[str, npt.NDArray[np.int64]]:
        """Attribute -> (N,) the most probable values, for codes by subspace, each (N, D_k)."""
        return self.predict(side_by_side(codes))

    def predict(self, codes: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.int64]]:
        """Attribute -> (N,) the most probable values, for codes (N, D)."""
        with threadpool_limits(1):
            return {name: reader.predict(codes.astype(np.float64)) for name, reader in self.readers.items()}


def fit_probe(attributes: Iterable[str], train: LabelledCodes, validation: LabelledCodes | None) -> Probe:
    """Fit one logistic regression for each attribute, on standardized codes of the images that it is known for.

    C is the one of ``STRENGTHS`` with the least log loss on ``validation``, of equally good ones the one that
    regularizes most; it is ``UNCHOSEN`` where there is no validation label. Log loss, because where the attributes are
    correlated the accuracy is close to its ceiling for every C and tells them apart by chance. Every fit starts from
    zero and runs on one thread: the result depends on the arguments alone.

    Raises:
        LatentbenchError: the training labels of an attribute show fewer than two of its values.
    """
    readers: dict[str, Pipeline] = {}
    strengths: dict[str, float] = {}
    with threadpool_limits(1):
        for name in attributes:
            codes, labels = train.of(name)
            values = np.unique(labels)
            if len(values) < 2:
                raise LatentbenchError(
                    f"the probe cannot learn attribute '{name}'",
                    f"the training labels show {len(values)} of its values, and it takes two",
                )
            held_out, truth = validation.of(name) if validation else (codes[:0], labels[:0])
            seen = np.isin(truth, values)  # a value that training never shows has probability 0 whatever C is
            held_out, truth = held_out[seen], truth[seen]
            least = np.inf
            for strength in STRENGTHS if len(truth) else (UNCHOSEN,):
                reader = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
                reader.fit(codes, labels)
                loss = log_loss(truth, reader.predict_proba(held_out), labels=values) if len(truth) else 0.0
                if loss < least:
                    least, readers[name], strengths[name] = loss, reader, strength
    return Probe(readers, strengths)


def _fit(given: TrainingCodes) -> Probe:
    validation = given.validation()
    return fit_probe(given.attributes, _labelled(given.train), _labelled(validation) if validation else None)


def _labelled(codes: Codes) -> LabelledCodes:
    return LabelledCodes(side_by_side(codes.parts), codes.labels)


PROBE = Readout("probe", "predict", _fit, needs_attributes=True)
