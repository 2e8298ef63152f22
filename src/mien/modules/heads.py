"""Heads: tokens of an encoder -> outputs of a task. One config and one class each."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mien.config import STRICT, Depth, Ratio
from mien.interfaces import Head
from mien.modules.layers import (
    MLP,
    Block,
    LayerNorm,
    divide_exactly,
    hidden_width,
    scale_residual_outputs,
    truncated_normal,
)

PROBE_HEADS = 16
"""Attention heads of V-JEPA's attentive probes."""


@dataclass(frozen=True, config=STRICT)
class MeanHeadConfig:
    """Mean over tokens, norm, linear: SVFAP's and VideoMAE's head, and the linear probe."""

    name: Literal["mean"] = "mean"
    scale: NonNegativeFloat = 0.001
    """Factor on the first weights, so that fine-tuning starts from near-even outputs."""
    standardise: bool = False
    """Bring each channel of the tokens to mean 0 and deviation 1 over the training clips first; for frozen encoders."""

    def build(self, dim: int, outputs: int) -> Head:
        """A head for tokens of width ``dim``."""
        return standardised(MeanHead(dim, outputs, self.scale), dim, self.standardise)


@dataclass(frozen=True, config=STRICT)
class AttentiveHeadConfig:
    """One learnt query attends over all tokens: V-JEPA's attentive probe."""

    name: Literal["attentive"] = "attentive"
    heads: Annotated[int, Field(ge=0, le=16384)] | None = None
    """Attention heads; None takes 16, as V-JEPA's probes do at every width, or the largest number below 16 that divides the
    width. 0 takes heads of width 64, but at least 8 (of width 16 where the width does not divide), as probes were trained
    before there was None."""
    depth: Depth = 1
    """Blocks in all: the cross-attention and, before it, depth - 1 self-attention blocks (V-JEPA 2: 4)."""
    mlp_ratio: Ratio = 4.0
    """Hidden width of the feed-forward layers over the width of a token."""
    standardise: bool = False
    """Bring each channel of the tokens to mean 0 and deviation 1 over the training clips first; for frozen encoders."""

    def build(self, dim: int, outputs: int) -> Head:
        """A head for tokens of width ``dim``."""
        head = AttentiveHead(dim, outputs, self.heads_at(dim), self.depth, self.mlp_ratio)
        return standardised(head, dim, self.standardise)

    def heads_at(self, dim: int) -> int:
        """Attention heads over tokens of width ``dim``."""
        if self.heads is None:
            return max(heads for heads in range(1, PROBE_HEADS + 1) if dim % heads == 0)
        wanted = max(dim // 64, 8)
        return self.heads or (wanted if dim % wanted == 0 else dim // 16)


@dataclass(frozen=True, config=STRICT)
class ScoresHeadConfig:
    """Nothing is learnt: the mean token is the outputs, for frame models, whose tokens are scores."""

    name: Literal["scores"] = "scores"
    standardise: Literal[False] = False
    """No: scores are taken as they are."""

    def build(self, dim: int, outputs: int) -> Head:
        """A head for tokens of width ``dim``, which must be ``outputs``."""
        if dim != outputs:
            raise ValueError(
                f"head.name scores: the encoder gives {dim} numbers and there are {outputs} names; take mean"
            )
        return ScoresHead()


HeadConfig = Annotated[MeanHeadConfig | AttentiveHeadConfig | ScoresHeadConfig, Field(discriminator="name")]


class Standardise(nn.Module):
    """Tokens -> the same with mean 0 and deviation 1 per channel over what ``fit`` saw.

    Features of a frozen encoder differ in scale by orders of magnitude between channels, and what tells expressions
    apart may be the smallest: without this a probe may stay at chance.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("deviation", torch.ones(dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, dim), standardised."""
        return torch.addcmul(-self.mean / self.deviation, tokens, 1.0 / self.deviation)  # one pass over the tokens

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Take mean and deviation from tokens (..., dim)."""
        count, total, squares = 0, torch.zeros_like(self.mean.double()), torch.zeros_like(self.mean.double())
        for tokens in batches:
            flat = tokens.flatten(0, -2).to(total)
            count, total, squares = count + len(flat), total + flat.sum(0), squares + flat.square().sum(0)
        self.mean.copy_(total / count)
        self.deviation.copy_((squares / count - (total / count).square()).clamp(min=1e-12).sqrt())


def standardised(head: Head, dim: int, wanted: bool) -> Head:
    """The head behind a ``Standardise``, where that is wanted."""
    return StandardisedHead(Standardise(dim), head) if wanted else head


class StandardisedHead(Head):
    """A head over standardised tokens."""

    def __init__(self, standard: Standardise, head: Head) -> None:
        super().__init__()
        self.standard, self.head, self.blocks = standard, head, [*head.blocks]

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.standard(tokens))

    def pool(self, tokens: Tensor) -> Tensor:
        return self.head.pool(self.standard(tokens))


class MeanHead(Head):
    """Mean over tokens, norm, linear (``fc_norm`` and ``head`` in official weights)."""

    def __init__(self, dim: int, outputs: int, scale: float = 0.001) -> None:
        super().__init__()
        self.blocks = ()
        self.norm = LayerNorm(dim)
        self.linear = linear(dim, outputs)
        self.linear.weight.data.mul_(scale)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.linear(self.pool(tokens))

    def pool(self, tokens: Tensor) -> Tensor:
        return self.norm(tokens.mean(dim=1))


class ScoresHead(Head):
    """Mean over tokens, which are scores already."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = ()

    def forward(self, tokens: Tensor) -> Tensor:
        return self.pool(tokens)

    def pool(self, tokens: Tensor) -> Tensor:
        return tokens.mean(dim=1)


class AttentiveHead(Head):
    """Query -> cross-attention over the tokens -> feed-forward -> linear (V-JEPA, its ``AttentiveClassifier``).

    As there is one query, keys and values are never computed: the query goes through the keys' weights once, and the
    mean of the tokens that it asks for through the values'. That is the same product in another order, at a fraction of
    the cost (1/16 per token at width 96, 1/64 at 1280). Attention heads are not mixed afterwards: the published weights
    have a layer for it, which their forward pass does not use. First weights are V-JEPA's, the last layer's PyTorch's.
    """

    def __init__(self, dim: int, outputs: int, heads: int, depth: int = 1, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        divide_exactly("width of a token / heads of the attentive head", dim, heads)
        self.heads = heads
        self.blocks = nn.ModuleList(Block(dim, heads, mlp_ratio, key_bias=True) for _ in range(depth - 1))
        self.query_token = nn.Parameter(torch.empty(1, dim))
        self.norm1 = LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, hidden_width(dim, mlp_ratio))
        self.apply(truncated_normal)
        scale_residual_outputs(self.blocks)
        self.mlp.fc2.weight.data.div_(math.sqrt(2.0 * max(depth - 1, 1)))
        nn.init.trunc_normal_(self.query_token, std=0.02)
        self.linear = nn.Linear(dim, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.linear(self.pool(tokens))

    def pool(self, tokens: Tensor) -> Tensor:
        for block in self.blocks:
            tokens = block(tokens)
        x = self.query_token + self.attend(tokens)  # B C
        return x + self.mlp(self.norm2(x))

    def attend(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, C) -> what the query takes from them after ``norm1`` (B, C).

        The scale of the norm goes into the query too, and its shift, alike for all tokens, is added to their mean.
        """
        width, norm = tokens.shape[-1] // self.heads, self.norm1
        normed = F.layer_norm(tokens, tokens.shape[-1:], eps=norm.eps)
        query = self.query(self.query_token).view(self.heads, 1, width)
        asked = (query @ self.key.weight.view(self.heads, width, -1)).squeeze(1) * norm.weight  # heads C
        shares = (normed @ asked.T * width**-0.5).softmax(dim=1)  # B N heads
        taken = shares.transpose(1, 2) @ normed * norm.weight + norm.bias  # B heads C
        values = self.value.weight.view(self.heads, width, -1)
        return torch.einsum("bhc,hdc->bhd", taken, values).flatten(1) + self.value.bias


def linear(dim: int, outputs: int) -> nn.Linear:
    """A last layer with small weights and no bias at first."""
    layer = nn.Linear(dim, outputs)
    nn.init.trunc_normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer


def convert(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """``fc_norm.*`` and ``head.*`` of an official SVFAP or VideoMAE checkpoint -> the names of ``MeanHead``."""
    names = {"fc_norm.weight": "norm.weight", "fc_norm.bias": "norm.bias",
             "head.weight": "linear.weight", "head.bias": "linear.bias"}  # fmt: skip
    return {ours: official[theirs] for theirs, ours in names.items() if theirs in official}


def convert_attentive(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """V-JEPA's one-block attentive classifier -> the names of ``AttentiveHead``.

    Left out are the unused ``xattn.proj`` and the bias of the keys, which the softmax cancels.
    """
    names = {key.removeprefix("module.").removeprefix("pooler."): value for key, value in official.items()}
    names = {key.removeprefix("cross_attention_block."): value for key, value in names.items()}
    needed = ("xattn.kv.weight", "xattn.kv.bias", "xattn.q.weight", "xattn.q.bias", "query_tokens")
    if absent := [name for name in needed if name not in names]:
        raise ValueError(f"no one-block attentive classifier of V-JEPA: {', '.join(absent)} missing")
    key, value = names.pop("xattn.kv.weight").chunk(2)
    moved = {
        "query_token": names.pop("query_tokens")[0],
        "query.weight": names.pop("xattn.q.weight"),
        "query.bias": names.pop("xattn.q.bias"),
        "key.weight": key,
        "value.weight": value,
        "value.bias": names.pop("xattn.kv.bias").chunk(2)[1],
    }
    return moved | {key: value for key, value in names.items() if not key.startswith("xattn.proj.")}
