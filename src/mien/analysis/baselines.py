"""What frozen features have to beat: raw pixels under a linear model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mien.interfaces import Clip
from mien.video.clips import ClipConfig
from mien.video.views import ViewConfig, ViewDataset, load_views

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
    train: NDArray, targets: NDArray, validation: NDArray, score: Callable[[NDArray], float], classes: int
) -> tuple[Any, float, float]:
    """Logistic regression (ridge where ``classes`` is 0) with the strength that does best on validation.

    Returns a function from vectors to outputs, that score and the strength.
    """
    best: tuple[Any, float, float] | None = None
    for strength in STRENGTHS:
        predict = fitted(train, targets, strength, classes)
        value = score(predict(validation))
        if best is None or value > best[1]:
            best = predict, value, strength
    assert best is not None
    return best


def fitted(train: NDArray, targets: NDArray, strength: float, classes: int) -> Callable[[NDArray], NDArray]:
    """A linear model on standardised vectors, as a function."""
    if not classes:
        model = make_pipeline(StandardScaler(), Ridge(1.0 / strength)).fit(train, targets)
        return lambda x: model.predict(x).reshape(len(x), -1)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000)).fit(train, targets)
    known = model.classes_

    def predict(x: NDArray) -> NDArray:
        wide = np.zeros((len(x), classes))
        wide[:, known] = model.predict_proba(x)
        return wide

    return predict
