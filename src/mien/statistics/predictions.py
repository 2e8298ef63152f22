"""What a model said about clips and what is true of them.

There is a leaf for each shape that the truth may have: one class per clip, values, or yes and no.
"""

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
class Answers(ABC):
    """N clips; made by ``answered``, which checks that all parts belong together. One leaf per shape of the truth."""

    predictions: Array
    """What the model says, as each leaf tells."""
    targets: Array
    """The truth, in the same shape."""
    names: tuple[str, ...]
    """Names of the classes, targets or labels."""
    subjects: Array
    """Who is seen in each clip, as whole numbers (N,)."""

    @property
    def people(self) -> int:
        """Number of different subjects."""
        return len(np.unique(self.subjects))

    def of(self, rows: Array) -> Self:
        """The answers of some clips: indices or a mask."""
        return replace(
            self, predictions=self.predictions[rows], targets=self.targets[rows], subjects=self.subjects[rows]
        )

    @abstractmethod
    def score(self) -> dict[str, float]:
        """The metrics of ``mien.statistics.metrics`` over all clips, those of each name too, as ``recall.anger``."""

    def absent(self) -> list[str]:
        """Names of which the truth has no clip to measure by."""
        return []

    def right(self) -> Array | None:
        """Whether each clip is right (N,); None where an answer is no matter of right and wrong."""
        return None

    def sums(self) -> Sums:
        """What each subject adds to the metrics, a subject per row."""
        _, subjects = np.unique(self.subjects, return_inverse=True)
        return self.added(subjects, int(subjects.max()) + 1)

    @abstractmethod
    def added(self, subjects: Array, count: int) -> Sums:
        """The same, for subjects numbered from 0 to ``count``."""

    def renamed(self, names: tuple[str, ...]) -> Self:
        """The same answers with their names in another order."""
        order = [self.names.index(name) for name in names]
        return replace(self, names=names, predictions=self.predictions[:, order], targets=self.targets[:, order])

    @classmethod
    @abstractmethod
    def columns(cls, outputs: Array, targets: Array, names: Sequence[str]) -> dict[str, Array]:
        """Outputs (N, names) and truth as the columns of a table of predictions."""

    @classmethod
    @abstractmethod
    def read(cls, cells: Callable[[str], list[str]], names: Sequence[str]) -> tuple[Array, Array]:
        """Predictions and truth from the columns of such a table; ``Cell`` names the cell that is neither."""


class Cell(ValueError):
    """A cell of a table that cannot be read: its row, counted from 0, and why."""

    def __init__(self, row: int, why: str) -> None:
        super().__init__(why)
        self.row, self.why = row, why


@dataclass(frozen=True)
class ClassAnswers(Answers):
    """Class indices (N,), predicted and true."""

    def score(self) -> dict[str, float]:
        recalls = metrics.recalls(self.predictions, self.targets, self.names)
        marks = metrics.classification(self.predictions, self.targets, self.names)
        return marks | {f"recall.{name}": value for name, value in recalls.items()}

    def absent(self) -> list[str]:
        return metrics.absent(self.targets, self.names)

    def right(self) -> Array:
        return self.predictions == self.targets

    def added(self, subjects: Array, count: int) -> Sums:
        return confusions(self.predictions, self.targets, self.names, subjects, count)

    def renamed(self, names: tuple[str, ...]) -> ClassAnswers:
        place = np.argsort([self.names.index(name) for name in names])  # the index that each class gets
        return replace(self, names=names, predictions=place[self.predictions], targets=place[self.targets])

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
                    raise Cell(row, f"{column} {cell!r} is none of {', '.join(names)}")
            found.append(np.array([index[cell] for cell in cells(column)]))
        return found[0], found[1]


@dataclass(frozen=True)
class ValueAnswers(Answers):
    """Values (N, K), predicted and true."""

    def score(self) -> dict[str, float]:
        return metrics.regression(self.predictions, self.targets, self.names)

    def added(self, subjects: Array, count: int) -> Sums:
        return moments(self.predictions, self.targets, self.names, subjects, count)

    @classmethod
    def columns(cls, outputs: Array, targets: Array, names: Sequence[str]) -> dict[str, Array]:
        found = {name: outputs[:, i] for i, name in enumerate(names)}
        return found | {f"{name}_truth": targets[:, i] for i, name in enumerate(names)}

    @classmethod
    def read(cls, cells: Callable[[str], list[str]], names: Sequence[str]) -> tuple[Array, Array]:
        stacks = [[numbers(name + end, cells(name + end)) for name in names] for end in ("", "_truth")]
        return np.stack(stacks[0], axis=1), np.stack(stacks[1], axis=1)


