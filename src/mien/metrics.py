"""The field's metrics, computed once over all predictions of an evaluation, never averaged over batches or ranks.

WAR is accuracy, UAR the mean recall over classes; both are shares in [0, 1]. Regression: PCC, CCC, RMSE, 1-MAE.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

Array = NDArray[Any]


def classification(probabilities: ArrayLike, targets: ArrayLike, names: Sequence[str]) -> dict[str, float]:
    """Probabilities (N, C) and class indices (N,) -> WAR, UAR, macro and weighted F1.

    UAR and macro F1 are means over the classes that occur in the targets; ``absent`` names the others.
    """
    truth, predicted = pair(probabilities, targets)
    options: dict[str, Any] = {"labels": np.unique(truth), "zero_division": 0}
    return {
        "WAR": float(accuracy_score(truth, predicted)),
        "UAR": float(recall_score(truth, predicted, average="macro", **options)),
        "F1_macro": float(f1_score(truth, predicted, average="macro", **options)),
        "F1_weighted": float(f1_score(truth, predicted, average="weighted", **options)),
    }


def pair(probabilities: ArrayLike, targets: ArrayLike) -> tuple[Array, Array]:
    """Targets and predicted classes, checked to belong together."""
    scores, truth = np.asarray(probabilities), np.asarray(targets)
    if not len(truth) or len(scores) != len(truth):
        raise ValueError(f"{len(scores)} predictions for {len(truth)} targets; metrics need equally many, at least one")
    return truth, scores.argmax(axis=1)


def confusion(probabilities: ArrayLike, targets: ArrayLike, names: Sequence[str]) -> Array:
    """Counts (C, C): rows are the truth, columns the prediction, for every class, occurring or not."""
    truth, predicted = pair(probabilities, targets)
    return confusion_matrix(truth, predicted, labels=range(len(names)))


def recalls(probabilities: ArrayLike, targets: ArrayLike, names: Sequence[str]) -> dict[str, float]:
    """Recall per class; NaN for classes that do not occur."""
    counts = confusion(probabilities, targets, names)
    with np.errstate(invalid="ignore"):
        return dict(zip(names, (np.diag(counts) / counts.sum(axis=1)).tolist(), strict=True))


def absent(targets: ArrayLike, names: Sequence[str]) -> list[str]:
    """Names of the classes that do not occur in the targets."""
    return [name for i, name in enumerate(names) if i not in np.unique(np.asarray(targets))]


def regression(predictions: ArrayLike, targets: ArrayLike, names: Sequence[str]) -> dict[str, float]:
    """Values (N, K) -> PCC, CCC, RMSE and 1-MAE as means over the targets, and for each as ``CCC.valence``.

    PCC and CCC are over all predictions at once (pooled), with population moments. A constant prediction or target
    has no correlation; it counts as 0.
    """
    values, truth = np.asarray(predictions, dtype=float), np.asarray(targets, dtype=float)
    if values.shape != truth.shape or not len(truth):
        raise ValueError(f"predictions {values.shape} do not fit targets {truth.shape}")
    if not np.isfinite(truth).all():
        bad = [name for name, column in zip(names, truth.T, strict=True) if not np.isfinite(column).all()]
        raise ValueError(f"targets of {', '.join(bad)} hold values that are not finite numbers")
    error = values - truth
    single = {
        "PCC": pearson(values, truth),
        "CCC": concordance(values, truth),
        "RMSE": np.sqrt((error**2).mean(axis=0)),
        "1-MAE": 1.0 - np.abs(error).mean(axis=0),
    }
    means = {metric: float(per_target.mean()) for metric, per_target in single.items()}
    each = {f"{m}.{n}": float(v) for m, per_target in single.items() for n, v in zip(names, per_target, strict=True)}
    return means | (each if len(names) > 1 else {})


def moments(values: Array, truth: Array) -> tuple[Array, Array, Array]:
    """Covariance and both variances per column (population)."""
    dv, dt = values - values.mean(axis=0), truth - truth.mean(axis=0)
    return (dv * dt).mean(axis=0), (dv**2).mean(axis=0), (dt**2).mean(axis=0)


def pearson(values: Array, truth: Array) -> Array:
    """Pearson correlation per column."""
    covariance, var_v, var_t = moments(values, truth)
    scale = np.sqrt(var_v * var_t)
    return np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)


def concordance(values: Array, truth: Array) -> Array:
    """Lin's concordance correlation per column: 2 cov / (var + var + squared difference of the means)."""
    covariance, var_v, var_t = moments(values, truth)
    scale = var_v + var_t + (values.mean(axis=0) - truth.mean(axis=0)) ** 2
    return np.divide(2 * covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
