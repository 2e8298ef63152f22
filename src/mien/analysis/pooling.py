"""One pass over clips for everything that calibration needs: outputs, features whose density is known, sharpness.

The features are means and deviations of pixels, of patch embeddings and of the encoder's last tokens. What a head pools
alone does not tell a drawn face from a photographed one: what a model was not trained on, it maps among what it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.analysis.answers import require_finite
from mien.analysis.reading import read_views
from mien.analysis.reliability import sharpness
from mien.interfaces import Clip, Encoder
from mien.progress import progress_bar
from mien.video.views import View, ViewConfig, ViewDataset, load_views

if TYPE_CHECKING:
    from mien.analysis.analyzer import Analyzer


@dataclass(frozen=True)
class Pooled:
    """What a model makes of N clips, each the mean over its views."""

    outputs: NDArray[np.float64]
    """Outputs (N, names), the same as ``Analyzer.score_clips`` gives."""
    votes: NDArray[np.float64]
    """Share of its views (N, names) in which a name has the largest output."""
    features: NDArray[np.float64]
    """Statistics of each clip (N, dim)."""
    sharpness: NDArray[np.float64]
    """Sharpness (N,) of the centre crops' frames."""


@torch.inference_mode()
def pool_clips(analyzer: Analyzer, clips: Sequence[Clip], views: ViewConfig, workers: int = 0) -> Pooled:
    """Read clips once, with a progress bar."""
    views, task = analyzer.suited(views), analyzer.task
    joint, blur = task.segments > 1, list[float]()

    def step(video: Tensor) -> Tensor:
        tokens, statistics = encode(task.encoder, task.pixels(video))
        first = tokens.flatten(1) if joint else task.answer(task.head(tokens))
        return torch.cat([first.float(), statistics], dim=1)

    items = measured(load_views(ViewDataset(clips, analyzer.clip, views), workers), blur)
    outputs, votes = np.zeros((2, len(clips), len(analyzer.names)))
    features: list[NDArray[np.float64]] = [np.empty(0)] * len(clips)
    read = read_views(step, items, views.batch, analyzer.device)
    for item, found in progress_bar(read, "reading", total=len(clips)):
        width = size_of(task.encoder)
        first, statistics = found[..., :-width], found[..., -width:]  # windows crops ...
        answers = analyzer.join(first.unflatten(-1, (-1, task.encoder.dim))) if joint else first
        each = answers.flatten(0, 1).double().cpu().numpy()  # views, names
        outputs[item["index"]] = each.mean(axis=0)
        votes[item["index"]] = np.bincount(each.argmax(axis=1), minlength=each.shape[1]) / len(each)
        features[item["index"]] = statistics.flatten(0, 1).double().mean(dim=0).cpu().numpy()
    require_finite(outputs, analyzer.folder)
    whole = np.stack(features) if features else np.empty((0, size_of(task.encoder)))
    return Pooled(outputs, votes, whole, np.array(blur))


def size_of(encoder: Encoder) -> int:
    """Number of a clip's statistics."""
    return 15 + 4 * encoder.dim


@torch.inference_mode()
def encode(encoder: Encoder, video: Tensor) -> tuple[Tensor, Tensor]:
    """Normalised video (V, 3, T, H, W) -> the encoder's tokens (V, N, dim) and statistics (V, ``size_of``).

    Of the pixels per colour mean, deviation and mean change over time, rows and columns; of patch embeddings and of
    tokens mean and deviation per channel.
    """
    embedded: list[Tensor] = []
    hook = encoder.patch_embed.register_forward_hook(lambda *given: embedded.append(given[-1]))
    try:
        tokens = encoder.features(video)
    finally:
        hook.remove()
    axes = (2, 3, 4)
    changes = [video.diff(dim=axis).abs().mean(dim=axes) for axis in axes]
    pixels = [video.mean(dim=axes), video.std(dim=axes), *changes]
    layers = [part for t in (*embedded, tokens) for part in (t.float().mean(dim=1), t.float().std(dim=1))]
    return tokens, torch.cat([*pixels, *layers], dim=1)


def measured(items: Iterable[View], blur: list[float]) -> Iterator[View]:
    """Items as they are; the sharpness of each is appended to ``blur``."""
    for item in items:
        blur.append(sharpness(item["frames"][0].permute(1, 2, 3, 0).numpy()))
        yield item
