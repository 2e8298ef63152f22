"""Video ViT of V-JEPA: 3-D sine-cosine positions (V-JEPA 1) or 3-D rotary ones (V-JEPA 2), and a norm at the end.

    large   dim 1024, 16 heads, 24 blocks:  304 M parameters
    huge    dim 1280, 16 heads, 32 blocks:  632 M parameters
    giant   dim 1408, 22 heads, 40 blocks: 1011 M parameters (V-JEPA 2, rotary)

Takes any visible set, and clips of any size: the table of V-JEPA 1 is interpolated from the clip it was laid out for.
Official weights of both fit by renaming alone: see ``convert`` and ``convert_transformers``.
First weights are the published ones: truncated normal, output projections smaller with depth (``layers.rescale``).
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mien.config import STRICT, Depth, Ratio, Share, Sized, Width
from mien.interfaces import Encoder
from mien.modules.layers import (
    Block,
    LayerNorm,
    PatchEmbed,
    divide_exactly,
    drop_rates,
    scale_residual_outputs,
    truncated_normal,
)
from mien.modules.positions import Grid, interpolate, rotary, sincos3d


@dataclass(frozen=True, config=STRICT)
class VJEPAConfig(Sized):
    """V-JEPA's video ViT, which takes clips of any size; the defaults are ViT-L/16."""

    SIZES = MappingProxyType({
        "tiny": {"dim": 96, "heads": 4, "depth": 4, "patch": 8},
        "small": {"dim": 384, "heads": 6, "depth": 12},
        "base": {"dim": 768, "heads": 12, "depth": 12},
        "large": {},
        "huge": {"dim": 1280, "depth": 32},
        "giant": {"dim": 1408, "heads": 22, "depth": 40, "mlp_ratio": 48 / 11, "positions": "rotary"},
    })  # fmt: skip
    """ViT-L/16 and H/16 of V-JEPA 1, g/16 of V-JEPA 2 (rotary), and smaller ones of which no weights are published."""
    name: Literal["vjepa"] = "vjepa"
    dim: Width = 1024
    """Width of a token."""
    heads: Width = 16
    """Attention heads; must divide dim."""
    depth: Depth = 24
    """Number of blocks."""
    patch: Width = 16
    """Side of a patch in pixels; must divide the image side."""
    tubelet: Width = 2
    """Frames per patch; must divide the frames of a clip."""
    mlp_ratio: Ratio = 4.0
    """Hidden width of the feed-forward layers over dim."""
    positions: Literal["sincos", "rotary"] = "sincos"
    """sincos adds a fixed 3-D table (V-JEPA 1), rotary turns queries and keys (V-JEPA 2)."""
    uniform_power: bool = True
    """Whether time, rows and columns share the channels of the sincos table evenly; if not, time has half of them and
    rows and columns a quarter each."""
    table_frames: Annotated[int, Field(ge=0, le=16384)] = 0
    """Frames that the sincos table was laid out for; other clips interpolate it. 0 is those of the clip."""
    table_size: Annotated[int, Field(ge=0, le=16384)] = 0
    """Side in pixels that the sincos table was laid out for; 0 is that of the clip."""
    drop_path: Share = 0.0
    """Largest stochastic depth rate, reached by the last block."""

    def __post_init__(self) -> None:
        if self.positions == "rotary" and (self.table_frames or self.table_size):
            raise ValueError("rotary positions have no table: leave encoder.table_frames and .table_size at 0")

    def build(self, frames: int, size: int) -> VJEPA:
        """An encoder for clips of ``frames`` frames of ``size`` x ``size`` pixels."""
        return VJEPA(self, frames, size)


