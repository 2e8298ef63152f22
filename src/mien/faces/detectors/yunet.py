"""YuNet (Wu et al., 2023; MIT), the detector of choice; its file comes with ``mien models get yunet``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.faces.detectors.detector import Detection, Detector
from mien.faces.face import Pixels

if TYPE_CHECKING:
    from mien.faces.detectors import DetectConfig


class YuNet(Detector):
    """OpenCV's ``FaceDetectorYN``: box and five landmarks, in milliseconds."""

    name, signs, download = "yunet", ("yunet",), "yunet"
    file = "face_detection_yunet_2023mar.onnx"
    confirm, smallest, level_side = 3, 14, 192

    def __init__(self, config: DetectConfig) -> None:
        super().__init__(config)
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
            reason = str(error).strip().splitlines()[0]  # without OpenCV's stack
            raise ValueError(f"{self.model}: not a YuNet model ({reason}); mien models get yunet") from error

    @staticmethod
    def face(row: NDArray[np.float32]) -> Detection:
        """One row of YuNet: box, five points (right eye first), score."""
        x, y, width, height = map(float, row[:4])
        return Detection((x, y, width, height), float(min(row[14], 1)), row[4:14].reshape(5, 2).astype(np.float32))
