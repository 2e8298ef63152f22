"""All maps of one video: what is hidden, looked at or badly guessed, window by window; and whether they hold.

There is a map per window and method. Signed maps speak for or against an answer, others are amounts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

import numpy as np
import torch
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass as settings
from torch import Tensor, nn

from mien.config import STRICT
from mien.explanations import occlusion
from mien.explanations.checks import Curves, randomised_copy, removal_curves, similarity
from mien.explanations.occlusion import Array, Fill
from mien.explanations.question import Question
from mien.explanations.reconstruction import error_map
from mien.interfaces import Task
from mien.objectives.masked_autoencoding import MaskedAutoencoding
from mien.progress import progress_bar

M = TypeVar("M", bound=nn.Module)
Maps = list[Array]
"""A map (time, rows, columns) per window."""


@settings(frozen=True, config=STRICT)
class MapConfig:
    """How maps are made."""

    sites: PositiveInt = 2
    """Side of the squares that are hidden, in patches of the encoder."""
    slots: PositiveInt = 1
    """Length of the stretches of time that are hidden, in time slots of the encoder."""
    fill: Literal["blur", "mean"] = "blur"
    """What stands in hidden squares: blur, or mean, the clip's mean colour."""
    pause: Fill = "hold"
    """What stands in hidden stretches of time: hold, the last frame before, or blur, or mean."""
    masks: PositiveInt = 64
    """Masks over which a masked autoencoder's error is averaged."""
    batch: PositiveInt = 32
    """Clips that the encoder sees at a time; it does not change the maps."""
    draws: PositiveInt = 3
    """Randomised models that --check compares with."""
    orders: PositiveInt = 20
    """Random orders that --check compares deletion and insertion with."""


def occlusion_maps(question: Question, config: MapConfig) -> Maps:
    """What each window's evidence loses by hiding patches in space and time."""
    encoder, size = question.task.encoder, (config.slots, config.sites, config.sites)
    return [
        occlusion.occlusion_map(
            question.score(i, "evidence"), window, encoder.grid, encoder.patch, size, config.fill, config.batch
        )
        for i, window in enumerate(question.windows)
    ]


def temporal_maps(question: Question, config: MapConfig) -> Maps:
    """What each window's evidence loses by hiding stretches of time (time,)."""
    grid, patch = question.task.encoder.grid, question.task.encoder.patch
    return [
        occlusion.temporal_map(question.score(i, "evidence"), w, grid, patch, config.slots, config.pause, config.batch)
        for i, w in enumerate(question.windows)
    ]


def spatial_maps(question: Question, config: MapConfig) -> Maps:
    """What each window's evidence loses by hiding squares at all times (rows, columns)."""
    grid, patch = question.task.encoder.grid, question.task.encoder.patch
    return [
        occlusion.spatial_map(question.score(i, "evidence"), w, grid, patch, config.sites, config.fill, config.batch)
        for i, w in enumerate(question.windows)
    ]


@torch.inference_mode()
def attention_maps(task: Task, clips: Tensor, config: MapConfig) -> Maps:
    """What the encoder attends to in each window; no maps where it has none."""
    device = next(task.parameters(), clips).device  # a network of others has no parameters
    parts = [task.encoder.attention(task.pixels(part.to(device))) for part in clips.split(config.batch)]
    return [one.float().cpu().numpy() for part in parts if part is not None for one in part]


def error_maps(objective: MaskedAutoencoding, clips: Tensor, config: MapConfig) -> Maps:
    """Where each window is badly guessed from the rest of it."""
    device = next(objective.parameters()).device
    bar = progress_bar(clips, "masking", total=len(clips), unit="window")
    return [error_map(objective, window.to(device), config.masks, batch=config.batch) for window in bar]


def randomisation_correlations(model: M, make: Callable[[M], Maps], maps: Maps, draws: int) -> list[float]:
    """Rank correlation of the maps with those of randomised copies of the model, each the mean over the windows."""
    found = []
    for seed in progress_bar(range(draws), "randomising", total=draws, unit="draw"):
        others = make(randomised_copy(model, seed))
        found.append(float(np.mean([similarity(one, other) for one, other in zip(maps, others, strict=True)])))
    return found


def curves_per_window(question: Question, maps: Maps, config: MapConfig) -> list[Curves]:
    """Deletion and insertion curves of the answer in each window."""
    encoder = question.task.encoder
    found = occlusion.boxes(encoder.grid, (config.slots, config.sites, config.sites))
    return [
        removal_curves(
            question.score(i, "answer"), question.windows[i], values, found, encoder.patch, config.fill,
            draws=config.orders, batch=config.batch,
        )
        for i, values in enumerate(maps)
    ]  # fmt: skip
