"""Dimensional emotion and apparent personality: any number of named values (paper eq. 13)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from mien import metrics
from mien.config import STRICT
from mien.heads import HeadConfig, MeanHeadConfig
from mien.interfaces import Batch, Clip, Encoder, Task
from mien.pixels import Pixels, PixelsConfig
from mien.tasks.labels import value_targets


@dataclass(frozen=True, config=STRICT)
class RegressionConfig:
    """Targets, loss and output range."""

    name: Literal["regression"] = "regression"
    columns: tuple[str, ...] = ("valence", "arousal")
    """Columns of the manifest that hold the values."""
    loss: Literal["mse", "ccc"] = "mse"
    """Mean squared error (the paper), or 1 - concordance over the batch."""
    output: Literal["none", "sigmoid", "tanh"] = "none"
    """Range of the outputs: any number, (0, 1) as for personality, or (-1, 1) as for valence."""
    head: HeadConfig = MeanHeadConfig()
    segments: int = 1
    """Segments of a video that the head sees at once, for probes; with 1 the answers of the segments are averaged."""

    def names(self, clips: Sequence[Clip]) -> tuple[str, ...]:
        """Names of the outputs."""
        return self.columns

    def targets(self, clips: Sequence[Clip], names: Sequence[str]) -> Tensor:
        """Values per clip (N, names)."""
        return value_targets(clips, names)

    def build(
        self, encoder: Encoder, pixels: PixelsConfig, names: Sequence[str], targets: Tensor | None = None
    ) -> Regression:
        """The task around an encoder."""
        return Regression(encoder, self, pixels, names)


class Regression(Task):
    """Clips -> named values."""

    def __init__(self, encoder: Encoder, config: RegressionConfig, pixels: PixelsConfig, names: Sequence[str]) -> None:
        super().__init__()
        self.config, self.encoder, self.names, self.segments = config, encoder, tuple(names), config.segments
        self.pixels, self.head = Pixels(pixels), config.head.build(encoder.dim, len(names))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """``video`` (B, 3, T, H, W) and ``target`` (B, names) -> loss."""
        return self.judge(self.head(self.encoder.features(self.pixels(batch["video"]))), batch["target"])

    def judge(self, raw: Tensor, target: Tensor) -> dict[str, Tensor]:
        """What the head gives and values, both (B, names) -> loss."""
        values, target = self.answer(raw), target.float()
        return {"loss": ccc_loss(values, target) if self.config.loss == "ccc" else F.mse_loss(values, target)}

    def answer(self, raw: Tensor) -> Tensor:
        """Values (B, names) in the targets' units."""
        values = raw.float()
        return {"none": values, "sigmoid": values.sigmoid(), "tanh": values.tanh()}[self.config.output]

    def score(self, predictions: Any, targets: Any) -> dict[str, float]:
        """PCC, CCC, RMSE and 1-MAE, per target and as means."""
        return metrics.regression(predictions, targets, self.names)


def ccc_loss(values: Tensor, target: Tensor) -> Tensor:
    """1 - mean concordance correlation (Lin 1989) over a batch (B, names); needs more than one clip to mean much."""
    dv, dt = values - values.mean(0), target - target.mean(0)
    covariance = (dv * dt).mean(0)
    spread = dv.square().mean(0) + dt.square().mean(0) + (values.mean(0) - target.mean(0)).square()
    return 1.0 - (2.0 * covariance / (spread + torch.finfo(spread.dtype).eps)).mean()
