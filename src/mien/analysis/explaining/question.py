"""What is asked of a model: how much evidence it sees in a window of a video for one of its outputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from mien.analysis.analyzer import Analyzer
from mien.analysis.explaining.occlusion import Score
from mien.interfaces import Task
from mien.tasks.classification import ClassificationConfig

Unit = Literal["evidence", "answer"]
"""``evidence``: log-odds of a class, in nats, which do not saturate where the model is sure. ``answer``: its probability.
Both are the value itself where the output is a value."""


@dataclass(frozen=True)
class Question:
    """One output of a task over windows of a video; a head that joins a window's segments sees the others as they are."""

    task: Task
    windows: Tensor
    """The clips of all windows (S, 3, T, H, W), uint8; of a head that joins segments, one window after the other."""
    output: int
    """Number of the output."""
    classes: bool
    """Whether outputs are probabilities."""
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
        if not self.classes or unit == "answer":
            return self.task.answer(raw)[:, self.output].cpu()
        logits = raw.double()
        rest = torch.cat([logits[:, : self.output], logits[:, self.output + 1 :]], dim=1)
        return (logits[:, self.output] - rest.logsumexp(dim=1)).cpu()


def ask(analyzer: Analyzer, windows: Tensor, target: str = "") -> Question:
    """The question about ``target``, or about the model's own answer where it is empty: its likeliest class.

    Of a model of values the first is taken. A name that the model does not have raises ``ValueError``.
    """
    names, classes = analyzer.names, isinstance(analyzer.config, ClassificationConfig)
    refuse_unknown(analyzer, target)
    question = Question(analyzer.task, windows, 0, classes, analyzer.device)
    output = names.index(target) if target else int(answers(question).mean(dim=0).argmax()) if classes else 0
    return replace(question, output=output)


def refuse_unknown(analyzer: Analyzer, target: str) -> None:
    """A name that the model does not have is an error; an empty one asks for the model's own answer."""
    if target and target not in analyzer.names:
        raise ValueError(f"--target {target}: this model's outputs are {', '.join(analyzer.names)}")


@torch.inference_mode()
def answers(question: Question) -> Tensor:
    """Outputs of the whole windows (windows, names)."""
    tokens = torch.cat([question.tokens(window[None]) for window in question.windows])
    joint = tokens.unflatten(0, (-1, question.task.segments)).flatten(1, 2)
    return question.task.answer(question.task.head(joint)).cpu()
