"""Predictions of clips beside the truth: a class for each form of label, which is one class per clip, values, or yes and no."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from mien.interfaces import Outputs
from mien.statistics import metrics
from mien.statistics.metrics import Array
from mien.statistics.sums import LabelSums, Sums, confusions, moments


@dataclass(frozen=True)
class Predictions(ABC):
    """Predictions and truth of N clips; made by ``predictions_of``, which checks that they belong together."""

    predicted: Array
    """What the model predicts, in the shape that each subclass names."""
    targets: Array
    """The truth, in the same shape."""
    names: tuple[str, ...]
    """Names of the classes, targets or labels."""
    subjects: Array
    """Who is seen in each clip, as whole numbers (N,)."""

    @property
    def subject_count(self) -> int:
        """Number of different subjects."""
        return len(np.unique(self.subjects))

    def select(self, rows: Array) -> Self:
        """The predictions of some clips: indices or a mask."""
        return replace(self, predicted=self.predicted[rows], targets=self.targets[rows], subjects=self.subjects[rows])

    @abstractmethod
    def score(self) -> dict[str, float]:
        """The metrics of ``mien.statistics.metrics`` over all clips, those of each name too, as ``recall.anger``."""

    def absent(self) -> list[str]:
        """Names of which the truth has no clip to measure by."""
        return []

    def correct(self) -> Array | None:
        """Whether each clip is classified correctly (N,); None where predictions are not classes."""
        return None

    def sums(self) -> Sums:
        """The sums that the metrics are made of, a subject per row."""
        _, subjects = np.unique(self.subjects, return_inverse=True)
        return self.sums_by(subjects, int(subjects.max()) + 1)

    @abstractmethod
    def sums_by(self, subjects: Array, count: int) -> Sums:
        """``sums`` for subjects (N,) numbered from 0 to ``count``."""

    def renamed(self, names: tuple[str, ...]) -> Self:
        """The same predictions with their names in another order."""
        order = [self.names.index(name) for name in names]
        return replace(self, names=names, predicted=self.predicted[:, order], targets=self.targets[:, order])

    @classmethod
    @abstractmethod
    def columns(cls, outputs: Array, targets: Array, names: Sequence[str]) -> dict[str, Array]:
        """Outputs (N, names) and truth as the columns of a table of predictions."""

    @classmethod
    @abstractmethod
    def read(cls, cells: Callable[[str], list[str]], names: Sequence[str]) -> tuple[Array, Array]:
        """Predictions and truth from the columns of such a table; ``CellError`` names the cell that is neither."""


class CellError(ValueError):
    """A cell of a table that cannot be parsed: its row, counted from 0, and why."""

    def __init__(self, row: int, why: str) -> None:
        super().__init__(why)
        self.row, self.why = row, why


@dataclass(frozen=True)
class ClassPredictions(Predictions):
    """Class indices (N,), predicted and true."""

    def score(self) -> dict[str, float]:
        recalls = metrics.recalls(self.predicted, self.targets, self.names)
        return metrics.classification(self.predicted, self.targets, self.names) | {
            f"recall.{name}": value for name, value in recalls.items()
        }

    def absent(self) -> list[str]:
        return metrics.absent_classes(self.targets, self.names)

    def correct(self) -> Array:
        return self.predicted == self.targets

    def sums_by(self, subjects: Array, count: int) -> Sums:
        return confusions(self.predicted, self.targets, self.names, subjects, count)

    def renamed(self, names: tuple[str, ...]) -> ClassPredictions:
        place = np.argsort([self.names.index(name) for name in names])  # the index that each class gets
        return replace(self, names=names, predicted=place[self.predicted], targets=place[self.targets])

    @classmethod
    def columns(cls, outputs: Array, targets: Array, names: Sequence[str]) -> dict[str, Array]:
        named = np.asarray(names, dtype=object)
        found = {"truth": named[targets], "predicted": named[outputs.argmax(1)]}
        return found | {name: outputs[:, i] for i, name in enumerate(names)}

    @classmethod
    def read(cls, cells: Callable[[str], list[str]], names: Sequence[str]) -> tuple[Array, Array]:
        index = {name: i for i, name in enumerate(names)}
        found = []
        for column in ("predicted", "truth"):
            for row, cell in enumerate(cells(column)):
                if cell not in index:
                    raise CellError(row, f"{column} {cell!r} is none of {', '.join(names)}")
            found.append(np.array([index[cell] for cell in cells(column)]))
        return found[0], found[1]


@dataclass(frozen=True)
class ValuePredictions(Predictions):
    """Values (N, K), predicted and true."""

    def score(self) -> dict[str, float]:
        return metrics.regression(self.predicted, self.targets, self.names)

    def sums_by(self, subjects: Array, count: int) -> Sums:
        return moments(self.predicted, self.targets, self.names, subjects, count)

    @classmethod
    def columns(cls, outputs: Array, targets: Array, names: Sequence[str]) -> dict[str, Array]:
        found = {name: outputs[:, i] for i, name in enumerate(names)}
        return found | {f"{name}_truth": targets[:, i] for i, name in enumerate(names)}

    @classmethod
    def read(cls, cells: Callable[[str], list[str]], names: Sequence[str]) -> tuple[Array, Array]:
        stacks = [[numbers(name + end, cells(name + end)) for name in names] for end in ("", "_truth")]
        return np.stack(stacks[0], axis=1), np.stack(stacks[1], axis=1)


@dataclass(frozen=True)
class LabelPredictions(Predictions):
    """Probabilities of yes (N, K), and 1, 0 or ``metrics.UNKNOWN`` (N, K)."""

    def score(self) -> dict[str, float]:
        return metrics.labels(self.predicted, self.targets, self.names)

    def absent(self) -> list[str]:
        return [n for n, column in zip(self.names, self.targets.T, strict=True) if not {0, 1} <= set(column.tolist())]

    def sums_by(self, subjects: Array, count: int) -> Sums:
        return LabelSums(self.predicted, self.targets, self.names, subjects, count)

    @classmethod
    def columns(cls, outputs: Array, targets: Array, names: Sequence[str]) -> dict[str, Array]:
        truth = np.where(targets == metrics.UNKNOWN, "", targets.astype(str)).astype(object)
        return ValuePredictions.columns(outputs, truth, names)

    @classmethod
    def read(cls, cells: Callable[[str], list[str]], names: Sequence[str]) -> tuple[Array, Array]:
        known = {f"{name}_truth": [cell or str(metrics.UNKNOWN) for cell in cells(f"{name}_truth")] for name in names}
        return ValuePredictions.read(lambda column: known.get(column) or cells(column), names)


def numbers(column: str, cells: Sequence[str]) -> Array:
    """Cells of a column as finite numbers (N,); ``CellError`` for the first that is none."""
    found = np.array([parse_number(cell) for cell in cells])
    odd = np.flatnonzero(~np.isfinite(found))
    if len(odd):
        raise CellError(int(odd[0]), f"{column} {cells[odd[0]]!r} is not a finite number")
    return found


def parse_number(text: str) -> float:
    """A cell as a number; NaN for anything else."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def class_predictions(
    predictions: ArrayLike, targets: ArrayLike, names: Sequence[str], subjects: ArrayLike | None = None
) -> ClassPredictions:
    """Probabilities (N, C) or class indices (N,), true indices (N,) and, if known, the subject of each clip (N,).

    Without ``subjects`` every clip stands for itself. Raises ``ValueError`` as ``metrics.classification`` does, and
    where the subjects are not as many as the clips.
    """
    decided, truth = metrics.class_indices(predictions, targets, names)
    return ClassPredictions(decided, truth, tuple(names), subject_codes(subjects, len(truth)))


