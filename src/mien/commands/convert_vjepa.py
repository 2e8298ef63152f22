"""Official V-JEPA files for ``mien convert``: V-JEPA 1 checkpoints with their probes, V-JEPA 2 as transformers keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mien import checkpoint, heads
from mien.config import to_tree
from mien.encoders import vjepa
from mien.encoders.vjepa import VJEPAConfig
from mien.heads import AttentiveHeadConfig
from mien.interfaces import Encoder, Objective
from mien.objectives import joint_embedding
from mien.objectives.joint_embedding import JointEmbeddingConfig
from mien.positions import sincos3d
from mien.tasks.classification import ClassificationConfig
from mien.tasks.labels import canonical
from mien.video.clips import ClipConfig

if TYPE_CHECKING:
    from mien.commands.convert import Config

HEADS = {384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 22}
"""Attention heads of the published widths."""


def recognises(state: Mapping[str, Any]) -> bool:
    """Whether a file holds V-JEPA 1 (``target_encoder``) or V-JEPA 2 (``encoder.layer...``)."""
    return "target_encoder" in state or any("encoder.layer." in key for key in state)


def read(state: Mapping[str, Any], config: Config) -> tuple[Objective, dict[str, Any]]:
    """The model in a V-JEPA file and what it is."""
    objective, about = first(state, config) if "target_encoder" in state else second(state, config)
    if config.probe is None:
        return objective, about
    encoder = objective.teacher if isinstance(objective, joint_embedding.JointEmbedding) else objective.encoder
    task, extra = with_probe(encoder, config.probe, config)
    return task, {key: about[key] for key in ("encoder", "clip")} | extra


def first(state: Mapping[str, Any], config: Config) -> tuple[joint_embedding.JointEmbedding, dict[str, Any]]:
    """V-JEPA 1: encoder, teacher and predictor, as an objective that pre-training can go on with."""
    student, teacher, predictor = (network(state, part) for part in ("encoder", "target_encoder", "predictor"))
    table = next(value for key, value in student.items() if key.endswith("pos_embed"))
    official = vjepa.convert(student)
    laid, frames = vjepa.table_of(table.shape[1])
    dim, _, tubelet, patch, _ = official["patch_embed.proj.weight"].shape
    heads = config.heads or HEADS.get(dim, dim // 64)
    encoder_config = VJEPAConfig(
        dim=dim, heads=heads, depth=depth_of(official, "blocks."), patch=patch, tubelet=tubelet,
        mlp_ratio=official["blocks.0.mlp.fc1.weight"].shape[0] / dim, table_frames=frames, table_size=laid[1] * patch,
    )  # fmt: skip
    clip = clip_of(config.clip, frames, laid[1] * patch)
    encoder = encoder_config.build(clip.frames, clip.size)
    own = joint_embedding.convert(predictor)
    require_table(predictor, own["embed.weight"].shape[0], laid)
    objective_config = JointEmbeddingConfig(
        predictor_dim=own["embed.weight"].shape[0],
        predictor_heads=heads,
        predictor_depth=depth_of(own, "blocks."),
    )
    objective = objective_config.build(encoder, config.pixels)
    parts = ((objective.encoder, official), (objective.teacher, vjepa.convert(teacher)), (objective.predictor, own))
    for module, weights in parts:
        checkpoint.load_strictly(module, weights, config.checkpoint)
    about = {"encoder": encoder_config, "clip": clip, "objective": objective_config}
    return objective, {key: to_tree(value) for key, value in about.items()}


def second(state: Mapping[str, Tensor], config: Config) -> tuple[Objective, dict[str, Any]]:
    """V-JEPA 2 from a folder of transformers: the encoder. Its predictor, which nothing here uses, is left out."""
    file = (config.checkpoint if config.checkpoint.is_dir() else config.checkpoint.parent) / "config.json"
    if not file.is_file():
        raise ValueError(
            f"{file} is missing; V-JEPA 2 is imported from the folder with model.safetensors and config.json"
        )
    told = json.loads(file.read_text())
    encoder_config = VJEPAConfig(
        dim=told["hidden_size"], heads=told["num_attention_heads"], depth=told["num_hidden_layers"],
        patch=told["patch_size"], tubelet=told["tubelet_size"], mlp_ratio=told["mlp_ratio"], positions="rotary",
    )  # fmt: skip
    clip = clip_of(config.clip, 16, told["crop_size"])
    encoder = encoder_config.build(clip.frames, clip.size)
    checkpoint.load_strictly(encoder, vjepa.convert_transformers(dict(state)), config.checkpoint)
    print("V-JEPA 2: the encoder is imported, the predictor is left out")
    return EncoderOnly(encoder), {"encoder": to_tree(encoder_config), "clip": to_tree(clip)}


class EncoderOnly(Objective):
    """An encoder without anything to train it with, to be exported."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        raise ValueError("an imported encoder has no objective of its own; give mien pretrain --init its folder")


def with_probe(encoder: Encoder, file: Path, config: Config) -> tuple[Objective, dict[str, Any]]:
    """An official attentive probe on top of an encoder, as a task."""
    official = heads.convert_attentive(network(checkpoint.read_state(file), "classifier"))
    classes = official["linear.weight"].shape[0]
    if len(config.names) != classes:
        raise ValueError(
            f"{file} has {classes} classes: name them with --names in its order (given: {len(config.names)})"
        )
    head = AttentiveHeadConfig(heads=config.heads or HEADS.get(encoder.dim, encoder.dim // 64))
    names = tuple(canonical(name) for name in config.names)
    task_config = ClassificationConfig(classes=names, head=head, segments=config.segments)
    task = task_config.build(encoder, config.pixels, names)
    checkpoint.load_strictly(task.head, official, file)
    return task, {"task": to_tree(task_config), "names": list(names)}


def network(state: Mapping[str, Any], part: str) -> dict[str, Tensor]:
    """The weights of one network in a V-JEPA 1 file."""
    if not isinstance(state.get(part), Mapping):
        raise ValueError(f"no {part!r} in the file; it holds {', '.join(map(str, state))}")
    return dict(state[part])


def clip_of(clip: ClipConfig, frames: int, size: int) -> ClipConfig:
    """The clip that was asked for, or, where nothing was, the one that the weights were made for."""
    return ClipConfig(frames=frames, stride=4, size=size) if clip == ClipConfig() else clip


def depth_of(weights: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbered blocks there are."""
    return len({key.removeprefix(prefix).split(".")[0] for key in weights if key.startswith(prefix)})


def require_table(predictor: Mapping[str, Tensor], dim: int, laid: tuple[int, int, int]) -> None:
    """The predictor's positions must be the table that is used here."""
    table = next(value for key, value in predictor.items() if key.endswith("predictor_pos_embed"))
    if not torch.allclose(table[0].float(), sincos3d(laid, dim), atol=1e-4):
        raise ValueError("predictor_pos_embed is not the 3-D sine-cosine table of V-JEPA 1")
