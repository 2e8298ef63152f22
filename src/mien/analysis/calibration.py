"""From a model's outputs to numbers that mean what they say: temperature, prediction sets, intervals.

calibration = Calibration.load(folder)            # what `mien calibrate` stored beside the weights
answers = calibration.apply(outputs, coverage=0.9)   # outputs (N, names), as an Analyzer gives them

Temperature scaling (Guo et al. 2017) divides logits by one number, fitted on validation clips. Mixing in even chances
(Zhang et al. 2020, ensemble temperature scaling) lets a model be wrong now and then however sure it is, as annotators
are: temperature alone cannot say so. The largest output stays the largest. Split-conformal sets and intervals (Vovk et al. 2005; Angelopoulos and Bates 2023) hold the truth of a new
clip with the chosen probability, whatever the model, as far as the new clips are like the validation clips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.optimize import minimize, minimize_scalar

from mien import __version__
from mien.analysis.density import Density
from mien.analysis.reliability import Limits
from mien.checkpoint import write_whole
from mien.config import STRICT, build, read_yaml, to_yaml
from mien.video.inspection import digest

Array = NDArray[Any]

BINS = 15
"""Bins of the expected calibration error, as in Guo et al. 2017."""

LIMIT = math.log(20)
"""Largest logarithm of a temperature, to either side."""


@dataclass(frozen=True)
class Calibrated:
    """What can be said of N clips."""

    values: Array
    """Calibrated probabilities, or the values as they were (N, names)."""
    sets: Array | None = None
    """Classes in the prediction set (N, names), bool; a row without any says that no class is plausible. None for values."""
    lower: Array | None = None
    """Lower end of each value's interval (N, names); None for classes."""
    upper: Array | None = None
    """Upper end of each value's interval (N, names); None for classes."""

    def covers(self, targets: ArrayLike) -> Array:
        """Whether the truth, class indices (N,) or values (N, names), lies in the sets (N,) or intervals (N, names)."""
        truth = np.asarray(targets)
        if self.sets is not None:
            return self.sets[np.arange(len(truth)), truth]
        return (np.asarray(self.lower) <= truth) & (truth <= np.asarray(self.upper))

    def size(self) -> Array:
        """Classes in each set (N,), or width of each interval (N, names)."""
        return np.asarray(self.upper) - np.asarray(self.lower) if self.sets is None else self.sets.sum(axis=1)


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class Facts:
    """calibration.yaml: everything about a calibration that a person wants to read."""

    mien: str
    """Version that made it."""
    weights: str
    """SHA-256 of weights.safetensors, to which it belongs."""
    manifest: str
    """Name of the validation manifest."""
    manifest_sha256: str
    """SHA-256 of that file."""
    select: str
    """Rows of it that were used."""
    clips: int
    """Number of those rows."""
    subjects: int
    """Different values of their column subject; 0 without that column."""
    views: dict[str, int]
    """Views over which outputs were averaged."""
    task: Literal["classification", "regression"]
    """Whether outputs are probabilities or values."""
    names: tuple[str, ...]
    """Names of the outputs."""
    temperature: float
    """Logits are divided by it: above 1 the model was too sure, below 1 not sure enough. 1 for values."""
    uniform: float
    """Share of even chances that is mixed in, in [0, 1): about what labels hold of pure chance. 0 for values."""
    coverage: float
    """Share of the truth that sets and intervals hold where no other is asked for."""
    thresholds: tuple[float, ...]
    """At that coverage: a class is in the set if 1 - its probability is at most this; per value half the interval's width."""
    limits: Limits
    """Where an answer counts as unreliable."""
    fitted_on: dict[str, float]
    """Loss and calibration error on the validation clips before and after; flattered, since fitted on these."""


