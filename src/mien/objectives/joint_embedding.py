"""Joint-embedding prediction (V-JEPA, Bardes et al. 2024): predict what a slow copy of the encoder sees in hidden blocks.

No pixels are predicted, so nothing pushes the encoder towards texture. The price is that it may collapse: encoder and
teacher agree on saying the same of everything. ``feature_spread`` is logged for both, and ``alarms`` speaks up.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Annotated, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mien.config import STRICT, Depth, Width
from mien.interfaces import Batch, Encoder, Objective
from mien.modules.block_masks import BlockMaskConfig, block_mask, mask_lengths
from mien.modules.layers import (
    Block,
    LayerNorm,
    divide_exactly,
    patchify,
    scale_residual_outputs,
    take,
    truncated_normal,
    unpatchify,
)
from mien.modules.masks import Mask
from mien.modules.pixels import Pixels, PixelsConfig
from mien.modules.positions import sincos3d


@dataclass(frozen=True, config=STRICT)
class JointEmbeddingConfig:
    """Predict what a slow copy of the encoder sees in hidden blocks (V-JEPA); the defaults are V-JEPA 1's."""

    name: Literal["joint_embedding"] = "joint_embedding"
    blocks: Annotated[tuple[tuple[PositiveInt, Annotated[float, Field(gt=0, le=1)]], ...], Field(min_length=1)] = (
        (8, 0.15),
        (2, 0.7),
    )
    """Masks per clip, each (number of blocks, share of the area of one); blocks hide all frames."""
    aspect: tuple[PositiveFloat, PositiveFloat] = (0.75, 1.5)
    """Height over width of a block."""
    predictor_dim: Width = 384
    """Width of the predictor."""
    predictor_heads: Annotated[int, Field(ge=0, le=16384)] = 0
    """Attention heads of the predictor; 0 takes the encoder's (published), where they divide its width."""
    predictor_depth: Depth = 12
    """Blocks of the predictor."""
    uniform_power: bool = True
    """Whether time, rows and columns share the channels of the predictor's positions evenly; if not, time has half."""
    momentum: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (0.998, 1.0)
    """Share of itself that the teacher keeps per step: at the start and at the end of the schedule, linear between."""

    def build(self, encoder: Encoder, pixels: PixelsConfig) -> JointEmbedding:
        """The objective around an encoder; the teacher starts as its copy."""
        return JointEmbedding(encoder, self, pixels)


