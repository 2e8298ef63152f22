"""What a model said about clips and what is true of them, and the sums per subject from which every metric follows.

The metrics of ``mien.metrics`` are functions of sums over clips: a confusion matrix, or moments. Sums per subject are
made once; drawing subjects again (``mien.statistics``) then is one product of small matrices, whatever the number of
clips.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from mien import metrics
from mien.metrics import Array

Measure = Callable[[Array], dict[str, Array]]
"""Sums (B, ...) of B sets of clips -> metrics by name, each (B,); NaN where a set has nothing to measure."""


@dataclass(frozen=True)
class Answers:
    """N clips; made by ``classified`` or ``valued``, which check that all parts belong together."""

    predictions: Array
    """Class indices (N,), or values (N, K)."""
    targets: Array
    """The truth, in the same shape."""
    names: tuple[str, ...]
    """Names of the classes or of the K targets."""
    subjects: Array
    """Who is seen in each clip, as whole numbers (N,)."""

    @property
    def classes(self) -> bool:
        """Whether these are classes; otherwise they are values."""
        return self.predictions.ndim == 1

    @property
    def people(self) -> int:
        """Number of different subjects."""
        return len(np.unique(self.subjects))

    def of(self, rows: Array) -> Answers:
        """The answers of some clips: indices or a mask."""
        return replace(
            self, predictions=self.predictions[rows], targets=self.targets[rows], subjects=self.subjects[rows]
        )

    def score(self) -> dict[str, float]:
        """The metrics of ``mien.metrics`` over all clips; for classes also the recall of each, ``recall.anger``."""
        if not self.classes:
            return metrics.regression(self.predictions, self.targets, self.names)
        recalls = metrics.recalls(self.predictions, self.targets, self.names)
        marks = metrics.classification(self.predictions, self.targets, self.names)
        return marks | {f"recall.{name}": value for name, value in recalls.items()}

    def absent(self) -> list[str]:
        """Classes that do not occur in the truth."""
        return metrics.absent(self.targets, self.names) if self.classes else []

    def sums(self) -> Sums:
        """What each subject adds to the metrics, a subject per row."""
        _, subjects = np.unique(self.subjects, return_inverse=True)
        count = int(subjects.max()) + 1
        return confusions(self, subjects, count) if self.classes else moments(self, subjects, count)


@dataclass(frozen=True)
class Sums:
    """What each of G subjects adds, (G, ...), and how added sums become metrics."""

    parts: Array
    measure: Measure

    def weighted(self, counts: Array) -> dict[str, Array]:
        """Metrics of B sets in which subject g stands ``counts[b, g]`` times: (B, G) -> (B,) each."""
        flat = counts.astype(float) @ self.parts.reshape(len(self.parts), -1)
        return self.measure(flat.reshape(-1, *self.parts.shape[1:]))


def classified(
    predictions: ArrayLike, targets: ArrayLike, names: Sequence[str], subjects: ArrayLike | None = None
) -> Answers:
    """Probabilities (N, C) or class indices (N,), true indices (N,) and, if known, the subject of each clip (N,).

    Without ``subjects`` every clip stands for itself. Raises ``ValueError`` as ``metrics.classification`` does, and
    where the subjects are not as many as the clips.
    """
    decided, truth = metrics.decided(predictions, targets, names)
    return Answers(decided, truth, tuple(names), numbered(subjects, len(truth)))


def valued(
    predictions: ArrayLike, targets: ArrayLike, names: Sequence[str], subjects: ArrayLike | None = None
) -> Answers:
    """Values (N, K), true values (N, K) and, if known, the subject of each clip (N,).

    Raises ``ValueError`` as ``metrics.regression`` does, and where the subjects are not as many as the clips.
    """
    metrics.regression(predictions, targets, names)  # checks shapes and numbers
    values, truth = np.asarray(predictions, dtype=float), np.asarray(targets, dtype=float)
    return Answers(values, truth, tuple(names), numbered(subjects, len(truth)))


def numbered(subjects: ArrayLike | None, clips: int) -> Array:
    """Subjects by any name -> whole numbers (N,) in the order of the names; None gives each clip its own."""
    if subjects is None:
        return np.arange(clips)
    given = np.asarray(subjects)
    if given.shape != (clips,):
        raise ValueError(f"subjects {given.shape} for {clips} clips: each clip needs one subject")
    names = given if np.issubdtype(given.dtype, np.number) else given.astype(str)
    return np.unique(names, return_inverse=True)[1]


def confusions(answers: Answers, subjects: Array, count: int) -> Sums:
    """A confusion matrix per subject (G, C, C), rows are the truth."""
    classes = len(answers.names)
    cells = (subjects * classes + answers.targets) * classes + answers.predictions
    parts = np.bincount(cells, minlength=count * classes**2).reshape(count, classes, classes)
    return Sums(parts, lambda counts: confusion_metrics(counts, answers.names))


def confusion_metrics(counts: Array, names: Sequence[str]) -> dict[str, Array]:
    """Confusion matrices (B, C, C) -> WAR, UAR, F1_macro, F1_weighted and the recalls, as ``mien.metrics`` has them.

    Means over classes take those that occur in the truth of each matrix.
    """
    right, truth, said = np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=2), counts.sum(axis=1)  # B C
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = right / truth  # NaN where the class does not occur
        f1 = np.where(truth > 0, 2 * right / (truth + said), np.nan)
        found = {
            "WAR": right.sum(axis=1) / truth.sum(axis=1),
            "UAR": occurring(recall, truth),
            "F1_macro": occurring(f1, truth),
            "F1_weighted": np.nansum(f1 * truth, axis=1) / truth.sum(axis=1),
        }
    return found | {f"recall.{name}": recall[:, i] for i, name in enumerate(names)}


def occurring(shares: Array, truth: Array) -> Array:
    """Mean over the classes that occur, (B, C) -> (B,)."""
    return np.nansum(shares, axis=1) / (truth > 0).sum(axis=1)


def moments(answers: Answers, subjects: Array, count: int) -> Sums:
    """Seven sums per subject and target (G, 7, K): clips, both values, both squares, product, distance.

    The values are centred first, so that variances do not drown in the square of the mean.
    """
    values, truth = metrics.centred(answers.predictions), metrics.centred(answers.targets)
    distance = np.abs(answers.predictions - answers.targets)
    terms = [np.ones_like(values), values, truth, values**2, truth**2, values * truth, distance]
    parts = np.zeros((count, len(terms), len(answers.names)))
    np.add.at(parts, subjects, np.stack(terms, axis=1))
    offset = answers.predictions.mean(axis=0) - answers.targets.mean(axis=0)  # K
    return Sums(parts, lambda sums: moment_metrics(sums, offset, answers.names))


def moment_metrics(sums: Array, offset: Array, names: Sequence[str]) -> dict[str, Array]:
    """Sums (B, 7, K) -> PCC, CCC, RMSE and 1-MAE as ``mien.metrics.regression`` has them, (B,) each.

    ``offset`` (K,) is by how much the predictions were moved down more than the targets when they were centred.
    """
    mean = np.moveaxis(sums[:, 1:] / sums[:, :1], 1, 0)  # 6 B K
    v, t, vv, tt, vt, distance = mean
    var_v, var_t, covariance = variance(v, vv), variance(t, tt), vt - v * t
    bias = v - t + offset
    constant = (var_v == 0) | (var_t == 0)
    single = {
        "PCC": ratio(covariance, np.sqrt(var_v * var_t), constant),
        "CCC": ratio(2 * covariance, var_v + var_t + bias**2, constant),
        "RMSE": np.sqrt(np.maximum(vv + tt - 2 * vt + 2 * offset * (v - t) + offset**2, 0)),
        "1-MAE": 1 - distance,
    }
    each = {f"{metric}.{name}": rows[:, i] for metric, rows in single.items() for i, name in enumerate(names)}
    return {metric: rows.mean(axis=1) for metric, rows in single.items()} | (each if len(names) > 1 else {})


def variance(mean: Array, square: Array) -> Array:
    """Population variance from the means of value and square; rounding noise counts as 0."""
    spread = square - mean**2
    return np.where(spread > 1e-12 * square, spread, 0.0)


def ratio(above: Array, below: Array, constant: Array) -> Array:
    """``above / below``; 0 where a side is constant, which earns no correlation."""
    return np.divide(above, below, out=np.zeros_like(above), where=~constant)
