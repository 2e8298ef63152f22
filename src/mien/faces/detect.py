"""Face detectors behind one interface: a picture in, boxes with scores and, where known, five landmarks out.

YuNet (Wu et al., 2023; MIT) is the detector of choice; its file comes with ``mien models get yunet``. Without it the
Haar cascade that OpenCV's wheel carries is used, and a line says so. ``onnx.py`` and ``tasks.py`` read other model files.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass as plain
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
import tyro
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from mien import models
from mien.config import STRICT
from mien.faces.face import Box, Pixels, Points

Name = Literal["auto", "yunet", "haar", "scrfd", "retinaface", "mediapipe"]

HAAR_NOTICE = (
    "faces: no YuNet file on this machine, so the Haar cascade of OpenCV is used: no landmarks, and it misses turned "
    "and small faces. Better: mien models get yunet (232 kB, MIT), or --detector-model FILE, or MIEN_MODELS=FOLDER"
)


@plain(frozen=True, eq=False)
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


@dataclass(frozen=True, config=STRICT)
class DetectConfig:
    """Which detector, and how closely it looks."""

    name: Name = "auto"
    """auto: by the model file; without one YuNet if its file is found, else Haar."""
    model: Annotated[Path | None, tyro.conf.arg(aliases=["--detector-model"])] = None
    """Model file; left out: looked for in the folder MIEN_MODELS, then in the user's cache."""
    size: Annotated[int, Field(ge=64, le=4096)] = 320
    """Longest side in pixels of the picture searched on most frames; smaller videos are searched as they are."""
    search_size: Annotated[int, Field(ge=64, le=4096)] = 640
    """The same when new and small faces are searched for: at the start of a shot and then at intervals."""
    score: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Score from which a face is believed; left out: the detector's own (0.6; Haar 0.65)."""

    def resolved(self) -> DetectConfig:
        """The same with the detector and its file named, as on this machine; says on stderr, once, if that is Haar."""
        if self.model is not None and not self.model.is_file():
            raise ValueError(f"{self.model}: no such model file; correct --detector-model")
        if self.name == "haar":
            if self.model is not None:
                raise ValueError(
                    "the Haar cascades come with OpenCV: leave --detector-model out, or --detector.name haar"
                )
            return self
        if self.name == "auto" and self.model is not None:
            return replace(self, name=kind_of(self.model))
        model = self.model or (models.find("yunet") if self.name in ("auto", "yunet") else None)
        if model is not None:
            return replace(self, name="yunet" if self.name == "auto" else self.name, model=model)
        if self.name == "auto":
            say_once(HAAR_NOTICE)
            return replace(self, name="haar")
        get = " (mien models get yunet fetches one)" if self.name == "yunet" else ""
        raise ValueError(f"detector {self.name} needs its model file: --detector-model FILE{get}")

    def build(self) -> Detector:
        """The detector; raises ``ValueError`` naming a file that is missing or wrong or an extra to install."""
        config = self.resolved()
        if config.name == "haar":
            return Haar(config)
        if config.name == "yunet":
            return YuNet(config)
        if config.name == "mediapipe":
            from mien.faces.tasks import MediaPipe

            return MediaPipe(config)
        from mien.faces.onnx import RetinaFace, Scrfd

        return Scrfd(config) if config.name == "scrfd" else RetinaFace(config)


def kind_of(model: Path) -> Name:
    """Which detector a file belongs to, by its name."""
    name = model.name.lower()
    signs: dict[Name, tuple[str, ...]] = {
        "yunet": ("yunet",),
        "scrfd": ("scrfd", "det_500m", "det_2.5g", "det_10g"),
        "retinaface": ("retinaface",),
        "mediapipe": (".tflite", "blaze_face"),
    }
    for kind, words in signs.items():
        if any(word in name for word in words):
            return kind
    raise ValueError(f"{model}: its name does not tell the detector; add --detector.name ({', '.join(signs)})")


