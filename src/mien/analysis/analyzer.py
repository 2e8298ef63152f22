"""A trained model that reads videos: ``mien.load(folder)`` -> ``Analyzer``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from mien import checkpoint
from mien.analysis.reading import read_views
from mien.config import build
from mien.distributed import choose_device
from mien.encoders import EncoderConfig
from mien.interfaces import Clip, Task
from mien.pixels import PixelsConfig
from mien.tasks import TaskConfig
from mien.video.clips import ClipConfig
from mien.video.views import ViewConfig, ViewDataset, load_views


@dataclass(frozen=True)
class Scores:
    """What a model says of clips, in their order."""

    mean: NDArray[np.float64]
    """Outputs (clips, names), averaged over the views."""
    votes: NDArray[np.float64]
    """Share of the views (clips, names) in which a name has the largest output."""

    @property
    def majority(self) -> NDArray[np.int64]:
        """Index of the name with most votes (clips,); of equal ones that with the larger mean."""
        return (self.votes + 1e-6 * self.mean).argmax(axis=1)


def load(path: str | Path, device: str = "auto") -> Analyzer:
    """Load exported weights from the folder of a fine-tuned run.

    Raises ``ValueError`` where the folder holds no model, or weights that do not fit what model.json says.
    """
    folder = Path(path)
    about = checkpoint.describe(folder)
    if "task" not in about:
        raise ValueError(f"{folder} is a pre-trained encoder without a task; fine-tune it first: mien finetune --init")
    clip = build(ClipConfig, about["clip"])
    encoder = build(EncoderConfig, about["encoder"]).build(clip.frames, clip.size)  # pyright: ignore[reportArgumentType]
    config = build(TaskConfig, about["task"])  # pyright: ignore[reportArgumentType]
    task = config.build(encoder, build(PixelsConfig, about["pixels"]), about["names"])
    checkpoint.load_strictly(task, checkpoint.read_weights(folder), folder)
    return Analyzer(task, clip, tuple(about["names"]), config, choose_device(device))


class Analyzer:
    """A task with everything that belongs to its weights: clip rule, normalisation, names."""

    def __init__(self, task: Task, clip: ClipConfig, names: tuple[str, ...], config: Any, device: torch.device) -> None:
        self.task, self.clip, self.names, self.config, self.device = task.to(device).eval(), clip, names, config, device

    def scores(self, video: str | Path, views: ViewConfig | None = None) -> dict[str, float]:
        """Scores of one video (a file or a folder of frames) by label name."""
        values = self.score_clips([Clip(Path(video))], views or ViewConfig(), progress=False).mean[0]
        return dict(zip(self.names, values.tolist(), strict=True))

    @torch.inference_mode()
    def score_clips(self, clips: Sequence[Clip], views: ViewConfig, workers: int = 0, progress: bool = True) -> Scores:
        """Outputs of clips, averaged and voted on over their views."""
        views = self.suited(views)
        items = load_views(ViewDataset(clips, self.clip, views), workers)
        step = self.tokens if self.task.segments > 1 else self.outputs
        read = read_views(step, items, views.batch, self.device)
        mean, votes = np.zeros((2, len(clips), len(self.names)))
        for item, outputs in tqdm(read, total=len(clips), unit="clip", disable=not progress, delay=2):
            whole = outputs if self.task.segments == 1 else self.join(outputs)
            each = whole.flatten(0, 1).double().cpu().numpy()  # views, names
            mean[item["index"]] = each.mean(axis=0)
            votes[item["index"]] = np.bincount(each.argmax(axis=1), minlength=each.shape[1]) / len(each)
        return Scores(mean, votes)

    def suited(self, views: ViewConfig) -> ViewConfig:
        """Views that suit the head: one that attends over several segments gets as many as it was trained on."""
        wanted = self.task.segments
        if wanted == 1:
            return views
        if views.sliding or views.segments not in (0, wanted):
            raise ValueError(
                f"this model reads {wanted} segments of a video at once, as it was trained; leave --views.segments and "
                "--views.sliding as they are, or train a probe with --segments 1"
            )
        return replace(views, segments=wanted)

    def outputs(self, video: Tensor) -> Tensor:
        """Views -> outputs (V, names)."""
        return self.task.predict({"video": video})

    def tokens(self, video: Tensor) -> Tensor:
        """Views -> tokens (V, N, dim)."""
        return self.task.encoder.features(self.task.pixels(video))

    def join(self, tokens: Tensor) -> Tensor:
        """Tokens (S, C, N, dim) of all segments -> outputs (1, C, names), one per crop."""
        return self.task.answer(self.task.head(tokens.transpose(0, 1).flatten(1, 2)))[None]
