"""Conformal quantiles: the limit of a score below which the truth of new clips lies as often as asked.

Vovk et al. 2005; Angelopoulos and Bates 2023. It holds as far as new clips are like those that the scores are of.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.statistics.metrics import Array


def threshold(scores: ArrayLike, coverage: float) -> NDArray[np.float64]:
    """The conformal quantile of scores (N,) or, per column, (N, K): the ceil((N + 1) * coverage)-th smallest.

    A new score is at most this with at least that probability. Raises ``ValueError`` where N is too small for it.
    """
    ordered = np.sort(np.asarray(scores, dtype=float), axis=0)
    require_share(coverage)
    require_enough(len(ordered), coverage)
    return ordered[quantile_index(len(ordered), coverage), ...]  # an array also of (N,)


def quantile(scores: Array, coverage: float) -> float:
    """The same of scores (M,) in rising order; infinite where M is too small for it."""
    return float(scores[quantile_index(len(scores), coverage)]) if len(scores) >= min_clips(coverage) else math.inf


def quantile_index(clips: int, coverage: float) -> int:
    """Place of the conformal quantile among so many scores in rising order, counted from 0."""
    return math.ceil((clips + 1) * coverage - 1e-9) - 1


def min_clips(coverage: float) -> int:
    """Clips that a conformal quantile needs."""
    return math.ceil(coverage / (1 - coverage) - 1e-9)


def require_share(coverage: float) -> None:
    """A coverage is a share between 0 and 1."""
    if not 0 < coverage < 1:
        raise ValueError(f"coverage is {coverage}: it must lie between 0 and 1")


def require_enough(clips: int, coverage: float) -> None:
    """``ValueError`` where no set or interval can hold a share ``coverage``, for want of validation clips."""
    if clips < min_clips(coverage):
        raise ValueError(
            f"a coverage of {coverage:g} needs at least {min_clips(coverage)} validation clips, there are {clips}; take more clips "
            f"or a lower --coverage"
        )
