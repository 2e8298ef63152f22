"""How far a clip lies from the clips that a model was validated on, measured between statistics of what it computes.

Distance is Mahalanobis' (Lee et al. 2018), with a covariance shrunk as far as the number of clips demands (Ledoit and
Wolf 2004). The limit is a quantile of the distances of validation clips to those of *other* people, so that knowing a
face does not make it nearer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.covariance import LedoitWolf

from mien.statistics.metrics import Array

PARTS = 10
"""Parts of the validation people, each measured to the others."""


@dataclass(frozen=True)
class Density:
    """A Gaussian over the validation clips' features."""

    mean: Array
    """Mean (dim,)."""
    scale: Array
    """Deviation (dim,), by which features are divided."""
    precision: Array
    """Inverse of the shrunk covariance of scaled features (dim, dim)."""

    @classmethod
    def of(cls, tensors: dict[str, Array]) -> Density:
        """What ``tensors`` gave."""
        return cls(tensors["mean"], tensors["scale"], tensors["precision"])

    def tensors(self) -> dict[str, Array]:
        """Arrays by name, to be stored."""
        return {"mean": self.mean, "scale": self.scale, "precision": self.precision}

    def distance(self, features: ArrayLike) -> Array:
        """Features (N, dim) -> distance (N,) in standard deviations, of all directions together."""
        apart = (np.asarray(features, dtype=np.float64) - self.mean) / self.scale
        return np.sqrt(np.maximum(((apart @ self.precision) * apart).sum(axis=1), 0))


def fit(features: ArrayLike, groups: Sequence[object], quantile: float) -> tuple[Density, float]:
    """Features (N, dim) of validation clips and whom each shows -> density, and the limit at a quantile.

    Raises ``ValueError`` where all clips show the same person: there is nobody else to measure to.
    """
    require_several(groups)
    points = np.asarray(features, dtype=np.float64)
    numbers = np.unique([str(group) for group in groups], return_inverse=True)[1]
    found = np.empty(len(points))
    for part in np.array_split(np.unique(numbers), min(PARTS, numbers.max() + 1)):  # whole people are left out
        out = np.isin(numbers, part)
        found[out] = gaussian(points[~out]).distance(points[out])
    return gaussian(points), float(np.quantile(found, quantile))


def require_several(groups: Sequence[object]) -> None:
    """``ValueError`` unless there are two clips beside any one person's: there would be nobody to measure to."""
    if len({str(group) for group in groups}) < 2:
        raise ValueError(
            "all validation clips show one subject; feature density needs several: choose other clips, or correct the "
            "column subject"
        )
    others = len(groups) - max(Counter(map(str, groups)).values())
    if others < 2:
        raise ValueError(
            f"all validation clips but {others} show one subject; feature density needs more clips of others"
        )


def gaussian(points: Array) -> Density:
    """Points (N, dim) -> their density; what hardly varies is scaled as if it varied a little."""
    mean, scale = points.mean(axis=0), points.std(axis=0)
    scale = np.maximum(scale, 1e-3 * max(float(scale.max()), 1e-6))
    precision = np.asarray(LedoitWolf(assume_centered=True).fit((points - mean) / scale).get_precision())
    return Density(mean.astype(np.float32), scale.astype(np.float32), precision.astype(np.float32))
