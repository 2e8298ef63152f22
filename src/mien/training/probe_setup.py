"""What probes over frozen encoders are trained with and on, and the features that they learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mien.features.cache import Features, ProbeFeatureConfig
from mien.features.frozen import Frozen
from mien.features.probes import ProbeConfig
from mien.interfaces import Clip, Task
from mien.tasks import TaskConfig
from mien.training.data import DataConfig
from mien.training.partition import Parts, SplitConfig
from mien.video.transforms import AugmentConfig
from mien.video.views import ViewConfig


@dataclass(frozen=True)
class ProbeSetup:
    """How every encoder of a table is probed."""

    task: TaskConfig
    """With the probe's head, and the segments that it attends to at once."""
    probe: ProbeConfig
    features: ProbeFeatureConfig
    views: ViewConfig
    """Views of validation and test clips, with their number of segments."""
    augment: AugmentConfig
    data: DataConfig
    split: SplitConfig
    workers: int
    device: torch.device
    output: Path
    """Folder of the table."""
    recipe: str
    """All options as YAML, which is kept in the folder."""

    def views_in_all(self, parts: Parts) -> int:
        """Views of all clips that the encoder reads: each once, but with --features.live those of an epoch in every epoch.

        Windows at a hop are counted as if they were segments.
        """
        epochs, crops = self.probe.epochs if self.features.live else 1, self.views.crops
        variants = epochs if self.features.live else self.features.variants
        each = {"train": variants, "validation": epochs * crops}
        return self.views.segments * sum(len(clips) * each.get(part, crops) for part, clips in parts.items())

    def read(self, part: str, source: Frozen, task: Task, clips: Sequence[Clip]) -> Features:
        """The features of one part: training clips at one crop and perhaps augmented, the others at all crops."""
        training = part == "train"
        features = Features(
            source.encoder, task.pixels, clips, source.clip,
            replace(self.views, crops=1) if training else self.views, self.features, self.device,
            self.augment if training and self.features.variants > 1 else None, self.probe.seed,
        )  # fmt: skip
        features.prepare(self.workers, f"{source.name}: {part} features")
        return features
