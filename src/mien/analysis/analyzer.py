"""A trained model that reads videos: ``mien.load(folder)`` -> ``Analyzer``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass
from torch.utils.data import DataLoader
from tqdm import tqdm

from mien import checkpoint
from mien.config import STRICT, build
from mien.distributed import choose_device
from mien.encoders import EncoderConfig
from mien.interfaces import Clip, Task
from mien.pixels import PixelsConfig
from mien.tasks import TaskConfig
from mien.video.clips import ClipConfig, ViewDataset, join_views, prepare_worker


@dataclass(frozen=True, config=STRICT)
class ViewConfig:
    """Multi-view testing: a video is decoded once, the model's outputs for its views are averaged."""

    segments: int = 2
    """Clips spread evenly over the video (the paper: 2)."""
    crops: int = 1
    """1 takes the centre, 3 the two ends of the longer side as well; equal crops are computed once."""
    batch: int = 16
    """Videos per batch."""


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
        values = self.score_clips([Clip(Path(video))], views or ViewConfig(), progress=False)[0]
        return dict(zip(self.names, values.tolist(), strict=True))

    @torch.inference_mode()
    def score_clips(
        self, clips: Sequence[Clip], views: ViewConfig, workers: int = 0, progress: bool = True
    ) -> NDArray[np.float64]:
        """Outputs (clips, names), in the order of ``clips``, each the weighted mean over its views."""
        loader = DataLoader(
            ViewDataset(clips, self.clip, views.segments, views.crops),
            batch_size=views.batch,
            num_workers=workers,
            collate_fn=join_views,
            worker_init_fn=prepare_worker,
        )
        total = np.zeros((len(clips), len(self.names)))
        for batch in tqdm(loader, unit="batch", disable=not progress, delay=2):
            outputs = self.task.predict({"video": batch["video"].to(self.device)}).double().cpu().numpy()
            np.add.at(total, batch["index"].numpy(), outputs * batch["weight"].numpy()[:, None])
        return total
