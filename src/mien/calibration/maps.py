"""Calibration maps: from a model's outputs to numbers that mean what they say, and what else is plausible.

``Temperature`` (classes) divides logits by one number, fitted on validation clips (Guo et al. 2017). Mixing in even chances
(Zhang et al. 2020, ensemble temperature scaling) lets a model be wrong now and then however sure it is, as annotators
are: temperature alone cannot say so. The largest output stays the largest. ``Logistic`` (labels that are yes or no each)
scales and shifts the logit of every label (Platt 1999), which also puts right what weights of yes have moved.
``Intervals`` leaves values as they are. Split-conformal sets and intervals (Vovk et al. 2005; Angelopoulos and Bates 2023)
hold the truth of a new clip with the chosen probability, whatever the model, as far as the new clips are like the
validation clips; those of labels do so among the clips that show a label and among those that do not (Vovk 2012), since
always saying no would be right of nearly all clips where a label is rare.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize, minimize_scalar

from mien.calibration.calibrated import Calibrated, ClassSets, LabelSets, ValueIntervals, top_class
from mien.calibration.conformal import quantile, require_share, threshold
from mien.statistics.metrics import UNKNOWN, Array

LIMIT = math.log(20)
"""Largest logarithm of a temperature or slope, to either side."""
TINY = 1e-12


class CalibrationMap(ABC):
    """A map with its parameters."""

    plausible: ClassVar[type[Calibrated]]
    """What it says beside the values."""

    @classmethod
    @abstractmethod
    def fit(cls, raw: Array, truth: Array, names: Sequence[str]) -> Self:
        """Outputs (N, names) and the truth of validation clips -> the map that fits them best."""

    @classmethod
    def of(cls, parameters: object) -> Self:
        """The map with its parameters from an object that has them as attributes."""
        return cls(**{name: getattr(parameters, name) for name in cls.__dataclass_fields__})  # pyright: ignore[reportAttributeAccessIssue]

    @abstractmethod
    def apply(self, raw: ArrayLike) -> Array:
        """Outputs (N, names) -> calibrated ones."""

    @staticmethod
    @abstractmethod
    def scores(values: Array, truth: Array) -> Array:
        """How badly each clip fits its truth: conformal scores (N, ...), in rising order."""

    @staticmethod
    @abstractmethod
    def conformal(values: Array, scores: Array, coverage: float) -> Calibrated:
        """Calibrated values (N, names) with what is plausible at a coverage in (0, 1), by the scores of ``scores``."""

    @staticmethod
    def thresholds(scores: Array, coverage: float) -> tuple[float, ...]:
        """The limits of the scores at a coverage."""
        return tuple(np.atleast_1d(threshold(scores, coverage)).tolist())

    @staticmethod
    def confidence(values: Array, truth: Array) -> tuple[Array, Array] | None:
        """How sure each answer is, in [0, 1], and whether it is right (M,) each; None for values, which are neither."""
        return None

    @staticmethod
    def loss(values: Array, truth: Array) -> float:
        """Mean of -log of the probability of the truth; NaN for values."""
        return math.nan

    @abstractmethod
    def sentence(self, names: Sequence[str], thresholds: Sequence[float]) -> str:
        """What was found, for a person."""


@dataclass(frozen=True)
class Temperature(CalibrationMap):
    """For probabilities of classes, which sum to 1."""

    plausible = ClassSets

    temperature: float = 1.0
    """Logits are divided by it: above 1 the model was too sure, below 1 not sure enough."""
    uniform: float = 0.0
    """Share of even chances that is mixed in, in [0, 1): about what labels hold of pure chance."""

    @classmethod
    def fit(cls, raw: Array, truth: Array, names: Sequence[str]) -> Temperature:
        return cls(*fit_scaling(raw, truth))

    def apply(self, raw: ArrayLike) -> Array:
        return scale_probabilities(raw, self.temperature, self.uniform)

    @staticmethod
    def scores(values: Array, truth: Array) -> Array:
        """1 - probability of the true class (N,), which gives the smallest sets on average (Sadinle et al. 2019)."""
        return np.sort(1 - values[np.arange(len(truth)), truth])

    @staticmethod
    def conformal(values: Array, scores: Array, coverage: float) -> ClassSets:
        return ClassSets(values, 1 - values <= threshold(scores, coverage))

    @staticmethod
    def confidence(values: Array, truth: Array) -> tuple[Array, Array]:
        return top_class(values, truth)

    @staticmethod
    def loss(values: Array, truth: Array) -> float:
        return cross_entropy(values, truth)

    def sentence(self, names: Sequence[str], thresholds: Sequence[float]) -> str:
        return f"temperature {self.temperature:.3f}, even chances mixed in {self.uniform:.1%}"


@dataclass(frozen=True)
class Intervals(CalibrationMap):
    """For values, which stay as they are."""

    plausible = ValueIntervals

    @classmethod
    def fit(cls, raw: Array, truth: Array, names: Sequence[str]) -> Intervals:
        return cls()

    def apply(self, raw: ArrayLike) -> Array:
        return np.asarray(raw, dtype=float)

    @staticmethod
    def scores(values: Array, truth: Array) -> Array:
        """Distance per value (N, names)."""
        return np.sort(np.abs(values - truth), axis=0)

    @staticmethod
    def conformal(values: Array, scores: Array, coverage: float) -> ValueIntervals:
        limit = threshold(scores, coverage)
        return ValueIntervals(values, values - limit, values + limit)

    def sentence(self, names: Sequence[str], thresholds: Sequence[float]) -> str:
        return "intervals of " + ", ".join(f"{n} ± {width:.3g}" for n, width in zip(names, thresholds, strict=True))


@dataclass(frozen=True)
class Logistic(CalibrationMap):
    """For the probabilities of labels that are yes or no each."""

    plausible = LabelSets

    slopes: tuple[float, ...] = ()
    """Per label, what its logit is multiplied by: below 1 the model was too sure."""
    shifts: tuple[float, ...] = ()
    """Per label, what is then added: below 0 the model said yes too often."""

    @classmethod
    def fit(cls, raw: Array, truth: Array, names: Sequence[str]) -> Logistic:
        if absent := [name for name, column in zip(names, truth.T, strict=True) if (column == UNKNOWN).all()]:
            raise ValueError(f"no validation clip says yes or no in {', '.join(absent)}; take clips that do")
        pairs = [fit_logistic(p[t != UNKNOWN], t[t != UNKNOWN]) for p, t in zip(raw.T, truth.T, strict=True)]
        return cls(*(tuple(row) for row in zip(*pairs, strict=True)))

    def apply(self, raw: ArrayLike) -> Array:
        return sigmoid(np.array(self.slopes) * logit(np.asarray(raw, dtype=float)) + np.array(self.shifts))

    @staticmethod
    def scores(values: Array, truth: Array) -> Array:
        """Probability of the other answer (N, 2, names) by the true one, no and yes; NaN, at the end, elsewhere."""
        each = [np.where(truth == answer, 1 - values if answer else values, np.nan) for answer in (0, 1)]
        return np.sort(np.stack(each, axis=1), axis=0)

    @staticmethod
    def conformal(values: Array, scores: Array, coverage: float) -> LabelSets:
        no, yes = np.reshape(Logistic.thresholds(scores, coverage), (2, -1))
        return LabelSets(values, np.stack([values <= no, 1 - values <= yes], axis=-1))

    @staticmethod
    def thresholds(scores: Array, coverage: float) -> tuple[float, ...]:
        """First those of no of every label, then of yes; infinite where so few clips give no limit: then the answer is in
        every set, which keeps the promise."""
        require_share(coverage)
        columns = scores.reshape(len(scores), -1).T
        return tuple(quantile(column[~np.isnan(column)], coverage) for column in columns)

    @staticmethod
    def confidence(values: Array, truth: Array) -> tuple[Array, Array]:
        """The probability of yes and whether it is yes, of all cells that are known."""
        known = truth != UNKNOWN
        return values[known], truth[known] == 1

    @staticmethod
    def loss(values: Array, truth: Array) -> float:
        share, yes = Logistic.confidence(values, truth)
        return float(-np.log(np.maximum(np.where(yes, share, 1 - share), TINY)).mean())

    def sentence(self, names: Sequence[str], thresholds: Sequence[float]) -> str:
        slopes = ", ".join(f"{n} {a:.2f} ({b:+.2f})" for n, a, b in zip(names, self.slopes, self.shifts, strict=True))
        few = [n for i, n in enumerate(names) if not np.isfinite(np.reshape(thresholds, (2, -1))[:, i]).all()]
        more = f"; too few clips of yes or of no to leave an answer out: {', '.join(few)}" if few else ""
        return f"slopes (and shifts) of logits {slopes}{more}"


MAPS: dict[str, type[CalibrationMap]] = {"temperature": Temperature, "intervals": Intervals, "logistic": Logistic}
"""What ``Outputs.calibration`` may name."""


def scale_probabilities(probabilities: ArrayLike, temperature: float, uniform: float = 0.0) -> Array:
    """Probabilities (N, C) -> (1 - uniform) softmax(log p / T) + uniform / C, which sum to 1 too.

    For one view this is temperature scaling of the logits; for several it calibrates the mean that is reported.
    """
    logits = np.log(np.maximum(np.asarray(probabilities, dtype=float), TINY)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (1 - uniform) * powers / powers.sum(axis=1, keepdims=True) + uniform / logits.shape[1]


def fit_scaling(probabilities: ArrayLike, targets: ArrayLike) -> tuple[float, float]:
    """Temperature and uniform share with the least cross-entropy of class indices (N,) under probabilities (N, C)."""

    def loss(parameters: Array) -> float:
        return cross_entropy(scale_probabilities(probabilities, math.exp(parameters[0]), parameters[1]), targets)

    alone = math.log(fit_temperature(probabilities, targets))
    bounds = [(-LIMIT, LIMIT), (0.0, 0.95)]
    options = {"xatol": 1e-5, "fatol": 1e-9}
    found = minimize(loss, [alone, 0.05], method="Nelder-Mead", bounds=bounds, options=options)
    if found.fun >= loss(np.array([alone, 0.0])):
        return math.exp(alone), 0.0
    return math.exp(found.x[0]), float(found.x[1])


def fit_temperature(probabilities: ArrayLike, targets: ArrayLike) -> float:
    """The temperature in [0.05, 20] with the least cross-entropy of class indices (N,) under probabilities (N, C)."""

    def loss(log_temperature: float) -> float:
        return cross_entropy(scale_probabilities(probabilities, math.exp(log_temperature)), targets)

    found = minimize_scalar(loss, bounds=(-LIMIT, LIMIT), method="bounded", options={"xatol": 1e-6})
    return math.exp(found.x)


def cross_entropy(probabilities: Array, targets: ArrayLike) -> float:
    """Mean of -log of the probability (N, C) of the true class (N,)."""
    truth = np.asarray(targets)
    return float(-np.log(np.maximum(probabilities[np.arange(len(truth)), truth], TINY)).mean())


def fit_logistic(probabilities: Array, truth: Array) -> tuple[float, float]:
    """Slope in [0.05, 20] and shift of the logit of a label's probabilities (M,) that fit its truth, 1 or 0 (M,).

    Targets lie a little inside 0 and 1 (Platt 1999), so that few clips, or clips of one answer, do not make it too sure.
    """
    yes, no = float((truth == 1).sum()), float((truth == 0).sum())
    target, logits = np.where(truth == 1, (yes + 1) / (yes + 2), 1 / (no + 2)), logit(probabilities)

    def loss(parameters: Array) -> float:
        z = math.exp(parameters[0]) * logits + parameters[1]
        return float((np.logaddexp(0, z) - target * z).mean())

    bounds = [(-LIMIT, LIMIT), (-LIMIT * 5, LIMIT * 5)]
    found = minimize(loss, [0.0, 0.0], method="L-BFGS-B", bounds=bounds)
    return math.exp(found.x[0]), float(found.x[1])


def logit(probabilities: Array) -> Array:
    """log p / (1 - p), finite at 0 and 1."""
    inside = np.clip(probabilities, TINY, 1 - TINY)
    return np.log(inside) - np.log1p(-inside)


def sigmoid(values: Array) -> Array:
    """1 / (1 + exp(-x))."""
    return np.exp(-np.logaddexp(0, -values))
