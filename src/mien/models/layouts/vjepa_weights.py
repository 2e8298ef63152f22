"""Official V-JEPA checkpoints: V-JEPA 1 with its predictor, the encoder of V-JEPA 2, attentive probes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mien.encoders import vjepa
from mien.encoders.vjepa import VJEPAConfig
from mien.engine import checkpoint
from mien.interfaces import Encoder
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
from mien.modules import heads
from mien.modules.heads import AttentiveHeadConfig
from mien.objectives import joint_embedding
from mien.objectives.joint_embedding import JointEmbeddingConfig
from mien.tasks.classification import ClassificationConfig
from mien.tasks.labels import canonical

if TYPE_CHECKING:
    from mien.models.layouts.import_options import ImportOptions

MASK_TOKENS = 10
"""Mask tokens of V-JEPA 2's published predictors; V-JEPA 1 has two."""


def is_vjepa1(source: WeightFile) -> bool:
    """Whether a file holds V-JEPA 1."""
    return any(name.endswith("pos_embed") for name in source.names("target_encoder")) and not is_vjepa2(source)


def is_vjepa2(source: WeightFile) -> bool:
    """Whether a file holds V-JEPA 2, whose encoder has no use for a position table, also where one is stored."""
    names = [*source.names("target_encoder"), *source.names("ema_encoder")]
    tokens = sum("mask_tokens." in name for name in source.names("predictor"))
    return bool(names) and (not any(name.endswith("pos_embed") for name in names) or tokens == MASK_TOKENS)


def read_vjepa1(source: WeightFile, config: ImportOptions) -> Imported:
    """V-JEPA 1: encoder, teacher and predictor, as an objective that pre-training can go on with."""
    student, teacher, predictor = (source.network(part) for part in ("encoder", "target_encoder", "predictor"))
    table = position_table(teacher, "pos_embed")
    laid, frames = vjepa.table_grid(table.shape[1])
    official = vjepa.convert(teacher)
    encoder_config = encoder_config_of(
        official, attention_heads(config.heads, vjepa.HEADS, table.shape[2], "V-JEPA 1's encoder"),
        uniform_power=vjepa.has_uniform_power(table, laid), table_frames=frames,
        table_size=laid[1] * shape_of(official, "patch_embed.proj.weight", 5)[3],
    )  # fmt: skip
    clip = clip_of(config.clip, frames, encoder_config.table_size)
    encoder = encoder_config.build(clip.frames, clip.size)
    card = ModelCard(encoder_config, clip, config.pixels)
    if config.probe:
        checkpoint.load_strictly(encoder, official, source.path)
        return with_probe(encoder, encoder_config.heads, config.probe, card, config)
    if config.encoder_only:
        checkpoint.load_strictly(encoder, official, source.path)
        return Imported(EncoderOnly(encoder), card, ("left out: encoder (the teacher is taken), predictor",))
    objective_config = predictor_of(predictor, laid, config.decoder_heads or encoder_config.heads)
    objective = objective_config.build(encoder, config.pixels)
    parts = (
        (objective.encoder, vjepa.convert(student)),
        (objective.teacher, official),
        (objective.predictor, joint_embedding.convert(predictor)),
    )
    for module, weights in parts:
        checkpoint.load_strictly(module, weights, source.path)
    return Imported(objective, replace(card, objective=objective_config))


def encoder_config_of(official: Mapping[str, Tensor], attention: int, **more: Any) -> VJEPAConfig:
    """Sizes of an encoder from the shapes of its weights."""
    dim, _, tubelet, patch, _ = shape_of(official, "patch_embed.proj.weight", 5)
    hidden = shape_of(official, "blocks.0.mlp.fc1.weight", 2)[0]
    return VJEPAConfig(
        dim=dim, heads=attention, depth=count_modules(official, "blocks"), patch=patch, tubelet=tubelet,
        mlp_ratio=hidden / dim, **more,
    )  # fmt: skip


def predictor_of(predictor: Mapping[str, Tensor], laid: tuple[int, int, int], attention: int) -> JointEmbeddingConfig:
    """Sizes of V-JEPA 1's predictor; it has as many heads as the encoder, and masks of its two kinds."""
    own = joint_embedding.convert(predictor)
    table = position_table(predictor, "predictor_pos_embed")
    config = JointEmbeddingConfig(
        predictor_dim=shape_of(own, "embed.weight", 2)[0],
        predictor_heads=attention,
        predictor_depth=count_modules(own, "blocks"),
        uniform_power=vjepa.has_uniform_power(table, laid),
    )
    kinds = count_modules(own, "mask_tokens")
    if kinds != len(config.blocks):
        raise ValueError(
            f"the predictor has {kinds} mask tokens, V-JEPA 1 was published with {len(config.blocks)}, and the file does not say "
            "which masks they are; take the encoder alone with --encoder-only"
        )
    return config


def read_vjepa2(source: WeightFile, config: ImportOptions) -> Imported:
    """V-JEPA 2: the encoder that their evaluation uses (``target_encoder``), with rotary positions."""
    teacher = source.network("target_encoder" if "target_encoder" in source.tree else "ema_encoder")
    if any("norms_block." in name for name in teacher):
        raise ValueError(
            f"{source.path}: V-JEPA 2.1 (norms_block), whose positions and norms differ from V-JEPA 2's, cannot be imported"
        )
    official = vjepa.convert({name: value for name, value in teacher.items() if not name.endswith("pos_embed")})
    dim = shape_of(official, "patch_embed.proj.weight", 5)[0]
    attention = attention_heads(config.heads, vjepa.ROTARY_HEADS, dim, "V-JEPA 2's encoder")
    encoder_config = encoder_config_of(official, attention, positions="rotary")
    clip = clip_of(config.clip, 16, 256)
    encoder = encoder_config.build(clip.frames, clip.size)
    checkpoint.load_strictly(encoder, official, source.path)
    card = ModelCard(encoder_config, clip, config.pixels)
    if config.probe:
        return with_probe(encoder, attention, config.probe, card, config)
    note = "target_encoder is imported; encoder and predictor are left out"
    return Imported(EncoderOnly(encoder), card, (note,))


def with_probe(encoder: Encoder, attention: int, file: Path, card: ModelCard, config: ImportOptions) -> Imported:
    """An official attentive probe on top of an encoder, whose number of heads it has, as a task."""
    official = heads.convert_attentive(WeightFile.open(file).network("classifier"))
    classes = shape_of(official, "linear.weight", 2)[0]
    if len(config.names) != classes:
        raise ValueError(
            f"{file} has {classes} classes: name them with --names in its order (given: {len(config.names)})"
        )
    names = tuple(canonical(name) for name in config.names)
    task_config = ClassificationConfig(
        classes=names, head=AttentiveHeadConfig(heads=attention), segments=config.segments
    )
    task = task_config.build(encoder, config.pixels, names)
    checkpoint.load_strictly(task.head, official, file)
    return Imported(task, replace(card, task=task_config, names=names))
