"""What each person's clips add to the metrics, so that persons can be drawn again without going over the clips again.

The metrics of ``mien.statistics.metrics`` are functions of sums over clips: a confusion matrix, or moments. Sums per subject are
made once; drawing subjects again (``mien.statistics.intervals``) then is one product of small matrices, whatever the number of
clips. The area under a ROC curve is no such function: there each draw goes over the sorted clips.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mien.statistics import metrics
from mien.statistics.metrics import Array

Measure = Callable[[Array], dict[str, Array]]
"""Sums (B, ...) of B sets of clips -> metrics by name, each (B,); NaN where a set has nothing to measure."""


class Sums(ABC):
    """What each subject adds, and how added sums become metrics."""

    @property
    @abstractmethod
    def groups(self) -> int:
        """Number of subjects."""

    @abstractmethod
    def weighted_metrics(self, counts: Array) -> dict[str, Array]:
        """Metrics of B sets in which subject g stands ``counts[b, g]`` times: (B, G) -> (B,) each."""


@dataclass(frozen=True)
class AddedSums(Sums):
    """Metrics that are functions of sums over clips."""

    parts: Array
    """What each of G subjects adds (G, ...)."""
    measure: Measure

    @property
    def groups(self) -> int:
        """Number of subjects."""
        return len(self.parts)

    def weighted_metrics(self, counts: Array) -> dict[str, Array]:
        flat = counts.astype(float) @ self.parts.reshape(len(self.parts), -1)
        return self.measure(flat.reshape(-1, *self.parts.shape[1:]))


def confusions(predictions: Array, targets: Array, names: Sequence[str], subjects: Array, count: int) -> AddedSums:
    """A confusion matrix per subject (G, C, C), rows are the truth."""
    classes = len(names)
    cells = (subjects * classes + targets) * classes + predictions
    parts = np.bincount(cells, minlength=count * classes**2).reshape(count, classes, classes)
    return AddedSums(parts, lambda counts: confusion_metrics(counts, names))


def confusion_metrics(counts: Array, names: Sequence[str]) -> dict[str, Array]:
    """Confusion matrices (B, C, C) -> WAR, UAR, F1_macro, F1_weighted and the recalls, as ``mien.statistics.metrics`` has them.

    Means over classes take those that occur in the truth of each matrix.
    """
    right, truth, said = np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=2), counts.sum(axis=1)  # B C
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = right / truth  # NaN where the class does not occur
        f1 = np.where(truth > 0, 2 * right / (truth + said), np.nan)
        found = {
            "WAR": right.sum(axis=1) / truth.sum(axis=1),
            "UAR": mean_over_classes(recall, truth),
            "F1_macro": mean_over_classes(f1, truth),
            "F1_weighted": np.nansum(f1 * truth, axis=1) / truth.sum(axis=1),
        }
    return found | {f"recall.{name}": recall[:, i] for i, name in enumerate(names)}


def mean_over_classes(shares: Array, truth: Array) -> Array:
    """Mean over the classes that occur, (B, C) -> (B,)."""
    return np.nansum(shares, axis=1) / (truth > 0).sum(axis=1)


def moments(predictions: Array, targets: Array, names: Sequence[str], subjects: Array, count: int) -> AddedSums:
    """Seven sums per subject and target (G, 7, K): clips, both values, both squares, product, distance.

    The values are centred first, so that variances do not drown in the square of the mean.
    """
    values, truth = metrics.centred(predictions), metrics.centred(targets)
    distance = np.abs(predictions - targets)
    terms = [np.ones_like(values), values, truth, values**2, truth**2, values * truth, distance]
    parts = np.zeros((count, len(terms), len(names)))
    np.add.at(parts, subjects, np.stack(terms, axis=1))
    offset = predictions.mean(axis=0) - targets.mean(axis=0)  # K
    return AddedSums(parts, lambda sums: moment_metrics(sums, offset, names))


def moment_metrics(sums: Array, offset: Array, names: Sequence[str]) -> dict[str, Array]:
    """Sums (B, 7, K) -> PCC, CCC, RMSE and 1-MAE as ``mien.statistics.metrics.regression`` has them, (B,) each.

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


