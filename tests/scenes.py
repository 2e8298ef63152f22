"""Scenes for tests: people cut out of real clips and moved over a background, so that the truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.faces.detectors import DetectConfig, Detector
from mien.faces.face import Box, FrameFaces
from mien.video.stream import Frame, read_frames

Path2 = Callable[[int], tuple[float, float] | None]
"""Frame number -> where the middle of a person's head is, or None while away."""


def yunet(media: Path) -> Detector:
    """The detector of choice, from the folder beside the media."""
    return DetectConfig(model=media.parent / "models" / "face_detection_yunet_2023mar.onnx").build()


@dataclass
class Actor:
    """A head cut out of a clip."""

    heads: list[NDArray[np.uint8]]
    """(S, S, 3) each."""
    where: Path2

    @classmethod
    def cast(cls, clip: Path, side: int, where: Path2, count: int = 40, box: Box | None = None) -> Actor:
        """The first frames of a clip, or a part of them, at ``side`` pixels."""
        heads = []
        for frame in read_frames(clip):
            height, width = frame.pixels.shape[:2]
            x, y, w, h = (round(v) for v in box or (0, 0, width, height))
            heads.append(cv2.resize(frame.pixels[y : y + h, x : x + w], (side, side), interpolation=cv2.INTER_AREA))
            if len(heads) == count:
                break
        return cls(heads, where)

    def paint(self, canvas: NDArray[np.uint8], index: int) -> None:
        """Blend this frame's head into the picture."""
        place = self.where(index)
        if place is None:
            return
        swing = abs((index + len(self.heads)) % (2 * len(self.heads) - 2) - len(self.heads) + 1)
        head = self.heads[swing]
        side = len(head)
        mask = np.zeros((side, side), np.float32)
        cv2.ellipse(mask, (side // 2, side // 2), (round(0.46 * side), round(0.49 * side)), 0, 0, 360, 1, -1)
        mask = cv2.GaussianBlur(mask, (0, 0), side / 40)[..., None]
        shift = np.array([[1, 0, place[0] - side / 2], [0, 1, place[1] - side / 2]], np.float64)
        size = canvas.shape[1::-1]
        over = cv2.warpAffine(mask, shift, size).reshape(*canvas.shape[:2], 1)
        canvas[:] = over * cv2.warpAffine(head, shift, size) + (1 - over) * canvas


def background(width: int = 640, height: int = 360, seed: int = 0) -> NDArray[np.uint8]:
    """Soft random colours: something to move over, with no face in it."""
    colours = np.random.default_rng(seed).integers(40, 200, (9, 16, 3), dtype=np.uint8)
    return cv2.resize(colours, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def scene(
    actors: Sequence[Actor],
    count: int,
    fps: float = 30,
    seed: int = 0,
    start: int = 0,
    size: tuple[int, int] = (640, 360),
) -> Iterator[Frame]:
    """Frames of a scene; later actors stand in front."""
    empty = background(*size, seed)
    noise = np.random.default_rng(seed).integers(-3, 4, (5, *empty.shape), dtype=np.int16)
    for index in range(count):
        canvas = empty.copy()
        for actor in actors:
            actor.paint(canvas, index)
        pixels = np.clip(canvas.astype(np.int16) + noise[index % 5], 0, 255).astype(np.uint8)
        yield Frame(start + index, (start + index) / fps, pixels)


def id_at(faces: FrameFaces, place: tuple[float, float] | None) -> int | None:
    """Id of the face at a place, if there is one; None is a place outside the picture."""
    if place is None:
        return None
    for face in faces.faces:
        x, y, width, height = face.box
        if abs(x + width / 2 - place[0]) < 0.5 * width and abs(y + height / 2 - place[1]) < 0.5 * height:
            return face.id
    return None