@dataclass(frozen=True)
class LabelAnswers(Answers):
    """Probabilities of yes (N, K), and 1, 0 or ``metrics.UNKNOWN`` (N, K)."""

    def score(self) -> dict[str, float]:
        return metrics.labels(self.predictions, self.targets, self.names)

    def absent(self) -> list[str]:
        return [n for n, column in zip(self.names, self.targets.T, strict=True) if not {0, 1} <= set(column.tolist())]

    def added(self, subjects: Array, count: int) -> Sums:
        return LabelSums(self.predictions, self.targets, self.names, subjects, count)

    @classmethod
    def columns(cls, outputs: Array, targets: Array, names: Sequence[str]) -> dict[str, Array]:
        truth = np.where(targets == metrics.UNKNOWN, "", targets.astype(str)).astype(object)
        return ValueAnswers.columns(outputs, truth, names)

    @classmethod
    def read(cls, cells: Callable[[str], list[str]], names: Sequence[str]) -> tuple[Array, Array]:
        known = {f"{name}_truth": [cell or str(metrics.UNKNOWN) for cell in cells(f"{name}_truth")] for name in names}
        return ValueAnswers.read(lambda column: known.get(column) or cells(column), names)


def numbers(column: str, cells: Sequence[str]) -> Array:
    """Cells of a column as finite numbers (N,); ``Cell`` for the first that is none."""
    found = np.array([number(cell) for cell in cells])
    odd = np.flatnonzero(~np.isfinite(found))
    if len(odd):
        raise Cell(int(odd[0]), f"{column} {cells[odd[0]]!r} is not a finite number")
    return found


def number(text: str) -> float:
    """A cell as a number; NaN for anything else."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def classified(
    predictions: ArrayLike, targets: ArrayLike, names: Sequence[str], subjects: ArrayLike | None = None
) -> ClassAnswers:
    """Probabilities (N, C) or class indices (N,), true indices (N,) and, if known, the subject of each clip (N,).

    Without ``subjects`` every clip stands for itself. Raises ``ValueError`` as ``metrics.classification`` does, and
    where the subjects are not as many as the clips.
    """
    decided, truth = metrics.decided(predictions, targets, names)
    return ClassAnswers(decided, truth, tuple(names), numbered(subjects, len(truth)))


def valued(
    predictions: ArrayLike, targets: ArrayLike, names: Sequence[str], subjects: ArrayLike | None = None
) -> ValueAnswers:
    """Values (N, K), true values (N, K) and, if known, the subject of each clip (N,).

    Raises ``ValueError`` as ``metrics.regression`` does, and where the subjects are not as many as the clips.
    """
    metrics.regression(predictions, targets, names)  # checks shapes and numbers
    values, truth = np.asarray(predictions, dtype=float), np.asarray(targets, dtype=float)
    return ValueAnswers(values, truth, tuple(names), numbered(subjects, len(truth)))


def labelled(
    predictions: ArrayLike, targets: ArrayLike, names: Sequence[str], subjects: ArrayLike | None = None
) -> LabelAnswers:
    """Probabilities of yes (N, K), truth (N, K) as 1, 0 or unknown and, if known, the subject of each clip (N,).

    Raises ``ValueError`` as ``metrics.labels`` does, and where the subjects are not as many as the clips.
    """
    values, truth = metrics.judged(predictions, targets, names)
    return LabelAnswers(values, truth, tuple(names), numbered(subjects, len(truth)))


LEAVES: dict[str, type[Answers]] = {"classes": ClassAnswers, "values": ValueAnswers, "labels": LabelAnswers}
"""What ``Outputs.answers`` may name."""


def answered(
    outputs: Outputs,
    predictions: ArrayLike,
    targets: ArrayLike,
    names: Sequence[str],
    subjects: ArrayLike | None = None,
) -> Answers:
    """Outputs (N, names) of a task and the truth -> its answers; ``ValueError`` where they do not belong together."""
    make = {"classes": classified, "values": valued, "labels": labelled}[outputs.answers]
    return make(predictions, targets, names, subjects)


def numbered(subjects: ArrayLike | None, clips: int) -> Array:
    """Subjects by any name -> whole numbers (N,) in the order of the names; None gives each clip its own."""
    if subjects is None:
        return np.arange(clips)
    given = np.asarray(subjects)
    if given.shape != (clips,):
        raise ValueError(f"subjects {given.shape} for {clips} clips: each clip needs one subject")
    names = given if np.issubdtype(given.dtype, np.number) else given.astype(str)
    return np.unique(names, return_inverse=True)[1]
