"""Which sites feed the bottleneck tokens of a TPSBT: the softmax of its spatial attention, stage by stage.

The attention is computed a second time from what goes into the layer, so the model's own path and numbers stay as they
are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.encoders.tpsbt import TPSBT, SpatialAttention

Array = NDArray[Any]


@torch.inference_mode()
def bottleneck_attention(encoder: TPSBT, video: Tensor) -> list[Array]:
    """Normalised clips (V, 3, T, H, W) -> per later stage (V, time, G, rows, columns); each token's sites sum to 1."""
    inputs: list[Tensor] = []
    layers = [layer for layer in encoder.spatial_downsamples if isinstance(layer, SpatialAttention)]
    hooks = [layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0])) for layer in layers]
    try:
        encoder.features(video)
    finally:
        for hook in hooks:
            hook.remove()
    shares = [layer.attention(tokens) for layer, tokens in zip(layers, inputs, strict=True)]
    sites = encoder.grid_of(video)[1:]
    return [stage.unflatten(-1, sites).float().cpu().numpy() for stage in shares]


def attention_map(encoder: TPSBT, video: Tensor) -> Array:
    """Normalised clips (V, 3, T, H, W) -> maps (V, time, rows, columns): mean over tokens and stages.

    In units of an even share: 1 is what every site would give if none stood out. A stage's time slots are repeated over
    the slots that they came from.
    """
    times, rows, columns = encoder.grid_of(video)
    stages = bottleneck_attention(encoder, video)
    even = [stage.mean(axis=2) * (rows * columns) for stage in stages]
    return np.mean([stage.repeat(times // stage.shape[1], axis=1) for stage in even], axis=0)
