"""Detectors from ONNX files of others, by onnxruntime (extra ``onnx``): SCRFD and RetinaFace.

mien ships none and fetches none: InsightFace's SCRFD and RetinaFace weights are for non-commercial research only. Name a
file that you have: ``--detector-model scrfd_2.5g_bnkps.onnx``. Each family is read by its published output layout.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.extras import install
from mien.faces.detect import Detection, Detector
from mien.faces.face import Pixels

if TYPE_CHECKING:
    from mien.faces.detect import DetectConfig

Floats = NDArray[np.float32]
OVERLAP = 0.4
"""Intersection over union from which two boxes are one face."""


class Onnx(Detector):
    """A network that gives scores, boxes and landmarks for anchors of the picture."""

    confirm, smallest = 3, 16
    step = 32
    """Pixels that sides of the picture are filled up to a multiple of."""

    def __init__(self, config: DetectConfig) -> None:
        self.size, self.search_size = config.size, max(config.size, config.search_size)
        self.strong, self.weak = config.score or 0.6, 0.5 * (config.score or 0.6)
        assert config.model is not None
        self.model = config.model
        self.session = session(config.model)
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
        tensor = np.ascontiguousarray(self.normal(canvas).transpose(2, 0, 1)[None])
        scores, boxes, points = self.decode(self.session.run(None, {self.input.name: tensor}), (rows, columns))
        return [found(score, box / scale, mark / scale) for score, box, mark in self.best(scores, boxes, points)]

    def best(self, scores: Floats, boxes: Floats, points: Floats) -> Iterator[tuple[float, Floats, Floats]]:
        """Scores (N,), corners (N, 4) and landmarks (N, 5, 2) of one detection per face."""
        likely = np.flatnonzero(scores >= self.weak)
        sizes = np.concatenate([boxes[likely, :2], boxes[likely, 2:] - boxes[likely, :2]], axis=1)
        kept = cv2.dnn.NMSBoxes(sizes.tolist(), scores[likely].tolist(), self.weak, OVERLAP) if len(likely) else []
        for row in np.ravel(kept).astype(int):
            anchor = likely[row]
            yield float(scores[anchor]), boxes[anchor], points[anchor]

    @abstractmethod
    def normal(self, canvas: Pixels) -> Floats:
        """Pixels (H, W, 3) as the network was trained on."""

    @abstractmethod
    def decode(self, outputs: list[Floats], size: tuple[int, int]) -> tuple[Floats, Floats, Floats]:
        """Network outputs -> scores (N,), corners x0 y0 x1 y1 (N, 4), landmarks (N, 5, 2) in pixels."""


def found(score: float, box: Floats, points: Floats) -> Detection:
    """A detection from corners and points; without points (all NaN) its landmarks are None."""
    x0, y0, x1, y1 = map(float, box)
    marks = None if np.isnan(points).any() else points.astype(np.float32)
    return Detection((x0, y0, x1 - x0, y1 - y0), min(1.0, score), marks)


def session(model: Path) -> Any:
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


class Scrfd(Onnx):
    """SCRFD (Guo et al., 2021) as InsightFace exports it: for strides 8, 16, 32 scores, then distances, then points."""

    name = "scrfd"

    def check(self, outputs: int) -> None:
        if outputs not in (6, 9):
            raise ValueError(f"{self.model}: {outputs} outputs; SCRFD has 9 with landmarks or 6 without")

    def normal(self, canvas: Pixels) -> Floats:
        return ((canvas - np.float32(127.5)) / np.float32(128)).astype(np.float32)

    def decode(self, outputs: list[Floats], size: tuple[int, int]) -> tuple[Floats, Floats, Floats]:
        flat = [output.reshape(-1, output.shape[-1]) for output in outputs]
        scores, boxes, points = [], [], []
        for level, stride in enumerate((8, 16, 32)):
            here, distance = flat[level][:, 0], flat[3 + level] * stride
            centre = anchors(size, stride, len(here))
            scores.append(here)
            boxes.append(np.concatenate([centre - distance[:, :2], centre + distance[:, 2:]], axis=1))
            away = flat[6 + level] * stride if len(flat) == 9 else np.full((len(here), 10), np.nan, np.float32)
            points.append(centre[:, None] + away.reshape(-1, 5, 2))
        return np.concatenate(scores), np.concatenate(boxes), np.concatenate(points)


def anchors(size: tuple[int, int], stride: int, count: int) -> Floats:
    """Places (count, 2) of a level's anchors; several share a cell if there are more than cells."""
    rows, columns = -(-size[0] // stride), -(-size[1] // stride)
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    centre = np.stack([x.ravel(), y.ravel()], 1).astype(np.float32) * stride
    return np.repeat(centre, max(1, count // len(centre)), axis=0)


class RetinaFace(Onnx):
    """RetinaFace (Deng et al., 2020) with three outputs, as the PyTorch versions export it: offsets from prior boxes
    (N, 4), class probabilities (N, 2), landmark offsets (N, 10)."""

    name = "retinaface"
    sides = ((16, 32), (64, 128), (256, 512))
    """Prior boxes of strides 8, 16 and 32, in pixels."""
    variances = (0.1, 0.2)

    def check(self, outputs: int) -> None:
        if outputs != 3:
            raise ValueError(f"{self.model}: {outputs} outputs; RetinaFace has 3: boxes, classes, landmarks")

    def normal(self, canvas: Pixels) -> Floats:
        return (canvas[..., ::-1] - np.array([104, 117, 123], np.float32)).astype(np.float32)

    def decode(self, outputs: list[Floats], size: tuple[int, int]) -> tuple[Floats, Floats, Floats]:
        by_width = {output.shape[-1]: output.reshape(-1, output.shape[-1]) for output in outputs}
        if set(by_width) != {2, 4, 10}:
            raise ValueError(f"{self.model}: outputs of widths {sorted(by_width)}; RetinaFace has 2, 4 and 10")
        centre, side = self.priors(size)
        near, far = self.variances
        middle = centre + near * side * by_width[4][:, :2]
        half = 0.5 * side * np.exp(far * by_width[4][:, 2:])
        points = centre[:, None] + near * side[:, None] * by_width[10].reshape(-1, 5, 2)
        boxes = np.concatenate([middle - half, middle + half], axis=1)
        return by_width[2][:, 1], boxes.astype(np.float32), points.astype(np.float32)

    def priors(self, size: tuple[int, int]) -> tuple[Floats, Floats]:
        """Centres (N, 2) and sides (N, 1) of the prior boxes in pixels."""
        centres, sides = [], []
        for stride, pair in zip((8, 16, 32), self.sides, strict=True):
            cells = anchors(size, stride, 1) + stride / 2
            centres.append(np.repeat(cells, 2, axis=0))
            sides.append(np.tile(np.array(pair, np.float32), len(cells))[:, None])
        return np.concatenate(centres), np.concatenate(sides)
