"""What can be said of clips after calibration: values, and beside them sets or intervals that hold the truth; how far off
probabilities are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mien.statistics.metrics import UNKNOWN, Array

BINS = 15
"""Bins of the expected calibration error, as in Guo et al. 2017."""
SEPARATOR = "|"
"""Between the members of a set in a table."""


@dataclass(frozen=True)
class Calibrated(ABC):
    """Calibrated values of N clips; what is plausible beside them is a leaf's."""

    values: Array
    """Calibrated probabilities, or the values as they were (N, names)."""

    text: ClassVar[bool]
    """Whether the cells of ``cells`` are words; otherwise numbers."""

    @staticmethod
    @abstractmethod
    def column_names(names: Sequence[str]) -> tuple[str, ...]:
        """Columns of a table of windows beside those of the values."""

    @abstractmethod
    def cells(self, row: int, names: Sequence[str]) -> Mapping[str, object]:
        """What stands in these columns of a clip."""

    @abstractmethod
    def covers(self, targets: ArrayLike) -> Array:
        """Whether the truth lies in the sets or intervals, (N,) or (N, names)."""

    @abstractmethod
    def size(self) -> Array:
        """How large the sets or intervals are, (N,) or (N, names)."""

    @abstractmethod
    def summary(self, targets: Array, rows: Array, names: Sequence[str]) -> dict[str, float]:
        """Coverage of some clips as a share, and how large sets or intervals are."""

    @abstractmethod
    def columns(self, targets: Array, names: Sequence[str]) -> Mapping[str, object]:
        """A table of all clips: values, what is plausible, whether it holds the truth."""

    @abstractmethod
    def to_json(self, row: int, names: Sequence[str]) -> Mapping[str, object]:
        """What is plausible of a clip, for programs."""

    @abstractmethod
    def describe(self, row: int, names: Sequence[str], coverage: float) -> tuple[dict[str, str], str]:
        """The same for a person: a text per name, as far as there is one, and a sentence."""


@dataclass(frozen=True)
class ClassSets(Calibrated):
    """A set of classes per clip."""

    sets: Array
    """Whether each class is in the set (N, names); a row without any says that no class is plausible."""

    text = True

    @staticmethod
    def column_names(names: Sequence[str]) -> tuple[str, ...]:
        return ("prediction_set",)

    def cells(self, row: int, names: Sequence[str]) -> Mapping[str, str]:
        return {"prediction_set": SEPARATOR.join(self.members(row, names))}

    def members(self, row: int, names: Sequence[str]) -> list[str]:
        """The classes in a set."""
        return [name for name, inside in zip(names, self.sets[row], strict=True) if inside]

    def covers(self, targets: ArrayLike) -> Array:
        truth = np.asarray(targets)
        return self.sets[np.arange(len(truth)), truth]

    def size(self) -> Array:
        """Classes in each set (N,)."""
        return self.sets.sum(axis=1)

    def summary(self, targets: Array, rows: Array, names: Sequence[str]) -> dict[str, float]:
        covered, size = self.covers(targets)[rows], self.size()[rows]
        return {"coverage": covered.mean(), "set_size": size.mean(), "empty_sets": (size == 0).mean()}

    def columns(self, targets: Array, names: Sequence[str]) -> Mapping[str, object]:
        sets = [SEPARATOR.join(self.members(row, names)) for row in range(len(self.sets))]
        values = {name: self.values[:, i] for i, name in enumerate(names)}
        return values | {"set": sets, "covered": self.covers(targets)}

    def to_json(self, row: int, names: Sequence[str]) -> Mapping[str, object]:
        return {"set": self.members(row, names)}

    def describe(self, row: int, names: Sequence[str], coverage: float) -> tuple[dict[str, str], str]:
        return {}, f"{coverage:.0%} set: {', '.join(self.members(row, names)) or 'empty, no label is plausible'}"