@dataclass(frozen=True)
class Calibration:
    """What `mien calibrate` found; ``apply`` uses it."""

    facts: Facts
    scores: Array
    """Conformal scores of the validation clips, (N,) or (N, names), in rising order."""
    density: Density

    @classmethod
    def load(cls, folder: Path) -> Calibration | None:
        """The calibration in a model's folder, None where there is none; ``ValueError`` if it belongs to other weights."""
        file = folder / "calibration.yaml"
        if not file.is_file():
            return None
        facts = build(Facts, read_yaml(file))
        if facts.weights != digest(folder / "weights.safetensors"):
            raise ValueError(f"{file} was made for other weights than those beside it; run mien calibrate again")
        try:
            tensors = load_file(folder / "calibration.safetensors")
            return cls(facts, tensors["scores"], Density.of(tensors))
        except (OSError, KeyError, SafetensorError) as error:
            raise ValueError(
                f"{folder / 'calibration.safetensors'} is not readable; run mien calibrate again"
            ) from error

    def save(self, folder: Path) -> None:
        """Write calibration.yaml and calibration.safetensors beside the weights, which stay as they are."""
        tensors = {"scores": self.scores} | self.density.tensors()
        (folder / "calibration.yaml").unlink(missing_ok=True)  # written last: without it there is no calibration
        write_whole(folder / "calibration.safetensors", lambda path: save_file(tensors, path))
        write_whole(folder / "calibration.yaml", lambda path: path.write_text(to_yaml(self.facts)))

    def apply(self, outputs: ArrayLike, coverage: float | None = None) -> Calibrated:
        """Outputs (N, names) -> calibrated probabilities and sets, or values and intervals, at a coverage in (0, 1)."""
        classes = self.facts.task == "classification"
        values = scaled(outputs, self.facts.temperature, self.facts.uniform) if classes else outputs
        return self.around(values, coverage)

    def around(self, values: ArrayLike, coverage: float | None = None) -> Calibrated:
        """Sets or intervals around values (N, names) that are calibrated already, such as means over windows."""
        values = np.asarray(values, dtype=float)
        limit = threshold(self.scores, self.facts.coverage if coverage is None else coverage)
        if self.facts.task == "regression":
            return Calibrated(values, lower=values - limit, upper=values + limit)
        return Calibrated(values, sets=1 - values <= limit)