class VJEPA(Encoder):
    """Video -> one normed token per visible patch."""

    any_visible = True
    normed = True
    table: Tensor

    def __init__(self, config: VJEPAConfig, frames: int, size: int) -> None:
        super().__init__()
        c = self.config = config
        self.dim, self.heads, self.layers = c.dim, c.heads, c.depth + 1
        self.patch = (c.tubelet, c.patch, c.patch)
        self.grid = self.grid_of(frames, size, size)
        divide_exactly("encoder.dim / heads", c.dim, c.heads)
        rates = drop_rates(c.drop_path, c.depth)
        self.patch_embed = PatchEmbed(self.patch, c.dim)
        self.blocks = nn.ModuleList(Block(c.dim, c.heads, c.mlp_ratio, rate, key_bias=True) for rate in rates)
        self.norm = LayerNorm(c.dim)
        self.register_buffer("table", self.positions(self.grid), persistent=False)
        self.apply(truncated_normal)
        scale_residual_outputs(self.blocks)

    def forward(self, video: Tensor, visible: Tensor | None = None) -> Tensor:
        grid = self.grid_of(*video.shape[2:])
        table = self.table if grid == self.grid else self.positions(grid).to(video.device)
        x = self.patch_embed(video, visible)  # B N C
        rotation = None
        if self.config.positions == "rotary":
            rotation = table if visible is None else table[:, visible].unsqueeze(2)  # 2 (B 1) N d
        else:
            x = x + (table if visible is None else table[visible])
        for block in self.blocks:
            x = block(x, rotation)
        return self.norm(x)

    def features(self, video: Tensor) -> Tensor:
        return self(video)

    def grid_of(self, frames: int, height: int, width: int) -> Grid:
        """Token grid of a clip of any size that divides."""
        t, h, w = self.patch
        return (
            divide_exactly("frames / tubelet", frames, t),
            divide_exactly("image size / patch", height, h),
            divide_exactly("image size / patch", width, w),
        )

    def positions(self, grid: Grid) -> Tensor:
        """The sincos table (N, dim), or the rotations (2, N, dim / heads), of a token grid."""
        c = self.config
        if c.positions == "rotary":
            return rotary(grid, c.dim // c.heads)
        t, h, w = self.grid
        frames, size = c.table_frames or t * c.tubelet, c.table_size
        laid = self.grid_of(frames, size or h * c.patch, size or w * c.patch)
        return interpolate(sincos3d(laid, c.dim, c.uniform_power), laid, grid)

    def layer_of(self, parameter: str) -> int:
        """0 for the patch embedding, 1... for the blocks, the top for the norm."""
        part, _, rest = parameter.partition(".")
        if part == "patch_embed":
            return 0
        return int(rest.split(".")[0]) + 1 if part == "blocks" else self.layers


HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16}
"""Attention heads of V-JEPA 1's encoders by width."""
ROTARY_HEADS = {1024: 16, 1280: 16, 1408: 22}
"""Attention heads of V-JEPA 2's encoders by width."""


def convert(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of one network of an official V-JEPA 1 or 2 checkpoint (``target_encoder``) -> names of the encoder here.

    A position table is fixed and not kept; one that is not a 3-D sine-cosine table raises ``ValueError``.
    """
    names = {key.removeprefix("module.").removeprefix("backbone."): value for key, value in official.items()}
    if "pos_embed" in names:
        table = names.pop("pos_embed")
        has_uniform_power(table, table_grid(table.shape[1])[0])
    return names


def has_uniform_power(table: Tensor, laid: Grid) -> bool:
    """Whether a stored table (1, N, dim) shares its channels evenly (``uniform_power``) or half of them are time's.

    One that is neither raises ``ValueError``.
    """
    for uniform in (True, False):
        if torch.allclose(sincos3d(laid, table.shape[-1], uniform), table[0].float(), atol=1e-4):
            return uniform
    raise ValueError(
        "the position table in the file is not the 3-D sine-cosine table of V-JEPA 1, with or without uniform_power"
    )


def table_grid(positions: int) -> tuple[Grid, int]:
    """Grid and frames of a table of so many positions: 16 frames in all published weights, or as square as fits."""
    for frames in (16, 8, 32, 64, 4, 2):
        side = round((positions * 2 / frames) ** 0.5)
        if frames // 2 * side * side == positions:
            return (frames // 2, side, side), frames
    raise ValueError(f"pos_embed has {positions} positions, which are no clip of square frames")


TRANSFORMERS = (
    (r"^encoder\.embeddings\.patch_embeddings\.proj\.", "patch_embed.proj."),
    (r"^encoder\.layernorm\.", "norm."),
    (r"^encoder\.layer\.(\d+)\.attention\.", r"blocks.\1.attn."),
    (r"^encoder\.layer\.(\d+)\.", r"blocks.\1."),
)


def convert_transformers(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of a transformers ``VJEPA2Model`` -> names of the encoder here; its predictor is left out."""
    names = {key.removeprefix("vjepa2."): value for key, value in official.items()}
    names = {key: value for key, value in names.items() if key.startswith("encoder.")}
    for pattern, ours in TRANSFORMERS:
        names = {re.sub(pattern, ours, key): value for key, value in names.items()}
    return join_qkv(names)


def join_qkv(names: dict[str, Tensor]) -> dict[str, Tensor]:
    """Separate ``query``, ``key`` and ``value`` layers -> one ``qkv``."""
    joined = {key: value for key, value in names.items() if not re.search(r"\.(query|key|value)\.", key)}
    for key in [key for key in names if ".query." in key]:
        parts = [names[key.replace(".query.", f".{part}.")] for part in ("query", "key", "value")]
        joined[key.replace(".query.", ".qkv.")] = torch.cat(parts)
    return joined
