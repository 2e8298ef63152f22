"""Augmentation of whole clips: the same for all frames, drawn once per clip.

Geometry is drawn in the coordinates of the source and decoded straight to: a crop is read as it is, scaled once; only
what is not a crop (rotation, shear) is warped after that. The order is that of the published code: RandAugment acts on
the frame, then comes the crop, then the flip, then erasing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass as plain
from statistics import NormalDist
from typing import Annotated

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat
from pydantic.dataclasses import dataclass

from mien.config import STRICT
from mien.video.colour import COLOUR, recolour
from mien.video.decode import Reader
from mien.video.geometry import (
    GEOMETRY,
    Box,
    Matrix,
    box_of,
    crop_map,
    linear,
    multiscale_crop,
    resized_crop,
    warp,
    whole_pixels,
)
from mien.video.pictures import Frames

Operations = list[tuple[str, float]]
"""Names and signed strengths in [-1, 1]."""


@dataclass(frozen=True, config=STRICT)
class AugmentConfig:
    """Random changes of a training clip; the defaults are SVFAP's pre-training."""

    scales: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (1.0, 0.875, 0.75, 0.66)
    """Multi-scale crop: width and height are drawn from these shares of the shorter side (one step apart at most), the
    place from 13; empty takes area and ratio instead."""
    area: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]] = (0.08, 1.0)
    """Random resized crop: share of the frame's area."""
    ratio: tuple[PositiveFloat, PositiveFloat] = (0.75, 1.3333)
    """Random resized crop: width over height."""
    flip: NonNegativeFloat = 0.0
    """Probability of a left-right flip."""
    operations: NonNegativeInt = 0
    """RandAugment: operations per clip, drawn from geometry and colour; 4 for fine-tuning."""
    magnitude: NonNegativeFloat = 7.0
    """RandAugment: mean strength of an operation, of 10; its deviation is 0.5."""
    jitter: NonNegativeFloat = 0.0
    """Largest relative change of brightness, contrast and saturation."""
    erase: NonNegativeFloat = 0.0
    """Probability of random erasing: one box of noise, at the same place in all frames."""

    @classmethod
    def none(cls) -> AugmentConfig:
        """The clip as it is: its largest centre square."""
        return cls(scales=(), area=(1.0, 1.0), ratio=(1.0, 1.0))

    @classmethod
    def finetune(cls) -> AugmentConfig:
        """SVFAP's fine-tuning: random resized crop, flip, RandAugment m7-n4, random erasing."""
        return cls(scales=(), flip=0.5, operations=4, erase=0.25)


@plain(frozen=True)
class Canvas:
    """The part of a frame that training may see, and the shape in which changes of it are drawn."""

    part: Box
    """In pixels of the frame as shown."""
    shape: tuple[float, float]
    """Height and width of the part while changes are drawn: its own, or a square that it is squeezed into."""

    @property
    def to_frame(self) -> Matrix:
        """From points of the shape to points of the frame."""
        top, left, height, width = self.part
        return linear(width / self.shape[1], 0, 0, height / self.shape[0], left, top)


@plain(frozen=True)
class Change:
    """What was drawn for a clip, but for erasing."""

    crop: Box
    """In points of the canvas."""
    flip: bool
    geometry: Operations
    colour: Operations

    def matrix(self, canvas: Canvas, size: int) -> Matrix:
        """From pixels of the result, unflipped, to pixels of the frame."""
        matrix = canvas.to_frame
        for name, strength in self.geometry:
            matrix = matrix @ GEOMETRY[name](strength, *canvas.shape)
        return matrix @ crop_map(self.crop, size)


def draw_change(config: AugmentConfig, canvas: Canvas, rng: Generator) -> Change:
    """The changes of a clip: crop, flip, RandAugment (each operation is used half the times it is drawn), colour jitter."""
    height, width = canvas.shape
    if config.scales:
        crop = multiscale_crop(height, width, config.scales, rng)
    else:
        crop = resized_crop(height, width, config.area, config.ratio, rng)
    flip = bool(rng.random() < config.flip)
    geometry: Operations = []
    colour: Operations = []
    for name in rng.choice([*GEOMETRY, *COLOUR], size=config.operations):
        strength = float(np.clip(rng.normal(config.magnitude, 0.5), 0, 10)) / 10 * rng.choice([-1, 1])
        if rng.random() < 0.5:
            (geometry if name in GEOMETRY else colour).append((str(name), strength))
    # At strength s, these enhance by a factor of 1 + 0.9 s.
    jittered = ("brightness", "contrast", "colour") if config.jitter else ()
    jitter = [(name, float(rng.uniform(-config.jitter, config.jitter)) / 0.9) for name in jittered]
    return Change(crop, flip, geometry, jitter + colour)


