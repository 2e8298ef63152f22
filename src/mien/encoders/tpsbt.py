"""TPSBT, the encoder of SVFAP (Sun et al., IEEE TAC 2024): temporal pyramid + spatial bottleneck Transformer.

Stage 1 is a plain Transformer over all visible tokens. Every later stage halves time with a strided convolution, lets
a spatial attention choose G bottleneck tokens per time slot, and works on those; only its last block goes back to full
spatial resolution. That is where the cost goes down: 43.6 instead of 76.9 GMACs at the same depth.

    base   dim 512, 8 heads, stages 12-6-3, G = 8:   77.6 M parameters
    small  dim 384, 6 heads, stages 8-4-2,  G = 8:   29.7 M parameters

Official weights (``encoder.*`` of a pre-training checkpoint, or a fine-tuned one) fit by renaming alone: see
``convert``. Hidden patches never enter: the released pre-training code leaks them through the reverse block, reshapes
with the wrong length and needs an even number of sites; none of it here.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mien.config import STRICT, Depth, Ratio, Share, Sized, Width
from mien.interfaces import Encoder
from mien.modules.layers import (
    MLP,
    Block,
    CrossAttention,
    DropPath,
    LayerNorm,
    PatchEmbed,
    divide_exactly,
    drop_rates,
    xavier,
)
from mien.modules.masks import tubes
from mien.modules.positions import sinusoid


@dataclass(frozen=True, config=STRICT)
class TPSBTConfig(Sized):
    """SVFAP's encoder: temporal pyramid, spatial bottleneck; the defaults are SVFAP-B."""

    SIZES = MappingProxyType({
        "tiny": {"dim": 96, "heads": 4, "depths": (2, 2, 2), "bottleneck": 4, "patch": 8},
        "small": {"dim": 384, "heads": 6, "depths": (8, 4, 2)},
        "base": {},
    })  # fmt: skip
    """SVFAP-S and B, and one that learns on a CPU in minutes, from clips of about 64 pixels. The heads of SVFAP-S are not
    published; 6 keeps the width of a head of base."""
    name: Literal["tpsbt"] = "tpsbt"
    dim: Width = 512
    """Width of a token."""
    heads: Width = 8
    """Attention heads; must divide dim."""
    depths: tuple[Depth, ...] = (12, 6, 3)
    """Blocks per stage; every stage after the first halves time and needs at least 2 blocks."""
    bottleneck: Width | tuple[Width, ...] = 8
    """Bottleneck tokens G per time slot; several numbers are those of each stage after the first."""
    patch: Width = 16
    """Side of a patch in pixels; must divide the image side."""
    tubelet: Width = 2
    """Frames per patch; must divide the frames of a clip."""
    mlp_ratio: Ratio = 4.0
    """Hidden width of the feed-forward layers over dim."""
    drop_path: Share = 0.0
    """Largest stochastic depth rate, reached by the last block; 0.1 for fine-tuning in the paper."""

    @property
    def bottlenecks(self) -> tuple[int, ...]:
        """Bottleneck tokens of each stage after the first."""
        stages = len(self.depths) - 1
        counts = (self.bottleneck,) * stages if isinstance(self.bottleneck, int) else self.bottleneck
        if len(counts) != stages:
            raise ValueError(
                f"encoder.bottleneck {counts}: {len(counts)} numbers for the {stages} stages after the first; give one for "
                "each, or one for all"
            )
        return counts

    def build(self, frames: int, size: int) -> TPSBT:
        """An encoder for clips of ``frames`` frames of ``size`` x ``size`` pixels."""
        return TPSBT(self, frames, size)


