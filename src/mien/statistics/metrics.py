"""The field's metrics, computed once over all predictions, never averaged over batches or ranks.

WAR (weighted average recall) is accuracy, UAR (unweighted average recall) the mean recall over classes; both
are shares in [0, 1]. Regression: PCC and CCC (Lin 1989) in [-1, 1], RMSE and 1-MAE in the targets' units. Labels that are
yes or no each: F1 of yes, AUC (area under the ROC curve) and accuracy, in [0, 1], beside what always saying what most
clips are gets.
Gather first, then call: the mean of the UARs of shards is not the UAR, nor the mean CCC of batches the CCC.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score, roc_auc_score

Array = NDArray[Any]
"""Floats, whole numbers or truth values; which of them, the sentence says that speaks of it."""


def classification(probabilities: ArrayLike, targets: ArrayLike, names: Sequence[str]) -> dict[str, float]:
    """Probabilities (N, C) and class indices (N,) -> WAR, UAR, F1_macro and F1_weighted, each in [0, 1].

    UAR and macro F1 are means over the classes that occur in the targets; ``absent_classes`` names the others. Also
    takes predicted indices (N,). No clips, unequal lengths or an index that names no class raise
    ``ValueError``.
    """
    predicted, truth = class_indices(probabilities, targets, names)
    options: dict[str, Any] = {"labels": np.unique(truth), "zero_division": 0}
    return {
        "WAR": float(accuracy_score(truth, predicted)),
        "UAR": float(recall_score(truth, predicted, average="macro", **options)),
        "F1_macro": float(f1_score(truth, predicted, average="macro", **options)),
        "F1_weighted": float(f1_score(truth, predicted, average="weighted", **options)),
    }


def confusion(predictions: ArrayLike, targets: ArrayLike, names: Sequence[str]) -> Array:
    """Probabilities (N, C) or predicted indices (N,), targets (N,) -> counts (C, C).

    Rows are the truth, columns the prediction, for every class, occurring or not.
    """
    predicted, truth = class_indices(predictions, targets, names)
    return confusion_matrix(truth, predicted, labels=range(len(names)))


def recalls(predictions: ArrayLike, targets: ArrayLike, names: Sequence[str]) -> dict[str, float]:
    """Recall per class in [0, 1]; NaN for classes that do not occur in the targets."""
    counts = confusion(predictions, targets, names)
    with np.errstate(invalid="ignore"):
        shares = np.diag(counts) / counts.sum(axis=1)
    return dict(zip(names, shares.tolist(), strict=True))


def absent_classes(targets: ArrayLike, names: Sequence[str]) -> list[str]:
    """Names of the classes that do not occur in the targets (N,), in order."""
    present = set(np.asarray(targets).tolist())
    return [name for i, name in enumerate(names) if i not in present]


def class_indices(predictions: ArrayLike, targets: ArrayLike, names: Sequence[str]) -> tuple[Array, Array]:
    """Predicted and true class indices (N,), checked to belong together."""
    scores, truth = np.asarray(predictions), np.asarray(targets)
    require_equal_length(scores, truth)
    if scores.ndim == 2 and scores.shape[1] == len(names):
        require_finite(scores.T, names, "probabilities")
        scores = scores.argmax(axis=1)
    for what, indices in (("predictions", scores), ("targets", truth)):
        require_class_indices(indices, what, len(names))
    return scores, truth


def require_equal_length(values: Array, truth: Array) -> None:
    """As many predictions as targets, and at least one."""
    if not truth.shape[:1] or not len(truth) or values.shape[:1] != truth.shape[:1]:
        counts = f"predictions {values.shape} for targets {truth.shape}"
        raise ValueError(f"{counts}: metrics need equally many, at least one")


def require_class_indices(indices: Array, what: str, classes: int) -> None:
    """Whole numbers (N,) that name a class each."""
    if indices.ndim != 1 or not np.issubdtype(indices.dtype, np.integer):
        kind = f"{indices.dtype} {indices.shape}"
        raise ValueError(f"{what} are {kind}, not class indices (N,) or probabilities (N, {classes})")
    bad = indices[(indices < 0) | (indices >= classes)]
    if len(bad):
        raise ValueError(f"{what} hold class {bad[0]}; there are {classes} classes, counted from 0")


def require_finite(columns: Array, names: Sequence[str], what: str) -> None:
    """Numbers (K, N), a row per name, without NaN or infinity."""
    bad = [name for name, column in zip(names, columns, strict=True) if not np.isfinite(column).all()]
    if bad:
        raise ValueError(f"{what} of {', '.join(bad)} hold values that are not finite numbers")


def regression(predictions: ArrayLike, targets: ArrayLike, names: Sequence[str]) -> dict[str, float]:
    """Values (N, K) -> mean PCC, CCC, RMSE and 1-MAE; with K > 1 also of each target, as ``CCC.valence``.

    PCC and CCC are over all predictions at once (pooled), with population moments. A constant prediction or
    target has no correlation and earns none: PCC and CCC count as 0, even where both are the same constant.
    Empty input, shapes that do not fit ``names`` and values that are not finite (naming the column) raise
    ``ValueError``.
    """
    values, truth = np.asarray(predictions, dtype=float), np.asarray(targets, dtype=float)
    require_equal_length(values, truth)
    if not values.shape == truth.shape == (len(truth), len(names)):
        shapes = f"predictions {values.shape} and targets {truth.shape}"
        raise ValueError(f"{shapes} for {len(names)} names, not (N, {len(names)})")
    require_finite(values.T, names, "predictions")
    require_finite(truth.T, names, "targets")
    single = {
        "PCC": pearson(values, truth),
        "CCC": concordance(values, truth),
        "RMSE": np.sqrt(((values - truth) ** 2).mean(axis=0)),
        "1-MAE": 1.0 - np.abs(values - truth).mean(axis=0),
    }
    means = {metric: float(per_target.mean()) for metric, per_target in single.items()}
    each = {f"{m}.{n}": float(v) for m, row in single.items() for n, v in zip(names, row, strict=True)}
    return means | (each if len(names) > 1 else {})


def pearson(values: Array, truth: Array) -> Array:
    """Pearson correlation per column (N, K) -> (K,); 0 where a column is constant."""
    covariance, var_v, var_t = moments(values, truth)
    scale = np.sqrt(var_v) * np.sqrt(var_t)
    return np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)


def concordance(values: Array, truth: Array) -> Array:
    """Lin's concordance per column (N, K) -> (K,): 2 cov / (var + var + squared difference of the means)."""
    covariance, var_v, var_t = moments(values, truth)
    scale = var_v + var_t + (values.mean(axis=0) - truth.mean(axis=0)) ** 2
    return np.divide(2 * covariance, scale, out=np.zeros_like(covariance), where=scale > 0)


