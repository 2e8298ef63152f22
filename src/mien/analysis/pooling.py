"""One pass over clips for everything that calibration needs: outputs, pooled features, sharpness."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from mien.analysis.reading import read_views
from mien.analysis.reliability import sharpness
from mien.heads import AttentiveHead, MeanHead
from mien.interfaces import Clip, Task
from mien.video.views import View, ViewConfig, ViewDataset, load_views

if TYPE_CHECKING:
    from mien.analysis.analyzer import Analyzer


@dataclass(frozen=True)
class Pooled:
    """What a model makes of N clips, each the mean over its views."""

    outputs: NDArray[np.float64]
    """Outputs (N, names), the same as ``Analyzer.score_clips`` gives."""
    features: NDArray[np.float64]
    """What the head pools (N, dim): of a clip's views the mean."""
    sharpness: NDArray[np.float64]
    """Sharpness (N,) of the centre crops' frames."""


@torch.inference_mode()
def pool_clips(analyzer: Analyzer, clips: Sequence[Clip], views: ViewConfig, workers: int = 0) -> Pooled:
    """Read clips once, with a progress bar."""
    views, joint = analyzer.suited(views), analyzer.task.segments > 1
    blur: list[float] = []
    items = measured(load_views(ViewDataset(clips, analyzer.clip, views), workers), blur)
    step = analyzer.tokens if joint else (lambda video: pooled(analyzer.task, analyzer.tokens(video)))
    outputs = np.zeros((len(clips), len(analyzer.names)))
    features: list[NDArray[np.float64]] = [np.empty(0)] * len(clips)
    read = read_views(step, items, views.batch, analyzer.device)
    for item, found in tqdm(read, total=len(clips), unit="clip", delay=2):
        whole = pooled(analyzer.task, found.transpose(0, 1).flatten(1, 2)) if joint else found.flatten(0, 1)
        mean = whole.double().mean(dim=0).cpu().numpy()
        outputs[item["index"]], features[item["index"]] = np.split(mean, [len(analyzer.names)])
    return Pooled(outputs, np.stack(features), np.array(blur))


def pooled(task: Task, tokens: Tensor) -> Tensor:
    """Tokens (V, N, dim) -> outputs and pooled features side by side (V, names + dim)."""
    head = task.head
    if not isinstance(head, MeanHead | AttentiveHead):
        raise TypeError(f"{type(head).__name__} has no pooled features")
    features = head.pool(tokens)
    return torch.cat([task.answer(head.linear(features)), features.float()], dim=1)


def measured(items: Iterable[View], blur: list[float]) -> Iterator[View]:
    """Items as they are; the sharpness of each is appended to ``blur``."""
    for item in items:
        blur.append(sharpness(item["frames"][0].permute(1, 2, 3, 0).numpy()))
        yield item
