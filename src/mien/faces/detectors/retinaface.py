"""RetinaFace (Deng et al., 2020), whose weights by InsightFace are for non-commercial research only."""

from __future__ import annotations

import numpy as np

from mien.faces.detectors.onnx import Floats, Onnx, anchors
from mien.faces.face import Pixels


class RetinaFace(Onnx):
    """RetinaFace (Deng et al., 2020) with three outputs, as the PyTorch versions export it: offsets from prior boxes
    (N, 4), class probabilities (N, 2), landmark offsets (N, 10)."""

    name, signs = "retinaface", ("retinaface",)
    sides = ((16, 32), (64, 128), (256, 512))
    """Prior boxes of strides 8, 16 and 32, in pixels."""
    variances = (0.1, 0.2)

    def check(self, outputs: int) -> None:
        if outputs != 3:
            raise ValueError(f"{self.model}: {outputs} outputs; RetinaFace has 3: boxes, classes, landmarks")

    def normalise(self, canvas: Pixels) -> Floats:
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
