"""Folders of the transformers library: VideoMAE (any of its three classes) and V-JEPA 2, with their config.json."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mien.encoders import vit, vjepa
from mien.encoders.vit import ViTConfig
from mien.encoders.vjepa import VJEPAConfig
from mien.engine import checkpoint
from mien.models.card import EncoderOnly, ModelCard
from mien.models.layouts import autoencoder_weights
from mien.models.layouts.source import Imported, WeightFile, clip_of
from mien.models.layouts.vjepa_weights import with_probe
from mien.modules.pixels import PixelsConfig

if TYPE_CHECKING:
    from mien.models.layouts.import_options import ImportOptions

RENAMED = (
    (r"^videomae\.layernorm\.", "encoder.norm."),
    (r"^videomae\.", ""),
    (r"^embeddings\.patch_embeddings\.projection\.", "encoder.patch_embed.proj."),
    (r"^encoder\.layer\.", "encoder.blocks."),
    (r"^decoder\.decoder_layers\.", "decoder.blocks."),
    (r"^layernorm\.", "encoder.norm."),
    (r"^classifier\.", "head."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.attention\.attention\.query\.bias$", ".attn.q_bias"),
    (r"\.attention\.attention\.value\.bias$", ".attn.v_bias"),
    (r"\.attention\.attention\.", ".attn."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
)


def is_videomae(source: WeightFile) -> bool:
    """Whether a file holds VideoMAE in transformers' names."""
    return source.has(r"(^|\.)embeddings\.patch_embeddings\.projection\.weight$") and source.has(r"layernorm_before")


def is_vjepa2(source: WeightFile) -> bool:
    """Whether a file holds V-JEPA 2 in transformers' names."""
    return source.has(r"encoder\.embeddings\.patch_embeddings\.proj\.weight$")


def settings(source: WeightFile, *needed: str) -> dict[str, Any]:
    """The folder's config.json; what is needed of it must be there and whole numbers or fractions."""
    told = source.read_json("config.json")
    folder = source.path if source.path.is_dir() else source.path.parent
    if not told:
        raise ValueError(
            f"{folder / 'config.json'} is missing; name the folder with model.safetensors and config.json, as downloaded"
        )
    absent = [name for name in needed if not isinstance(told.get(name), int | float)]
    if absent:
        raise ValueError(f"{folder / 'config.json'} does not say {', '.join(absent)}")
    return told


def read_videomae(source: WeightFile, config: ImportOptions) -> Imported:
    """VideoMAE: names and the split of query, key and value as in the official files, then as those."""
    told = settings(source, "hidden_size", "num_attention_heads", "num_frames", "image_size")
    official = official_names(source.weights)
    dim = told["hidden_size"]
    heads, published = config.heads or told["num_attention_heads"], vit.HEADS.get(dim)
    if not config.heads and published and heads != published:
        raise ValueError(
            f"{source.path}: config.json says {heads} attention heads at width {dim}, VideoMAE was published with {published} "
            "there, and no shape tells which is right: say --heads"
        )
    encoder = autoencoder_weights.encoder_config_of(official, heads, ())
    assert isinstance(encoder, ViTConfig)
    clip = clip_of(config.clip, told["num_frames"], told["image_size"])
    decoder_heads = told.get("decoder_num_attention_heads", 0)
    imported = autoencoder_weights.build(source, official, encoder, clip, config, decoder_heads)
    return with_pixels(imported, source, config)


def official_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """transformers' names -> VideoMAE's own."""
    names = weights
    for pattern, official in RENAMED:
        names = {re.sub(pattern, official, name): value for name, value in names.items()}
    return vjepa.join_qkv(names)


def with_pixels(imported: Imported, source: WeightFile, config: ImportOptions) -> Imported:
    """The same with the folder's own pixel normalisation, where the user gave none."""
    told = source.read_json("preprocessor_config.json") or source.read_json("video_preprocessor_config.json")
    if config.pixels != PixelsConfig() or not {"image_mean", "image_std"} <= told.keys():
        return imported
    pixels = PixelsConfig(mean=tuple(told["image_mean"]), std=tuple(told["image_std"]))
    if pixels == config.pixels:
        return imported
    note = f"pixels as the folder says: mean {pixels.mean}, std {pixels.std}"
    return Imported(imported.model, replace(imported.card, pixels=pixels), (*imported.notes, note))


def read_vjepa2(source: WeightFile, config: ImportOptions) -> Imported:
    """V-JEPA 2: the encoder. Its predictor, which nothing here uses, is left out."""
    needed = (
        "hidden_size",
        "num_attention_heads",
        "num_hidden_layers",
        "patch_size",
        "tubelet_size",
        "mlp_ratio",
        "crop_size",
    )
    told = settings(source, *needed)
    encoder_config = VJEPAConfig(
        dim=told["hidden_size"], heads=config.heads or told["num_attention_heads"], depth=told["num_hidden_layers"],
        patch=told["patch_size"], tubelet=told["tubelet_size"], mlp_ratio=told["mlp_ratio"], positions="rotary",
    )  # fmt: skip
    clip = clip_of(config.clip, 16, told["crop_size"])
    encoder = encoder_config.build(clip.frames, clip.size)
    checkpoint.load_strictly(encoder, vjepa.convert_transformers(source.weights), source.path)
    card = ModelCard(encoder_config, clip, config.pixels)
    if config.probe:
        return with_probe(encoder, encoder_config.heads, config.probe, card, config)
    return Imported(EncoderOnly(encoder), card, ("the encoder is imported, the predictor is left out",))
