"""Heads: tokens of an encoder -> outputs of a task."""

from __future__ import annotations

from torch import Tensor, nn

from mien.layers import LayerNorm


class MeanHead(nn.Module):
    """Mean over tokens, norm, linear: the head of SVFAP and VideoMAE (their ``fc_norm`` and ``head``)."""

    def __init__(self, dim: int, outputs: int, scale: float = 0.001) -> None:
        """``scale`` shrinks the first weights so that fine-tuning starts from near-even outputs."""
        super().__init__()
        self.norm = LayerNorm(dim)
        self.linear = nn.Linear(dim, outputs)
        nn.init.trunc_normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)
        self.linear.weight.data.mul_(scale)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, dim) -> (B, outputs)."""
        return self.linear(self.pool(tokens))

    def pool(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, dim) -> the clip's feature vector (B, dim)."""
        return self.norm(tokens.mean(dim=1))


def convert(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """``fc_norm.*`` and ``head.*`` of an official fine-tuned checkpoint -> the names here."""
    names = {"fc_norm.weight": "norm.weight", "fc_norm.bias": "norm.bias",
             "head.weight": "linear.weight", "head.bias": "linear.bias"}  # fmt: skip
    return {ours: official[theirs] for theirs, ours in names.items() if theirs in official}
