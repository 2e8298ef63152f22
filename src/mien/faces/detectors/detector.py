"""A face detector behind one interface: a picture in, boxes with scores and, where known, five landmarks out.

Each kind is one file beside this one, and one name in ``DETECTORS``; each kind
declares how it differs from the others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from mien import downloads
from mien.faces.face import Box, Pixels, Points

if TYPE_CHECKING:
    from mien.faces.detectors import DetectConfig


@dataclass(frozen=True, eq=False)
class Detection:
    """One face as a detector sees it."""

    box: Box
    score: float
    """In [0, 1]; each detector's own scale."""
    landmarks: Points | None


NARROWEST = 64
"""Pixels that a picture has at least when it is searched; a narrower one gets a black border."""


class Detector(ABC):
    """Finds the faces of one picture. Not to be shared between threads."""

    name: str
    signs: tuple[str, ...] = ()
    """Parts of the names of its model files, in small letters."""
    needs_file: bool = True
    """Whether it reads a model file."""
    download: str = ""
    """Name under which ``mien models get`` fetches its file, if it does."""
    file: str = ""
    """Name of that file."""
    notice: str = ""
    """Printed where ``auto`` takes this detector because there is no better one."""
    usual: float = 0.6
    """Score from which a detection is believed, where none is asked for."""
    size: int
    """Longest side in pixels of the picture that is searched."""
    search_size: int
    """The same when searched thoroughly, for small faces."""
    strong: float
    """Score from which a detection is believed."""
    weak: float
    """Score from which a detection is given out: enough to go on with a face that is known already."""
    enlarge: float = 1.0
    """How many times a small picture is enlarged at most for a thorough search."""
    confirm: int
    """Strong detections after which a face is believed."""
    smallest: int
    """Width in pixels of the searched picture from which faces are found dependably."""
    level_side: int = 0
    """Side in pixels of the square in which a face is looked at again for its tilt; 0: never (see ``level.py``)."""

    def __init__(self, config: DetectConfig) -> None:
        self.size, self.search_size = config.size, max(config.size, config.search_size)
        self.strong = config.score or self.usual
        self.weak = 0.5 * self.strong

    @classmethod
    def find(cls) -> Path | None:
        """Its model file on this machine, where ``mien models get`` put it or MIEN_MODELS says; None if there is none."""
        return downloads.find(cls.file) if cls.file else None

    def detect(self, pixels: Pixels, thorough: bool = True) -> list[Detection]:
        """Faces of one RGB picture (H, W, 3), best first, in its pixels."""
        height, width = pixels.shape[:2]
        scale = min(
            self.enlarge if thorough else 1.0, (self.search_size if thorough else self.size) / max(height, width)
        )
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        missing = [max(0, NARROWEST - side) for side in size]  # networks see rubbish where a strip has a few rows
        picture = cv2.copyMakeBorder(picture, 0, missing[1], 0, missing[0], cv2.BORDER_CONSTANT)
        found = [f for f in self.search(picture.astype(np.uint8, copy=False)) if inside(f, size)]
        factors = np.array([width / size[0], height / size[1]], np.float32)
        return sorted((enlarged(face, factors) for face in found), key=lambda face: -face.score)

    @abstractmethod
    def search(self, picture: Pixels) -> list[Detection]:
        """Faces of a picture of the size to be searched, in its pixels."""


def inside(face: Detection, size: tuple[int, int]) -> bool:
    """Whether a detection has a size and reaches into a picture of this width and height."""
    x, y, width, height = face.box
    if not np.isfinite(face.box).all() or min(width, height) <= 0:
        return False
    return x < size[0] and y < size[1] and x + width > 0 and y + height > 0


def enlarged(face: Detection, factors: NDArray[np.float32]) -> Detection:
    """A detection in a picture that is ``factors`` (x, y) times as large."""
    x, y = map(float, factors)
    box = (face.box[0] * x, face.box[1] * y, face.box[2] * x, face.box[3] * y)
    return replace(face, box=box, landmarks=None if face.landmarks is None else face.landmarks * factors)
