"""Video ViT as in VideoMAE (Tong et al. 2022): joint space-time attention over tubelets, fixed 1-D sinusoid positions.

The baseline that the SVFAP paper compares with. Takes any visible set. Official VideoMAE weights fit by renaming alone:
see ``convert``.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mien.config import STRICT, Depth, Ratio, Share, Sized, Width
from mien.encoders import tpsbt
from mien.interfaces import Encoder
from mien.modules.layers import Block, PatchEmbed, divide_exactly, drop_rates, xavier
from mien.modules.positions import sinusoid


@dataclass(frozen=True, config=STRICT)
class ViTConfig(Sized):
    """Video ViT with joint space-time attention, as in VideoMAE; the defaults are ViT-B/16."""

    SIZES = MappingProxyType({
        "tiny": {"dim": 96, "heads": 4, "depth": 4, "patch": 8},
        "small": {"dim": 384, "heads": 6},
        "base": {},
        "large": {"dim": 1024, "heads": 16, "depth": 24},
        "huge": {"dim": 1280, "heads": 16, "depth": 32},
        "giant": {"dim": 1408, "heads": 16, "depth": 40, "patch": 14, "mlp_ratio": 48 / 11},
    })  # fmt: skip
    """ViT-S (22 M parameters), B (86 M), L and H of VideoMAE, g/14 of VideoMAE V2, and one for small experiments."""
    name: Literal["vit"] = "vit"
    dim: Width = 768
    """Width of a token."""
    heads: Width = 12
    """Attention heads; must divide dim."""
    depth: Depth = 12
    """Number of blocks."""
    patch: Width = 16
    """Side of a patch in pixels; must divide the image side."""
    tubelet: Width = 2
    """Frames per patch; must divide the frames of a clip."""
    mlp_ratio: Ratio = 4.0
    """Hidden width of the feed-forward layers over dim."""
    drop_path: Share = 0.0
    """Largest stochastic depth rate, reached by the last block; 0.1 for fine-tuning."""

    def build(self, frames: int, size: int) -> ViT:
        """An encoder for clips of ``frames`` frames of ``size`` x ``size`` pixels."""
        return ViT(self, frames, size)


class ViT(Encoder):
    """Video -> one token per visible patch; no final norm, which belongs to what stands on top."""

    any_visible = True
    position: Tensor

    def __init__(self, config: ViTConfig, frames: int, size: int) -> None:
        super().__init__()
        c = config
        self.dim, self.heads, self.layers = c.dim, c.heads, c.depth + 1
        self.patch = (c.tubelet, c.patch, c.patch)
        side = divide_exactly("image size / patch", size, c.patch)
        self.grid = (divide_exactly("frames / tubelet", frames, c.tubelet), side, side)
        divide_exactly("encoder.dim / heads", c.dim, c.heads)
        rates = drop_rates(c.drop_path, c.depth)
        self.patch_embed = PatchEmbed(self.patch, c.dim)
        self.blocks = nn.ModuleList(Block(c.dim, c.heads, c.mlp_ratio, rate) for rate in rates)
        self.register_buffer("position", sinusoid(self.grid[0] * side * side, c.dim), persistent=False)
        self.apply(xavier)

    def forward(self, video: Tensor, visible: Tensor | None = None) -> Tensor:
        t, h, w = (divide_exactly("video / patch", n, p) for n, p in zip(video.shape[2:], self.patch, strict=True))
        position = self.position if (t, h, w) == self.grid else sinusoid(t * h * w, self.dim).to(video)
        x = self.patch_embed(video, visible) + (position if visible is None else position[visible])  # B N C
        for block in self.blocks:
            x = block(x)
        return x

    def features(self, video: Tensor) -> Tensor:
        return self(video)

    def layer_of(self, parameter: str) -> int:
        """0 for the patch embedding, 1... for the blocks."""
        return 0 if parameter.startswith("patch_embed") else int(parameter.split(".")[1]) + 1


HEADS = {384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 16}
"""Attention heads by width: ViT-S, B, L, H of VideoMAE and V2, ViT-g of V2. The width of a head is not always 64."""

convert = tpsbt.convert
"""Official VideoMAE names (pre-training or fine-tuned) differ from ours by the same prefixes as SVFAP's."""
