"""What a person says of weights to import that no shape tells."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from mien.config import STRICT
from mien.modules.pixels import PixelsConfig
from mien.video.clips import ClipConfig


@dataclass(frozen=True, config=STRICT, kw_only=True)
class ImportOptions:
    """The options of ``mien convert`` that a layout reads."""

    heads: NonNegativeInt = 0
    """Attention heads, which no shape tells; 0 takes the published number of a published size, and fails for others."""
    depths: tuple[PositiveInt, ...] = ()
    """Blocks per stage of SVFAP's encoder, which no shape tells either; empty takes those of the published sizes."""
    decoder_heads: NonNegativeInt = 0
    """Attention heads of the pre-training decoder or predictor; 0 takes the published number."""
    levels: Literal["last", "all"] = "last"
    """What V-JEPA 2.1's encoder gives as features: its last level, or all four side by side, which is four times as wide."""
    encoder_only: bool = False
    """Take the encoder alone: no decoder, predictor or classifier."""
    names: tuple[str, ...] = ()
    """Class names of a fine-tuned checkpoint or probe, in its own index order."""
    probe: Path | None = None
    """Official attentive probe of V-JEPA (.pth.tar with ``classifier``), to go with the encoder."""
    segments: PositiveInt = 8
    """Segments of a video that --probe reads at once."""
    clip: ClipConfig = ClipConfig()
    """How clips are taken; by default, for all but SVFAP, the size that the weights were made for."""
    pixels: PixelsConfig = PixelsConfig()
