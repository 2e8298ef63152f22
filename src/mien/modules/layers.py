"""Layers that the encoders, decoders and heads share, in the parameter layout of the official weights.

Attention has one ``qkv`` weight and, but for V-JEPA, biases for query and value only: a bias on the keys shifts all
logits of a query alike and drops out of the softmax (not where keys are rotated: V-JEPA 2). LayerNorm eps is 1e-6 throughout (VideoMAE, SVFAP).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.modules.positions import rotate

LayerNorm = partial(nn.LayerNorm, eps=1e-6)


def take(tokens: Tensor, index: Tensor) -> Tensor:
    """Tokens (B, N, C) at indices (B, M) -> (B, M, C)."""
    return tokens.gather(1, index.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


class PatchEmbed(nn.Module):
    """Linear embedding of non-overlapping patches: a 3-D convolution whose stride is its kernel.

    It is computed as one matrix product over the patches asked for, so that hidden patches cost nothing; on a CPU
    that is also faster than the convolution.
    """

    def __init__(self, patch: tuple[int, int, int], dim: int, channels: int = 3) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv3d(channels, dim, patch, stride=patch)

    def forward(self, video: Tensor, index: Tensor | None = None) -> Tensor:
        """Video (B, 3, T, H, W), patch indices (B, N) or None for all -> tokens (B, N, dim)."""
        patches = patchify(video, self.patch, channels_first=True)  # B N C*t*h*w
        if index is not None:
            patches = take(patches, index)
        return F.linear(patches, self.proj.weight.flatten(1), self.proj.bias)


def patchify(video: Tensor, patch: tuple[int, int, int], channels_first: bool) -> Tensor:
    """Video (B, C, T, H, W) -> flattened patches (B, N, t*h*w*C), in order time, row, column.

    Inside a patch values stand as (C, t, h, w) if ``channels_first``, the layout of convolution weights, else as
    (t, h, w, C), the layout of SVFAP's reconstruction targets.
    """
    t, h, w = patch
    blocks = video.unfold(2, t, t).unfold(3, h, h).unfold(4, w, w)  # B C T H W t h w
    order = (0, 2, 3, 4, 1, 5, 6, 7) if channels_first else (0, 2, 3, 4, 5, 6, 7, 1)
    return blocks.permute(order).flatten(4).flatten(1, 3)


def unpatchify(patches: Tensor, patch: tuple[int, int, int], grid: tuple[int, int, int]) -> Tensor:
    """Patches (B, N, t*h*w*C) in the layout of reconstruction targets -> video (B, C, T, H, W)."""
    blocks = patches.unflatten(1, grid).unflatten(-1, (*patch, -1))  # B T H W t h w C
    return blocks.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(2, 3).flatten(3, 4).flatten(4, 5)


SHORT = {True: 256, False: 128}
"""Keys up to which plain products are faster than the fused kernel on a CPU, with and without a gradient.

With one, the fused backward pass is slow (benchmarks/attention.py); without one, the fused kernel is five to
eight times slower at "medium" precision on CPUs that take bf16 for it.
"""


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v over (B, heads, N, d).

    The fused kernel is right everywhere, but not fast everywhere: see ``SHORT``.
    """
    if q.device.type == "cpu" and k.shape[2] <= SHORT[torch.is_grad_enabled()]:
        return ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(dim=-1).to(v.dtype) @ v
    return F.scaled_dot_product_attention(q, k, v)


