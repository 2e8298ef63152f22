"""Where a patch stands in space and time: fixed tables to add to tokens, and rotations of queries and keys.

Grids are (time, rows, columns); patches stand in that order, columns fastest.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

Grid = tuple[int, int, int]


def sinusoid(positions: int, dim: int) -> Tensor:
    """Fixed 1-D position table (positions, dim): sine on even, cosine on odd channels (Vaswani et al. 2017)."""
    frequency = torch.exp(torch.arange(0, dim, 2, dtype=torch.float64) * (-math.log(10000.0) / dim))
    angle = torch.arange(positions, dtype=torch.float64)[:, None] * frequency  # P D/2
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).float()  # P D


def sincos3d(grid: Grid, dim: int, uniform_power: bool = True) -> Tensor:
    """Fixed 3-D position table (T*H*W, dim) of V-JEPA 1: a third of the channels each for time, row and column.

    Each share holds sines, then cosines. Thirds are rounded up to even widths, and what is over at the end is cut.
    Without ``uniform_power`` time has half of the channels, rows and columns a quarter each; ``dim`` must then divide
    by 8.
    """
    if not uniform_power and dim % 8:
        raise ValueError(f"a position table without uniform_power needs a width that divides by 8, not {dim}")
    third = 2 * math.ceil(dim / 6)
    shares = (third,) * 3 if uniform_power else (dim // 2, dim // 4, dim // 4)
    parts = [sincos(places, share) for places, share in zip(coordinates(grid), shares, strict=True)]
    return torch.cat(parts, dim=-1)[:, :dim].float()


def sincos(places: Tensor, width: int) -> Tensor:
    """Places (P,) -> (P, width): sines, then cosines of width / 2 frequencies."""
    frequency = 10000.0 ** (-torch.arange(width // 2, dtype=torch.float64) / (width / 2))
    angles = places.double()[:, None] * frequency  # P width/2
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def coordinates(grid: Grid) -> Tensor:
    """Time, row and column of every patch (3, T*H*W)."""
    axes = torch.meshgrid(*(torch.arange(n) for n in grid), indexing="ij")
    return torch.stack(axes).flatten(1)


def interpolate(table: Tensor, grid: Grid, wanted: Grid) -> Tensor:
    """A position table (P, dim) laid out on ``grid`` -> the trilinear one for ``wanted``; itself where they agree."""
    if grid == wanted:
        return table
    volume = table.T.unflatten(1, grid)[None]  # 1 D T H W
    return F.interpolate(volume, size=wanted, mode="trilinear")[0].flatten(1).T


ROTARY_GRID = 16
"""Rows and columns that V-JEPA 2.1 counts at every image size: those of 256 pixels in patches of 16."""


def rotary(grid: Grid, width: int, interleaved: bool = False) -> Tensor:
    """Rotation tables (2, T*H*W, width) of V-JEPA 2: cosines and sines for heads of ``width`` channels.

    Time, row and column turn an even share of about a third of the channels each; the rest stay as they are. In a
    share of d channels, channel j turns with frequency number j mod d/2 (not j // 2: the published weights are so).
    ``interleaved`` is V-JEPA 2.1's: number j // 2, and rows and columns run from 0 to 15 however many there are.
    """
    share = 2 * (width // 3 // 2)
    frequency = 10000.0 ** (-torch.arange(share // 2, dtype=torch.float64) / (share / 2))
    places = coordinates(grid).double()  # 3 P
    if interleaved:
        places[1:] *= torch.tensor([(ROTARY_GRID - 1) / max(n - 1, 1) for n in grid[1:]]).double()[:, None]
    angles = places[..., None] * (frequency.repeat_interleave(2) if interleaved else frequency.repeat(2))  # 3 P share
    angles = torch.cat(list(angles), dim=-1)  # P 3*share
    angles = F.pad(angles, (0, width - angles.shape[-1]))
    return torch.stack([angles.cos(), angles.sin()]).float()


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn neighbouring channel pairs of (B, heads, N, d) by tables (2, N, d), or (2, B, 1, N, d) per sample."""
    cosine, sine = rotation.to(x.dtype)
    pairs = x.unflatten(-1, (-1, 2))
    turned = torch.stack([-pairs[..., 1], pairs[..., 0]], dim=-1).flatten(-2)
    return x * cosine + turned * sine
