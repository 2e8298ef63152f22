"""Weights chosen while a task trains, and the evaluation of every choice: last epoch, best on validation, best on test.

RUN/                            the last epoch
RUN/best-on-validation/         the weights that did best on the validation rows
RUN/best-on-test/               only with --split.choose_on_test, and named so wherever they are reported
RUN/results.json                the metrics of each of them
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.engine import checkpoint
from mien.engine.distributed import Session, barrier
from mien.engine.loop import Validate
from mien.evaluation.clip_groups import mean_by_column
from mien.inference.analyzer import Analyzer, load
from mien.interfaces import Clip
from mien.models.card import ModelCard, Selection
from mien.reports import evaluation_report
from mien.training.data import DataConfig
from mien.training.partition import History, Parts, SplitConfig
from mien.training.scoring import origin, score
from mien.training.skipped_clips import with_skips
from mien.video.views import ViewConfig

LAST, VALIDATION, TEST = "last epoch", "best on validation", "best on test"
RESULTS = "results.json"

Row = dict[str, object]
"""What results.json says of one choice."""


@dataclass(frozen=True)
class Evaluator:
    """How clips are scored for a choice of weights or an evaluation."""

    split: SplitConfig
    views: ViewConfig
    workers: int
    session: Session
    data: DataConfig
    """What the reports name as their clips."""

    def predictions(self, analyzer: Analyzer, clips: Sequence[Clip]) -> tuple[list[Clip], NDArray, NDArray]:
        """Clips, predictions and targets on every rank, grouped if asked; each rank reads its share of the clips."""
        targets = analyzer.config.targets(clips, analyzer.names).numpy()
        predictions = score(analyzer, clips, self.views, self.workers, self.session).mean
        if self.split.group_by:
            return mean_by_column(clips, predictions, targets, self.split.group_by)
        return list(clips), predictions, targets

    def score(self, analyzer: Analyzer, clips: Sequence[Clip]) -> tuple[str, float]:
        """The metric that weights are chosen by, and its value."""
        _, predictions, targets = self.predictions(analyzer, clips)
        task = analyzer.outputs
        return task.headline, task.gain(analyzer.task.score(predictions, targets)) * task.direction


class Choice:
    """Scores clips while a task trains and keeps the weights that did best on them in a folder.

    What is best so far is read from the folder, so a run that was killed goes on as if it had not been.
    """

    def __init__(
        self, kind: str, clips: Sequence[Clip], analyzer: Analyzer, evaluator: Evaluator, run: Path, history: History
    ) -> None:
        self.kind, self.clips, self.analyzer, self.evaluator = kind, clips, analyzer, evaluator
        self.run, self.folder, self.history = run, run / kind.replace(" ", "-"), history

    @property
    def best(self) -> float:
        """The gain of the best score so far."""
        chosen = ModelCard.load(self.folder).chosen if (self.folder / checkpoint.CARD).is_file() else None
        return chosen.score * self.analyzer.outputs.direction if chosen else -np.inf

    def validate(self, step: int) -> dict[str, float]:
        """Score the weights after ``step`` steps, keep them if none were better; returns the score to log."""
        self.analyzer.task.eval()
        metric, score = self.evaluator.score(self.analyzer, self.clips)
        self.analyzer.task.train()
        if self.evaluator.session.first and score * self.analyzer.outputs.direction > self.best:
            self.history.write(self.folder)
            card = replace(self.analyzer.card, selection=self.kind, chosen=Selection(metric, score, step))
            with_skips(card, self.run).save(self.folder, self.analyzer.task)
        return {f"{self.kind.removeprefix('best on ')}_{metric}": score}


def validation(choices: Sequence[Choice], every: int, steps: int) -> Validate:
    """What the training loop calls after each step: every choice is scored every ``every`` steps and at the end."""

    def validate(step: int) -> dict[str, float]:
        if step % every and step != steps:
            return {}
        return {name: value for choice in choices for name, value in choice.validate(step).items()}

    return validate


def evaluate_all(run: Path, parts: Parts, evaluator: Evaluator) -> list[Row]:
    """Evaluate the last epoch and every choice of a finished run on its test clips; prints and saves the table."""
    barrier()  # until all weights are written
    rows = [evaluate(kind, folder, parts, evaluator) for kind, folder in folders(run).items()]
    if evaluator.session.first:
        checkpoint.write_whole(run / RESULTS, lambda path: path.write_text(json.dumps(rows, indent=2) + "\n"))
        print(table(rows))
    return rows


def folders(run: Path) -> dict[str, Path]:
    """Where the weights of each choice lie."""
    every = {LAST: run, **{kind: run / kind.replace(" ", "-") for kind in (VALIDATION, TEST)}}
    return {kind: folder for kind, folder in every.items() if (folder / checkpoint.CARD).is_file()}


def evaluate(kind: str, folder: Path, parts: Parts, evaluator: Evaluator) -> Row:
    """One choice: its step, its score on validation, its metrics on test."""
    analyzer = load(folder, str(evaluator.session.device))
    card = analyzer.card
    step = card.chosen.step if card.chosen else card.step
    row: Row = {"weights": kind, "step": step, **card.provenance()}
    if parts["validation"]:
        metric, score = evaluator.score(analyzer, parts["validation"])
        row[f"validation {metric}"] = score
    if not parts["test"]:
        return row
    clips, predictions, targets = evaluator.predictions(analyzer, parts["test"])
    if not evaluator.session.first:
        return row
    print(f"{kind}, evaluated on the test clips:")
    into, notes = folder / "evaluation", card.provenance()
    notes |= origin(folder, evaluator.data, parts["test"], evaluator.split.test)
    evaluation_report.clear(into)
    evaluation = evaluation_report.report(
        analyzer.outputs, clips, predictions, targets, analyzer.names, into, notes=notes
    )
    return row | {f"test {name}": value for name, value in evaluation.scores.items()}


def table(rows: Sequence[Row]) -> str:
    """The choices side by side; a star behind each number that a choice on the test clips or a leak touches."""
    names = [n for n in dict.fromkeys(k for row in rows for k in row) if n.startswith(("validation ", "test "))]
    names = [name for name in names if "." not in name]
    widths = [max(18, len(name) + 2) for name in names]
    lines = [f"{'weights':<20}{'step':>8}" + "".join(f"{n:>{w}}" for n, w in zip(names, widths, strict=True))]
    for row in rows:
        touched = "*" if row.get("leaks") or row.get("selection") == TEST else " "
        cells = [f"{row[name]:.4f}{touched}" if name in row else "" for name in names]
        lines.append(
            f"{row['weights']:<20}{row['step']:>8}" + "".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True))
        )
    if any(row.get("selection") == TEST for row in rows):
        lines.append("* chosen on the test clips: the best of many numbers, not a test")
    if any(row.get("leaks") for row in rows):
        lines.append("* training and test share clips or people (--leaks-allowed): not a test")
    return "\n".join(lines)
