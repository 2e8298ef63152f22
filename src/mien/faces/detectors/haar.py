"""The Haar cascade that comes in OpenCV's wheel, for machines without a model file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from mien.faces.detectors.detector import Detection, Detector
from mien.faces.face import Pixels

if TYPE_CHECKING:
    from mien.faces.detectors import DetectConfig

HAAR_NOTICE = (
    "faces: no YuNet file on this machine, so the Haar cascade of OpenCV is used: no landmarks, and it misses turned "
    "and small faces. Better: mien models get yunet (232 kB, MIT), or --detector-model FILE, or MIEN_MODELS=FOLDER"
)


class Haar(Detector):
    """The frontal cascade ``alt2`` of OpenCV's wheel.

    A cascade has no score; n overlapping windows that agree count as n / (n + 3). Chance patterns seldom collect more
    than a few, faces collect tens.
    """

    name, needs_file, notice = "haar", False, HAAR_NOTICE
    usual, confirm, smallest, enlarge = 0.65, 6, 28, 1.5

    def __init__(self, config: DetectConfig) -> None:
        super().__init__(config)
        self.weak = 0.4
        self.frontal = cascade("frontalface_alt2")

    def search(self, picture: Pixels) -> list[Detection]:
        gray = cv2.equalizeHist(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
        windows, _ = self.frontal.detectMultiScale2(gray, 1.15, 0, minSize=(24, 24))
        # OpenCV's threads find windows in any order, and grouping depends on it: sorted, the same picture gives the same.
        boxes, counts = cv2.groupRectangles(sorted(np.asarray(windows).tolist()), 2, 0.2)
        found = zip(np.asarray(boxes, float).reshape(-1, 4).tolist(), np.ravel(counts).tolist(), strict=True)
        # A cascade's square, made the box that YuNet would give: mean over 210 faces that both found.
        return [
            Detection((x + 0.105 * w, y - 0.03 * h, 0.79 * w, 1.1 * h), n / (n + 3), None) for (x, y, w, h), n in found
        ]


def cascade(name: str) -> cv2.CascadeClassifier:
    """A cascade from OpenCV's wheel. Raises ``ValueError`` for OpenCV 5, whose wheel has none."""
    folder = getattr(getattr(cv2, "data", None), "haarcascades", "")
    path = Path(folder) / f"haarcascade_{name}.xml"
    if not hasattr(cv2, "CascadeClassifier") or not path.is_file():
        raise ValueError("this OpenCV has no Haar cascades; install opencv-python-headless>=4.10,<5 or get YuNet")
    return cv2.CascadeClassifier(str(path))
