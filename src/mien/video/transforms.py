"""Augmentation of whole clips: the same for all frames, one warp and one colour table per clip.

All geometry (random resized crop, flip, rotation, shear, shift) is composed into one affine map applied once per frame;
all colour operations into one table per channel and one 3x3 matrix.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, NonNegativeInt
from pydantic.dataclasses import dataclass

from mien.config import STRICT
from mien.video.decode import Frames

Matrix = NDArray[np.float64]


@dataclass(frozen=True, config=STRICT)
class AugmentConfig:
    """Random changes of a training clip; the defaults are SVFAP's pre-training."""

    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)
    """Multi-scale crop: width and height are drawn from these shares of the side (one step apart at most), the place
    from corners, edges and centre; empty takes area and ratio instead."""
    area: tuple[float, float] = (0.08, 1.0)
    """Random resized crop: share of the frame's area."""
    ratio: tuple[float, float] = (0.75, 1.3333)
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
        """The clip as it is."""
        return cls(scales=(), area=(1.0, 1.0), ratio=(1.0, 1.0))

    @classmethod
    def finetune(cls) -> AugmentConfig:
        """SVFAP's fine-tuning: random resized crop, flip, RandAugment m7-n4, random erasing."""
        return cls(scales=(), flip=0.5, operations=4, erase=0.25)