def moments(values: Array, truth: Array) -> tuple[Array, Array, Array]:
    """Covariance and both variances per column (population)."""
    dv, dt = centred(values), centred(truth)
    return (dv * dt).mean(axis=0), (dv**2).mean(axis=0), (dt**2).mean(axis=0)


def centred(values: Array) -> Array:
    """Differences from the column means; exactly 0 in a constant column, where rounding would leave noise."""
    return np.where(np.ptp(values, axis=0) > 0, values - values.mean(axis=0), 0.0)


UNKNOWN = -1
"""A label of which is not known whether it is yes (1) or no (0)."""
MAJORITY = "_majority"
"""Behind the name of a metric: what always saying the more frequent answer gets."""


def labels(probabilities: ArrayLike, targets: ArrayLike, names: Sequence[str]) -> dict[str, float]:
    """Probabilities of yes (N, K) and 1, 0 or ``UNKNOWN`` (N, K) -> F1, AUC, accuracy, each with its ``_majority``, and
    ``rate``, the share of yes: means over the labels, then of each, as ``F1.smile``.

    A cell that is unknown does not count. From 0.5 on a probability says yes. F1 is NaN for a label that is never yes, AUC
    for one that is never yes or never no; a mean is over the labels that have the metric.
    """
    values, truth = checked_labels(probabilities, targets, names)
    each: dict[str, list[float]] = {metric: [] for metric in LABEL_METRICS}
    for column, known in zip(values.T, truth.T, strict=True):
        for metric, value in label_metrics(column[known != UNKNOWN], known[known != UNKNOWN]).items():
            each[metric].append(value)
    parts = {f"{metric}.{n}": v for metric, row in each.items() for n, v in zip(names, row, strict=True)}
    return {metric: mean_of_known(np.array(row)) for metric, row in each.items()} | parts


LABEL_METRICS = ("F1", f"F1{MAJORITY}", "AUC", f"AUC{MAJORITY}", "accuracy", f"accuracy{MAJORITY}", "rate")
"""What ``labels`` measures."""


def label_metrics(values: Array, truth: Array) -> dict[str, float]:
    """Probabilities of yes and truth (0 or 1) of one label (M,) -> its metrics."""
    yes, said, count = truth == 1, values >= 0.5, len(truth)
    rate = float(yes.mean()) if count else np.nan
    always = 2 * rate / (1 + rate) if rate > 0.5 else 0.0  # always yes has precision ``rate`` and recall 1
    both = 0 < rate < 1
    return dict(
        zip(
            LABEL_METRICS,
            (
                float(f1_score(yes, said)) if rate > 0 else np.nan,
                always if rate > 0 else np.nan,
                float(roc_auc_score(yes, values)) if both else np.nan,
                0.5 if both else np.nan,
                float((yes == said).mean()) if count else np.nan,
                max(rate, 1 - rate) if count else np.nan,
                rate,
            ),
            strict=True,
        )
    )


def checked_labels(probabilities: ArrayLike, targets: ArrayLike, names: Sequence[str]) -> tuple[Array, Array]:
    """Probabilities of yes and truth (N, K), checked to belong together."""
    values, truth = np.asarray(probabilities, dtype=float), np.asarray(targets)
    require_equal_length(values, truth)
    if not values.shape == truth.shape == (len(truth), len(names)):
        shapes = f"predictions {values.shape} and targets {truth.shape}"
        raise ValueError(f"{shapes} for {len(names)} names, not (N, {len(names)})")
    require_finite(values.T, names, "probabilities")
    if not np.isin(truth, (0, 1, UNKNOWN)).all():
        raise ValueError(f"targets hold other than 1 (yes), 0 (no) and {UNKNOWN} (unknown)")
    return values, truth.astype(int)


def mean_of_known(values: Array) -> float:
    """Mean without NaN; NaN of nothing."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan
