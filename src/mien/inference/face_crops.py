"""Who is on each frame, and the picture of each that the model was trained on: found faces, or the whole frame as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import cv2
import numpy as np

from mien.faces.crop import CropConfig, crop
from mien.faces.detectors import DetectConfig
from mien.faces.face import Face, FrameFaces, Pixels
from mien.faces.follow import FollowConfig, follow
from mien.video.clips import ClipConfig, central_square
from mien.video.stream import Frame


class FaceCropper(Protocol):
    """Finds faces and cuts them out."""

    def frames_with_faces(self, frames: Iterable[Frame]) -> Iterator[FrameFaces]:
        """The faces of each frame, in order."""
        ...

    def picture(self, frame_faces: FrameFaces, face: Face) -> Pixels:
        """A face as the model wants it: uint8 (size, size, 3)."""
        ...


@dataclass(frozen=True)
class WholeFrame:
    """For clips that are cropped to one face already: the frame, cut as the training clips were."""

    clip: ClipConfig

    def frames_with_faces(self, frames: Iterable[Frame]) -> Iterator[FrameFaces]:
        """Every frame holds face 0, as large as the frame; its confidence is not known."""
        for frame in frames:
            height, width = frame.pixels.shape[:2]
            box = (0.0, 0.0, float(width), float(height))
            face = Face(0, box, float("nan"), None, "detected", float("nan"), None)
            yield FrameFaces(frame, (face,), 0, None)

    def picture(self, frame_faces: FrameFaces, face: Face) -> Pixels:
        """The square of a frame that training sees."""
        return self.cut(frame_faces.frame.pixels)

    def cut(self, pixels: Pixels) -> Pixels:
        """A clip's frame (H, W, 3) -> (size, size, 3)."""
        size = self.clip.size
        height, width = pixels.shape[:2]
        side = 160 / 224 if self.clip.crop == "voxceleb2" else 1.0
        scale = size / (side * min(height, width))
        tall, wide = max(round(height * scale), size), max(round(width * scale), size)
        if self.clip.crop == "squash":
            tall = wide = size
        how = cv2.INTER_AREA if tall < height or wide < width else cv2.INTER_CUBIC
        scaled = np.asarray(cv2.resize(pixels, (wide, tall), interpolation=how), np.uint8)
        return central_square(scaled[None], self.clip)[0]


@dataclass(frozen=True)
class DetectedFaces:
    """Faces are detected, followed and cropped as those that the model was trained on."""

    clip: ClipConfig
    crop: CropConfig
    detector: DetectConfig
    follow: FollowConfig

    def frames_with_faces(self, frames: Iterable[Frame]) -> Iterator[FrameFaces]:
        """Stable ids over time; see ``mien.faces.follow``."""
        return follow(frames, self.detector.build(), self.follow)

    def picture(self, frame_faces: FrameFaces, face: Face) -> Pixels:
        """The crop of a face."""
        picture = crop(frame_faces.frame.pixels, face, self.crop)
        return picture if len(picture) == self.clip.size else WholeFrame(self.clip).cut(picture)


CropPreset = Literal["model", "loose", "voxceleb2", "openface", "template", "stretched"]


def compatible_crop(clip: ClipConfig, trained_on: CropConfig | None, asked: CropPreset) -> CropConfig:
    """How faces are cropped for a model. Asking for another crop than it was trained on is an error.

    ``trained_on`` is the crop of the store that the model learnt from; without it voxceleb2 clips say what they are, and
    others get loose squares.
    """
    known = trained_on or (CropConfig(preset="voxceleb2") if clip.crop == "voxceleb2" else None)
    if known and asked not in ("model", known.preset):
        raise ValueError(
            f"this model was trained on {known.preset} crops, {asked} ones would show it pictures that it does not know; "
            f"leave --crop out, or train on faces cut with --crop.preset {asked}"
        )
    config = known or CropConfig(preset="loose" if asked == "model" else asked)
    cut_again = trained_on is not None and clip.crop == "voxceleb2"
    return replace(config, size=round(clip.size * 224 / 160) if cut_again else clip.size)