class LabelSums(Sums):
    """Labels, whose area under the ROC curve is a matter of pairs of clips: each set goes over the sorted clips."""

    def __init__(
        self, predictions: Array, targets: Array, names: Sequence[str], subjects: Array, count: int,
        cells: int = 4_000_000,
    ) -> None:  # fmt: skip
        """Arguments as of ``confusions``; ``cells`` numbers are held at a time."""
        self.count, self.names, self.cells = count, names, cells
        self.columns = [sorted_column(*parts, subjects) for parts in zip(predictions.T, targets.T, strict=True)]

    @property
    def groups(self) -> int:
        """Number of subjects."""
        return self.count

    def weighted_metrics(self, counts: Array) -> dict[str, Array]:
        each = [self.label(column, counts) for column in self.columns]
        rows = {metric: np.stack([one[metric] for one in each], axis=1) for metric in metrics.LABEL_METRICS}  # B K
        parts = {f"{metric}.{name}": row[:, i] for metric, row in rows.items() for i, name in enumerate(self.names)}
        return {metric: mean_over_labels(row) for metric, row in rows.items()} | parts

    def label(self, column: tuple[Array, Array, Array], counts: Array) -> dict[str, Array]:
        """One label in all sets, a bounded number of cells at a time."""
        step = max(1, self.cells // max(len(column[0]), 1))
        pieces = [label_metrics(*column, counts[i : i + step]) for i in range(0, len(counts), step)]
        return {metric: np.concatenate([piece[metric] for piece in pieces]) for metric in pieces[0]}


def sorted_column(values: Array, truth: Array, subjects: Array) -> tuple[Array, Array, Array]:
    """Probabilities, whether yes, and the subject, of the clips whose label is known, in rising order (M,)."""
    known = np.flatnonzero(truth != metrics.UNKNOWN)
    order = known[np.argsort(values[known], kind="stable")]
    return values[order], truth[order] == 1, subjects[order]


def label_metrics(values: Array, yes: Array, subjects: Array, counts: Array) -> dict[str, Array]:
    """One label in B sets of subjects (B, G), as ``metrics.label`` has it, (B,) each."""
    weights = counts[:, subjects].astype(float)  # B M
    positive, negative = weights * yes, weights * ~yes
    p, n, said = positive.sum(axis=1), negative.sum(axis=1), values >= 0.5
    starts = np.flatnonzero(np.diff(values, prepend=-np.inf))  # clips of one probability are ties
    tied_p, tied_n = (np.add.reduceat(w, starts, axis=1) if len(starts) else w for w in (positive, negative))
    pairs = (tied_p * (np.cumsum(tied_n, axis=1) - 0.5 * tied_n)).sum(axis=1)
    right = positive[:, said].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = p / (p + n)
        found = (
            np.where(p > 0, 2 * right / (p + weights[:, said].sum(axis=1)), np.nan),
            np.where(p > 0, np.where(rate > 0.5, 2 * rate / (1 + rate), 0.0), np.nan),
            pairs / (p * n),
            np.where((p > 0) & (n > 0), 0.5, np.nan),
            (right + negative[:, ~said].sum(axis=1)) / (p + n),
            np.maximum(rate, 1 - rate),
            rate,
        )
    return dict(zip(metrics.LABEL_METRICS, found, strict=True))


def mean_over_labels(rows: Array) -> Array:
    """Mean over the labels that have the metric, (B, K) -> (B,); NaN where none has it."""
    known = ~np.isnan(rows)
    with np.errstate(invalid="ignore"):
        return np.where(known, rows, 0.0).sum(axis=1) / known.sum(axis=1)
