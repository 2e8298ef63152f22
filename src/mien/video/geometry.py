"""Crops and the geometric operations of RandAugment as maps from the pixels of the result to those of the source.

Points are (x, y, 1) in pixels, the corner of the first pixel at (0, 0) and its centre at (0.5, 0.5). Operations are those
of Pillow's ``Image.transform`` and ``Image.rotate``, which timm's RandAugment uses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mien.video.pictures import Frames, Region

Matrix = NDArray[np.float64]
Box = tuple[float, float, float, float]
"""Top, left, height and width in pixels."""

FILL = 128
"""The grey of what lies outside the frame."""
TRIES = 10
"""Draws of a random resized crop before the centre is taken."""


def resized_crop(
    height: float, width: float, area: tuple[float, float], ratio: tuple[float, float], rng: Generator
) -> Box:
    """A crop of a share of the frame's area and of a ratio (width over height), uniform in its logarithm, at any place.

    Crops that do not fit are drawn again; after ten, the largest one at the centre whose ratio is allowed.
    """
    for _ in range(TRIES):
        pixels = height * width * rng.uniform(*area)
        shape = float(np.exp(rng.uniform(*np.log(ratio))))
        h, w = (pixels / shape) ** 0.5, (pixels * shape) ** 0.5
        if h <= height + 1e-9 and w <= width + 1e-9:
            h, w = min(h, height), min(w, width)
            return rng.random() * (height - h), rng.random() * (width - w), h, w
    shape = float(np.clip(width / height, *ratio))
    h, w = min(height, width / shape), min(width, height * shape)
    return (height - h) / 2, (width - w) / 2, h, w


PLACES = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2), (2, 0), (2, 4), (4, 2), (0, 2), (1, 1), (1, 3), (3, 1), (3, 3)]
"""Where a multi-scale crop may lie, in quarters of the room below and beside it: corners, centre, edges, between."""


def multiscale_crop(height: float, width: float, scales: Sequence[float], rng: Generator) -> Box:
    """A crop whose sides are shares of the frame's shorter side, at most one step of ``scales`` apart, at one of 13 places.

    Pairs of sides are equally probable, and so are places (TSN's GroupMultiScaleCrop).
    """
    steps = range(len(scales))
    pairs = [(i, j) for i in steps for j in steps if abs(i - j) <= 1]
    i, j = pairs[int(rng.integers(len(pairs)))]
    y, x = PLACES[int(rng.integers(len(PLACES)))]
    h, w = min(height, width) * scales[i], min(height, width) * scales[j]
    return y / 4 * (height - h), x / 4 * (width - w), h, w


def linear(a: float, b: float, c: float, d: float, x: float = 0.0, y: float = 0.0) -> Matrix:
    """(x, y) -> (a x + b y, c x + d y) + a shift."""
    return np.array([[a, b, x], [c, d, y], [0.0, 0.0, 1.0]])


def turn(strength: float, height: float, width: float) -> Matrix:
    """About the centre, by up to 30 degrees."""
    angle = np.deg2rad(30.0 * strength)
    c, s = float(np.cos(angle)), float(np.sin(angle))
    centre = linear(1, 0, 0, 1, width / 2, height / 2)
    return centre @ linear(c, -s, s, c) @ np.linalg.inv(centre)


GEOMETRY: dict[str, Callable[[float, float, float], Matrix]] = {
    "rotate": turn,
    "shear_x": lambda s, height, width: linear(1, 0.3 * s, 0, 1),
    "shear_y": lambda s, height, width: linear(1, 0, 0.3 * s, 1),
    "shift_x": lambda s, height, width: linear(1, 0, 0, 1, x=0.45 * s * width),
    "shift_y": lambda s, height, width: linear(1, 0, 0, 1, y=0.45 * s * height),
}
"""Operations of RandAugment: (signed strength in [-1, 1], height, width of the frame) -> map of the result to the frame."""


def crop_map(box: Box, size: int) -> Matrix:
    """From a square of ``size`` to a box."""
    top, left, height, width = box
    return linear(width / size, 0, 0, height / size, left, top)


def box_of(matrix: Matrix, size: int) -> Box:
    """The upright box around what a map takes a square of ``size`` to."""
    corners = matrix @ np.array([[0, size, 0, size], [0, 0, size, size], [1, 1, 1, 1]])
    (left, top), (right, bottom) = corners[:2].min(axis=1), corners[:2].max(axis=1)
    return float(top), float(left), float(bottom - top), float(right - left)


def whole_pixels(box: Box, limits: Box, height: int, width: int) -> Region:
    """The region nearest to a box that can be read: even (chroma has half as many pixels), within the limits."""
    top, tall = even_span(box[0], box[2], limits[0], limits[2], height)
    left, wide = even_span(box[1], box[3], limits[1], limits[3], width)
    return top, left, tall, wide


def even_span(start: float, length: float, least: float, room: float, side: int) -> tuple[int, int]:
    """Start and length in whole pixels: even ones, or the limit itself, or the frame's edge."""
    low, high = max(round(least), 0), min(round(least + room), side)
    first, last = 2 * round(start / 2), 2 * round((start + length) / 2)
    first = min(max(first, low), max(high - 2, low))
    last = max(min(last if high - last > 1 else high, high), min(first + 2, high))
    return first, last - first


def warp(frames: Frames, matrix: Matrix, size: int) -> Frames:
    """Frames under a map from a square of ``size`` to their pixels, bilinear; grey where it leaves them."""
    centre = linear(1, 0, 0, 1, 0.5, 0.5)
    inverse = (np.linalg.inv(centre) @ matrix @ centre)[:2]
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    grey = (FILL, FILL, FILL)
    warped = [cv2.warpAffine(f, inverse, (size, size), flags=how, borderValue=grey) for f in frames]
    return np.asarray(warped, dtype=np.uint8)