class SpatialAttention(nn.Module):
    """Sum the sites of each time slot into G bottleneck tokens: B = softmax(Y)^T X (paper eq. 5 and 6).

    The softmax over sites is in the released weights' code, not in the printed equation; the hidden width is 128.
    """

    def __init__(self, dim: int, bottleneck: int) -> None:
        super().__init__()
        self.norm = LayerNorm(dim)
        self.mlp = MLP(dim, 128, bottleneck)
        # Official weights have this bias, but it is the same for all sites and the softmax over them cancels it: its
        # gradient is rounding noise, which Adam would blow up. It is kept for the names and not trained.
        self.mlp.fc2.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, T, S, C) -> bottleneck tokens (B, T, G, C)."""
        return self.attention(x) @ x

    def attention(self, x: Tensor) -> Tensor:
        """Tokens (B, T, S, C) -> how much each bottleneck token takes from each site (B, T, G, S); sums to 1 over S."""
        return self.mlp(self.norm(x)).softmax(dim=2).transpose(2, 3)


class BottleneckBlock(Block):
    """SBT block: cross-attention of queries over a context, then a standard block on the queries (paper eq. 6-8).

    Bottleneck tokens ask the stage's tokens; in the reverse block the stage's tokens ask the bottleneck.
    """

    def __init__(self, dim: int, heads: int, mlp_ratio: float, drop_path: float) -> None:
        super().__init__(dim, heads, mlp_ratio, drop_path)
        self.cross_norm1 = LayerNorm(dim)
        self.cross_norm2 = LayerNorm(dim)
        self.cross_attn = CrossAttention(dim, heads)
        self.cross_drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        x = x + self.cross_drop_path(self.cross_attn(self.cross_norm1(x), self.cross_norm2(context)))
        return super().forward(x)


class TPSBT(Encoder):
    """Video -> tokens fused over the stages (pre-training) or the last stage's tokens (``features``, for heads)."""

    any_visible = False
    position: Tensor

    def __init__(self, config: TPSBTConfig, frames: int, size: int) -> None:
        super().__init__()
        c = config
        self.dim, self.heads, self.depths = c.dim, c.heads, c.depths
        self.patch = (c.tubelet, c.patch, c.patch)
        side = divide_exactly("image size / patch", size, c.patch)
        self.grid = (divide_exactly("frames / tubelet", frames, c.tubelet), side, side)
        divide_exactly("encoder.dim / heads", c.dim, c.heads)
        divide_exactly(
            "time slots of the clip / 2 for every stage after the first", self.grid[0], 2 ** (len(c.depths) - 1)
        )
        if min(c.depths[1:], default=2) < 2:
            raise ValueError(f"encoder.depths {c.depths}: a stage after the first needs at least 2 blocks")
        self.layers = sum(c.depths) + 1
        rates = drop_rates(c.drop_path, sum(c.depths))
        self.patch_embed = PatchEmbed(self.patch, c.dim)
        self.blocks = nn.ModuleList(
            (Block if i < c.depths[0] else BottleneckBlock)(c.dim, c.heads, c.mlp_ratio, rate)
            for i, rate in enumerate(rates)
        )
        counts = c.bottlenecks
        self.temporal_downsamples = nn.ModuleList(nn.Conv1d(c.dim, c.dim, 2, stride=2) for _ in counts)
        self.spatial_downsamples = nn.ModuleList(SpatialAttention(c.dim, count) for count in counts)
        self.register_buffer("position", sinusoid(self.grid[0] * side * side, c.dim), persistent=False)
        self.apply(xavier)

    def forward(self, video: Tensor, visible: Tensor | None = None) -> Tensor:
        """Tokens of all stages summed at full resolution: X1 + up(X2) + up(X3) (paper eq. 9-10).

        ``up`` repeats a token over the time slots it came from. ``visible`` must hold tubes (``masking.tubes``).
        """
        first, *later = self.stage_tokens(video, visible)  # B T S C each, T halving
        for i, x in enumerate(later, start=1):
            first = first + x.repeat_interleave(2**i, dim=1)
        return first.flatten(1, 2)

    def features(self, video: Tensor) -> Tensor:
        """The last stage's tokens (B, T/2^(stages-1) * S, dim): what SVFAP pools when fine-tuning."""
        return self.stage_tokens(video)[-1].flatten(1, 2)

    def stage_tokens(self, video: Tensor, visible: Tensor | None = None) -> list[Tensor]:
        """Each stage's output (B, T_i, S, dim), S being the visible sites."""
        x = self.embed(video, visible)  # B T S C
        times = x.shape[1]
        blocks = iter(self.blocks)
        x = x.flatten(1, 2)
        for _ in range(self.depths[0]):
            x = next(blocks)(x)
        outputs = [x.unflatten(1, (times, -1))]
        for depth, pool, attend in zip(
            self.depths[1:], self.temporal_downsamples, self.spatial_downsamples, strict=True
        ):
            x = halve_time(pool, outputs[-1])  # B T/2 S C
            tokens, bottleneck = x.flatten(1, 2), attend(x).flatten(1, 2)
            for _ in range(depth - 1):
                bottleneck = next(blocks)(bottleneck, tokens)
            outputs.append(next(blocks)(tokens, bottleneck).unflatten(1, x.shape[1:3]))
        return outputs

    def attention(self, video: Tensor) -> Tensor:
        """Which sites feed the bottleneck tokens: the mean over tokens and stages.

        A stage's time slots are repeated over the slots that they came from.
        """
        times, rows, columns = self.grid_of(video)
        even = [stage.mean(dim=2) * (rows * columns) for stage in self.bottleneck_attention(video)]
        maps = [stage.repeat_interleave(times // stage.shape[1], dim=1) for stage in even]
        return torch.stack(maps).mean(dim=0).unflatten(-1, (rows, columns))

    def bottleneck_attention(self, video: Tensor) -> list[Tensor]:
        """What each bottleneck token takes from each site (V, time, G, sites), per later stage; its sites sum to 1.

        It is computed again from what goes into the layer, so that the model's own path and numbers stay as they are.
        """
        inputs: list[Tensor] = []
        layers = [layer for layer in self.spatial_downsamples if isinstance(layer, SpatialAttention)]
        hooks = [layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0])) for layer in layers]
        try:
            self.features(video)
        finally:
            for hook in hooks:
                hook.remove()
        return [layer.attention(tokens) for layer, tokens in zip(layers, inputs, strict=True)]

    def embed(self, video: Tensor, visible: Tensor | None) -> Tensor:
        """Patch embeddings plus positions (B, T, S, C); sites that are not visible are never touched."""
        times, rows, columns = grid = self.grid_of(video)
        position = self.position if grid == self.grid else sinusoid(times * rows * columns, self.dim).to(video)
        if visible is None:
            return (self.patch_embed(video) + position).unflatten(1, (times, -1))
        require_tubes(visible, grid)
        return (self.patch_embed(video, visible) + position[visible]).unflatten(1, (times, -1))

    def grid_of(self, video: Tensor) -> tuple[int, int, int]:
        """Token grid of a video of any size that divides."""
        t, h, w = (divide_exactly("video / patch", n, p) for n, p in zip(video.shape[2:], self.patch, strict=True))
        divide_exactly("time slots of the video / 2 for every stage after the first", t, 2 ** (len(self.depths) - 1))
        return t, h, w

    def layer_of(self, parameter: str) -> int:
        """0 for the patch embedding, 1... for blocks; down-sampling learns at the top's rate, as in SVFAP."""
        part, _, rest = parameter.partition(".")
        if part == "patch_embed":
            return 0
        return int(rest.split(".")[0]) + 1 if part == "blocks" else self.layers


