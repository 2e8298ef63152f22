"""What fine-tuning does: its clips are divided and examined, it trains, and keeps the weights that do best."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from mien.engine.distributed import Session
from mien.engine.loop import TrainConfig
from mien.inference.analyzer import Analyzer
from mien.interfaces import Task
from mien.models.card import ModelCard
from mien.tasks import TaskConfig
from mien.training.fit import claim_folder, fit
from mien.training.partition import History, LabelledParts, Parts, SplitConfig, examine, guard, hash_shared
from mien.training.preflight import preflight
from mien.training.run_config import RunConfig
from mien.training.selection import LAST, TEST, VALIDATION, Choice, Evaluator, validation
from mien.video.leaks import Hashes

FITS = "the recipe svfap_finetune with tiny behind it"
"""What trains on a small machine."""


def refuse_probing(task: TaskConfig) -> None:
    """What only a probe over a frozen encoder does is refused: here it would change nothing, or evaluation alone."""
    if task.head.standardise:
        raise ValueError(
            "--task.head.standardise takes its means over the features of a frozen encoder, which fine-tuning changes: "
            "leave it out, or train a probe with mien probe --head.standardise"
        )
    if task.segments > 1:
        raise ValueError(
            f"--task.segments {task.segments}: fine-tuning reads one segment of a video at a time; leave it out, or train a "
            f"probe with mien probe --segments {task.segments}. Segments of test clips: --views.segments"
        )


def refuse_sharded(parts: Parts, split: SplitConfig, train: TrainConfig) -> None:
    """A sharded model cannot be scored while it trains."""
    if train.parallel == "fsdp" and (parts["validation"] or split.choose_on_test):
        raise ValueError(
            "choosing weights while training needs --train.parallel ddp; with fsdp take --split.holdout 0, which evaluates "
            "the last epoch alone"
        )


def examined(
    parts: Parts, init: str, group: str, leaks_allowed: bool, workers: int, unread: Collection[Path], session: Session
) -> tuple[History, Hashes]:
    """What the model will have learnt from, and the contents of the clips; leaks are refused here.

    Files ``unread`` are gone or broken since the run began.
    """
    if parts["validation"] or parts["test"]:
        session.print(", ".join(f"{len(part)} {name} clips" for name, part in parts.items()))
    hashes = hash_shared([clip for part in parts.values() for clip in part], workers, session, unread)
    history = examine(parts, init, group, hashes)
    guard(history, leaks_allowed, session.print)
    return history, hashes


def learn(
    task: Task, parts: LabelledParts, config: RunConfig, card: ModelCard, history: History, hashes: Hashes,
    evaluator: Evaluator,
) -> None:  # fmt: skip
    """Train on the training clips, keeping the weights that do best, and export the last ones."""
    session, split, clips = evaluator.session, evaluator.split, parts.clips["train"]
    preflight(task, config.clip, config.train, len(clips), session, FITS, parts.learnt[0])
    claim_folder(task, config, clips, session, parts.others)
    history = history.as_begun(config.output)
    if session.first:
        history.write(config.output)
    analyzer = Analyzer(task, card, session.device)

    def choice(kind: str, part: str, history: History) -> Choice:
        return Choice(kind, parts.clips[part], analyzer, evaluator, config.output, history)

    choices = [choice(VALIDATION, "validation", history)] if parts.clips["validation"] else []
    if split.choose_on_test:
        test = history.adding("choice on test", parts.clips["test"], hashes)
        choices.append(choice(TEST, "test", test))
    every, steps = split.every or -(-len(clips) // config.train.batch), config.train.total(len(clips))
    fit(
        task, clips, config, replace(card, selection=LAST, step=steps), session, parts.learnt,
        validate=validation(choices, every, steps) if choices else None,
    )  # fmt: skip
