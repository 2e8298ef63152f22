"""How far a clip lies from the clips that a model was validated on, measured between pooled features.

Distance is that to the k-th nearest validation clip on the unit sphere (Sun et al. 2022, "Out-of-distribution detection
with deep nearest neighbors"), which supposes no shape of the distribution. The limit is a quantile of what validation
clips are from those of *other* people, so that knowing a face does not make it nearer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.neighbors import NearestNeighbors

Array = NDArray[Any]

NEIGHBOURS = 10
"""Which nearest validation clip is measured to; of fewer clips a smaller one."""

MOST = 5000
"""Validation clips that are kept; of more, evenly spaced ones."""


@dataclass(frozen=True)
class Density:
    """The validation clips' features, to measure distances to."""

    features: Array
    """Unit vectors (N, dim), float32."""

    @classmethod
    def of(cls, tensors: dict[str, Array]) -> Density:
        """What ``tensors`` gave."""
        return cls(tensors["features"])

    def tensors(self) -> dict[str, Array]:
        """Arrays by name, to be stored."""
        return {"features": self.features}

    def distance(self, features: ArrayLike) -> Array:
        """Pooled features (N, dim) -> distance (N,) in [0, 2] to the k-th nearest validation clip."""
        return nearest(unit(features), self.features)


def fit(features: ArrayLike, groups: Sequence[object], quantile: float) -> tuple[Density, float]:
    """Pooled features (N, dim) of validation clips and whom each shows -> density, and the limit at a quantile.

    Raises ``ValueError`` where all clips show the same person: there is nobody else to measure to.
    """
    points, numbers = unit(features), np.unique([str(group) for group in groups], return_inverse=True)[1]
    chosen = np.unique(np.linspace(0, len(points) - 1, min(len(points), MOST)).round().astype(int))
    points, numbers = points[chosen], numbers[chosen]
    if numbers.max(initial=0) == 0:
        raise ValueError("all validation clips show one subject; feature density needs several")
    found = np.empty(len(points))
    for part in np.array_split(np.unique(numbers), min(20, numbers.max() + 1)):  # whole people are left out
        out = np.isin(numbers, part)
        found[out] = nearest(points[out], points[~out])
    return Density(points), float(np.quantile(found, quantile))


def nearest(points: Array, references: Array) -> Array:
    """Distance of points (N, dim) to their k-th nearest of references (M, dim)."""
    neighbours = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(references)), algorithm="brute").fit(references)
    return neighbours.kneighbors(points)[0][:, -1]


def unit(features: ArrayLike) -> Array:
    """Features (N, dim) scaled to length 1, float32; a zero vector stays."""
    points = np.asarray(features, dtype=np.float32)
    return points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