def read_augmented(
    reader: Reader,
    indices: Sequence[int] | NDArray[np.int64],
    canvas: Canvas,
    config: AugmentConfig,
    size: int,
    rng: Generator,
) -> Frames:
    """Frames of a video (T, size, size, 3), changed alike by what ``rng`` draws."""
    change = draw_change(config, canvas, rng)
    frames = read_changed(reader, indices, canvas, change, size)
    frames = recolour(frames[:, :, ::-1] if change.flip else frames, change.colour)
    return erase(frames, rng) if rng.random() < config.erase else frames


def read_changed(
    reader: Reader, indices: Sequence[int] | NDArray[np.int64], canvas: Canvas, change: Change, size: int
) -> Frames:
    """Read what the result needs of the frames, at its scale; warp it where it is more than a crop."""
    matrix = change.matrix(canvas, size)
    top, left, height, width = box = box_of(matrix, size)
    low, high = (canvas.part[0], canvas.part[1]), (canvas.part[0] + canvas.part[2], canvas.part[1] + canvas.part[3])
    inside = (
        low[0] - 0.5 <= top and top + height <= high[0] + 0.5 and low[1] - 0.5 <= left and left + width <= high[1] + 0.5
    )
    upright = matrix[0, 1] == matrix[1, 0] == 0
    if upright and inside:
        return reader.read(indices, (size, size), whole_pixels(box, canvas.part, reader.height, reader.width))
    (_, _, *sides), (_, _, *part) = change.crop, canvas.part
    scale = [size / sides[i] * canvas.shape[i] / part[i] for i in (0, 1)]  # pixels of the result per pixel of the frame
    margin = [max(2.0, 2.0 / s) for s in scale]  # source pixels that interpolation at the edge needs
    around = (top - margin[0], left - margin[1], height + 2 * margin[0], width + 2 * margin[1])
    region = whole_pixels(around, canvas.part, reader.height, reader.width)
    tall, wide = region[2], region[3]
    if min(scale) < 1:  # what grows is read as it is and grows while it is warped
        tall, wide = max(round(tall * scale[0]), 1), max(round(wide * scale[1]), 1)
    frames = reader.read(indices, (tall, wide), region)
    to_read = np.linalg.inv(linear(region[3] / wide, 0, 0, region[2] / tall, region[1], region[0]))
    return warp(frames, to_read @ matrix, size)


LEVELS = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)])
NOISE = np.array([0.485, 0.456, 0.406]) + LEVELS[:, None] * np.array([0.229, 0.224, 0.225])
NOISE_TABLE = (NOISE * 255).round().clip(0, 255).astype(np.uint8)[None]
"""Values of erased pixels (1, 256, 3), equally probable: standard normal after ImageNet's normalisation."""


def erase(frames: Frames, rng: Generator) -> Frames:
    """Fill one box of 2-33 % of the area with noise, the same box in all frames."""
    height, width = frames.shape[1:3]
    for _ in range(100):
        area = rng.uniform(0.02, 1 / 3) * height * width
        ratio = float(np.exp(rng.uniform(np.log(0.3), np.log(1 / 0.3))))
        h, w = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if 0 < h < height and 0 < w < width:
            break
    else:
        return frames
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    frames = frames.copy()
    drawn = rng.integers(0, 256, (1, len(frames) * h * w, 3), dtype=np.uint8)
    frames[:, top : top + h, left : left + w] = cv2.LUT(drawn, NOISE_TABLE).reshape(-1, h, w, 3)
    return frames


def crops(frames: Frames, size: int, count: int) -> list[Frames]:
    """Square crops of frames (T, H, W, 3): the centre, or ``count`` spread over the longer side; equal ones once."""
    height, width = frames.shape[1:3]
    spare = (height - size, width - size)
    shares = [0.5] if count == 1 else np.linspace(0.0, 1.0, count)
    corners = [(round(spare[0] * s), round(spare[1] * s)) for s in shares]
    return [frames[:, y : y + size, x : x + size] for y, x in dict.fromkeys(corners)]