def halve_time(pool: nn.Module, x: Tensor) -> Tensor:
    """Strided convolution over time at every site: (B, T, S, C) -> (B, T/2, S, C)."""
    sites = x.permute(0, 2, 3, 1).flatten(0, 1)  # B*S C T
    return pool(sites).unflatten(0, (x.shape[0], -1)).permute(0, 3, 1, 2)


def require_tubes(visible: Tensor, grid: tuple[int, int, int]) -> None:
    """Refuse visible sets that are not the same sites at every time; on a GPU only the count is looked at."""
    per_time = divide_exactly("visible patches / time slots (TPSBT needs tubes)", visible.shape[1], grid[0])
    sites = visible[:, :per_time]
    if visible.device.type == "cpu" and not torch.equal(tubes(sites, grid), visible):
        raise ValueError("TPSBT needs tubes: the same sites visible at every time, in rising order")


HEADS = {512: 8, 768: 12}
"""Attention heads by width, as in the released code; those of SVFAP-S (384) are not published."""
DEPTHS = {(12, 9): (12, 6, 3), (8, 6): (8, 4, 2)}
"""Blocks per stage by (blocks of stage 1, blocks of all later ones): SVFAP-B and S."""


def convert(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """Official SVFAP names -> names of the encoder here; the pre-training decoder and the classifier are left out.

    Takes the model's state dict of a pre-training checkpoint (``encoder.*``) or of a fine-tuned one.
    """
    prefix = "encoder." if any(key.startswith("encoder.") for key in official) else ""
    outside = ("norm.", "fc_norm.", "head.", "decoder.", "encoder_to_decoder.", "mask_token")
    names = {key: key.removeprefix(prefix) for key in official if key.startswith(prefix)}
    return {name: official[key] for key, name in names.items() if not name.startswith(outside)}
