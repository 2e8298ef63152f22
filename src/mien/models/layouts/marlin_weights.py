"""MARLIN (Cai et al. 2023), a face encoder: VideoMAE's network with norms of eps 1e-5, a stored position table, pixels in [0, 1].

Its owners make one vector of a clip as the norm of the mean token; the norm is kept beside the encoder (``ModelCard.pooling``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mien.encoders import vit
from mien.encoders.vit import ViTConfig
from mien.engine import checkpoint
from mien.models.card import EncoderOnly, ModelCard
from mien.models.layouts.source import (
    Imported,
    WeightFile,
    attention_heads,
    clip_of,
    count_modules,
    position_table,
    shape_of,
)
from mien.modules.pixels import PixelsConfig
from mien.modules.positions import sinusoid

if TYPE_CHECKING:
    from mien.models.layouts.import_options import ImportOptions

EPS = 1e-5
"""Of all norms: what PyTorch takes where nothing is said."""
PIXELS = PixelsConfig(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
"""Pixels in [0, 1] are fed as they are."""
FRAMES, STRIDE, SIZE = 16, 2, 224
"""Clips that all published weights were made for."""
TABLE = "pos_embedding.emb"
"""The position table, which is stored."""
RENAMED = (
    (r"^norm\.", "encoder_norm."),
    (r"^patch_embedding\.projection\.", "encoder.patch_embed.proj."),
    (r"^blocks\.", "encoder.blocks."),
    (r"\.mlp\.layers\.0\.linear\.", ".mlp.fc1."),
    (r"\.mlp\.layers\.1\.linear\.", ".mlp.fc2."),
)


def is_marlin(source: WeightFile) -> bool:
    """Whether a file holds MARLIN's encoder."""
    return source.has(r"^(marlin\.)?encoder\.patch_embedding\.projection\.weight$")


def read(source: WeightFile, config: ImportOptions) -> Imported:
    """The encoder, with the norm over its tokens; a decoder is left out."""
    weights = {name.removeprefix("marlin."): value for name, value in source.weights.items()}
    rest = dict.fromkeys(name.split(".")[0] for name in weights if not name.startswith("encoder."))
    official = {name.removeprefix("encoder."): value for name, value in weights.items() if name.startswith("encoder.")}
    check_table(position_table(official, TABLE))
    dim, _, tubelet, patch, _ = shape_of(official, "patch_embedding.projection.weight", 5)
    encoder_config = ViTConfig(
        dim=dim, heads=attention_heads(config.heads, vit.HEADS, dim, "MARLIN's encoder"), depth=count_modules(official, "blocks"),
        patch=patch, tubelet=tubelet, mlp_ratio=shape_of(official, "blocks.0.mlp.layers.0.linear.weight", 2)[0] / dim, eps=EPS,
    )  # fmt: skip
    pixels = PIXELS if config.pixels == PixelsConfig() else config.pixels
    card = ModelCard(encoder_config, clip_of(config.clip, FRAMES, SIZE, STRIDE), pixels, pooling="norm of mean")
    model = EncoderOnly(card.initial_encoder(), card.pooling)
    own = {name: value for name, value in official.items() if name != TABLE}
    for pattern, ours in RENAMED:
        own = {re.sub(pattern, ours, name): value for name, value in own.items()}
    checkpoint.load_strictly(model, own, source.path)
    return Imported(model, card, (f"left out: {', '.join(rest)}",) if rest else ())


def check_table(table: Tensor) -> None:
    """Raise ``ValueError`` unless a stored position table (1, N, dim) is the fixed one, which is computed here."""
    if not torch.allclose(sinusoid(table.shape[1], table.shape[2]), table[0].float(), atol=1e-4):
        raise ValueError(f"{TABLE} is not the fixed sinusoid table that MARLIN was published with")
