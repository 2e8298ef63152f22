"""Who is on each frame, and the picture of each that the model was trained on: found faces, or the whole frame as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from mien.faces.face import Face, Pixels, Sighting
from mien.video.clips import ClipConfig, square
from mien.video.stream import Frame


class Watcher(Protocol):
    """Finds faces and cuts them out."""

    def sightings(self, frames: Iterable[Frame]) -> Iterator[Sighting]:
        """One sighting per frame, in order."""
        ...

    def picture(self, sighting: Sighting, face: Face) -> Pixels:
        """A face as the model wants it: uint8 (size, size, 3)."""
        ...


@dataclass(frozen=True)
class Whole:
    """For clips that are cropped to one face already: the frame, cut as the training clips were."""

    clip: ClipConfig

    def sightings(self, frames: Iterable[Frame]) -> Iterator[Sighting]:
        """Every frame holds face 0, as large as the frame; its confidence is not known."""
        for frame in frames:
            height, width = frame.pixels.shape[:2]
            box = (0.0, 0.0, float(width), float(height))
            face = Face(0, box, float("nan"), None, "detected", float("nan"), None)
            yield Sighting(frame, (face,), 0, None)

    def picture(self, sighting: Sighting, face: Face) -> Pixels:
        """The square of a frame that training sees."""
        size, pixels = self.clip.size, sighting.frame.pixels
        height, width = pixels.shape[:2]
        side = 160 / 224 if self.clip.crop == "voxceleb2" else 1.0
        scale = size / (side * min(height, width))
        tall, wide = max(round(height * scale), size), max(round(width * scale), size)
        if self.clip.crop == "squash":
            tall = wide = size
        how = cv2.INTER_AREA if tall < height or wide < width else cv2.INTER_CUBIC
        scaled = np.asarray(cv2.resize(pixels, (wide, tall), interpolation=how), np.uint8)
        return square(scaled[None], self.clip)[0]
