"""A frozen encoder and what is fed to it, from the folder of a run or an import; and heads over its features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.encoders import EncoderConfig
from mien.features.cache import Features
from mien.interfaces import Encoder, Task
from mien.models.card import EncoderOnly, ModelCard
from mien.modules.pixels import PixelsConfig
from mien.video.clips import ClipConfig


@dataclass(frozen=True)
class Frozen:
    """An encoder that is not trained any more, with the clip rule and the normalisation of its weights."""

    name: str
    encoder: Encoder
    config: EncoderConfig
    clip: ClipConfig
    pixels: PixelsConfig
    norm: nn.Module
    """What the encoder's owners put over tokens (..., feature_dim) and over their mean, on the CPU; usually nothing."""
    sources: tuple[str, ...] = ()
    """Public weights that these began from, each with its licence."""

    def pool(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, feature_dim) on the CPU -> one vector per clip (B, feature_dim)."""
        return self.norm(tokens.mean(dim=1))


def load_encoder(folder: Path, device: torch.device, random: bool = False) -> Frozen:
    """The encoder in an exported folder (of a joint embedding: the teacher); ``random`` gives it first weights instead."""
    card, weights = ModelCard.load(folder), None if random else folder
    model = card.build(weights) if card.pooling else EncoderOnly(card.build_encoder(weights))
    assert isinstance(model, EncoderOnly)
    model.eval().requires_grad_(False)
    name = f"{card.encoder.name}, random weights" if random else folder.name
    encoder = model.encoder.to(device)
    return Frozen(
        name,
        encoder,
        card.trainable_encoder(),
        card.clip,
        card.pixels,
        model.encoder_norm,
        () if random else card.sources,
    )


def views_of(tokens: Tensor, joint: bool) -> Tensor:
    """Tokens (crops, segments, N, dim) of a clip -> what a head sees (views, M, dim): a crop, or a segment, per view."""
    return tokens.flatten(1, 2) if joint else tokens.flatten(0, 1)


@torch.inference_mode()
def predictions(
    task: Task, heads: Sequence[nn.Module], features: Features, device: torch.device, clips: int = 16
) -> NDArray[np.float64]:
    """Outputs (heads, clips, names) over the features of all clips, each the mean over a clip's views."""
    found = []
    for start in range(0, len(features), clips):
        numbers = range(start, min(start + clips, len(features)))
        views = [views_of(features[i, 0], task.segments > 1) for i in numbers]
        tokens = torch.cat(views).to(device)
        each = [task.postprocess(head(tokens)).split([len(v) for v in views]) for head in heads]
        found.append(torch.stack([torch.stack([part.mean(0) for part in parts]) for parts in each]))
    return torch.cat(found, dim=1).double().cpu().numpy()
