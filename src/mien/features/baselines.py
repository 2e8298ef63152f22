"""What frozen features have to beat: raw pixels under a linear model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mien.interfaces import Clip
from mien.statistics.metrics import UNKNOWN
from mien.video.clips import ClipConfig
from mien.video.views import ViewConfig, ViewDataset, load_views

Predict = Callable[[NDArray], NDArray]
"""Vectors (N, D) -> outputs (N, names)."""
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2)
"""Inverse regularisation strengths to choose from on validation."""


def raw_pixels(clips: Sequence[Clip], config: ClipConfig, workers: int, side: int = 24) -> NDArray[np.float32]:
    """Every frame of the centre window of each clip at ``side`` pixels, as one vector of values in [0, 1] (clips, D)."""
    items = load_views(ViewDataset(clips, config, ViewConfig(segments=1)), workers)
    rows = []
    for item in items:
        video = item["frames"][0][:, item["rows"][0]].float().div(255.0)  # 3 T s s
        rows.append(F.interpolate(video, size=(side, side), mode="area").flatten().numpy())
    return np.stack(rows)


def fit_linear(
    kind: str, train: NDArray, targets: NDArray, validation: NDArray, score: Callable[[NDArray], float], names: int
) -> tuple[Predict, float, float]:
    """A linear model of the kind of ``Outputs.linear`` with the strength that does best on validation.

    Returns a function from vectors to outputs (N, names), that score and the strength.
    """
    best: tuple[Predict, float, float] | None = None
    for strength in STRENGTHS:
        predict = LINEAR[kind](train, targets, strength, names)
        value = score(predict(validation))
        if best is None or value > best[1]:
            best = predict, value, strength
    assert best is not None
    return best


def ridge(train: NDArray, targets: NDArray, strength: float, names: int) -> Predict:
    """Values (N, names) by ridge regression on standardised vectors."""
    model = make_pipeline(StandardScaler(), Ridge(1.0 / strength)).fit(train, targets)
    return lambda x: model.predict(x).reshape(len(x), -1)


def softmax(train: NDArray, targets: NDArray, strength: float, names: int) -> Predict:
    """Probabilities of classes, of their indices (N,), by logistic regression on standardised vectors."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000)).fit(train, targets)
    known = model.classes_

    def predict(x: NDArray) -> NDArray:
        wide = np.zeros((len(x), names))
        wide[:, known] = model.predict_proba(x)
        return wide

    return predict


def logistic(train: NDArray, targets: NDArray, strength: float, names: int) -> Predict:
    """Probabilities of yes, of labels 1, 0 or unknown (N, names), each by a logistic regression of its own."""
    known = targets != UNKNOWN
    each = [softmax(train[k], t[k], strength, 2) for k, t in zip(known.T, targets.T, strict=True)]
    return lambda x: np.stack([one(x)[:, 1] for one in each], axis=1)


LINEAR = {"ridge": ridge, "softmax": softmax, "logistic": logistic}
"""What ``Outputs.linear`` may name."""
