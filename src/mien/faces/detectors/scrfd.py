"""SCRFD (Guo et al., 2021), whose weights by InsightFace are for non-commercial research only."""

from __future__ import annotations

import numpy as np

from mien.faces.detectors.onnx import Floats, Onnx, anchors
from mien.faces.face import Pixels


class Scrfd(Onnx):
    """SCRFD (Guo et al., 2021) as InsightFace exports it: for strides 8, 16, 32 scores, then distances, then points."""

    name, signs = "scrfd", ("scrfd", "det_500m", "det_2.5g", "det_10g")

    def check(self, outputs: int) -> None:
        if outputs not in (6, 9):
            raise ValueError(f"{self.model}: {outputs} outputs; SCRFD has 9 with landmarks or 6 without")

    def normalise(self, canvas: Pixels) -> Floats:
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
