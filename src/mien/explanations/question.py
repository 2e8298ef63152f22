"""What is asked of a model: how much evidence it sees in a window of a video for one of its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from mien.explanations.occlusion import Score
from mien.inference.analyzer import Analyzer
from mien.interfaces import Task

Unit = Literal["evidence", "answer"]
"""``evidence``: ``Task.evidence``, such as the log-odds of a class. ``answer``: its probability. Both are the value itself
where the output is a value."""


@dataclass(frozen=True)
class Question:
    """One output of a task over windows of a video; a head that joins a window's segments sees the others as they are."""

    task: Task
    windows: Tensor
    """The clips of all windows (S, 3, T, H, W), uint8; of a head that joins segments, one window after the other."""
    output: int
    """Number of the output."""
    device: torch.device

    def of(self, task: Task) -> Question:
        """The same question to another copy of the model."""
        return replace(self, task=task)

    def score(self, window: int, unit: Unit) -> Score:
        """Score of clips that stand in for one window, or for one segment of one."""
        joined = self.task.segments
        place, first = window % joined, window - window % joined
        others = [self.tokens(w[None]) for w in self.windows[first : first + joined]] if joined > 1 else []

        @torch.inference_mode()
        def ask(clips: Tensor) -> Tensor:
            tokens = self.tokens(clips)
            if others:
                whole = [one.expand(len(clips), -1, -1) for one in others]
                tokens = torch.cat([*whole[:place], tokens, *whole[place + 1 :]], dim=1)
            return self.in_unit(self.task.head(tokens), unit)

        return ask

    @torch.inference_mode()
    def tokens(self, clips: Tensor) -> Tensor:
        """Clips (V, 3, T, H, W), uint8 -> tokens (V, N, dim)."""
        return self.task.encoder.features(self.task.pixels(clips.to(self.device)))

    def in_unit(self, raw: Tensor, unit: Unit) -> Tensor:
        """What the head gives (V, names) -> score (V,) on the CPU."""
        scored = self.task.postprocess(raw) if unit == "answer" else self.task.evidence(raw)
        return scored[:, self.output].cpu()


def question_about(analyzer: Analyzer, windows: Tensor, target: str = "") -> Question:
    """The question about ``target``, or about the model's own answer where it is empty: its likeliest class or label.

    Of a model of values the first is taken. A name that the model does not have raises ``ValueError``.
    """
    require_known_target(analyzer, target)
    question = Question(analyzer.task, windows, 0, analyzer.device)
    if not target:
        target = top_output(
            analyzer, dict(zip(analyzer.names, window_outputs(question).mean(dim=0).tolist(), strict=True))
        )
    return replace(question, output=analyzer.names.index(target))


def top_output(analyzer: Analyzer, means: Mapping[str, float]) -> str:
    """The output that a model would name first, of means by name: the largest probability; of values the first."""
    return max(analyzer.names, key=lambda name: means[name]) if analyzer.outputs.bounds else analyzer.names[0]


def require_known_target(analyzer: Analyzer, target: str) -> None:
    """A name that the model does not have is an error; an empty one asks for the model's own answer."""
    if target and target not in analyzer.names:
        raise ValueError(f"--target {target}: this model's outputs are {', '.join(analyzer.names)}")


@torch.inference_mode()
def window_outputs(question: Question) -> Tensor:
    """Outputs of the whole windows (windows, names)."""
    tokens = torch.cat([question.tokens(window[None]) for window in question.windows])
    joint = tokens.unflatten(0, (-1, question.task.segments)).flatten(1, 2)
    return question.task.postprocess(question.task.head(joint)).cpu()
