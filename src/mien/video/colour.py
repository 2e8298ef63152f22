"""Colour operations of RandAugment on whole clips, to Pillow's definitions (ImageOps, ImageEnhance).

Operations that change each value by itself are tables; one behind another they are one table, applied once. Those that
look at the clip's values (autocontrast, equalize, contrast) see the values that the operations before them made. Values
are counted over all frames of a clip, so that its frames change alike; Pillow knows single images only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.video.pictures import Frames

Table = NDArray[np.uint8]
"""A new value for each value (256,), or for each value of each channel (256, 3)."""
Counts = NDArray[np.float64]
"""How often each value occurs in each channel (256, 3)."""

VALUES = np.arange(256)
GREY = np.array([0.299, 0.587, 0.114])
"""Share of red, green, blue in luma (ITU-R 601)."""
SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
"""Pillow's ImageFilter.SMOOTH."""


def factor(strength: float) -> float:
    """An enhancement factor in 0.1 ... 1.9 for a signed strength in [-1, 1]."""
    return 1.0 + 0.9 * strength


def blend(start: float, strength: float) -> Table:
    """From ``start`` (factor 0) through the values themselves (factor 1) and beyond, cut off as Pillow does."""
    alpha, begin = np.float32(factor(strength)), np.float32(start)  # single precision, as in Pillow
    return np.clip(begin + alpha * (VALUES.astype(np.float32) - begin), 0, 255).astype(np.uint8)


def contrast(strength: float, counts: Counts) -> Table:
    """Blend with the mean luma."""
    means = (VALUES @ counts) / counts.sum(axis=0)
    return blend(float(int(GREY @ means + 0.5)), strength)


def autocontrast(_: float, counts: Counts) -> Table:
    """Each channel's values stretched to 0 ... 255."""
    table = np.empty((256, 3), np.uint8)
    for channel in range(3):
        present = np.flatnonzero(counts[:, channel])
        low, high = present[0], present[-1]
        scale = 255.0 / (high - low) if high > low else 1.0
        table[:, channel] = np.clip(VALUES * scale - (low * scale if high > low else 0), 0, 255)
    return table


def equalize(_: float, counts: Counts) -> Table:
    """Each channel's values spread evenly over 0 ... 255."""
    table = np.empty((256, 3), np.uint8)
    for channel in range(3):
        count = counts[:, channel].astype(np.int64)
        step = (count.sum() - count[np.flatnonzero(count)[-1]]) // 255
        before = np.cumsum(count) - count
        table[:, channel] = np.minimum((step // 2 + before) // step, 255) if step else VALUES
    return table


TABLES: dict[str, Callable[[float, Counts], Table]] = {
    "autocontrast": autocontrast,
    "equalize": equalize,
    "invert": lambda s, _: (255 - VALUES).astype(np.uint8),
    "posterize": lambda s, _: (VALUES & ~(2 ** (4 + int(4 * abs(s))) - 1)).astype(np.uint8),
    "solarize": lambda s, _: np.where(256 - int(256 * abs(s)) <= VALUES, 255 - VALUES, VALUES).astype(np.uint8),
    "solarize_add": lambda s, _: (
        np.where(VALUES < 128, VALUES + int(110 * abs(s)), VALUES).clip(0, 255).astype(np.uint8)
    ),
    "contrast": contrast,
    "brightness": lambda s, _: blend(0.0, s),
}
"""Operations on each value by itself: (signed strength in [-1, 1], counts of the values there are) -> table.
posterize keeps 4 of 8 bits at no strength, none at full ("increasing")."""


COUNTING = ("autocontrast", "equalize", "contrast")
"""Operations whose table depends on the values there are; counting them takes longer than looking them up."""
NOTHING: Counts = np.zeros((256, 3))


def saturate(frames: Frames, strength: float) -> Frames:
    """Blend each pixel with its own luma."""
    f = factor(strength)
    matrix = f * np.eye(3) + (1.0 - f) * GREY[None, :].repeat(3, axis=0)
    return np.asarray(cv2.transform(frames.reshape(1, -1, 3), matrix), np.uint8).reshape(frames.shape)


def sharpen(frames: Frames, strength: float) -> Frames:
    """Blend each frame with itself smoothed; the outermost pixels stay, as in Pillow."""
    f = factor(strength)
    kernel = (1.0 - f) * SMOOTH
    kernel[1, 1] += f
    count, height, width = frames.shape[:3]
    if min(height, width) < 3:
        return frames
    tall = cv2.filter2D(frames.reshape(count * height, width, 3), -1, kernel)  # one picture: the seams stay anyway
    out = np.asarray(tall, np.uint8).reshape(frames.shape)
    out[:, [0, -1]], out[:, :, [0, -1]] = frames[:, [0, -1]], frames[:, :, [0, -1]]
    return out


FILTERS: dict[str, Callable[[Frames, float], Frames]] = {"colour": saturate, "sharpness": sharpen}
"""Operations that mix channels or pixels."""

COLOUR = (*TABLES, *FILTERS)
"""Colour operations of RandAugment."""


def recolour(frames: Frames, operations: Sequence[tuple[str, float]]) -> Frames:
    """Frames (T, H, W, 3) after operations (name, signed strength), each on what those before it made."""
    table = np.tile(VALUES.astype(np.uint8)[:, None], 3)  # value, channel
    counts: Counts | None = None
    frames = np.ascontiguousarray(frames) if operations else frames
    for name, strength in operations:
        if name in FILTERS:
            frames = FILTERS[name](apply_table(frames, table), strength)
            table, counts = np.tile(VALUES.astype(np.uint8)[:, None], 3), None
        else:
            counts = value_counts(frames) if counts is None and name in COUNTING else counts
            new = TABLES[name](strength, NOTHING if counts is None else mapped_counts(counts, table))
            table = np.take_along_axis(np.broadcast_to(new.reshape(256, -1), (256, 3)), table.astype(np.intp), axis=0)
    return apply_table(frames, table)


def apply_table(frames: Frames, table: Table) -> Frames:
    """Every value exchanged for the table's; a table that changes nothing costs nothing."""
    if (table == VALUES[:, None]).all():
        return frames
    flat = frames.reshape(1, -1, 3)
    return np.asarray(cv2.LUT(flat, np.ascontiguousarray(table).reshape(1, 256, 3)), np.uint8).reshape(frames.shape)


def value_counts(frames: Frames) -> Counts:
    """How often each value occurs in each channel of a clip (256, 3)."""
    flat = frames.reshape(-1, 1, 3)
    return np.concatenate([cv2.calcHist([flat], [c], None, [256], [0, 256]) for c in range(3)], axis=1).astype(
        np.float64
    )


def mapped_counts(counts: Counts, table: Table) -> Counts:
    """The counts of values after a table (256, 3)."""
    after = [np.bincount(table[:, c], counts[:, c], minlength=256) for c in range(3)]
    return np.stack(after, axis=1).astype(np.float64)
