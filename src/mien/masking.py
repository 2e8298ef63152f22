"""Which patches are hidden: functions of a token grid and the global random state, as index lists of fixed length.

A mask is a pair ``visible`` (B, N), ``hidden`` (B, M) of patch indices in rising order (time, row, column); together
they are every patch once. Index lists keep shapes static, so no boolean gather ever waits for the device.
"""

from __future__ import annotations

import torch
from torch import Tensor

Mask = tuple[Tensor, Tensor]


def split(count: int, ratio: float) -> int:
    """How many of ``count`` stay visible at a mask ratio; at least one on each side."""
    visible = count - round(count * ratio)
    if not 0 < visible < count:
        raise ValueError(
            f"mask_ratio {ratio} leaves {visible} of {count} visible; choose one that leaves some and hides some"
        )
    return visible


def partition(batch: int, count: int, visible: int, device: torch.device) -> Mask:
    """A random split of ``count`` places per sample: sorted (B, visible) and sorted (B, count - visible)."""
    order = torch.rand(batch, count, device=device).argsort(dim=1)
    return order[:, :visible].sort(dim=1).values, order[:, visible:].sort(dim=1).values


def tubes(sites: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Spatial sites (B, S) in rising order -> patch indices (B, T*S) of the tubes over all times, in rising order."""
    times = torch.arange(grid[0], device=sites.device) * (grid[1] * grid[2])
    return (times[None, :, None] + sites[:, None, :]).flatten(1)


def tube_mask(batch: int, grid: tuple[int, int, int], ratio: float, device: torch.device) -> Mask:
    """Hide the same sites at every time (SVFAP, VideoMAE): neighbouring frames cannot give a patch away."""
    sites = grid[1] * grid[2]
    visible, hidden = partition(batch, sites, split(sites, ratio), device)
    return tubes(visible, grid), tubes(hidden, grid)


def random_mask(batch: int, grid: tuple[int, int, int], ratio: float, device: torch.device) -> Mask:
    """Hide patches anywhere in space and time; for encoders that take any visible set (ViT)."""
    count = grid[0] * grid[1] * grid[2]
    return partition(batch, count, split(count, ratio), device)


MASKS = {"tube": tube_mask, "random": random_mask}
