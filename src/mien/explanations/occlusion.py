"""Which moments and which parts of the face an answer rests on: hide them, and see what it loses (Zeiler and Fergus 2014).

A score is a function from clips to one number each. A map holds, per patch of the encoder's grid, the mean loss of the
score over the boxes that hid it: above 0 the patch speaks for the answer, below 0 against it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice, product
from typing import Literal, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.progress import progress_bar

Array = NDArray[np.floating]
T = TypeVar("T")
Grid = tuple[int, int, int]
Box = tuple[slice, slice, slice]
"""Patches of a grid: a stretch of time, of rows and of columns."""

Score = Callable[[Tensor], Tensor]
"""uint8 clips (V, 3, T, H, W) -> a number each (V,), on the CPU."""

Fill = Literal["blur", "mean", "hold"]
"""What stands where something is hidden: the clip blurred beyond recognition, its mean colour, or, for stretches of time,
the last frame before."""


def boxes(grid: Grid, size: Grid) -> list[Box]:
    """Boxes of ``size`` patches, one patch apart, that reach over the edges and are cut there.

    So every patch lies in equally many of them, and those around a patch tell where it is at the edges too. An axis
    that a box covers wholly has one place for it.
    """
    axes = [
        [slice(0, n)] if s >= n else [slice(max(i, 0), min(i + s, n)) for i in range(1 - s, n)]
        for n, s in zip(grid, size, strict=True)
    ]
    return [(t, r, c) for t, r, c in product(*axes)]


def box_losses(score: Score, video: Tensor, found: Sequence[Box], patch: Grid, fill: Fill, batch: int) -> Array:
    """What the score of a clip (3, T, H, W), uint8, loses by hiding each box (N,); ``batch`` does not change it."""
    whole = float(score(video[None])[0])
    hidden = [partial(with_hidden_box, video, box, patch, fill) for box in found]
    return whole - score_all(score, hidden, batch, "hiding patches")


def score_all(score: Score, clips: Sequence[Callable[[], Tensor]], batch: int, what: str) -> Array:
    """Scores (N,) of clips that are made when they are needed, with a progress bar."""
    with progress_bar(total=len(clips), what=what) as bar:
        found = []
        for part in batched(clips, batch):
            found.append(score(torch.stack([make() for make in part])).double().numpy())
            bar.update(len(part))
    return np.concatenate(found)


def with_hidden_box(video: Tensor, box: Box, patch: Grid, fill: Fill) -> Tensor:
    """A copy of the clip with one box of patches hidden."""
    t, h, w = (slice(s.start * p, s.stop * p) for s, p in zip(box, patch, strict=True))
    changed = video.clone()
    if fill == "hold":
        before = t.start - 1 if t.start else min(t.stop, video.shape[1] - 1)
        changed[:, t, h, w] = video[:, before : before + 1, h, w]
    else:
        changed[:, t, h, w] = fill_clip(video, fill)[:, t, h, w]
    return changed


def fill_clip(video: Tensor, fill: Fill) -> Tensor:
    """The clip (3, T, H, W) with everything hidden: blurred by a fifth of its side, or its mean colour."""
    if fill == "mean":
        return video.float().mean(dim=(1, 2, 3), keepdim=True).round().to(video.dtype).expand_as(video)
    if fill == "hold":
        raise ValueError("hold hides stretches of time, not whole clips; use blur or mean")
    frames = video.permute(1, 2, 3, 0).contiguous().numpy()
    sigma = video.shape[-1] / 5
    soft = [cv2.GaussianBlur(f, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) for f in frames]
    return torch.from_numpy(np.stack(soft)).permute(3, 0, 1, 2)


def mean_over_boxes(values: Array, found: Sequence[Box], grid: Grid) -> Array:
    """A value per box -> per patch the mean of the boxes that hold it, a map of shape ``grid``."""
    total, count = np.zeros(grid), np.zeros(grid)
    for value, box in zip(values, found, strict=True):
        total[box] += value
        count[box] += 1
    return total / np.maximum(count, 1)


def occlusion_map(
    score: Score, video: Tensor, grid: Grid, patch: Grid, size: Grid, fill: Fill = "blur", batch: int = 32
) -> Array:
    """Map (time, rows, columns) of a clip (3, T, H, W), uint8, hiding boxes of ``size`` patches one patch apart."""
    found = boxes(grid, size)
    return mean_over_boxes(box_losses(score, video, found, patch, fill, batch), found, grid)


def temporal_map(score: Score, video: Tensor, grid: Grid, patch: Grid, slots: int, fill: Fill, batch: int) -> Array:
    """Loss per time slot (time,) by hiding whole frames, ``slots`` at a time."""
    return occlusion_map(score, video, grid, patch, (slots, *grid[1:]), fill, batch)[:, 0, 0]


def spatial_map(score: Score, video: Tensor, grid: Grid, patch: Grid, sites: int, fill: Fill, batch: int) -> Array:
    """Loss per site (rows, columns) by hiding squares of ``sites`` x ``sites`` sites at all times."""
    return occlusion_map(score, video, grid, patch, (grid[0], sites, sites), fill, batch)[0]


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Items in lists of ``size``, the last one shorter."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part
