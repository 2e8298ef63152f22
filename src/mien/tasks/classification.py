"""Expression recognition and other single-label tasks: cross-entropy on class names (paper eq. 12).

Where raters voted (CREMA-D), training can follow their shares instead of one label: ``--task.votes face_``. Metrics stay
on the label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
from mien.tasks.labels import (
    CANONICAL,
    DEFAULT_COLUMN,
    canonical,
    class_names,
    class_targets,
    label_column,
    renamed_classes,
    require_all_classes,
    vote_shares,
)
from mien.tasks.options import LabelFacts, TaskOptions


@dataclass(frozen=True, config=STRICT)
class ClassificationConfig(TaskOptions):
    """One class per clip, such as an expression; the defaults are SVFAP's fine-tuning."""

    outputs: ClassVar[Outputs] = Outputs(
        kind="classification",
        noun="class",
        nouns="classes",
        form="classes",
        metrics=("WAR", "UAR", "F1_macro", "F1_weighted"),
        headline="UAR",
        shown=("WAR", "UAR"),
        by_name=("recall",),
        published=("UAR", "WAR", "F1_weighted"),
        ranking=("WAR", "F1_weighted"),
        percent=True,
        calibration="temperature",
        figure="confusion",
        curve="stacked",
        linear="softmax",
        bounds=(0.0, 1.0),
        exclusive=True,
        evidence="log-odds",
    )

    name: Literal["classification"] = "classification"
    column: str = DEFAULT_COLUMN
    """Column of the manifest that holds the class name; where there is no column expression, the only one that can be
    meant is taken, and said."""
    classes: tuple[str, ...] = ()
    """Class names; empty takes those of the training rows in alphabetical order."""
    votes: str = ""
    """Start of the names of columns that hold each class's share of raters' votes, such as face_ for face_anger ...;
    training then learns these shares instead of the label. Empty trains on the label."""
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Label smoothing."""
    mixup: NonNegativeFloat = 0.8
    """Alpha of mixup's Beta distribution; 0 is off."""
    cutmix: NonNegativeFloat = 1.0
    """Alpha of cutmix's Beta distribution; 0 is off. With both on, each batch takes one of them by chance."""
    class_weights: bool = False
    """Weigh classes by the inverse of their frequency in the training rows."""
    head: HeadConfig = MeanHeadConfig()
    segments: Annotated[int, Field(ge=1, le=1000)] = 1
    """Segments of a video that the head sees at once, for probes; with 1 the answers of the segments are averaged."""

    def with_columns(self, clips: Sequence[Clip]) -> tuple[ClassificationConfig, list[str]]:
        """The config with the label column of these rows, and sentences on what was guessed and renamed."""
        column = label_column(clips, self.column)
        notes = [] if column == self.column else [f"no column {self.column!r}: the classes are taken from {column!r}"]
        if renamed := renamed_classes(clips, column):
            each = ", ".join(f"{old} -> {new}" for old, new in renamed.items())
            notes.append(f"classes of column {column!r} under the names that mien gives them: {each}")
        return replace(self, column=column), notes

    def names(self, clips: Sequence[Clip]) -> tuple[str, ...]:
        """The classes: those named, or those of these rows."""
        return tuple(map(canonical, self.classes)) or class_names(clips, self.column)

    def targets(self, clips: Sequence[Clip], names: Sequence[str]) -> Tensor:
        """Class index per clip (N,)."""
        return class_targets(clips, self.column, names)

    def training_targets(self, clips: Sequence[Clip], names: Sequence[str]) -> Tensor:
        """What training learns: class indices (N,), or with ``votes`` the shares of the classes (N, names)."""
        return vote_shares(clips, self.votes, names) if self.votes else self.targets(clips, names)

    def build(
        self, encoder: Encoder, pixels: PixelsConfig, names: Sequence[str], targets: Tensor | None = None
    ) -> Classification:
        """The task around an encoder; ``targets`` of the training rows give the class weights."""
        if targets is not None:
            require_all_classes(names, targets, self.column)
        return Classification(encoder, self, pixels, names, targets)

    def example(self, clips: Sequence[Clip] = ()) -> tuple[tuple[str, ...], Tensor]:
        """Seven classes, as many as there are basic expressions, where nothing says which."""
        return self.names(clips) if clips else self.classes or CANONICAL[:7], torch.tensor(0)

    def with_names(self, names: Sequence[str]) -> ClassificationConfig:
        """The config with its classes written out: a fold may lack one."""
        return replace(self, classes=tuple(names))

    def strata(self, clips: Sequence[Clip]) -> list[int]:
        """The class of each clip."""
        return self.targets(clips, self.names(clips)).tolist()

    def label(self, names: Sequence[str]) -> str:
        """emotion for expressions, else the column that was learnt from."""
        return "emotion" if set(names) <= set(CANONICAL) else self.column

    def protocol(self, names: Sequence[str]) -> LabelFacts:
        """Which labels, how many classes."""
        return {"labels": self.column, "classes": len(names)}

    def needs_pixels(self) -> str:
        """Mixing, which blends pixels."""
        if not (self.mixup or self.cutmix):
            return ""
        return "clips cannot be mixed: leave --task.mixup and --task.cutmix at 0"