class Predictor(nn.Module):
    """Context tokens and the places of the hidden ones -> the teacher's tokens there."""

    position: Tensor

    def __init__(self, encoder: Encoder, config: JointEmbeddingConfig) -> None:
        super().__init__()
        dim, masks = config.predictor_dim, len(config.blocks)
        self.heads = config.predictor_heads or encoder.heads
        divide_exactly("objective.predictor_dim / predictor_heads", dim, self.heads)
        self.embed = nn.Linear(encoder.dim, dim)
        self.mask_tokens = nn.ParameterList(torch.zeros(1, 1, dim) for _ in range(masks))
        self.blocks = nn.ModuleList(Block(dim, self.heads, key_bias=True) for _ in range(config.predictor_depth))
        self.norm = LayerNorm(dim)
        self.proj = nn.Linear(dim, encoder.dim)
        self.register_buffer("position", sincos3d(encoder.grid, dim, config.uniform_power), persistent=False)
        self.apply(truncated_normal)
        scale_residual_outputs(self.blocks)

    def forward(self, context: Tensor, visible: Tensor, hidden: Tensor, kind: int) -> Tensor:
        """Context (B, N, C) at ``visible`` (B, N) -> predictions (B, M, C) at ``hidden`` (B, M) of a mask of that kind."""
        seen = self.embed(context) + self.position[visible]
        asked = (self.mask_tokens[kind] + self.position[hidden]).to(seen.dtype)
        x = torch.cat([seen, asked], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.proj(self.norm(x[:, -hidden.shape[1] :]))


class JointEmbedding(Objective):
    """Batch with ``video`` and ``key`` -> L1 distance to the teacher's normed tokens at the hidden patches."""

    def __init__(self, encoder: Encoder, config: JointEmbeddingConfig, pixels: PixelsConfig) -> None:
        super().__init__()
        c = config
        self.config, self.encoder, self.pixels = c, encoder, Pixels(pixels)
        self.masks = [BlockMaskConfig(count, scale, c.aspect) for count, scale in c.blocks]
        self.lengths = [mask_lengths(encoder.grid, blocks) for blocks in self.masks]
        self.encoder_norm = nn.Identity() if encoder.normed else LayerNorm(encoder.dim)
        self.predictor = Predictor(encoder, c)
        self.teacher = copy.deepcopy(encoder).requires_grad_(False).eval()

    @property
    def blocks(self) -> list[nn.Module]:
        return [*self.encoder.blocks, *self.predictor.blocks, *self.teacher.blocks]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        batch = batch if "masks" in batch else self.draw(batch)
        video = self.pixels(batch["video"])
        targets = self.targets(video)  # B P C
        losses = []
        for kind, (visible, hidden) in enumerate(batch["masks"]):
            context, prediction = self.predict(video, visible, hidden, kind)
            losses.append(F.l1_loss(prediction.float(), take(targets, hidden)))
        watched = {"teacher": targets, "context": context}  # pyright: ignore[reportPossiblyUnboundVariable]
        spreads = {
            f"{name}_{k}": v for name, tokens in watched.items() for k, v in feature_spread(tokens.detach()).items()
        }
        return {"loss": torch.stack(losses).mean(), **spreads}

    def draw(self, batch: Batch) -> Batch:
        """The batch with its ``masks``, one of each kind."""
        return {**batch, "masks": self.mask(batch["key"])}

    def mask(self, keys: Tensor) -> list[Mask]:
        """One mask of each kind per sample."""
        pairs = zip(self.masks, self.lengths, strict=True)
        return [block_mask(keys + i, self.encoder.grid, blocks, *n) for i, (blocks, n) in enumerate(pairs)]

    def predict(self, video: Tensor, visible: Tensor, hidden: Tensor, kind: int) -> tuple[Tensor, Tensor]:
        """Context tokens (B, N, C) of the visible patches, and from them predictions (B, M, C) for the hidden ones."""
        context = self.encoder_norm(self.encoder(video, visible))
        return context, self.predictor(context, visible, hidden, kind)

    @torch.no_grad()
    def targets(self, video: Tensor) -> Tensor:
        """The teacher's tokens of all patches (B, P, C), each normed to mean 0 and deviation 1."""
        return F.layer_norm(self.teacher(video).float(), (self.encoder.dim,))

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Draw the teacher a little towards the encoder: teacher = m teacher + (1 - m) encoder."""
        start, end = self.config.momentum
        momentum = start + (end - start) * progress
        for kept, learnt in zip(self.teacher.parameters(), self.encoder.parameters(), strict=True):
            kept.lerp_(learnt, 1.0 - momentum)

    def train(self, mode: bool = True) -> Self:
        """The teacher never drops anything."""
        super().train(mode)
        self.teacher.eval()
        return self

    def alarms(self, scalars: Mapping[str, float]) -> list[str]:
        """Name every sign of collapse in logged values."""
        return [
            f"{name} {scalars[name]:.3g} is below {limit}: the features of different clips have nearly become the same "
            "(collapse). Lower --optim.lr, raise the first --objective.momentum, or use larger batches."
            for name, limit in LIMITS.items()
            if scalars.get(name, limit) < limit
        ]

    @torch.no_grad()
    def picture(self, batch: Batch) -> dict[str, Tensor]:
        """Clips (B, 3, T, H, W) in [0, 1]: original, the context of the last mask, the teacher's features in colour."""
        video = self.pixels(batch["video"])
        original = self.pixels.to_unit(video)
        patches = patchify(original, self.encoder.patch, channels_first=False)
        visible, _ = self.mask(batch["key"])[-1]
        where = visible.unsqueeze(-1).expand(-1, -1, patches.shape[-1])
        masked = torch.full_like(patches, 0.5).scatter(1, where, take(patches, visible))
        colours = principal_colours(self.targets(video))  # B P 3
        painted = colours.repeat(1, 1, patches.shape[-1] // 3)
        return {"original": original} | {
            name: unpatchify(value, self.encoder.patch, self.encoder.grid).clamp(0, 1)
            for name, value in (("context", masked), ("features", painted))
        }


LIMITS = {"teacher_std": 0.05, "context_std": 0.05, "teacher_rank": 1.5, "context_rank": 1.5}
"""Below these, different clips have nearly the same features."""


def feature_spread(tokens: Tensor, rows: int = 2048) -> dict[str, Tensor]:
    """How much the tokens (B, N, C) of different clips differ, at the same place: deviation and effective rank.

    Tokens are normed first, so 1 is the largest deviation. The rank is the participation ratio of the covariance,
    trace^2 / sum of squares, from 1 (all on a line) to C. With a single clip, places are compared instead of clips.
    """
    tokens = tokens[:, :: max(1, tokens.shape[0] * tokens.shape[1] // rows)].float()
    tokens = F.layer_norm(tokens, tokens.shape[-1:])
    over = 0 if len(tokens) > 1 else 1
    count = tokens.shape[over]
    rest = (tokens - tokens.mean(over, keepdim=True)).flatten(0, 1)
    covariance = rest.T @ rest / rest.shape[0] * (count / max(count - 1, 1))
    total = covariance.diagonal().sum()
    return {
        "std": (total / tokens.shape[-1]).sqrt(),
        "rank": total.square() / covariance.square().sum().clamp(min=1e-12),
    }


def principal_colours(tokens: Tensor) -> Tensor:
    """Tokens (B, P, C) -> their three largest principal components as colours (B, P, 3) in [0, 1]."""
    flat = tokens.flatten(0, 1)
    flat = flat - flat.mean(0)
    _, _, axes = torch.linalg.svd(flat, full_matrices=False)
    scores = flat @ axes[:3].T
    low, high = scores.quantile(0.02, dim=0), scores.quantile(0.98, dim=0)
    return ((scores - low) / (high - low)).clamp(0, 1).unflatten(0, tokens.shape[:2])


def convert(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """V-JEPA 1's ``predictor`` -> names of ``Predictor`` here; the fixed position table is not kept."""
    names = {key.removeprefix("module.").removeprefix("backbone."): value for key, value in official.items()}
    return {key.removeprefix("predictor_"): value for key, value in names.items() if key != "predictor_pos_embed"}