@dataclass(frozen=True)
class ValueIntervals(Calibrated):
    """An interval around each value."""

    lower: Array
    """Lower ends (N, names)."""
    upper: Array
    """Upper ends (N, names)."""

    text = False

    @staticmethod
    def column_names(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(f"{name}_{end}" for name in names for end in ("lower", "upper"))

    def cells(self, row: int, names: Sequence[str]) -> Mapping[str, object]:
        ends = np.stack([self.lower[row], self.upper[row]], axis=1).astype(np.float32)
        return dict(zip(self.column_names(names), ends.ravel(), strict=True))

    def covers(self, targets: ArrayLike) -> Array:
        truth = np.asarray(targets)
        return (self.lower <= truth) & (truth <= self.upper)

    def size(self) -> Array:
        """Widths (N, names)."""
        return self.upper - self.lower

    def summary(self, targets: Array, rows: Array, names: Sequence[str]) -> dict[str, float]:
        covered, width = self.covers(targets)[rows].mean(axis=0), self.size()[rows].mean(axis=0)
        shares = {f"coverage.{n}": float(v) for n, v in zip(names, covered, strict=True)}
        return shares | {f"width.{n}": float(v) for n, v in zip(names, width, strict=True)}

    def columns(self, targets: Array, names: Sequence[str]) -> Mapping[str, object]:
        found, covered = {}, self.covers(targets)
        for i, name in enumerate(names):
            found |= {name: self.values[:, i], f"{name}_lower": self.lower[:, i], f"{name}_upper": self.upper[:, i]}
            found[f"{name}_covered"] = covered[:, i]
        return found

    def to_json(self, row: int, names: Sequence[str]) -> Mapping[str, object]:
        return {"intervals": dict(zip(names, self.ends(row), strict=True))}

    def ends(self, row: int) -> Iterator[tuple[float, float]]:
        """Both ends of a clip's intervals."""
        return zip(self.lower[row].tolist(), self.upper[row].tolist(), strict=True)

    def describe(self, row: int, names: Sequence[str], coverage: float) -> tuple[dict[str, str], str]:
        texts = {n: f"{low:.4f} to {high:.4f}" for n, (low, high) in zip(names, self.ends(row), strict=True)}
        return texts, f"intervals hold the truth of {coverage:.0%} of such clips"


@dataclass(frozen=True)
class LabelSets(Calibrated):
    """A set of answers per label: no, yes, both, or neither."""

    sets: Array
    """Whether no, and whether yes, is plausible (N, names, 2)."""

    text = True

    @staticmethod
    def column_names(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(f"{name}_set" for name in names)

    def cells(self, row: int, names: Sequence[str]) -> Mapping[str, str]:
        return dict(zip(self.column_names(names), map(label_set_text, self.sets[row]), strict=True))

    def covers(self, targets: ArrayLike) -> Array:
        """1, 0 or, where the truth is not known, NaN (N, names)."""
        truth = np.asarray(targets)
        inside = np.where(truth == 1, self.sets[..., 1], self.sets[..., 0])
        return np.where(truth == UNKNOWN, np.nan, inside)

    def size(self) -> Array:
        """Answers in each set (N, names)."""
        return self.sets.sum(axis=2)

    def summary(self, targets: Array, rows: Array, names: Sequence[str]) -> dict[str, float]:
        covered, truth, size = self.covers(targets)[rows], targets[rows], self.size()[rows]
        shares = [covered[truth == answer] for answer in (1, 0)]
        found = {
            f"coverage_{n}": float(s.mean()) if len(s) else np.nan for n, s in zip(("yes", "no"), shares, strict=True)
        }
        return found | {"undecided": float((size == 2).mean()), "empty_sets": float((size == 0).mean())}

    def columns(self, targets: Array, names: Sequence[str]) -> Mapping[str, object]:
        found, covered = {}, self.covers(targets)
        for i, name in enumerate(names):
            found |= {name: self.values[:, i], f"{name}_set": [label_set_text(one) for one in self.sets[:, i]]}
            found[f"{name}_covered"] = [None if np.isnan(one) else bool(one) for one in covered[:, i]]
        return found

    def to_json(self, row: int, names: Sequence[str]) -> Mapping[str, object]:
        return {
            "sets": dict(
                zip(
                    names,
                    (label_set_text(one).split(SEPARATOR) if one.any() else [] for one in self.sets[row]),
                    strict=True,
                )
            )
        }

    def describe(self, row: int, names: Sequence[str], coverage: float) -> tuple[dict[str, str], str]:
        texts = {
            n: label_set_text(one).replace(SEPARATOR, " or ") or "neither"
            for n, one in zip(names, self.sets[row], strict=True)
        }
        return texts, f"these sets hold yes in {coverage:.0%} of such clips where it is true, and no likewise"


def label_set_text(plausible: Array) -> str:
    """(no, yes) as a cell: no, yes, no|yes, or nothing."""
    return SEPARATOR.join(name for name, inside in zip(("no", "yes"), plausible, strict=True) if inside)


def top_class(probabilities: ArrayLike, targets: ArrayLike) -> tuple[Array, Array]:
    """Probabilities (N, C) and class indices (N,) -> the largest probability, and whether it is the truth's (N,)."""
    values, truth = np.asarray(probabilities, dtype=float), np.asarray(targets)
    return values.max(axis=1), values.argmax(axis=1) == truth


@dataclass(frozen=True)
class Bins:
    """Answers by how sure the model was, in equal steps from 0 to 1; bins without any are left out."""

    confidence: Array
    """Mean probability."""
    accuracy: Array
    """Share that is right."""
    count: Array
    """Number of answers."""


def reliability_bins(confidence: ArrayLike, right: ArrayLike, bins: int = BINS) -> Bins:
    """How sure each answer is, and whether it is right (M,) -> confidence and accuracy per bin."""
    sure, truth = np.asarray(confidence, dtype=float), np.asarray(right)
    number = np.minimum((sure * bins).astype(int), bins - 1)
    count = np.bincount(number, minlength=bins)
    sums = [np.bincount(number, weights=w, minlength=bins)[count > 0] for w in (sure, truth)]
    count = count[count > 0]
    return Bins(sums[0] / count, sums[1] / count, count)


def calibration_error(confidence: ArrayLike, right: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error (Guo et al. 2017, eq. 3): mean distance of confidence and accuracy, in [0, 1].

    Of few clips it is too large even for a perfect model: 15 bins of 100 clips give about 0.1. NaN of none.
    """
    found = reliability_bins(confidence, right, bins)
    if not len(found.count):
        return float("nan")
    return float((np.abs(found.confidence - found.accuracy) * found.count).sum() / found.count.sum())
