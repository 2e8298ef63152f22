"""Carrying a face from one frame to another by image motion: what fills frames that the detector skips or misses."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.faces.face import Box, Pixels

AROUND = 0.5
"""Share of a box's size that is looked at beyond it on every side; a face may move that far between two frames."""
SIDE = 144
"""Pixels to which the surroundings of a face are brought before motion is measured; the face has half of them."""
WINDOW, LEVELS = (13, 13), 3
GRID = 6
"""Points per side that are followed in a face."""
TEMPLATE = 24
"""Side of the picture by which a carried face is compared with what was detected."""

Move = NDArray[np.float64]
"""A similarity (2, 3) from places in one frame to places in another, in pixels."""


def carry(before: Pixels, after: Pixels, box: Box) -> Move | None:
    """How the face in ``box`` moves from one frame to another near it; None where its points do not move together.

    Points of a grid inside the box are followed there and back (Lucas-Kanade); those that return to where they began
    vote for a shift, turn and scale of the whole.
    """
    here, scale = (box[0] - AROUND * box[2], box[1] - AROUND * box[3]), SIDE / ((1 + 2 * AROUND) * max(box[2], box[3]))
    one, two = (grey_window(pixels, here, scale, (SIDE, SIDE)) for pixels in (before, after))
    start = ((grid(box) - here) * scale).astype(np.float32)
    there, back = np.empty_like(start), np.empty_like(start)
    there, found, _ = cv2.calcOpticalFlowPyrLK(one, two, start, there, winSize=WINDOW, maxLevel=LEVELS)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(two, one, there, back, winSize=WINDOW, maxLevel=LEVELS)
    good = np.logical_and(found, returned).ravel() & (np.linalg.norm(back - start, axis=1) < 1.0)
    if good.sum() < len(start) // 3:
        return None
    move, agree = cv2.estimateAffinePartial2D(start[good], there[good], ransacReprojThreshold=1.5)
    if move is None or agree.sum() < len(start) // 3 or not 0.8 < np.hypot(move[0, 0], move[1, 0]) < 1.25:
        return None
    # From pixels of the two windows to pixels of the frames: shift to the window, move, shift back.
    move[:, 2] = move[:, 2] / scale + here - move[:, :2] @ here
    return np.asarray(move, np.float64)


def grid(box: Box) -> NDArray[np.float64]:
    """Points (36, 2) inside a face's box, away from its edges, where the background would be followed."""
    share = np.linspace(0.2, 0.8, GRID)
    x, y = np.meshgrid(box[0] + share * box[2], box[1] + share * box[3])
    return np.stack([x.ravel(), y.ravel()], 1)


def template(pixels: Pixels, box: Box) -> NDArray[np.float32]:
    """The inside of a box as grey values (24, 24) of mean 0 and norm 1."""
    inner = (box[0] + 0.1 * box[2], box[1] + 0.1 * box[3])
    scale = TEMPLATE / (0.8 * max(box[2], box[3], 1e-3))
    values = grey_window(pixels, inner, scale, (TEMPLATE, TEMPLATE)).astype(np.float32)
    values -= float(values.mean())
    return values / max(float(np.linalg.norm(values)), 1e-6)


def correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Correlation of two templates, in [-1, 1]."""
    return float((a * b).sum())


def grey_window(pixels: Pixels, corner: tuple[float, float], scale: float, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Part of a frame from ``corner`` on, grey, ``scale`` times as large; the border goes on outside."""
    height, width = pixels.shape[:2]
    left, top = max(0, int(corner[0])), max(0, int(corner[1]))
    right, bottom = int(corner[0] + size[0] / scale) + 2, int(corner[1] + size[1] / scale) + 2
    left, top = min(left, width - 1), min(top, height - 1)
    part = cv2.cvtColor(pixels[top : max(bottom, top + 1), left : max(right, left + 1)], cv2.COLOR_RGB2GRAY)
    shrink = max(1, min(int(1 / scale), *part.shape))
    if shrink > 1:  # averaged before it is sampled, or small faces would flicker
        small = (part.shape[1] // shrink, part.shape[0] // shrink)
        # Whole blocks only: averaging them is several times as fast, and exactly to scale.
        part = cv2.resize(part[: small[1] * shrink, : small[0] * shrink], small, interpolation=cv2.INTER_AREA)
    k = scale * shrink
    shift = np.array([[k, 0, (left - corner[0]) * scale], [0, k, (top - corner[1]) * scale]])
    return cv2.warpAffine(part, shift, size, borderMode=cv2.BORDER_REPLICATE).astype(np.uint8, copy=False)
