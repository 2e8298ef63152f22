"""The nouns of faces: what was found on one frame, and who it is. Read this first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mien.video.stream import Frame

Pixels = NDArray[np.uint8]
"""One picture (H, W, 3), uint8, red green blue, upright."""

Box = tuple[float, float, float, float]
"""(x, y, width, height) in pixels of the full frame; x grows to the right, y downwards; may reach over the border."""

Points = NDArray[np.float32]
"""(5, 2) places (x, y) in pixels: right eye, left eye, nose, right and left corner of the mouth. Right and left are the
person's, so that the right eye stands on the left of an upright picture."""

State = Literal["detected", "tracked", "bridged"]
"""How a place is known: ``detected`` on this frame; ``tracked`` by image motion from frames around it, because the
detector did not run here or missed it; ``bridged`` over a short gap between two sure places, with no sight of it."""


@dataclass(frozen=True, eq=False)
class Face:
    """One face on one frame."""

    id: int
    """Who: the same number for the same person as long as that is sure, counted from 0 in order of appearance."""
    box: Box
    """Smoothed over a few frames before and after, without lag."""
    confidence: float
    """Detector's score in [0, 1]; on frames without a detection that of the nearest detections, lowered."""
    landmarks: Points | None
    """None where the detector gives none."""
    state: State
    sharpness: float
    """Variance of the Laplacian of the face at 96 x 96 grey levels (0-255): below about 20 a face is blurred."""
    pose: tuple[float, float, float] | None
    """(yaw, pitch, roll) in degrees; None without landmarks. Positive yaw turns the face to the right of the picture,
    positive pitch lifts it, positive roll turns it clockwise in the picture."""


@dataclass(frozen=True, eq=False)
class FrameFaces:
    """One decoded frame and the faces on it, largest id last."""

    frame: Frame
    faces: tuple[Face, ...]
    """In rising order of ``id``; empty if there is none."""
    shot: int
    """Number of the shot, counted from 0; a scene cut begins a new one."""
    reason: str | None
    """Why there is no face; None if there is one."""
