"""How sure a metric is: intervals by drawing subjects again, comparisons of two runs, folds, subgroups.

Clips of one person are alike, so drawing clips again promises more than the data hold: subjects are drawn, with all
their clips. Intervals are bootstrap percentiles, moved out for few subjects (Hesterberg 2015, The American
Statistician 69, section 5.2: at 24 actors a plain 95 % percentile interval is one of about 93 %).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from mien.statistics.metrics import Array
from mien.statistics.predictions import Predictions, subject_codes

RESAMPLES, LEVEL = 2000, 0.95


@dataclass(frozen=True)
class Interval:
    """A metric and between what bounds it lies at the chosen level; the bounds are NaN for an absent class and in a
    subgroup of too few subjects."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference(Interval):
    """First run minus second, and how likely a difference at least as large is by the choice of subjects alone."""

    p: float
    """Two-sided; below 0.05 exactly where the 95 % interval leaves out 0."""


def intervals(
    predictions: Predictions, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> dict[str, Interval]:
    """Every metric of ``predictions.score()`` with its interval, clustered by subject.

    Means over classes take, in each draw, the classes that occur in it. Fewer subjects than ``min_subjects``, fewer than two
    resamples or a level outside (0, 1) raise ``ValueError``.
    """
    require_enough_subjects(predictions.subject_count, resamples, level)
    values, drawn = bootstrap_metrics(predictions, resamples, seed)
    return {
        name: percentile_interval(value, drawn[name], predictions.subject_count, level)
        for name, value in values.items()
    }


def differences(
    first: Predictions, second: Predictions, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> dict[str, Difference]:
    """First minus second in every metric, both evaluated on the same draws of subjects.

    A run compared with itself differs by exactly 0. Answers that are not about the same clips, in the same order with
    the same truth, names and subjects, raise ``ValueError``.
    """
    require_paired(first, second)
    require_enough_subjects(first.subject_count, resamples, level)
    (values, drawn), (others, also) = (
        bootstrap_metrics(first, resamples, seed),
        bootstrap_metrics(second, resamples, seed),
    )
    found = {}
    for name, value in values.items():
        apart = drawn[name] - also[name]
        bounds = percentile_interval(value - others[name], apart, first.subject_count, level)
        found[name] = Difference(bounds.value, bounds.low, bounds.high, p_value(apart, first.subject_count))
    return found


def require_paired(first: Predictions, second: Predictions) -> None:
    """Both runs answer the same questions."""
    if first.names != second.names or type(first) is not type(second):
        raise ValueError(f"the runs name {', '.join(first.names)} and {', '.join(second.names)}: no pair")
    if first.targets.shape != second.targets.shape:
        raise ValueError(f"the runs hold {len(first.targets)} and {len(second.targets)} clips: no pair")
    differ = np.flatnonzero((first.targets != second.targets).reshape(len(first.targets), -1).any(axis=1))
    if len(differ):
        raise ValueError(f"the truth differs in {len(differ)} clips, first in number {differ[0]}: no pair")
    if not np.array_equal(first.subjects, second.subjects):
        raise ValueError("the runs name other subjects for the same clips: no pair")


def bootstrap(
    metric: Callable[[Array], Mapping[str, float]],
    subjects: ArrayLike,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> dict[str, Interval]:
    """Intervals of anything that is a function of clips, in a plain loop: ``metric`` takes row numbers (M,).

    ``subjects`` (N,) says whose each clip is. The draws are those of ``intervals`` with the same seed.
    """
    given = np.asarray(subjects)
    codes = subject_codes(given, len(given))
    members = [np.flatnonzero(codes == code) for code in range(int(codes.max(initial=-1)) + 1)]
    require_enough_subjects(len(members), resamples, level)
    found = [
        metric(np.concatenate([rows for rows, times in zip(members, row, strict=True) for _ in range(times)]))
        for counts in bootstrap_counts(len(members), resamples, seed)
        for row in counts
    ]
    whole = metric(np.arange(len(given)))
    return {
        n: percentile_interval(v, np.array([one[n] for one in found]), len(members), level) for n, v in whole.items()
    }


def bootstrap_metrics(predictions: Predictions, resamples: int, seed: int) -> tuple[dict[str, float], dict[str, Array]]:
    """Every metric of all clips, and in every draw of subjects, (resamples,) each."""
    sums = predictions.sums()
    groups = sums.groups
    pieces = [sums.weighted_metrics(counts) for counts in bootstrap_counts(groups, resamples, seed)]
    values = {name: float(whole[0]) for name, whole in sums.weighted_metrics(np.ones((1, groups))).items()}
    return values, {name: np.concatenate([piece[name] for piece in pieces]) for name in values}


def min_subjects(level: float = LEVEL) -> int:
    """Subjects that an interval needs: even the whole range of n persons holds the median one with 1 - 2^(1 - n) only.

    That is six for 95 %.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}: a share of all samples lies between 0 and 1, as 0.95")
    return max(2, math.ceil(1 - math.log2(1 - level)))


def require_enough_subjects(groups: int, resamples: int, level: float) -> None:
    """Enough subjects to draw from, often enough."""
    if groups < min_subjects(level):
        raise ValueError(f"{groups} subjects: an interval of {level:.0%} needs at least {min_subjects(level)}")
    if resamples < 2:
        raise ValueError(f"resamples is {resamples}: an interval needs at least two, better {RESAMPLES}")


def bootstrap_counts(groups: int, resamples: int, seed: int) -> Iterator[Array]:
    """How often each group stands in each draw with replacement: (b, groups) at a time, ``resamples`` in all."""
    random = np.random.default_rng(seed)
    rows = max(1, 2_000_000 // groups)
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        picks = random.integers(groups, size=(size, groups)) + groups * np.arange(size)[:, None]
        yield np.bincount(picks.ravel(), minlength=size * groups).reshape(size, groups)


def percentile_interval(value: float, drawn: Array, groups: int, level: float) -> Interval:
    """The bounds of a metric from its draws (B,), of which those without a value are left out."""
    kept = drawn[np.isfinite(drawn)]
    if not len(kept) or not np.isfinite(value):
        return Interval(float(value), np.nan, np.nan)
    tail = float(stats.norm.cdf(np.sqrt(groups / (groups - 1)) * stats.t.ppf((1 - level) / 2, groups - 1)))
    low, high = np.quantile(kept, [tail, 1 - tail])
    return Interval(float(value), float(low), float(high))


def p_value(drawn: Array, groups: int) -> float:
    """The p at which the bounds of ``percentile_interval`` would touch 0."""
    kept = drawn[np.isfinite(drawn)]
    if not len(kept):
        return float("nan")
    below, above = ((1 + count) / (1 + len(kept)) for count in ((kept <= 0).sum(), (kept >= 0).sum()))
    return p_of_share(min(below, above, 0.5), groups)


def p_of_share(share: float, groups: int) -> float:
    """The two-sided p of a share of draws on the wrong side of 0, with the allowance for few subjects of ``percentile_interval``."""
    return float(2 * stats.t.cdf(stats.norm.ppf(share) * math.sqrt((groups - 1) / groups), groups - 1))


@dataclass(frozen=True)
class McNemar:
    """Clips that only one of two runs got right, and whether they are unevenly many (McNemar 1947)."""

    first_only: int
    second_only: int
    p: float
    """Two-sided. Takes clips as independent: where subjects have many clips, believe the clustered difference."""
    exact: bool
    """Binomial; otherwise chi-square with continuity correction (Edwards 1948)."""


def mcnemar(first_right: ArrayLike, second_right: ArrayLike, exact: bool | None = None) -> McNemar:
    """Whether each clip was right (N,) in two runs -> McNemar's test; exact below 25 clips that differ, or as told.

    Unequal lengths, no clips and anything but truth values raise ``ValueError``.
    """
    one, two = np.asarray(first_right), np.asarray(second_right)
    if one.shape != two.shape or one.ndim != 1 or not len(one):
        raise ValueError(f"right or wrong {one.shape} and {two.shape}: two runs on the same clips give (N,) each")
    if one.dtype != bool or two.dtype != bool:
        raise ValueError(f"right or wrong are {one.dtype} and {two.dtype}, not truth values")
    b, c = int((one & ~two).sum()), int((~one & two).sum())
    binomial = b + c < 25 if exact is None else exact
    if b + c == 0:
        return McNemar(0, 0, 1.0, binomial)
    if binomial:
        return McNemar(b, c, float(stats.binomtest(b, b + c).pvalue), True)
    return McNemar(b, c, float(stats.chi2.sf(max(abs(b - c) - 1, 0) ** 2 / (b + c), 1)), False)


@dataclass(frozen=True)
class CrossValidation:
    """Metrics of all folds at once, and of each."""

    pooled: dict[str, float]
    """Over all predictions, as the SVFAP paper reports."""
    folds: dict[str, dict[str, float]]
    """By fold."""
    mean: dict[str, float]
    """Of the folds that have the metric."""
    deviation: dict[str, float]
    """Sample standard deviation over those folds; NaN for fewer than two."""
    absent: dict[str, list[str]]
    """Classes that a fold does not hold, by fold; such a fold's UAR is a mean over fewer classes."""


def cross_validation(predictions: Predictions, folds: Sequence[object]) -> CrossValidation:
    """Test predictions of all folds, each clip once, and the fold of each clip (N,) -> pooled and averaged metrics.

    Raises ``ValueError`` where the folds are not as many as the clips, or one fold is all there is.
    """
    labels = np.asarray([str(fold) for fold in folds])
    if labels.shape != (len(predictions.targets),):
        raise ValueError(f"{len(labels)} folds named for {len(predictions.targets)} clips: each clip lies in one fold")
    parts = {fold: predictions.select(labels == fold) for fold in sorted(set(labels.tolist()), key=natural_key)}
    if len(parts) < 2:
        raise ValueError(f"all clips lie in fold {labels[0]}: cross-validation has at least two folds")
    scores = {fold: part.score() for fold, part in parts.items()}
    columns = {name: np.array([score[name] for score in scores.values()]) for name in predictions.score()}
    held = {name: column[np.isfinite(column)] for name, column in columns.items()}
    return CrossValidation(
        pooled=predictions.score(),
        folds=scores,
        mean={name: float(column.mean()) if len(column) else np.nan for name, column in held.items()},
        deviation={name: float(column.std(ddof=1)) if len(column) > 1 else np.nan for name, column in held.items()},
        absent={fold: missing for fold, part in parts.items() if (missing := part.absent())},
    )


def natural_key(text: str) -> tuple[int, float, str]:
    """Numbers before words, 2 before 10."""
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text
