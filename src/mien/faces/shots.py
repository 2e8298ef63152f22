"""Scene cuts: where one shot ends and the next begins, decided on the frame itself, without looking ahead."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.faces.face import Pixels

THUMBNAIL = (48, 27)
CUT, SUDDEN = 18.0, 8.0
"""Mean change of the thumbnail (of 255) from which a frame may begin a shot, and from which places are not trusted.
In the real clips, cuts change by 27 to 142, motion by at most 20."""
RATIO = 4.0
"""Times the usual change of the last frames that a cut must reach."""


class Shots:
    """Numbers shots: ``number(pixels)`` frame after frame.

    A cut changes most of the picture at once: the mean change of a thumbnail is large, and many times what it was on the
    frames just before (fast motion and shaky cameras change much on every frame).
    """

    def __init__(self) -> None:
        self.shot = 0
        self.before: NDArray[np.float32] | None = None
        self.changes: deque[float] = deque(maxlen=8)

    def number(self, pixels: Pixels) -> tuple[int, bool, bool]:
        """The shot a frame belongs to, whether it is its first, and whether the picture changed suddenly otherwise."""
        # From every n-th pixel: averaging all of a large frame would cost as much as finding its faces.
        width, height = 4 * THUMBNAIL[0], 4 * THUMBNAIL[1]
        if pixels.shape[1] > width:
            pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.uint8, copy=False)
        thumbnail = cv2.resize(pixels, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        if self.before is None:
            self.before = thumbnail
            return self.shot, True, False
        change = float(np.abs(thumbnail - self.before).mean())
        self.before = thumbnail
        usual = float(np.median(self.changes)) if self.changes else 0.0
        cut = change > max(CUT, RATIO * usual)
        if cut:
            self.shot += 1
            self.changes.clear()
        else:
            self.changes.append(change)
        return self.shot, cut, change > max(SUDDEN, RATIO * usual)
