"""Where a masked autoencoder is surprised: the error with which it guesses each patch from others, over many masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mien.explanations.occlusion import Array
from mien.faces.crop import CropConfig
from mien.models.card import ModelCard
from mien.objectives.masked_autoencoding import MaskedAutoencoding, MaskedAutoencodingConfig
from mien.video.clips import ClipConfig


def load_autoencoder(folder: Path, device: torch.device) -> tuple[MaskedAutoencoding, ClipConfig, CropConfig | None]:
    """The objective of a pre-training run with its decoder, and how it wants clips and faces; ``ValueError`` for any other
    model."""
    card = ModelCard.load(folder)
    if not isinstance(card.objective, MaskedAutoencodingConfig):
        what = f"was pre-trained by {card.objective.name}" if card.objective else "holds no objective"
        raise ValueError(f"{folder} {what}; error maps need a run of mien pretrain with masked_autoencoding")
    objective = card.build(folder)
    assert isinstance(objective, MaskedAutoencoding)
    return objective.to(device).eval(), card.clip, card.face_crop


def mask_keys(seed: int, count: int) -> Tensor:
    """Keys (count,) of as many masks."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 1 << 32, count))


@torch.inference_mode()
def error_map(objective: MaskedAutoencoding, video: Tensor, masks: int = 32, seed: int = 0, batch: int = 32) -> Array:
    """A uint8 clip (3, T, H, W) -> mean squared error per patch (time, rows, columns) over the masks that hid it.

    In the units of the loss: where targets are normalised, 1 is what guessing the patch's mean would give. Raises
    ``ValueError`` where a patch was never hidden.
    """
    encoder = objective.encoder
    total, count = np.zeros(encoder.grid).ravel(), np.zeros(encoder.grid).ravel()
    clip = objective.pixels(video[None])
    drawn = objective.mask(mask_keys(seed, masks).to(clip.device))
    for visible, hidden in zip(*(part.split(batch) for part in drawn), strict=True):
        clips = clip.expand(len(hidden), *clip.shape[1:])
        guess = objective.reconstruct(clips, visible, hidden).float()
        error = (guess - objective.target(clips, hidden)).square().mean(dim=2)  # masks M
        np.add.at(total, hidden.cpu().numpy().ravel(), error.cpu().double().numpy().ravel())
        np.add.at(count, hidden.cpu().numpy().ravel(), 1)
    if not count.all():
        raise ValueError(f"{int((count == 0).sum())} patches were never hidden; take more than {masks} --masks")
    return (total / count).reshape(encoder.grid)
