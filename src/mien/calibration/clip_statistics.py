"""Features of clips whose density calibration knows.

They are means and deviations of pixels, of patch embeddings and of the encoder's last tokens. What a head pools
alone does not tell a drawn face from a photographed one: what a model was not trained on, it maps among what it was.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mien.interfaces import Encoder


def size_of(encoder: Encoder) -> int:
    """Number of a clip's statistics."""
    return encoder.own_statistics or 15 + 2 * encoder.dim + 2 * encoder.feature_dim


@torch.inference_mode()
def encode(encoder: Encoder, video: Tensor) -> tuple[Tensor, Tensor]:
    """Normalised video (V, 3, T, H, W) -> the encoder's tokens (V, N, dim) and statistics (V, ``size_of``).

    An encoder may bring statistics of its own; else they are those of ``statistics``.
    """
    if encoder.own_statistics:
        return encoder.measure(video)
    embedded: list[Tensor] = []
    hook = encoder.patch_embed.register_forward_hook(lambda *given: embedded.append(given[-1]))
    try:
        tokens = encoder.features(video)
    finally:
        hook.remove()
    return tokens, statistics(video, embedded[-1], tokens)


def statistics(video: Tensor, embedded: Tensor, tokens: Tensor) -> Tensor:
    """Normalised video (V, 3, T, H, W), its patch embeddings and the encoder's tokens (V, N, dim) -> (V, ``size_of``).

    Of the pixels per colour mean, deviation and mean change over time, rows and columns; of patch embeddings and of
    tokens mean and deviation per channel.
    """
    axes = (2, 3, 4)
    still = torch.zeros_like(video[:, :, 0, 0, 0])  # a frame model's clips do not change over time
    changes = [video.diff(dim=axis).abs().mean(dim=axes) if video.shape[axis] > 1 else still for axis in axes]
    pixels = [video.mean(dim=axes), video.std(dim=axes), *changes]
    layers = [part for t in (embedded, tokens) for part in (t.float().mean(dim=1), deviation(t.float()))]
    return torch.cat([*pixels, *layers], dim=1)


def deviation(tokens: Tensor) -> Tensor:
    """Tokens (V, N, dim) -> their deviation per channel (V, dim), 0 of a single token."""
    return tokens.std(dim=1) if tokens.shape[1] > 1 else torch.zeros_like(tokens[:, 0])
