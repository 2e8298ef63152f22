"""Labels that are yes or no each, such as action units: binary cross-entropy per column.

What a clip shows of several things is not one class: every column is a question of its own. A cell may be empty where
nobody knows; it teaches nothing and is not counted. Rare labels look easy: who always says no is mostly right, so every
metric stands beside what always saying the more frequent answer gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from pydantic import Field, NonNegativeFloat
from pydantic.dataclasses import dataclass
from torch import Tensor

from mien.config import STRICT
from mien.interfaces import Batch, Clip, Encoder, Outputs, Task
from mien.modules.heads import HeadConfig, MeanHeadConfig
from mien.modules.pixels import Pixels, PixelsConfig
from mien.statistics import metrics
from mien.tasks.labels import UNKNOWN, yes_no_targets
from mien.tasks.options import TaskOptions


@dataclass(frozen=True, config=STRICT)
class MultilabelConfig(TaskOptions):
    """Several labels per clip, each yes, no or unknown, such as action units."""

    outputs: ClassVar[Outputs] = Outputs(
        kind="multilabel",
        noun="label",
        nouns="labels",
        form="labels",
        metrics=("F1", "AUC", "accuracy"),
        headline="AUC",
        shown=("F1", "AUC"),
        by_name=("F1", "AUC"),
        published=("F1", "AUC", "accuracy"),
        ranking=("F1", "AUC"),
        percent=True,
        calibration="logistic",
        figure="labels",
        curve="rows",
        linear="logistic",
        bounds=(0.0, 1.0),
        evidence="log-odds",
    )

    name: Literal["multilabel"] = "multilabel"
    columns: tuple[str, ...] = ()
    """Columns of the manifest that hold the labels: 1 or 0, yes or no, true or false; empty where it is not known."""
    at_least: NonNegativeFloat = 0.0
    """Intensity from which on a label counts as yes, for columns of numbers (2 of 5 in much work on action units); 0 takes
    columns of yes and no."""
    positive_weights: bool = False
    """Weigh yes by how much more often no occurs in the training rows, label by label; probabilities then are too large
    until mien calibrate puts them right."""
    head: HeadConfig = MeanHeadConfig()
    segments: Annotated[int, Field(ge=1, le=1000)] = 1
    """Segments of a video that the head sees at once, for probes; with 1 the answers of the segments are averaged."""

    def names(self, clips: Sequence[Clip]) -> tuple[str, ...]:
        """The columns."""
        if not self.columns:
            there = ", ".join(dict.fromkeys(name for clip in clips for name in clip.columns)) or "none"
            raise ValueError(f"no labels to learn: name their columns with --task.columns; there are {there}")
        return self.columns

    def targets(self, clips: Sequence[Clip], names: Sequence[str]) -> Tensor:
        """1, 0 or ``UNKNOWN`` (N, names)."""
        return yes_no_targets(clips, names, self.at_least)

    def build(
        self, encoder: Encoder, pixels: PixelsConfig, names: Sequence[str], targets: Tensor | None = None
    ) -> Multilabel:
        """The task around an encoder; ``targets`` of the training rows give the weights of yes."""
        if targets is not None:
            require_both(names, targets)
        return Multilabel(encoder, self, pixels, names, targets)

    def example(self, clips: Sequence[Clip] = ()) -> tuple[tuple[str, ...], Tensor]:
        """The columns, or twelve where they are not named, all of them no."""
        names = self.names(clips) if clips else self.columns or tuple(f"label {i}" for i in range(12))
        return names, torch.zeros(len(names), dtype=torch.long)


class Multilabel(Task):
    """Clips -> the probability of yes for each label."""

    positive: Tensor

    def __init__(
        self,
        encoder: Encoder,
        config: MultilabelConfig,
        pixels: PixelsConfig,
        names: Sequence[str],
        targets: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.outputs = config.outputs
        self.config, self.encoder, self.names, self.segments = config, encoder, tuple(names), config.segments
        self.pixels, self.head = Pixels(pixels), config.head.build(encoder.dim, len(names))
        positive = torch.ones(len(names))
        if config.positive_weights and targets is not None:
            positive = (targets == 0).sum(0) / (targets == 1).sum(0)
        self.register_buffer("positive", positive, persistent=False)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """``video`` (B, 3, T, H, W) and ``target`` (B, names) of 1, 0 or ``UNKNOWN`` -> loss and accuracy."""
        return self.losses(self.head(self.encoder.features(self.pixels(batch["video"]))), batch["target"])

    def losses(self, raw: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Logits and targets, both (B, names) -> loss, the mean over all cells with 0 for unknown ones, and accuracy."""
        logits, known = raw.float(), target != UNKNOWN
        losses = F.binary_cross_entropy_with_logits(
            logits, target.clamp(min=0).float(), weight=known.float(), pos_weight=self.positive
        )
        right = ((logits >= 0) == (target == 1)) & known
        return {"loss": losses, "accuracy": right.sum() / known.sum().clamp(min=1)}

    def postprocess(self, raw: Tensor) -> Tensor:
        """Probabilities of yes (B, names)."""
        return raw.float().sigmoid()

    def evidence(self, raw: Tensor) -> Tensor:
        """Log-odds of yes (B, names)."""
        return raw.double()

    def score(self, predictions: ArrayLike, targets: ArrayLike) -> dict[str, float]:
        """F1, AUC and accuracy, as means and per label, each beside what the majority gets."""
        return metrics.labels(predictions, targets, self.names)


def require_both(names: Sequence[str], targets: Tensor) -> None:
    """Every label must be yes in some training row and no in another: there is nothing to tell apart otherwise."""
    for answer, word in ((1, "yes"), (0, "no")):
        never = [name for name, column in zip(names, targets.T, strict=True) if not bool((column == answer).any())]
        if never:
            raise ValueError(
                f"no training row says {word} in {', '.join(never)}; add such rows, or leave these labels out of "
                "--task.columns"
            )
