"""The common part of detectors from ONNX files of others; onnxruntime runs them (extra ``onnx``).

mien ships none and fetches none: InsightFace's SCRFD and RetinaFace weights are for non-commercial research only. Name a
file that you have: ``--detector-model scrfd_2.5g_bnkps.onnx``. Each family is read by its published output layout.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.extras import install
from mien.faces.detectors.detector import Detection, Detector
from mien.faces.face import Pixels

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from mien.faces.detectors import DetectConfig

Floats = NDArray[np.float32]
OVERLAP = 0.4
"""Intersection over union from which two boxes are one face."""


class Onnx(Detector):
    """A network that gives scores, boxes and landmarks for anchors of the picture."""

    confirm, smallest = 3, 16
    step = 32
    """Pixels that sides of the picture are filled up to a multiple of."""

    def __init__(self, config: DetectConfig) -> None:
        super().__init__(config)
        assert config.model is not None
        self.model = config.model
        self.session = open_session(config.model)
        self.input = self.session.get_inputs()[0]
        self.check(len(self.session.get_outputs()))

    def check(self, outputs: int) -> None:
        """Raise ``ValueError`` unless the file has the outputs of this family."""

    def search(self, picture: Pixels) -> list[Detection]:
        height, width = picture.shape[:2]
        fixed = [side for side in self.input.shape[2:] if isinstance(side, int)]
        rows, columns = fixed if len(fixed) == 2 else (-(-side // self.step) * self.step for side in (height, width))
        # A file exported for one size gets the picture shrunk into it; never stretched, which would bend faces.
        scale = min(1.0, rows / height, columns / width)
        small = cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
        canvas = np.zeros((rows, columns, 3), np.uint8)
        canvas[: small.shape[0], : small.shape[1]] = small
        tensor = np.ascontiguousarray(self.normalise(canvas).transpose(2, 0, 1)[None])
        outputs = [np.asarray(output, np.float32) for output in self.session.run(None, {self.input.name: tensor})]
        scores, boxes, points = self.decode(outputs, (rows, columns))
        best = self.best(scores, boxes, points)
        return [detection(score, box / scale, marks / scale) for score, box, marks in best]

    def best(self, scores: Floats, boxes: Floats, points: Floats) -> Iterator[tuple[float, Floats, Floats]]:
        """Scores, corners (4,) and landmarks (5, 2) that are left by non-maximum suppression, one of each per face."""
        likely = np.flatnonzero(scores >= self.weak)
        sizes = np.concatenate([boxes[likely, :2], boxes[likely, 2:] - boxes[likely, :2]], axis=1)
        kept = cv2.dnn.NMSBoxes(sizes.tolist(), scores[likely].tolist(), self.weak, OVERLAP) if len(likely) else []
        for row in np.ravel(kept).astype(int):
            anchor = likely[row]
            yield float(scores[anchor]), boxes[anchor], points[anchor]

    @abstractmethod
    def normalise(self, canvas: Pixels) -> Floats:
        """Pixels (H, W, 3) as the network was trained on."""

    @abstractmethod
    def decode(self, outputs: list[Floats], size: tuple[int, int]) -> tuple[Floats, Floats, Floats]:
        """Network outputs -> scores (N,), corners x0 y0 x1 y1 (N, 4), landmarks (N, 5, 2) in pixels."""


def detection(score: float, box: Floats, points: Floats) -> Detection:
    """A detection from corners and points; without points (all NaN) its landmarks are None."""
    x0, y0, x1, y1 = map(float, box)
    marks = None if np.isnan(points).any() else points.astype(np.float32)
    return Detection((x0, y0, x1 - x0, y1 - y0), min(1.0, score), marks)


def open_session(model: Path) -> InferenceSession:
    """An onnxruntime session on one CPU thread. Raises ``ValueError`` naming the extra or the file."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError(f"detectors from ONNX files need onnxruntime: {install('onnx')}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no base class
        raise ValueError(f"{model}: not an ONNX model that can be run ({str(error).splitlines()[0]})") from error


def anchors(size: tuple[int, int], stride: int, count: int) -> Floats:
    """Places (count, 2) of a level's anchors; several share a cell if there are more than cells."""
    rows, columns = -(-size[0] // stride), -(-size[1] // stride)
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    centre = np.stack([x.ravel(), y.ravel()], 1).astype(np.float32) * stride
    return np.repeat(centre, max(1, count // len(centre)), axis=0)