@cache
def say_once(message: str) -> None:
    """A line on stderr, once per process."""
    print(message, file=sys.stderr)


class YuNet(Detector):
    """OpenCV's ``FaceDetectorYN``: box and five landmarks, in milliseconds."""

    name, confirm, smallest, level_side = "yunet", 3, 14, 192

    def __init__(self, config: DetectConfig) -> None:
        self.size, self.search_size = config.size, max(config.size, config.search_size)
        self.strong, self.weak = config.score or 0.6, 0.5 * (config.score or 0.6)
        self.model = str(config.model)
        self.nets: dict[tuple[int, int], cv2.FaceDetectorYN] = {}

    def search(self, picture: Pixels) -> list[Detection]:
        size = (picture.shape[1], picture.shape[0])
        if size not in self.nets:
            self.nets[size] = self.load(size)
        _, rows = self.nets[size].detect(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        return [] if rows is None else [self.face(row) for row in rows]

    def load(self, size: tuple[int, int]) -> cv2.FaceDetectorYN:
        """The network for one picture size; a change of size would cost more than keeping the few that occur."""
        if len(self.nets) > 8:
            self.nets.clear()
        try:
            return cv2.FaceDetectorYN.create(self.model, "", size, self.weak, 0.3, 200)
        except cv2.error as error:
            raise ValueError(f"{self.model}: not a YuNet model ({first_line(error)}); mien models get yunet") from error

    @staticmethod
    def face(row: NDArray[np.float32]) -> Detection:
        """One row of YuNet: box, five points (right eye first), score."""
        x, y, width, height = map(float, row[:4])
        return Detection((x, y, width, height), float(min(row[14], 1)), row[4:14].reshape(5, 2).astype(np.float32))


def first_line(error: Exception) -> str:
    """What an OpenCV error says, without its stack of places."""
    return str(error).strip().splitlines()[0]


class Haar(Detector):
    """The frontal cascade ``alt2`` of OpenCV's wheel.

    A cascade has no score; n overlapping windows that agree count as n / (n + 3). Chance patterns seldom collect more
    than a few, faces collect tens.
    """

    name, confirm, smallest, enlarge = "haar", 6, 28, 1.5

    def __init__(self, config: DetectConfig) -> None:
        self.size, self.search_size = config.size, max(config.size, config.search_size)
        self.strong, self.weak = config.score or 0.65, 0.4
        self.frontal = cascade("frontalface_alt2")

    def search(self, picture: Pixels) -> list[Detection]:
        gray = cv2.equalizeHist(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
        windows, _ = self.frontal.detectMultiScale2(gray, 1.15, 0, minSize=(24, 24))
        # OpenCV's threads find windows in any order, and grouping depends on it: sorted, the same picture gives the same.
        boxes, counts = cv2.groupRectangles(sorted(np.asarray(windows).tolist()), 2, 0.2)
        return [haar_face(box, int(count)) for box, count in zip(boxes, np.ravel(counts), strict=True)]


def haar_face(box: Sequence[int], count: int) -> Detection:
    """A cascade's square, made what YuNet would give: mean over 210 faces that both found."""
    x, y, width, height = map(float, box)
    return Detection((x + 0.105 * width, y - 0.03 * height, 0.79 * width, 1.1 * height), count / (count + 3), None)


def cascade(name: str) -> cv2.CascadeClassifier:
    """A cascade from OpenCV's wheel. Raises ``ValueError`` for OpenCV 5, whose wheel has none."""
    folder = getattr(getattr(cv2, "data", None), "haarcascades", "")
    path = Path(folder) / f"haarcascade_{name}.xml"
    if not hasattr(cv2, "CascadeClassifier") or not path.is_file():
        raise ValueError("this OpenCV has no Haar cascades; install opencv-python-headless>=4.10,<5 or get YuNet")
    return cv2.CascadeClassifier(str(path))