class Attention(nn.Module):
    """Multi-head self-attention; with ``key_bias`` the biases are one with ``qkv``, as in V-JEPA's weights."""

    def __init__(self, dim: int, heads: int, key_bias: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=key_bias)
        if not key_bias:
            self.q_bias = nn.Parameter(torch.zeros(dim))
            self.v_bias = nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, rotation: Tensor | None = None) -> Tensor:
        bias = self.qkv.bias
        if bias is None:
            bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = F.linear(x, self.qkv.weight, bias).unflatten(-1, (3, self.heads, -1))  # B N 3 heads d
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # B heads N d
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        return self.proj(attend(q, k, v).transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """Multi-head attention of queries (B, N, C) over a context (B, M, C)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim, bias=False)
        self.kv = nn.Linear(dim, 2 * dim, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.v_bias = nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        q = F.linear(x, self.q.weight, self.q_bias).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        bias = torch.cat([torch.zeros_like(self.v_bias), self.v_bias])
        kv = F.linear(context, self.kv.weight, bias).unflatten(-1, (2, self.heads, -1))  # B M 2 heads d
        k, v = kv.permute(2, 0, 3, 1, 4)
        return self.proj(attend(q, k, v).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, dim: int, hidden: int, out: int | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, out or dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class DropPath(nn.Module):
    """Stochastic depth: drops a residual branch per sample while training and scales the kept ones up.

    Inside ``drawn_paths`` it was drawn beforehand what is dropped, so that a compiled forward pass has no chance in it;
    elsewhere each call draws. Both take the global random state.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.factors: Tensor | None = None
        """What each sample's branch is multiplied with (B,), where it was drawn beforehand."""

    def draw(self, batch: int, device: torch.device) -> Tensor:
        """Factors (batch,): 0 where a branch is dropped, 1 / (1 - rate) where it is kept."""
        return (torch.rand(batch, device=device) >= self.rate).float() / (1.0 - self.rate)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        factors = self.draw(x.shape[0], x.device) if self.factors is None else self.factors
        return x * factors.to(x.dtype).view(-1, *[1] * (x.dim() - 1))


@contextmanager
def drawn_paths(module: nn.Module, batch: int, device: torch.device) -> Iterator[None]:
    """Draw which branches of ``batch`` samples are dropped, before the forward pass instead of within.

    A branch that is run twice (an encoder that sees a clip under two masks) is dropped both times or neither.
    """
    paths = [part for part in module.modules() if isinstance(part, DropPath) and part.rate > 0.0 and part.training]
    for path in paths:
        path.factors = path.draw(batch, device)
    try:
        yield
    finally:
        for path in paths:
            path.factors = None


def drop_rates(top: float, depth: int) -> list[float]:
    """Stochastic depth per block: from 0 at the first, linearly, to ``top`` at the last."""
    return [top * i / max(depth - 1, 1) for i in range(depth)]


class Block(nn.Module):
    """Pre-norm Transformer block: x + MHSA(LN(x)), then x + FFN(LN(x))."""

    def __init__(
        self, dim: int, heads: int, mlp_ratio: float = 4.0, drop_path: float = 0.0, key_bias: bool = False
    ) -> None:
        super().__init__()
        self.norm1 = LayerNorm(dim)
        self.attn = Attention(dim, heads, key_bias)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, hidden_width(dim, mlp_ratio))
        self.drop_path1, self.drop_path2 = DropPath(drop_path), DropPath(drop_path)

    def forward(self, x: Tensor, rotation: Tensor | None = None) -> Tensor:
        x = x + self.drop_path1(self.attn(self.norm1(x), rotation))
        return x + self.drop_path2(self.mlp(self.norm2(x)))


def hidden_width(dim: int, ratio: float) -> int:
    """Hidden width of feed-forward layers, cut to a whole number; 48/11 of 1408 is 6144 however it is rounded."""
    return int(dim * ratio + 1e-6)


def xavier(module: nn.Module) -> None:
    """Xavier-uniform matrices with zero biases, as VideoMAE and SVFAP pre-train; for ``nn.Module.apply``.

    Their released code leaves convolutions (patch embedding, temporal down-sampling) at PyTorch's default, and so does
    this.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def truncated_normal(module: nn.Module) -> None:
    """Matrices and convolutions from a normal distribution of deviation 0.02, zero biases, as V-JEPA starts.

    For ``nn.Module.apply``; ``scale_residual_outputs`` then makes the output projections of blocks smaller.
    """
    if isinstance(module, nn.Linear | nn.Conv3d):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


@torch.no_grad()
def scale_residual_outputs(blocks: Iterable[nn.Module]) -> None:
    """Divide what each block adds to its input by sqrt(2 x layer), counted from 1, so that depth does not amplify.

    That is the last matrix of attention and of the feed-forward layers (V-JEPA).
    """
    for layer, block in enumerate(blocks, start=1):
        assert isinstance(block, Block)
        block.attn.proj.weight.div_(math.sqrt(2.0 * layer))
        block.mlp.fc2.weight.div_(math.sqrt(2.0 * layer))


def divide_exactly(what: str, whole: int, part: int) -> int:
    """whole / part, or an error that says what does not divide."""
    if part < 1 or whole % part:
        raise ValueError(f"{what}: {whole} does not divide by {part}")
    return whole // part
