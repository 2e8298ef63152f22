"""The nouns of mien: Clip, Encoder, Objective, Task, Outputs. Read this first.

Three seams carry everything. An ``Encoder`` turns video into one token per visible patch; an ``Objective`` turns a batch
into a loss and scalars to log; a ``Task`` is an objective with labels, which declares as data, in ``Outputs``, all that
evaluation, calibration, tables and figures depend on. The training loop knows objectives alone, and nothing outside
``mien.tasks`` asks which task it has, so a new encoder, a new way of learning or a new kind of labels is one new file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from numpy.typing import ArrayLike
from torch import Tensor, nn

Batch = Mapping[str, Any]
"""What a loader yields: ``video`` uint8 (B, 3, T, H, W), ``index`` int64 (B,) into the manifest, ``key`` int64 (B,), a
number in [0, 2^32) that follows from (seed, epoch, index) and from which masks may follow, and, for tasks, ``target``."""


@dataclass(frozen=True)
class Clip:
    """One row of a manifest: a stretch of one video (or of a folder of frames) and what is known about it."""

    path: Path
    start: float | None = None
    """Seconds from which frames count (included); None is the beginning."""
    end: float | None = None
    """Seconds up to which frames count (excluded); None is the end."""
    columns: Mapping[str, str | float | None] = field(default_factory=dict)
    """All other columns of the row by name: labels, subject, split, fold, anything."""
    row: int = 0
    """Line in the manifest file, as an editor shows it (the first clip is on line 2)."""
    rate: float | None = None
    """Frames per second on average, where the video has been looked at; not part of the manifest."""


class Encoder(nn.Module, ABC):
    """Video -> one token per visible patch, in the order time, row, column.

    All that other rooms want to know of an encoder is declared here, so that none of them asks which one it has;
    ``tests/test_contract.py`` takes every encoder through every use of one.
    """

    grid: tuple[int, int, int]
    """Patches of a clip: (time, rows, columns)."""
    patch: tuple[int, int, int]
    """Size of one patch in the input: (frames, height, width)."""
    dim: int
    """Width of a token."""
    heads: int
    """Attention heads of a block; a predictor on top has as many by default."""
    patch_embed: nn.Module
    """Video -> embedded patches (B, N, dim), before anything mixes them; part of what calibration measures of a clip."""
    blocks: Iterable[nn.Module]
    """What repeats, in order: the parts that are sharded one by one."""
    any_visible: bool
    """Whether any set of patches may be visible; if False, only sets of tubes (the same sites at every time)."""
    normed: bool = False
    """Whether tokens come out of a final norm; if not, what stands on top brings its own."""
    eps: float = 1e-6
    """What the norms inside, and one over tokens that stands on top, add to the variance."""

    @property
    def feature_dim(self) -> int:
        """Width of what ``features`` gives: that of a token, or of several levels of it side by side."""
        return self.dim

    @abstractmethod
    def forward(self, video: Tensor, visible: Tensor | None = None) -> Tensor:
        """Normalised video (B, 3, T, H, W), visible patch indices (B, N) in rising order -> tokens (B, N, dim).

        Without ``visible`` all patches are seen. Patches that are not visible have no influence on the result.
        """

    @abstractmethod
    def features(self, video: Tensor) -> Tensor:
        """Normalised video (B, 3, T, H, W) -> the tokens (B, M, feature_dim) that a head pools."""

    @abstractmethod
    def layer_of(self, parameter: str) -> int:
        """Depth of a named parameter for layer-wise learning rates: 0 is the patch embedding, ``layers`` the top."""

    def attention(self, video: Tensor) -> Tensor | None:
        """Normalised video (V, 3, T, H, W) -> how much each patch is attended to (V, time, rows, columns).

        In units of an even share: the mean over rows and columns is 1. None where an encoder has no such maps.
        """
        return None

    own_statistics: int = 0
    """Number of the statistics of a clip that ``measure`` gives in place of those of calibration; 0: it gives none."""

    def measure(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Video as ``features`` takes it -> its tokens (V, M, dim) and statistics (V, ``own_statistics``)."""
        raise NotImplementedError(f"{type(self).__name__} has no statistics of its own")

    layers: int
    """Depth of the whole: one more than the deepest ``layer_of`` inside; what stands on top of the encoder is there."""


class Head(nn.Module, ABC):
    """Tokens of an encoder -> outputs of a task."""

    blocks: Iterable[nn.Module]
    """What repeats, in order, as of an encoder."""

    @abstractmethod
    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, feature_dim of the encoder) -> (B, outputs)."""

    @abstractmethod
    def pool(self, tokens: Tensor) -> Tensor:
        """Tokens as in ``forward`` -> the clip's one feature vector (B, feature_dim)."""


