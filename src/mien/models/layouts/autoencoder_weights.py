"""Official SVFAP, VideoMAE and VideoMAE V2 checkpoints: pre-trained with their decoder, fine-tuned with their classifier.

The names of all three agree; sizes are read off the shapes.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mien.encoders import tpsbt, vit
from mien.encoders.tpsbt import TPSBTConfig
from mien.encoders.vit import ViTConfig
from mien.engine import checkpoint
from mien.interfaces import Encoder
from mien.models.card import EncoderOnly, ModelCard
from mien.models.layouts.source import Imported, WeightFile, attention_heads, clip_of, count_modules, shape_of
from mien.modules import heads
from mien.objectives import masked_autoencoding
from mien.objectives.masked_autoencoding import MaskedAutoencodingConfig
from mien.tasks.classification import ClassificationConfig
from mien.tasks.labels import canonical
from mien.video.clips import ClipConfig

if TYPE_CHECKING:
    from mien.models.layouts.import_options import ImportOptions

SIZE = 224
"""Side in pixels that all published VideoMAE weights were made for."""
SCALED = {"0": "cross_attn.proj", "1": "attn.proj", "2": "mlp.fc2"}
"""The projection before each LayerScale (``gamma_N``)."""


def is_svfap(source: WeightFile) -> bool:
    """Whether a file holds SVFAP's encoder."""
    return source.has(r"^(encoder\.)?patch_embed\.proj\.weight$") and source.has(r"spatial_downsamples\.")


def is_videomae(source: WeightFile) -> bool:
    """Whether a file holds VideoMAE's encoder."""
    plain = source.has(r"^(encoder\.)?patch_embed\.proj\.weight$") and source.has(r"blocks\.0\.attn\.q_bias$")
    return plain and not is_svfap(source)


def read(source: WeightFile, config: ImportOptions) -> Imported:
    """The model in a checkpoint and what it is."""
    official = fold_layer_scale(source.weights)
    encoder = encoder_config_of(official, config.heads, config.depths)
    clip = config.clip if isinstance(encoder, TPSBTConfig) else clip_of(config.clip, 16, SIZE)
    return build(source, official, encoder, clip, config)


def build(
    source: WeightFile,
    official: dict[str, Tensor],
    encoder_config: TPSBTConfig | ViTConfig,
    clip: ClipConfig,
    config: ImportOptions,
    decoder_heads: int = 0,
) -> Imported:
    """A model from weights in official names; ``decoder_heads`` where the file tells them."""
    encoder = encoder_config.build(clip.frames, clip.size)
    family = tpsbt if isinstance(encoder_config, TPSBTConfig) else vit
    checkpoint.load_strictly(encoder, family.convert(official), source.path)
    card = ModelCard(encoder_config, clip, config.pixels)
    if not config.encoder_only and "head.weight" in official:
        return classifier(source, official, encoder, card, config)
    if not config.encoder_only and "encoder_to_decoder.weight" in official:
        return autoencoder(source, official, encoder, card, config, decoder_heads)
    rest = dict.fromkeys(
        key.split(".")[0] for key in official if not re.match(r"(encoder|blocks|patch_embed|.*_down)", key)
    )
    return Imported(EncoderOnly(encoder), card, (f"left out: {', '.join(rest)}",) if rest else ())


def classifier(
    source: WeightFile, official: dict[str, Tensor], encoder: Encoder, card: ModelCard, config: ImportOptions
) -> Imported:
    """A fine-tuned checkpoint as a classification task."""
    classes = shape_of(official, "head.weight", 2)[0]
    if len(config.names) != classes:
        raise ValueError(
            f"{source.path} has {classes} classes: name them with --names in the checkpoint's own order (given: "
            f"{len(config.names)}), or take the encoder alone with --encoder-only"
        )
    if "fc_norm.weight" not in official:
        raise ValueError(
            f"{source.path}: its classifier reads the first token, not the mean of all (no fc_norm), which nothing here does; "
            "take the encoder alone with --encoder-only"
        )
    task_config = ClassificationConfig(classes=tuple(canonical(name) for name in config.names))
    task = task_config.build(encoder, config.pixels, task_config.classes)
    checkpoint.load_strictly(task.head, heads.convert(official), source.path)
    return Imported(task, replace(card, task=task_config, names=task_config.classes))