def scaled(probabilities: ArrayLike, temperature: float, uniform: float = 0.0) -> Array:
    """Probabilities (N, C) -> (1 - uniform) softmax(log p / T) + uniform / C, which sum to 1 too.

    For one view this is temperature scaling of the logits; for several it calibrates the mean that is reported.
    """
    logits = np.log(np.maximum(np.asarray(probabilities, dtype=float), 1e-12)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (1 - uniform) * powers / powers.sum(axis=1, keepdims=True) + uniform / logits.shape[1]


def fit_scaling(probabilities: ArrayLike, targets: ArrayLike) -> tuple[float, float]:
    """Temperature and uniform share with the least cross-entropy of class indices (N,) under probabilities (N, C)."""

    def loss(parameters: Array) -> float:
        return cross_entropy(scaled(probabilities, math.exp(parameters[0]), parameters[1]), targets)

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
        return cross_entropy(scaled(probabilities, math.exp(log_temperature)), targets)

    found: Any = minimize_scalar(loss, bounds=(-LIMIT, LIMIT), method="bounded", options={"xatol": 1e-6})
    return math.exp(found.x)


def cross_entropy(probabilities: Array, targets: ArrayLike) -> float:
    """Mean of -log of the probability (N, C) of the true class (N,)."""
    truth = np.asarray(targets)
    return float(-np.log(np.maximum(probabilities[np.arange(len(truth)), truth], 1e-12)).mean())


def require_calibration(found: Calibration | None, coverage: float | None) -> None:
    """A coverage can be asked of a calibrated model alone."""
    if coverage is not None and found is None:
        raise ValueError(
            f"--coverage {coverage:g}: this model is not calibrated, so it has no sets or intervals; mien calibrate makes them"
        )


def threshold(scores: ArrayLike, coverage: float) -> Any:
    """The conformal quantile of scores (N,) or, per column, (N, K): the ceil((N + 1) * coverage)-th smallest.

    A new score is at most this with at least that probability. Raises ``ValueError`` where N is too small for it.
    """
    ordered = np.sort(np.asarray(scores, dtype=float), axis=0)
    if not 0 < coverage < 1:
        raise ValueError(f"coverage is {coverage}: it must lie between 0 and 1")
    require_enough(len(ordered), coverage)
    return ordered[math.ceil((len(ordered) + 1) * coverage - 1e-9) - 1]


def require_enough(clips: int, coverage: float) -> None:
    """``ValueError`` where no set or interval can hold a share ``coverage``, for want of validation clips."""
    needed = math.ceil(coverage / (1 - coverage) - 1e-9)
    if clips < needed:
        raise ValueError(
            f"a coverage of {coverage:g} needs at least {needed} validation clips, there are {clips}; take more clips or a "
            f"lower --coverage"
        )


def conformal_scores(values: Array, targets: ArrayLike) -> Array:
    """How badly each clip fits its truth: 1 - probability of the true class (N,), or distance per value (N, K).

    Classes in this score give the smallest sets on average (Sadinle et al. 2019).
    """
    truth = np.asarray(targets)
    return 1 - values[np.arange(len(truth)), truth] if truth.ndim == 1 else np.abs(values - truth)


def fit(
    outputs: ArrayLike,
    targets: ArrayLike,
    names: tuple[str, ...],
    density: Density,
    limits: Limits,
    coverage: float,
    origin: dict[str, Any],
) -> Calibration:
    """Outputs (N, names) and truth (N,) or (N, names) of validation clips -> their calibration.

    ``origin`` has the fields of ``Facts`` from weights to views.
    """
    raw, truth = np.asarray(outputs, dtype=float), np.asarray(targets)
    classes = truth.ndim == 1
    temperature, uniform = fit_scaling(raw, truth) if classes else (1.0, 0.0)
    values = scaled(raw, temperature, uniform) if classes else raw
    scores = np.sort(conformal_scores(values, truth), axis=0)
    facts = Facts(
        mien=__version__,
        **origin,
        task="classification" if classes else "regression",
        names=names,
        temperature=temperature,
        uniform=uniform,
        coverage=coverage,
        thresholds=tuple(np.atleast_1d(threshold(scores, coverage)).tolist()),
        limits=limits,
        fitted_on=before_after(raw, values, truth) if classes else {},
    )
    return Calibration(facts, scores, density)


def before_after(raw: Array, values: Array, truth: Array) -> dict[str, float]:
    """Cross-entropy and expected calibration error of probabilities before and after."""
    return {
        "cross_entropy_before": cross_entropy(raw, truth),
        "cross_entropy_after": cross_entropy(values, truth),
        "ECE_before": calibration_error(raw, truth),
        "ECE_after": calibration_error(values, truth),
    }


@dataclass(frozen=True)
class Bins:
    """Clips by how sure the model was, in equal steps from 0 to 1; bins without clips are left out."""

    confidence: Array
    """Mean probability of the predicted class."""
    accuracy: Array
    """Share of right predictions."""
    count: Array
    """Number of clips."""


def reliability_bins(probabilities: ArrayLike, targets: ArrayLike, bins: int = BINS) -> Bins:
    """Probabilities (N, C) and class indices (N,) -> confidence and accuracy per bin."""
    values, truth = np.asarray(probabilities, dtype=float), np.asarray(targets)
    confidence, right = values.max(axis=1), values.argmax(axis=1) == truth
    number = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(number, minlength=bins)
    sums = [np.bincount(number, weights=w, minlength=bins)[count > 0] for w in (confidence, right)]
    count = count[count > 0]
    return Bins(sums[0] / count, sums[1] / count, count)


def calibration_error(probabilities: ArrayLike, targets: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error (Guo et al. 2017, eq. 3): mean distance of confidence and accuracy, in [0, 1].

    Of few clips it is too large even for a perfect model: 15 bins of 100 clips give about 0.1.
    """
    found = reliability_bins(probabilities, targets, bins)
    return float((np.abs(found.confidence - found.accuracy) * found.count).sum() / found.count.sum())
