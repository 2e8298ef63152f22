"""What the config of every task answers; a task says itself what differs from the defaults here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self, TypedDict

from torch import Tensor

from mien.interfaces import Clip, Encoder, Outputs, Task
from mien.modules.pixels import PixelsConfig


class LabelFacts(TypedDict, total=False):
    """What the protocol of a result says of the labels (``mien.evaluation.protocol``)."""

    labels: str
    classes: int


class TaskOptions(ABC):
    """The interface of a task's config, beside its fields ``name``, ``head`` and ``segments``."""

    outputs: ClassVar[Outputs]
    """What the task's outputs are."""

    def with_columns(self, clips: Sequence[Clip]) -> tuple[Self, list[str]]:
        """The config with the label columns of these rows, and sentences on what was guessed; columns that are named are
        never guessed."""
        return self, []

    @abstractmethod
    def names(self, clips: Sequence[Clip]) -> tuple[str, ...]:
        """Names of the outputs, for these training rows."""

    @abstractmethod
    def targets(self, clips: Sequence[Clip], names: Sequence[str]) -> Tensor:
        """The truth of each clip (N, ...), as ``Outputs.form`` says."""

    def training_targets(self, clips: Sequence[Clip], names: Sequence[str]) -> Tensor:
        """What training learns (N, ...)."""
        return self.targets(clips, names)

    @abstractmethod
    def build(
        self, encoder: Encoder, pixels: PixelsConfig, names: Sequence[str], targets: Tensor | None = None
    ) -> Task:
        """The task around an encoder; ``targets`` are those of the training rows, None where weights are loaded."""

    @abstractmethod
    def example(self, clips: Sequence[Clip] = ()) -> tuple[tuple[str, ...], Tensor]:
        """Names, those of training clips where there are any, and the target of one made-up clip, to measure what a step
        costs."""

    def with_names(self, names: Sequence[str]) -> Self:
        """The config with names that do not depend on the rows, so that all folds have the same."""
        return self

    def strata(self, clips: Sequence[Clip]) -> Sequence[int] | None:
        """A label per clip whose shares a split keeps about; None where there is nothing of the kind."""
        return None

    def label(self, names: Sequence[str]) -> str:
        """The column of a timeline with the name of the largest output; empty where outputs do not exclude one another."""
        return ""

    def protocol(self, names: Sequence[str]) -> LabelFacts:
        """What the protocol of a result says of the labels (``mien.evaluation.protocol``)."""
        return {}

    def needs_pixels(self) -> str:
        """Why a probe on frozen features cannot train this, and the way out; empty where it can."""
        return ""