class Classification(Task):
    """Clips -> probabilities of named classes."""

    class_weights: Tensor

    def __init__(
        self,
        encoder: Encoder,
        config: ClassificationConfig,
        pixels: PixelsConfig,
        names: Sequence[str],
        targets: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.outputs = config.outputs
        self.config, self.encoder, self.names, self.segments = config, encoder, tuple(names), config.segments
        self.pixels, self.head = Pixels(pixels), config.head.build(encoder.feature_dim, len(names))
        self.least_clips = 2 if config.mixup or config.cutmix else 1
        weights = torch.ones(len(names))
        if config.class_weights and targets is not None:
            counts = torch.bincount(targets, minlength=len(names)).float()
            weights = counts.sum() / (len(names) * counts)
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """``video`` (B, 3, T, H, W) and ``target`` class indices (B,) or shares (B, classes) -> loss and accuracy."""
        batch = batch if "mix" in batch else self.draw(batch)
        video, target = self.pixels(batch["video"]), batch["target"]
        target = F.one_hot(target, len(self.names)).float() if target.dim() == 1 else target
        if "mix" in batch:
            video, target = blend(video, target, batch["mix"])
        return self.losses(self.head(self.encoder.features(video)), target)

    def draw(self, batch: Batch) -> Batch:
        """The batch with ``mix`` (H, W), how much of each pixel stays, in training with mixup or cutmix."""
        mixup, cutmix = self.config.mixup, self.config.cutmix
        if not self.training or (mixup <= 0 and cutmix <= 0):
            return batch
        video = batch["video"]
        return {**batch, "mix": draw_blend(video.shape[3], video.shape[4], mixup, cutmix).to(video.device)}

    def losses(self, raw: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Logits (B, classes), class indices (B,) or shares (B, classes) -> loss and accuracy."""
        logits, smoothing = raw.float(), self.config.smoothing if self.training else 0.0
        loss = F.cross_entropy(logits, target, self.class_weights, label_smoothing=smoothing)
        truth = target if target.dim() == 1 else target.argmax(1)
        return {"loss": loss, "accuracy": (logits.argmax(1) == truth).float().mean()}

    def postprocess(self, raw: Tensor) -> Tensor:
        """Probabilities (B, classes) that sum to 1."""
        return raw.float().softmax(dim=1)

    def evidence(self, raw: Tensor) -> Tensor:
        """Log-odds of each class (B, classes) against all others."""
        logits = raw.double()
        others = (
            logits[:, None]
            .expand(-1, logits.shape[1], -1)
            .masked_fill(torch.eye(logits.shape[1], dtype=torch.bool, device=raw.device), -torch.inf)
        )
        return logits - others.logsumexp(dim=2)

    def score(self, predictions: ArrayLike, targets: ArrayLike) -> dict[str, float]:
        """WAR, UAR, macro and weighted F1."""
        return metrics.classification(predictions, targets, self.names)


def draw_blend(height: int, width: int, mixup: float, cutmix: float) -> Tensor:
    """How much of each pixel stays when clips are blended (height, width): alike everywhere (mixup), or all of it but in
    a box (cutmix). One draw for a micro-batch, from the global random state."""
    use_cutmix = cutmix > 0 and (mixup <= 0 or bool(torch.rand(()) < 0.5))
    alpha = cutmix if use_cutmix else mixup
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    if not use_cutmix:
        return torch.full((height, width), share)
    top, bottom, left, right = cutmix_box(height, width, 1.0 - share)
    keep = torch.ones(height, width)
    keep[top:bottom, left:right] = 0.0
    return keep


def blend(video: Tensor, target: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
    """Blend each clip with the one at the mirrored place of the batch: ``keep`` (H, W) of it stays.

    Soft targets (B, classes) are blended by the share of the pixels that stays.
    """
    share = keep.mean()
    return keep * video + (1.0 - keep) * video.flip(0), share * target + (1.0 - share) * target.flip(0)


def cutmix_box(height: int, width: int, area: float) -> tuple[int, int, int, int]:
    """A box of about a share ``area`` of the frame, centred anywhere and cut at the edges."""
    y, x = int(torch.randint(height, ())), int(torch.randint(width, ()))
    h, w = int(height * area**0.5) // 2, int(width * area**0.5) // 2
    return max(y - h, 0), min(y + h, height), max(x - w, 0), min(x + w, width)