def value_predictions(
    predictions: ArrayLike, targets: ArrayLike, names: Sequence[str], subjects: ArrayLike | None = None
) -> ValuePredictions:
    """Values (N, K), true values (N, K) and, if known, the subject of each clip (N,).

    Raises ``ValueError`` as ``metrics.regression`` does, and where the subjects are not as many as the clips.
    """
    metrics.regression(predictions, targets, names)  # checks shapes and numbers
    values, truth = np.asarray(predictions, dtype=float), np.asarray(targets, dtype=float)
    return ValuePredictions(values, truth, tuple(names), subject_codes(subjects, len(truth)))


def label_predictions(
    predictions: ArrayLike, targets: ArrayLike, names: Sequence[str], subjects: ArrayLike | None = None
) -> LabelPredictions:
    """Probabilities of yes (N, K), truth (N, K) as 1, 0 or unknown and, if known, the subject of each clip (N,).

    Raises ``ValueError`` as ``metrics.labels`` does, and where the subjects are not as many as the clips.
    """
    values, truth = metrics.checked_labels(predictions, targets, names)
    return LabelPredictions(values, truth, tuple(names), subject_codes(subjects, len(truth)))


LEAVES: dict[str, type[Predictions]] = {
    "classes": ClassPredictions,
    "values": ValuePredictions,
    "labels": LabelPredictions,
}
"""What ``Outputs.form`` may name."""


def predictions_of(
    outputs: Outputs,
    predictions: ArrayLike,
    targets: ArrayLike,
    names: Sequence[str],
    subjects: ArrayLike | None = None,
) -> Predictions:
    """Outputs (N, names) of a task and the truth -> its predictions; ``ValueError`` where they do not belong together."""
    make = {"classes": class_predictions, "values": value_predictions, "labels": label_predictions}[outputs.form]
    return make(predictions, targets, names, subjects)


def subject_codes(subjects: ArrayLike | None, clips: int) -> Array:
    """Subjects by any name -> whole numbers (N,) in the order of the names; None gives each clip its own."""
    if subjects is None:
        return np.arange(clips)
    given = np.asarray(subjects)
    if given.shape != (clips,):
        raise ValueError(f"subjects {given.shape} for {clips} clips: each clip needs one subject")
    names = given if np.issubdtype(given.dtype, np.number) else given.astype(str)
    return np.unique(names, return_inverse=True)[1]
