"""Import official SVFAP, VideoMAE, V-JEPA 1 or V-JEPA 2 weights: sizes are read off the shapes, every key must fit.

mien convert checkpoint-99.pth runs/svfap_base          SVFAP, VideoMAE
mien convert vith16-384.pth.tar runs/vjepa_huge         V-JEPA 1: encoder, teacher and predictor
mien convert vjepa2-vitl-fpc64-256/ runs/vjepa2_large   V-JEPA 2: a folder with model.safetensors and config.json

The folder then serves as --init of finetune and pretrain and as --model of probe, and, if the checkpoint was fine-tuned
(or --probe names a V-JEPA probe) and --names gives its classes in their own order, as --model of evaluate and predict.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tyro
from pydantic.dataclasses import dataclass
from torch import Tensor

from mien import __version__, checkpoint, heads
from mien.commands import convert_vjepa
from mien.config import STRICT, to_tree
from mien.encoders import EncoderConfig, tpsbt, vit
from mien.interfaces import Encoder, Objective
from mien.objectives import masked_autoencoding
from mien.objectives.masked_autoencoding import MaskedAutoencodingConfig
from mien.pixels import PixelsConfig
from mien.tasks.classification import ClassificationConfig
from mien.tasks.labels import canonical
from mien.video.clips import ClipConfig


@dataclass(frozen=True, config=STRICT)
class Config:
    """Options of ``mien convert``."""

    checkpoint: tyro.conf.Positional[Path]
    """Official .pth, .pth.tar or .safetensors file, or a folder with model.safetensors."""
    output: tyro.conf.Positional[Path]
    """Folder to write."""
    heads: int = 0
    """Attention heads, which no shape tells; 0 takes the published number, or heads of width 64."""
    depths: tuple[int, ...] = ()
    """Blocks per stage, which no shape tells either; empty halves them from stage 2 to 3, as both published sizes do."""
    decoder_heads: int = 0
    """Attention heads of the pre-training decoder; 0 takes heads of width 64."""
    names: tuple[str, ...] = ()
    """Class names of a fine-tuned checkpoint or probe, in its own index order."""
    probe: Path | None = None
    """Official attentive probe of V-JEPA (.pth.tar with ``classifier``), to go with the encoder."""
    segments: int = 8
    """Segments of a video that the probe reads at once."""
    clip: ClipConfig = ClipConfig()
    """How clips are taken; by default, for V-JEPA, the size that the weights were made for."""
    pixels: PixelsConfig = PixelsConfig()


def run(config: Config) -> None:
    """Read, rename, load strictly, export."""
    state = checkpoint.read_state(config.checkpoint)
    if convert_vjepa.recognises(state):
        model, about = convert_vjepa.read(state, config)
    else:
        model, about = svfap(config)
    checkpoint.export(config.output, model, {"mien": __version__, "pixels": to_tree(config.pixels)} | about)
    count = sum(p.numel() for p in model.parameters())
    print(f"{type(model.encoder).__name__}, {count / 1e6:.2f} M parameters, every key used: {config.output}")


def svfap(config: Config) -> tuple[Objective, dict[str, Any]]:
    """SVFAP's or VideoMAE's model, pre-trained or fine-tuned, and what it is."""
    official = checkpoint.read_weights(config.checkpoint)
    if not any(key.endswith("patch_embed.proj.weight") for key in official):
        raise ValueError(
            f"{config.checkpoint}: no SVFAP, VideoMAE or V-JEPA weights (patch_embed.proj.weight is missing)"
        )
    encoder_config = encoder_of(official, config.heads, config.depths)
    encoder = encoder_config.build(config.clip.frames, config.clip.size)
    family = tpsbt if encoder_config.name == "tpsbt" else vit
    checkpoint.load_strictly(encoder, family.convert(official), config.checkpoint)
    model, extra = (classifier if "head.weight" in official else pretrained)(encoder, official, config)
    return model, {"encoder": to_tree(encoder_config), "clip": to_tree(config.clip)} | extra


def encoder_of(official: dict[str, Tensor], heads: int, depths: tuple[int, ...]) -> EncoderConfig:
    """Sizes of an official encoder from the shapes of its weights."""
    weights = {key.removeprefix("encoder."): value for key, value in official.items()}
    dim, _, tubelet, patch, _ = weights["patch_embed.proj.weight"].shape
    depth = count(weights, "blocks")
    shared: dict[str, Any] = {"dim": dim, "heads": heads or dim // 64, "patch": patch, "tubelet": tubelet}
    if "spatial_downsamples.0.mlp.fc2.weight" not in weights:
        return vit.ViTConfig(depth=depth, **shared)
    plain = min(i for i in range(depth) if f"blocks.{i}.cross_attn.q.weight" in weights)
    third = (depth - plain) // 3
    bottleneck = weights["spatial_downsamples.0.mlp.fc2.weight"].shape[0]
    return tpsbt.TPSBTConfig(depths=depths or (plain, depth - plain - third, third), bottleneck=bottleneck, **shared)


def count(weights: dict[str, Tensor], part: str) -> int:
    """How many numbered modules a part has."""
    return len({key.split(".")[1] for key in weights if key.startswith(f"{part}.")})


def classifier(encoder: Encoder, official: dict[str, Tensor], config: Config) -> tuple[Objective, dict[str, Any]]:
    """A fine-tuned checkpoint as a classification task."""
    classes = official["head.weight"].shape[0]
    if len(config.names) != classes:
        raise ValueError(
            f"{config.checkpoint} has {classes} classes: name them with --names in the checkpoint's own order "
            f"(given: {len(config.names)})"
        )
    task_config = ClassificationConfig(classes=tuple(canonical(name) for name in config.names))
    task = task_config.build(encoder, config.pixels, task_config.classes)
    checkpoint.load_strictly(task.head, heads.convert(official), config.checkpoint)
    return task, {"task": to_tree(task_config), "names": list(task_config.classes)}


def pretrained(encoder: Encoder, official: dict[str, Tensor], config: Config) -> tuple[Objective, dict[str, Any]]:
    """A pre-training checkpoint as a masked autoencoder, decoder included."""
    dim = official["encoder_to_decoder.weight"].shape[0]
    decoder = {k.removeprefix("decoder."): v for k, v in official.items() if k.startswith("decoder.")}
    objective_config = MaskedAutoencodingConfig(
        decoder_dim=dim, decoder_heads=config.decoder_heads or dim // 64, decoder_depth=count(decoder, "blocks")
    )
    objective = objective_config.build(encoder, config.pixels)
    rest = masked_autoencoding.convert(official)
    own = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    checkpoint.load_strictly(objective, own | rest, config.checkpoint)
    return objective, {"objective": to_tree(objective_config)}
