"""Which patches are hidden: functions of a token grid and of each sample's key, as index lists of fixed length.

A mask is a pair ``visible`` (B, N), ``hidden`` (B, M) of patch indices in rising order (time, row, column); together
they are every patch once. Index lists keep shapes static, so no boolean gather ever waits for the device. A mask follows
from the key alone, so ranks, workers and batches do not change it.
"""

from __future__ import annotations

import torch
from torch import Tensor

Mask = tuple[Tensor, Tensor]
WORD = 0xFFFFFFFF


def visible_count(count: int, ratio: float) -> int:
    """How many of ``count`` stay visible at a mask ratio; at least one on each side."""
    visible = count - round(count * ratio)
    if not 0 < visible < count:
        raise ValueError(
            f"mask_ratio {ratio} leaves {visible} of {count} visible; choose one that leaves some and hides some"
        )
    return visible


def random_partition(keys: Tensor, count: int, visible: int) -> Mask:
    """A split of ``count`` places for each key (B,): sorted (B, visible) and sorted (B, count - visible)."""
    order = uniforms(keys, count, stream=2).argsort(dim=1, stable=True)
    return order[:, :visible].sort(dim=1).values, order[:, visible:].sort(dim=1).values


def tubes(sites: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Spatial sites (B, S) in rising order -> patch indices (B, T*S) of the tubes over all times, in rising order."""
    times = torch.arange(grid[0], device=sites.device) * (grid[1] * grid[2])
    return (times[None, :, None] + sites[:, None, :]).flatten(1)


def tube_mask(keys: Tensor, grid: tuple[int, int, int], ratio: float) -> Mask:
    """Hide the same sites at every time (SVFAP, VideoMAE): neighbouring frames cannot give a patch away."""
    sites = grid[1] * grid[2]
    visible, hidden = random_partition(keys, sites, visible_count(sites, ratio))
    return tubes(visible, grid), tubes(hidden, grid)


def random_mask(keys: Tensor, grid: tuple[int, int, int], ratio: float) -> Mask:
    """Hide patches anywhere in space and time; for encoders that take any visible set (ViT)."""
    count = grid[0] * grid[1] * grid[2]
    return random_partition(keys, count, visible_count(count, ratio))


MASKS = {"tube": tube_mask, "random": random_mask}


def uniforms(keys: Tensor, count: int, stream: int = 0) -> Tensor:
    """Keys (B,) in [0, 2^32) -> ``count`` numbers each, even in [0, 1): a hash of (key, stream, place), on any device."""
    places = torch.arange(count, device=keys.device) + (stream << 16)
    mixed = hash_bits(hash_bits(keys)[:, None] + places * 0x9E3779B9 & WORD)
    return mixed.double().div(WORD + 1).float().clamp(max=1 - 2**-24)


def hash_bits(x: Tensor) -> Tensor:
    """Mix the bits of 32-bit numbers held in int64; no product reaches 2^63."""
    for _ in range(2):
        x = ((x >> 16) ^ x) * 0x45D9F3B & WORD
    return (x >> 16) ^ x