def autoencoder(
    source: WeightFile,
    official: dict[str, Tensor],
    encoder: Encoder,
    card: ModelCard,
    config: ImportOptions,
    decoder_heads: int,
) -> Imported:
    """A pre-training checkpoint as a masked autoencoder, decoder included."""
    dim = shape_of(official, "encoder_to_decoder.weight", 2)[0]
    decoder = {k.removeprefix("decoder."): v for k, v in official.items() if k.startswith("decoder.")}
    attention = attention_heads(
        config.decoder_heads or decoder_heads,
        masked_autoencoding.HEADS,
        dim,
        f"{source.path}: the decoder",
        "--decoder-heads",
    )
    objective_config = MaskedAutoencodingConfig(
        decoder_dim=dim,
        decoder_heads=attention,
        decoder_depth=count_modules(decoder, "blocks"),
        decoder_mlp_ratio=mlp_ratio(decoder, dim),
    )
    objective = objective_config.build(encoder, config.pixels)
    rest = masked_autoencoding.convert(official)
    own = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    checkpoint.load_strictly(objective, own | rest, source.path)
    return Imported(objective, replace(card, objective=objective_config))


def encoder_config_of(official: dict[str, Tensor], given: int, depths: tuple[int, ...]) -> TPSBTConfig | ViTConfig:
    """Sizes of an official encoder from the shapes of its weights."""
    weights = {key.removeprefix("encoder."): value for key, value in official.items()}
    dim, _, tubelet, patch, _ = shape_of(weights, "patch_embed.proj.weight", 5)
    depth = count_modules(weights, "blocks")
    shared: dict[str, Any] = {"dim": dim, "patch": patch, "tubelet": tubelet, "mlp_ratio": mlp_ratio(weights, dim)}
    stages = count_modules(weights, "spatial_downsamples") + 1
    if stages == 1:
        return ViTConfig(depth=depth, heads=attention_heads(given, vit.HEADS, dim, "VideoMAE's encoder"), **shared)
    first = min((i for i in range(depth) if f"blocks.{i}.cross_attn.q.weight" in weights), default=depth)
    bottleneck = tuple(shape_of(weights, f"spatial_downsamples.{i}.mlp.fc2.weight", 2)[0] for i in range(stages - 1))
    return TPSBTConfig(
        depths=depths or depths_of(first, depth - first, stages),
        bottleneck=bottleneck[0] if len(set(bottleneck)) == 1 else bottleneck,
        heads=attention_heads(given, tpsbt.HEADS, dim, "SVFAP's encoder"),
        **shared,
    )


def depths_of(first: int, later: int, stages: int) -> tuple[int, ...]:
    """Blocks per stage; where the later stages are several, only published splits are known."""
    if stages == 2:
        return (first, later)
    if stages == 3 and (first, later) in tpsbt.DEPTHS:
        return tpsbt.DEPTHS[first, later]
    raise ValueError(
        f"SVFAP's encoder has {first} blocks in stage 1 and {later} in the {stages - 1} stages after it, which is no published "
        "size, and no shape tells where one ends: say --depths with the blocks of each stage"
    )


def mlp_ratio(weights: dict[str, Tensor], dim: int) -> float:
    """Hidden width of the first block's feed-forward layers over ``dim``."""
    return shape_of(weights, "blocks.0.mlp.fc1.weight", 2)[0] / dim


def fold_layer_scale(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """Multiply LayerScale factors (``gamma_0``, ``_1``, ``_2`` of a block) into the projection that they scale.

    gamma * (W x + b) = (gamma W) x + gamma b, so outputs stay the same.
    """
    folded = {key: value for key, value in official.items() if not re.search(r"\.gamma_\d$", key)}
    for key in official.keys() - folded.keys():
        block, _, number = key.rpartition(".gamma_")
        scale = official[key].float()
        for part, factor in (("weight", scale[:, None]), ("bias", scale)):
            name = f"{block}.{SCALED.get(number, number)}.{part}"
            if name not in folded or folded[name].shape[:1] != scale.shape:
                raise ValueError(f"{key} scales {name}, which is missing in the file or has another width")
            folded[name] = folded[name].float() * factor
    return folded
