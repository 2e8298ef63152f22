"""Dimensional emotion and apparent personality: any number of named values (paper eq. 13)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from mien.config import STRICT
from mien.interfaces import Batch, Clip, Encoder, Outputs, Task
from mien.modules.heads import HeadConfig, MeanHeadConfig
from mien.modules.pixels import Pixels, PixelsConfig
from mien.statistics import metrics
from mien.tasks.labels import row_place, value_targets
from mien.tasks.options import TaskOptions


@dataclass(frozen=True, config=STRICT)
class RegressionConfig(TaskOptions):
    """Values per clip, such as valence and arousal, or personality."""

    outputs: ClassVar[Outputs] = Outputs(
        kind="regression",
        noun="target",
        nouns="targets",
        form="values",
        metrics=("PCC", "CCC", "RMSE", "1-MAE"),
        headline="CCC",
        shown=("PCC", "CCC", "1-MAE"),
        by_name=("CCC", "PCC", "RMSE", "1-MAE"),
        published=("PCC", "CCC", "1-MAE"),
        ranking=("CCC",),
        percent=False,
        calibration="intervals",
        figure="scatter",
        curve="lines",
        linear="ridge",
    )

    name: Literal["regression"] = "regression"
    columns: tuple[str, ...] = ("valence", "arousal")
    """Columns of the manifest that hold the values."""
    loss: Literal["mse", "ccc"] = "mse"
    """Mean squared error (the paper), or 1 - concordance over the batch, which then must be whole: one process and
    --train.accumulate 1."""
    output: Literal["none", "sigmoid", "tanh"] = "none"
    """Range of the outputs: any number, (0, 1) as for personality, or (-1, 1) as for valence."""
    scaling: Literal["none", "zscore", "minmax"] = "none"
    """Targets as the model learns them, from the training rows: zscore has mean 0 and deviation 1, minmax lies in the
    range of the outputs (from 0 to 1 where they have none). Kept with the weights; predictions are in the own units."""
    head: HeadConfig = MeanHeadConfig()
    segments: Annotated[int, Field(ge=1, le=1000)] = 1
    """Segments of a video that the head sees at once, for probes; with 1 the answers of the segments are averaged."""

    def __post_init__(self) -> None:
        if self.scaling == "zscore" and self.output != "none":
            raise ValueError(f"z-scores leave the range of output {self.output}; take scaling minmax, or output none")

    def names(self, clips: Sequence[Clip]) -> tuple[str, ...]:
        """Names of the outputs."""
        return self.columns

    def targets(self, clips: Sequence[Clip], names: Sequence[str]) -> Tensor:
        """Values per clip (N, names)."""
        return value_targets(clips, names)

    def training_targets(self, clips: Sequence[Clip], names: Sequence[str]) -> Tensor:
        """What training learns: the same values, which without scaling must lie in the range of the outputs."""
        targets, low = self.targets(clips, names), {"sigmoid": 0.0, "tanh": -1.0}.get(self.output)
        if low is None or self.scaling != "none":
            return targets
        outside = ((targets < low) | (targets > 1.0)).nonzero().tolist()
        if outside:
            row, column = outside[0]
            raise ValueError(
                f"{row_place(clips[row])}: {targets[row, column]:g} in column {names[column]!r} is outside the range of --task.output "
                f"{self.output}, {low:g} to 1; correct the row, or take --task.scaling minmax"
            )
        return targets

    def build(
        self, encoder: Encoder, pixels: PixelsConfig, names: Sequence[str], targets: Tensor | None = None
    ) -> Regression:
        """The task around an encoder; ``targets`` (N, names) of the training rows give the scale, which otherwise comes
        with the weights."""
        return Regression(encoder, self, pixels, names, targets)

    def example(self, clips: Sequence[Clip] = ()) -> tuple[tuple[str, ...], Tensor]:
        """The columns, all 0."""
        return self.columns, torch.zeros(len(self.columns))


class Regression(Task):
    """Clips -> named values. The model answers in scaled units: value = shift + spread x answer."""

    shift: Tensor
    spread: Tensor

    def __init__(
        self,
        encoder: Encoder,
        config: RegressionConfig,
        pixels: PixelsConfig,
        names: Sequence[str],
        targets: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.outputs = config.outputs
        self.config, self.encoder, self.names, self.segments = config, encoder, tuple(names), config.segments
        self.mean_over_clips = config.loss != "ccc"
        self.pixels, self.head = Pixels(pixels), config.head.build(encoder.dim, len(names))
        shift, spread = torch.zeros(len(names)), torch.ones(len(names))
        if config.scaling != "none" and targets is not None:
            shift, spread = target_scale(targets, config.scaling, config.output, names)
        kept = config.scaling != "none"
        self.register_buffer("shift", shift, persistent=kept)
        self.register_buffer("spread", spread, persistent=kept)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """``video`` (B, 3, T, H, W) and ``target`` (B, names) -> loss."""
        return self.losses(self.head(self.encoder.features(self.pixels(batch["video"]))), batch["target"])

    def losses(self, raw: Tensor, target: Tensor) -> dict[str, Tensor]:
        """What the head gives and values, both (B, names) -> loss."""
        values, target = self.activated(raw), (target.float() - self.shift) / self.spread
        return {"loss": ccc_loss(values, target) if self.config.loss == "ccc" else F.mse_loss(values, target)}

    def postprocess(self, raw: Tensor) -> Tensor:
        """Values (B, names) in the targets' units."""
        return self.shift + self.spread * self.activated(raw)

    def activated(self, raw: Tensor) -> Tensor:
        """Values (B, names) as the model learns them."""
        values = raw.float()
        return {"none": values, "sigmoid": values.sigmoid(), "tanh": values.tanh()}[self.config.output]

    def score(self, predictions: ArrayLike, targets: ArrayLike) -> dict[str, float]:
        """PCC, CCC, RMSE and 1-MAE, per target and as means."""
        return metrics.regression(predictions, targets, self.names)


def target_scale(targets: Tensor, scaling: str, output: str, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Shift and spread (names,) of the training targets (N, names), computed in double precision.

    zscore: mean and population deviation. minmax: the least value becomes the lower end of the outputs' range (0, or -1
    with tanh), the greatest the upper end (1). A column that holds one value has no scale: ``ValueError``.
    """
    values = targets.double()
    low, high = values.amin(0), values.amax(0)
    constant = [name for name, a, b in zip(names, low, high, strict=True) if a == b]
    if constant:
        raise ValueError(
            f"the training rows hold one value of {', '.join(constant)} only: there is nothing to scale by"
        )
    if scaling == "zscore":
        return values.mean(0).float(), values.std(0, correction=0).float()
    if output == "tanh":
        return ((low + high) / 2).float(), ((high - low) / 2).float()
    return low.float(), (high - low).float()


def ccc_loss(values: Tensor, target: Tensor) -> Tensor:
    """1 - mean concordance correlation (Lin 1989) over a batch (B, names); needs more than one clip to mean much."""
    dv, dt = values - values.mean(0), target - target.mean(0)
    covariance = (dv * dt).mean(0)
    spread = dv.square().mean(0) + dt.square().mean(0) + (values.mean(0) - target.mean(0)).square()
    return 1.0 - (2.0 * covariance / (spread + torch.finfo(spread.dtype).eps)).mean()