def augment(frames: Frames, config: AugmentConfig, size: int, rng: Generator) -> Frames:
    """Frames (T, H, W, 3) -> frames (T, size, size, 3), changed alike by what ``rng`` draws."""
    height, width = frames.shape[1:3]
    matrix = crop_map(*crop_box(height, width, config, rng), size)
    if rng.random() < config.flip:
        matrix = np.array([[-1.0, 0.0, size - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) @ matrix
    geometry, colour = draw_operations(config, rng)
    for name, strength in geometry:
        matrix = about_centre(GEOMETRY[name](strength), size) @ matrix
    frames = recolour(warp(frames, matrix, size), colour, config.jitter, rng)
    return erase(frames, rng) if rng.random() < config.erase else frames


def crop_box(height: int, width: int, config: AugmentConfig, rng: Generator) -> tuple[float, float, float, float]:
    """Top, left, height and width of the region to keep, in pixels."""
    if config.scales:
        side = min(height, width)
        first = int(rng.integers(len(config.scales)))
        second = int(np.clip(first + rng.integers(-1, 2), 0, len(config.scales) - 1))
        h, w = side * config.scales[first], side * config.scales[second]
        place = rng.integers(0, 3, size=2) / 2.0
    else:
        area = height * width * rng.uniform(*config.area)
        ratio = float(np.exp(rng.uniform(*np.log(config.ratio))))
        h, w = min((area / ratio) ** 0.5, height), min((area * ratio) ** 0.5, width)
        place = rng.random(2)
    return place[0] * (height - h), place[1] * (width - w), h, w


def crop_map(top: float, left: float, height: float, width: float, size: int) -> Matrix:
    """The affine map that takes a region to the square 0 ... size, pixel centres to pixel centres."""
    sx, sy = size / width, size / height
    return np.array([[sx, 0.0, -sx * (left - 0.5) - 0.5], [0.0, sy, -sy * (top - 0.5) - 0.5], [0.0, 0.0, 1.0]])


def warp(frames: Frames, matrix: Matrix, size: int) -> Frames:
    """Apply one affine map to every frame; a map that changes nothing costs nothing."""
    if frames.shape[1:3] == (size, size) and np.allclose(matrix, np.eye(3), atol=1e-9):
        return frames
    linear, edge = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
    warped = [cv2.warpAffine(f, matrix[:2], (size, size), flags=linear, borderMode=edge) for f in frames]
    return np.asarray(warped, dtype=np.uint8)


GEOMETRY = {
    "rotate": lambda s: rotation(np.deg2rad(30.0 * s)),
    "shear_x": lambda s: np.array([[1.0, 0.3 * s, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    "shear_y": lambda s: np.array([[1.0, 0.0, 0.0], [0.3 * s, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    "shift_x": lambda s: np.array([[1.0, 0.0, 0.45 * s], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    "shift_y": lambda s: np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.45 * s], [0.0, 0.0, 1.0]]),
}
"""Maps in units of the side, about the centre, for a strength in [-1, 1]."""


def rotation(angle: float) -> Matrix:
    """A turn by ``angle`` radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def about_centre(matrix: Matrix, size: int) -> Matrix:
    """A map in units of the side about the centre as a map of pixels."""
    half = (size - 1) / 2
    units = np.array([[size, 0.0, half], [0.0, size, half], [0.0, 0.0, 1.0]])
    return units @ matrix @ np.linalg.inv(units)


COLOUR = ("brightness", "contrast", "gamma", "posterize", "solarize", "autocontrast", "equalize", "colour")
"""Colour operations of RandAugment."""

Operations = list[tuple[str, float]]


def draw_operations(config: AugmentConfig, rng: Generator) -> tuple[Operations, Operations]:
    """Geometry and colour operations of a clip with signed strengths; each is used half the times it is drawn."""
    names = rng.choice([*GEOMETRY, *COLOUR], size=config.operations)
    drawn = []
    for name in names:
        strength = float(np.clip(rng.normal(config.magnitude, 0.5), 0, 10)) / 10 * rng.choice([-1, 1])
        if rng.random() < 0.5:
            drawn.append((str(name), strength))
    return [d for d in drawn if d[0] in GEOMETRY], [d for d in drawn if d[0] not in GEOMETRY]


def recolour(frames: Frames, operations: Operations, jitter: float, rng: Generator) -> Frames:
    """Apply colour operations: tables per channel, then saturation."""
    if jitter:
        operations = [
            (n, float(rng.uniform(-jitter, jitter))) for n in ("brightness", "contrast", "colour")
        ] + operations
    table = np.tile(np.arange(256.0)[:, None], 3)  # value, channel
    histograms = clip_histograms(frames) if operations else None
    saturation = 1.0
    for name, strength in operations:
        if name == "colour":
            saturation *= 1.0 + 0.9 * strength
        else:
            table = tabulate(name, strength, table, histograms)
    if not operations:
        return frames
    lut = table.clip(0, 255).astype(np.uint8)
    flat = frames.reshape(1, -1, 3)
    flat = cv2.LUT(flat, lut.reshape(1, 256, 3))
    if saturation != 1.0:
        grey = np.array([0.299, 0.587, 0.114])
        flat = cv2.transform(flat, saturation * np.eye(3) + (1.0 - saturation) * grey[None, :].repeat(3, axis=0))
    return np.asarray(flat, dtype=np.uint8).reshape(frames.shape)


def clip_histograms(frames: Frames) -> NDArray[np.int64]:
    """How often each value occurs in each channel of a clip (256, 3), from every 4th pixel."""
    sample = frames[:, ::4, ::4].reshape(-1, 3)
    return np.stack([np.bincount(sample[:, c], minlength=256) for c in range(3)], axis=1)


def tabulate(name: str, strength: float, table: Matrix, histograms: NDArray[np.int64] | None) -> Matrix:
    """Put one more operation behind a table (256, 3) of values 0 ... 255."""
    if name == "brightness":
        return table * (1.0 + 0.9 * strength)
    if name == "contrast":
        return 128.0 + (table - 128.0) * (1.0 + 0.9 * strength)
    if name == "gamma":
        return 255.0 * (table.clip(0, 255) / 255.0) ** np.exp(strength)
    if name == "posterize":
        keep = 256 >> max(int(8 - 4 * abs(strength)), 1)
        return np.floor(table / keep) * keep
    if name == "solarize":
        return np.where(table < 256 * (1.0 - abs(strength)), table, 255.0 - table)
    assert histograms is not None
    return stretch(name, table, histograms)


def stretch(name: str, table: Matrix, histograms: NDArray[np.int64]) -> Matrix:
    """Autocontrast and equalize: spread the clip's own values over the whole range."""
    share = histograms.cumsum(axis=0) / histograms.sum(axis=0)
    if name == "equalize":
        curve = 255.0 * share
    else:
        low = (share > 0.005).argmax(axis=0)
        high = (share >= 0.995).argmax(axis=0)
        curve = 255.0 * (np.arange(256.0)[:, None] - low) / np.maximum(high - low, 1)
    index = table.clip(0, 255).astype(np.intp)
    return np.take_along_axis(curve, index, axis=0)


def erase(frames: Frames, rng: Generator) -> Frames:
    """Fill one box of 2-33 % of the area with noise, the same box in all frames."""
    height, width = frames.shape[1:3]
    area, ratio = rng.uniform(0.02, 1 / 3) * height * width, float(np.exp(rng.uniform(np.log(0.3), np.log(3.3))))
    h, w = min(int((area * ratio) ** 0.5), height), min(int((area / ratio) ** 0.5), width)
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    frames = frames.copy()
    frames[:, top : top + h, left : left + w] = rng.integers(0, 256, (len(frames), h, w, 3), dtype=np.uint8)
    return frames


def crops(frames: Frames, size: int, count: int) -> list[Frames]:
    """Square crops of frames (T, H, W, 3): the centre, or ``count`` spread over the longer side; equal ones once."""
    height, width = frames.shape[1:3]
    spare = (height - size, width - size)
    shares = [0.5] if count == 1 else np.linspace(0.0, 1.0, count)
    corners = [(round(spare[0] * s), round(spare[1] * s)) for s in shares]
    return [frames[:, y : y + size, x : x + size] for y, x in dict.fromkeys(corners)]
