"""The prediction for one window: values and, of a calibrated model, what else is plausible and whether to rely on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.calibration.calibration import Calibration
from mien.calibration.reliability import reasons
from mien.inference.windows import Window

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class WindowPrediction:
    """The model's prediction for one window."""

    values: Floats
    """Probabilities or values (names,); calibrated if the model is."""
    features: Floats | None = None
    """Mean token (dim,), if it was asked for."""
    plausible: Mapping[str, object] | None = None
    """What is plausible, by the columns of the table of windows (``Calibrated.cells``); None without a calibration."""
    reasons: tuple[str, ...] | None = None
    """Why the prediction is not reliable, empty if it is; None without a calibration."""


def with_reliability(
    calibration: Calibration,
    names: Sequence[str],
    windows: Sequence[Window],
    outputs: Floats,
    features: Floats,
    distances: NDArray[np.float64],
    coverage: float | None,
) -> list[WindowPrediction]:
    """Outputs (N, names) of windows -> calibrated predictions, each with the reasons why it is not reliable.

    ``features`` (N, dim) go along; ``distances`` (N,) are those to the clips that the model was calibrated on.
    """
    calibrated = calibration.apply(outputs, coverage)
    values = calibrated.values.astype(np.float32)
    predictions = []
    for i, window in enumerate(windows):
        reasons_found = tuple(sorted(reasons(*quality_medians(window), float(distances[i]), calibration.facts.limits)))
        predictions.append(WindowPrediction(values[i], features[i], calibrated.cells(i, names), reasons_found))
    return predictions


def require_finite(outputs: NDArray[np.floating], model: Path | None) -> None:
    """Raise ``ValueError`` for outputs that are no numbers: of NaN no name is the largest."""
    if not np.isfinite(outputs).all():
        raise ValueError(
            f"{model or 'the model'}: its outputs are not finite numbers: the weights are damaged, or overflow; train, or "
            "export, them again"
        )


def quality_medians(window: Window) -> tuple[float, float | None, tuple[float, ...] | None]:
    """Sharpness of what the model sees, width of the face in the video in pixels, (yaw, pitch, roll) in degrees: medians."""
    crops = [c for c in window.crops if c.valid] or list(window.crops)
    poses = [c.face.pose for c in crops if c.face.pose is not None]
    width = float(np.median([c.face.box[2] for c in crops]))
    return window.sharpness, width, tuple(np.median(np.array(poses), axis=0).tolist()) if poses else None
