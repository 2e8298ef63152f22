"""When not to believe an answer: blur, a small face, a turned head, a clip unlike those the model was validated on.

Each measure is compared with a limit that `mien calibrate` stored; a measure that is not known (None) is not judged.
"""

from __future__ import annotations

import numpy as np
from pydantic.dataclasses import dataclass

from mien.config import STRICT


@dataclass(frozen=True, config=STRICT)
class Limits:
    """Beyond which an answer counts as unreliable."""

    sharpness: float = 0.0
    """Least sharpness of the clip that the model sees, as ``clip_sharpness`` measures it."""
    width: float = 0.0
    """Least width of the face in the video, in pixels."""
    pose: float = 45.0
    """Largest yaw or pitch of the head to either side, in degrees."""
    roll: float = 60.0
    """Largest tilt of the head to either side, in degrees: up to there it was measured (benchmarks/results/roll.md)."""
    distance: float = float("inf")
    """Largest distance to the validation clips' features, as ``Density.distance`` measures it."""


def reasons(
    sharpness: float | None,
    width: float | None,
    pose: tuple[float, ...] | float | None,
    distance: float | None,
    limits: Limits,
) -> list[str]:
    """Why an answer is not reliable, in words that stay the same: blur, small, pose, unfamiliar; empty if it is.

    ``width`` in pixels, ``pose`` in degrees: the largest of yaw and pitch, or (yaw, pitch) or (yaw, pitch, roll). NaN
    counts as not known.
    """
    angles = (pose,) if isinstance(pose, int | float) else (pose or ())
    largest = (limits.pose, limits.pose, limits.roll)
    judged = {
        "blur": is_known(sharpness) and float(sharpness or 0) < limits.sharpness,
        "small": is_known(width) and float(width or 0) < limits.width,
        "pose": any(is_known(angle) and abs(angle) > limit for angle, limit in zip(angles, largest, strict=False)),
        "unfamiliar": is_known(distance) and float(distance or 0) > limits.distance,
    }
    return [name for name, wrong in judged.items() if wrong]


def is_known(value: float | None) -> bool:
    """Whether there is a measure at all."""
    return value is not None and not np.isnan(value)