class Objective(nn.Module, ABC):
    """A batch in, ``{"loss": scalar, ...more scalars to log}`` out."""

    encoder: Encoder

    @property
    def blocks(self) -> list[nn.Module]:
        """What repeats in all networks of the objective: the parts that are sharded one by one."""
        return [*self.encoder.blocks]

    mean_over_clips: bool = True
    """Whether the loss is a mean of one loss per clip, so that the gradients of parts of a batch add up to that of the
    whole; if not, a batch must not be split over micro-steps or ranks."""

    least_clips: int = 1
    """Clips of a micro-step without which the loss is not what was asked for: 2 where clips are blended with one another."""

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]: ...

    def draw(self, batch: Batch) -> Batch:
        """The batch with all that chance decides about it, such as masks and mixing; ``forward`` of it draws nothing.

        Training calls it before a step, outside of what is compiled, so that compiled and eager runs see the same.
        ``forward`` of a batch that was not drawn for draws first.
        """
        return batch

    def after_step(self, progress: float) -> None:
        """Called after each optimizer step with the share of the schedule done before it, so that a teacher follows."""

    def picture(self, batch: Batch) -> dict[str, Tensor]:
        """Clips (B, 3, T, H, W) in [0, 1] by name, for a person to look at; none by default."""
        return {}

    def alarms(self, scalars: Mapping[str, float]) -> list[str]:
        """What a person should be told about logged values, each with its name first; nothing by default."""
        return []


@dataclass(frozen=True)
class Outputs:
    """What the outputs of a task are, as data: all that depends on whether they are classes, values, or yes and no."""

    kind: str
    """Name of the task, which stands in every file that speaks of its outputs."""
    noun: str
    nouns: str
    """What a name among the outputs is, and several of them: class, classes."""
    form: Literal["classes", "values", "labels"]
    """How truth and predictions look and are measured (``mien.statistics.predictions``)."""
    metrics: tuple[str, ...]
    """Metrics over all names."""
    headline: str
    """The metric that weights are chosen by."""
    shown: tuple[str, ...]
    """Metrics of short tables."""
    by_name: tuple[str, ...]
    """Metrics that each name has, the one of radar plots first."""
    published: tuple[str, ...]
    """Metrics beside published results: the first two always, others where a published result has them."""
    ranking: tuple[str, ...]
    """Published results are sorted by the first of these that they have."""
    percent: bool
    """Whether papers print the metrics in percent."""
    calibration: Literal["temperature", "intervals", "logistic"]
    """The calibration map (``mien.calibration.maps``)."""
    figure: Literal["confusion", "scatter", "labels"]
    """The figure of an evaluation (``mien.reports.figures``)."""
    curve: Literal["stacked", "lines", "rows"]
    """How outputs are drawn over time."""
    linear: Literal["softmax", "ridge", "logistic"]
    """The linear model on raw pixels that a probe has to beat (``mien.features.baselines``)."""
    bounds: tuple[float, float] | None = None
    """Between what every output lies: (0, 1) for probabilities; None for values."""
    exclusive: bool = False
    """Whether exactly one name is true of a clip, so that probabilities sum to 1 and the largest is the answer."""
    evidence: str = ""
    """Unit of ``Task.evidence``; empty where it is the unit of the output."""
    direction: Literal[1, -1] = 1
    """1 where a larger headline is better, -1 where a smaller one is."""

    def gain(self, scores: Mapping[str, float]) -> float:
        """The headline of an evaluation such that larger is better; ``ValueError`` where it could not be measured."""
        value = scores[self.headline]
        if value != value:
            raise ValueError(
                f"{self.headline} cannot be measured on these clips, so nothing can be chosen on them: their {self.nouns} "
                "do not vary; take more or other clips"
            )
        return self.direction * value


class Task(Objective):
    """An objective with labels, which can also predict and be evaluated: pixels -> encoder -> head -> answer."""

    outputs: Outputs
    pixels: nn.Module
    head: Head
    names: tuple[str, ...]
    """Names of the outputs, in order."""
    segments: int
    """Segments of a video that the head sees at once; with 1 it reads each alone and the answers are averaged."""

    @property
    def blocks(self) -> list[nn.Module]:
        return [*self.encoder.blocks, *self.head.blocks]

    def predict(self, batch: Batch) -> Tensor:
        """Batch of B clips -> outputs (B, names): probabilities, or values in the targets' units."""
        return self.postprocess(self.head(self.encoder.features(self.pixels(batch["video"]))))

    @abstractmethod
    def losses(self, raw: Tensor, target: Tensor) -> dict[str, Tensor]:
        """What the head gives (B, names) and targets -> ``loss`` and scalars to log."""

    @abstractmethod
    def postprocess(self, raw: Tensor) -> Tensor:
        """What the head gives (B, names) -> outputs (B, names)."""

    def evidence(self, raw: Tensor) -> Tensor:
        """What the head gives (B, names) -> what speaks for each output (B, names), without saturating where the model is
        sure: log-odds in nats; the outputs themselves where they are values."""
        return self.postprocess(raw)

    @abstractmethod
    def score(self, predictions: ArrayLike, targets: ArrayLike) -> dict[str, float]:
        """All predictions and all targets of an evaluation -> its metrics by name."""
