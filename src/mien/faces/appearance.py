"""Appearance descriptors of people within one video, without a recognition network: to tell them apart and know them again.

Texture of the aligned face (local binary patterns in cells; Ahonen, Hadid and Pietikainen, 2006) and the colours of the
face and of the hair above it. On the real clips this was measured on, stretches of one person differed by 0.02-0.15
at their most similar frames, clips of different people by 0.13 or more (docs/faces.md). Enough to keep people apart who
cross and to know a face again that returns in the same light; not to recognise a person across videos.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.faces.crop import CropConfig, crop_transform
from mien.faces.face import Box, Pixels, Points

FACE = CropConfig(size=64, margin=0.0)
CELLS = 4
COLOURS = 4
"""Bins per colour axis."""
SKIN_WEIGHT, HAIR_WEIGHT = 0.5, 0.3
"""What colours count beside texture, which counts 1."""

Histogram = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Descriptor:
    """Roots of histograms that sum to 1, so that the product of two is 1 where they agree."""

    texture: Histogram
    """(16 x 59,), divided by 4."""
    skin: Histogram
    hair: Histogram | None
    """None where no hair is in the picture."""


def describe(pixels: Pixels, box: Box, landmarks: Points | None) -> Descriptor:
    """Descriptor of one face of a frame."""
    face = cv2.warpAffine(pixels, crop_transform(box, landmarks, FACE), (FACE.size, FACE.size), flags=cv2.INTER_AREA)
    texture = texture_histograms(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False))
    x, y, width, height = box
    hair = clipped_region(pixels, x, y - 0.45 * height, width, 0.5 * height)
    inside = hair.shape[0] > 0.15 * height and hair.shape[1] > 0.5 * width
    skin = colour_histogram(face[8:56, 8:56].astype(np.uint8, copy=False))
    return Descriptor(
        np.sqrt(texture.ravel()) / CELLS, np.sqrt(skin), np.sqrt(colour_histogram(hair)) if inside else None
    )


def dissimilarity(a: Descriptor, b: Descriptor) -> float:
    """How different two descriptors are: 0 for the same, above 1 for nothing in common."""
    difference = 1 - float(a.texture @ b.texture) + SKIN_WEIGHT * (1 - float(a.skin @ b.skin))
    if a.hair is not None and b.hair is not None:
        difference += HAIR_WEIGHT * (1 - float(a.hair @ b.hair))
    return difference


def least_dissimilarity(some: Iterable[Descriptor], others: Iterable[Descriptor]) -> float:
    """Dissimilarity of the most similar pair; infinite without descriptors."""
    others = list(others)
    return min((dissimilarity(a, b) for a in some for b in others), default=float("inf"))


def clipped_region(pixels: Pixels, x: float, y: float, width: float, height: float) -> Pixels:
    """The part of a rectangle that lies in the frame; empty if none does."""
    left, top = max(0, int(x)), max(0, int(y))
    return pixels[top : max(top, int(y + height)), left : max(left, int(x + width))]


def colour_histogram(part: Pixels) -> Histogram:
    """Histogram of the colours of a picture (64,)."""
    small = cv2.resize(part, (24, 24), interpolation=cv2.INTER_AREA)
    bins = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(np.int64)
    # Lightness over its whole range; a and b lie close to 128 in most pictures.
    axes = [bins[:, 0] // 64, *(np.clip((bins[:, i] - 104) // 12, 0, COLOURS - 1) for i in (1, 2))]
    codes = (axes[0] * COLOURS + axes[1]) * COLOURS + axes[2]
    return np.bincount(codes, minlength=COLOURS**3) / len(codes)


@cache
def uniform_codes() -> NDArray[np.int64]:
    """Local binary patterns (256,) -> 59 classes: one for each with at most two changes around, one for the rest."""
    changes = [bin(code ^ (((code << 1) | (code >> 7)) & 255)).count("1") for code in range(256)]
    uniform = [code for code in range(256) if changes[code] <= 2]
    table = np.full(256, len(uniform))
    table[uniform] = np.arange(len(uniform))
    return table


def texture_histograms(gray: NDArray[np.uint8]) -> Histogram:
    """Histograms (cells x cells, 59) of local binary patterns of a square grey picture."""
    gray = cv2.GaussianBlur(gray, (3, 3), 0).astype(np.uint8, copy=False)
    inner = gray[1:-1, 1:-1]
    code = np.zeros(inner.shape, np.int64)
    for bit, (dy, dx) in enumerate([(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]):
        code |= (gray[dy : dy + inner.shape[0], dx : dx + inner.shape[1]] >= inner).astype(np.int64) << bit
    side = np.arange(inner.shape[0]) * CELLS // inner.shape[0]
    cell = side[:, None] * CELLS + side[None]
    codes = cell * 59 + uniform_codes()[code]
    counts = np.bincount(codes.ravel(), minlength=CELLS * CELLS * 59).reshape(CELLS * CELLS, 59)
    return counts / counts.sum(1, keepdims=True)
