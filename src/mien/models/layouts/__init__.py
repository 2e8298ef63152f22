"""Weights of other people: one file per family of layouts. Adding one is a record here and a file that reads it.

A layout is known by what a file holds, never by its name. ``recognise`` finds the one a file has; what no shape tells
(attention heads, the blocks of a stage) comes from a table of published sizes or from the user, and is never guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mien.models.layouts import autoencoder_weights, transformers_weights, vjepa_weights
from mien.models.layouts.source import Imported, WeightFile

if TYPE_CHECKING:
    from mien.models.layouts.import_options import ImportOptions


@dataclass(frozen=True)
class WeightLayout:
    """One way in which weights are published."""

    name: str
    holds: str
    """What it is known by, for a person."""
    recognises: Callable[[WeightFile], bool]
    read: Callable[[WeightFile, ImportOptions], Imported]
    probes: bool = False
    """Whether an attentive probe of V-JEPA can go with it."""


LAYOUTS = (
    WeightLayout(
        "SVFAP, pre-trained or fine-tuned (.pth)",
        "patch_embed.proj, blocks and spatial_downsamples",
        autoencoder_weights.is_svfap,
        autoencoder_weights.read,
    ),
    WeightLayout(
        "VideoMAE or VideoMAE V2, pre-trained or fine-tuned (.pth)",
        "patch_embed.proj and blocks.N.attn.q_bias",
        autoencoder_weights.is_videomae,
        autoencoder_weights.read,
    ),
    WeightLayout(
        "VideoMAE of transformers (folder with config.json)",
        "embeddings.patch_embeddings.projection and encoder.layer",
        transformers_weights.is_videomae,
        transformers_weights.read_videomae,
    ),
    WeightLayout(
        "V-JEPA 1 (.pth.tar)",
        "encoder, target_encoder with pos_embed, predictor",
        vjepa_weights.is_vjepa1,
        vjepa_weights.read_vjepa1,
        probes=True,
    ),
    WeightLayout(
        "V-JEPA 2 (.pt)",
        "target_encoder without pos_embed, or a predictor with ten mask tokens",
        vjepa_weights.is_vjepa2,
        vjepa_weights.read_vjepa2,
        probes=True,
    ),
    WeightLayout(
        "V-JEPA 2 of transformers (folder with config.json)",
        "encoder.embeddings.patch_embeddings.proj and encoder.layer",
        transformers_weights.is_vjepa2,
        transformers_weights.read_vjepa2,
        probes=True,
    ),
)


def recognise(source: WeightFile) -> WeightLayout:
    """The layout that a file has; ``ValueError`` that lists the known ones if it has none of them."""
    for layout in LAYOUTS:
        if layout.recognises(source):
            return layout
    known = "".join(f"\n  {layout.name}: {layout.holds}" for layout in LAYOUTS)
    raise ValueError(f"{source.path}: no layout that can be imported; {source.summary()}. Known are{known}")


def import_weights(path: Path, options: ImportOptions) -> tuple[Imported, WeightLayout]:
    """Recognise weights of others and read them strictly; faults name the file and its layout."""
    source = WeightFile.open(path)
    layout = recognise(source)
    try:
        return layout.read(source, options), layout
    except ValueError as error:
        if str(source.path) in str(error):
            raise
        raise ValueError(f"{source.path} ({layout.name}): {error}") from error
