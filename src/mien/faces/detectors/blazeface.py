"""Google's MediaPipe Tasks face detector (Apache-2.0) with a model file that you name (extra ``mediapipe``).

MediaPipe's wheels carry no models any more; its site offers ``blaze_face_short_range.tflite`` (faces within about two
metres). Its landmarks are six: eyes, nose tip, middle of the mouth and ears, so mouth corners are unknown and no
landmarks are given out. Its boxes are BlazeFace's own, squarer and lower than YuNet's: crops differ.
Its wheel brings opencv-contrib-python 5, which takes the place of the OpenCV that has Haar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.extras import install
from mien.faces.detectors.detector import Detection, Detector
from mien.faces.face import Pixels

if TYPE_CHECKING:
    from mien.faces.detectors import DetectConfig


class MediaPipe(Detector):
    """BlazeFace by MediaPipe Tasks: boxes from brow to chin and scores."""

    name, signs = "mediapipe", (".tflite", "blaze_face")
    confirm, smallest = 4, 40

    def __init__(self, config: DetectConfig) -> None:
        super().__init__(config)
        try:
            import mediapipe  # type: ignore[import-not-found]
            from mediapipe.tasks.python import BaseOptions, vision  # type: ignore[import-not-found]
        except (ImportError, OSError) as error:
            raise ValueError(
                f"the MediaPipe detector needs the extra mediapipe ({error}): {install('mediapipe')}"
            ) from error
        self.image = lambda data: mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=data)
        base = BaseOptions(model_asset_path=str(config.model))
        options = vision.FaceDetectorOptions(base_options=base, min_detection_confidence=self.weak)
        try:
            self.inner = vision.FaceDetector.create_from_options(options)
        except (RuntimeError, ValueError, OSError) as error:
            raise ValueError(f"{config.model}: not a MediaPipe face detector ({str(error).splitlines()[0]})") from error

    def search(self, picture: Pixels) -> list[Detection]:
        found = []
        for face in self.inner.detect(self.image(np.ascontiguousarray(picture))).detections:
            box = face.bounding_box
            corners = float(box.origin_x), float(box.origin_y), float(box.width), float(box.height)
            found.append(Detection(corners, float(face.categories[0].score), None))
        return found
