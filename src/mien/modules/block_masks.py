"""Multi-block masks of V-JEPA: a few large blocks, hidden over all times, as index lists of fixed length.

A block mask is a function of a sample's key and of nothing else, so ranks, workers and batches do not change it. The
published code cuts all samples of a batch to the shortest one and always drops the end, which is the last frames; here
a length is fixed per grid, and what is over is dropped at random sites, over all times.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mien.modules.masks import Mask, tubes, uniforms
from mien.modules.positions import Grid


@dataclass(frozen=True)
class BlockMaskConfig:
    """``count`` blocks of a share ``scale`` of the area each, rows over columns drawn from ``aspect``."""

    count: int
    scale: float
    aspect: tuple[float, float]


def block_mask(keys: Tensor, grid: Grid, blocks: BlockMaskConfig, context: int, targets: int) -> Mask:
    """Keys (B,) -> patches of ``context`` sites outside the blocks (B, T*context) and ``targets`` inside (B, T*targets).

    Which sites are dropped to reach these lengths is drawn from the key too. A sample whose blocks leave fewer sites
    than ``context`` gives up some of its blocks, one that hides fewer than ``targets`` predicts some sites outside.
    """
    hidden = hidden_sites(keys, grid, blocks)  # B S
    chance = uniforms(keys, hidden.shape[1], stream=1)
    order = (hidden + chance).argsort(dim=1)  # first the sites outside, in random order, then those inside
    visible, predicted = order[:, :context], order[:, order.shape[1] - targets :]
    return tubes(visible.sort(dim=1).values, grid), tubes(predicted.sort(dim=1).values, grid)


def hidden_sites(keys: Tensor, grid: Grid, blocks: BlockMaskConfig) -> Tensor:
    """Keys (B,) -> whether each site lies in one of the sample's blocks (B, rows * columns)."""
    _, rows, columns = grid
    draws = uniforms(keys, 1 + 2 * blocks.count)
    aspect = blocks.aspect[0] + (blocks.aspect[1] - blocks.aspect[0]) * draws[:, :1]  # B 1
    height = (blocks.scale * rows * columns * aspect).sqrt().round().clamp(1, rows)
    width = (blocks.scale * rows * columns / aspect).sqrt().round().clamp(1, columns)
    tops, lefts = draws[:, 1:].chunk(2, dim=1)  # B count
    in_row = in_interval(tops, height, rows)  # B count rows
    in_column = in_interval(lefts, width, columns)
    return (in_row.unsqueeze(3) & in_column.unsqueeze(2)).any(dim=1).flatten(1)


def in_interval(place: Tensor, length: Tensor, whole: int) -> Tensor:
    """Intervals of ``length`` (B, 1) at places (B, n) in [0, 1) -> whether they hold each of ``whole`` steps (B, n, whole)."""
    start = (place * (whole - length + 1)).floor().unsqueeze(2)
    steps = torch.arange(whole, device=place.device)
    return (steps >= start) & (steps < start + length.unsqueeze(2))


def mask_lengths(grid: Grid, blocks: BlockMaskConfig) -> tuple[int, int]:
    """Sites that context and targets have in every sample of this grid: what nine samples in ten have, at least one."""
    sites = grid[1] * grid[2]
    if sites < 2:
        raise ValueError(f"block masks need at least two sites, the grid is {grid}; use smaller patches")
    hidden = hidden_sites(torch.arange(4096), grid, blocks).sum(dim=1).float()
    context = max(1, int((sites - hidden).quantile(0.1)))
    return context, min(max(1, int(hidden.quantile(0.1))), sites - context)
