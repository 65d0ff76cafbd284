"""The probe: predicts attributes from unsupervised codes by multinomial logistic regression."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

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

#: Candidates for C, the inverse regularization strength; validation selects one. The strongest regularization is first.
STRENGTHS = tuple(10.0**exponent for exponent in range(-4, 5))
#: The C of an attribute without validation labels.
UNCHOSEN = 1.0


@dataclass(frozen=True)
class LabelledCodes:
    """Codes of images whose attributes may be known."""

    codes: npt.NDArray[np.floating[Any]]
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
    refused: Mapping[str, str]
    """Attribute that has no reader -> why, in one line."""

    @property
    def facts(self) -> Mapping[str, float]:
        """Attribute -> its C."""
        return self.strengths

    def read(self, codes: Parts) -> dict[str, npt.NDArray[np.int64]]:
        """Attribute -> (N,) the most probable values, for codes by subspace, each (N, D_k)."""
        return self.predict(side_by_side(codes))

    def predict(self, codes: npt.NDArray[np.floating[Any]]) -> dict[str, npt.NDArray[np.int64]]:
        """Attribute -> (N,) the most probable values, for codes (N, D)."""
        with threadpool_limits(1):
            return {name: reader.predict(codes.astype(np.float64)) for name, reader in self.readers.items()}


def fit_probe(attributes: Iterable[str], train: LabelledCodes, validation: LabelledCodes | None) -> Probe:
    """Fit one logistic regression for each attribute, on standardized codes of the images that it is known for.

    C is the one of ``STRENGTHS`` with the least log loss on ``validation``, with ties broken in favour of stronger
    regularization; it is ``UNCHOSEN`` where there is no validation label. Log loss is used because, with correlated
    attributes, the accuracy is close to its ceiling for every C and distinguishes them only by chance. Every fit starts
    from zero and runs on one thread, so that the result depends on the arguments only.

    An attribute of which the training labels show fewer than two values has none; the others do.

    Raises:
        LatentbenchError: fewer than two values occur of every attribute.
    """
    readers: dict[str, Pipeline] = {}
    strengths: dict[str, float] = {}
    refused: dict[str, LatentbenchError] = {}
    with threadpool_limits(1):
        for name in attributes:
            codes, labels = train.of(name)
            values = np.unique(labels)
            if len(values) < 2:
                refused[name] = LatentbenchError(
                    f"the probe cannot learn attribute '{name}'",
                    f"the training labels show {len(values)} of its values, and it takes two",
                )
                continue
            held_out, truth = validation.of(name) if validation else (codes[:0], labels[:0])
            seen = np.isin(truth, values)  # a value that does not occur in training has probability 0 for any C
            held_out, truth = held_out[seen], truth[seen]
            least = np.inf
            for strength in STRENGTHS if len(truth) else (UNCHOSEN,):
                reader = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
                reader.fit(codes, labels)
                loss = log_loss(truth, reader.predict_proba(held_out), labels=values) if len(truth) else 0.0
                if loss < least:
                    least, readers[name], strengths[name] = loss, reader, strength
    if refused and not readers:
        raise next(iter(refused.values()))
    return Probe(readers, strengths, {name: str(error) for name, error in refused.items()})


def _fit(given: TrainingCodes) -> Probe:
    validation = given.validation()
    return fit_probe(given.attributes, _labelled(given.train), _labelled(validation) if validation else None)


def _labelled(codes: Codes) -> LabelledCodes:
    return LabelledCodes(side_by_side(codes.parts), codes.labels)


PROBE = Readout("probe", "predict", _fit, needs_attributes=True)
