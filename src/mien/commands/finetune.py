"""Adapt an encoder to labels: expressions, valence and arousal, personality; any column of a manifest.

mien finetune svfap_finetune --init runs/pretrain --data.manifest clips.csv --split.test 'fold=1' \\
    --output runs/finetune

Without --init the encoder starts from scratch. Run the same command again to go on after a kill. With --split.test,
one person in five is taken out of training for validation; at the end the weights of the last epoch and those that did
best on validation are both marked on the test rows. What training and test share (clips, contents, people, also of the
pre-training) is refused before training.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from mien.config import STRICT
from mien.encoders import EncoderConfig
from mien.encoders.tpsbt import TPSBTConfig
from mien.engine import distributed
from mien.engine.distributed import Session
from mien.engine.loop import TrainConfig
from mien.engine.optim import OptimConfig
from mien.inference.analyzer import Analyzer
from mien.interfaces import Clip, Task
from mien.models.card import ModelCard
from mien.modules.pixels import PixelsConfig
from mien.tasks import TaskConfig
from mien.tasks.classification import ClassificationConfig
from mien.training.fit import (
    ClipConfig,
    TrainingDataConfig,
    card_of,
    claim_folder,
    fit,
    load_training_clips,
    located,
    open_folder,
)
from mien.training.initial_weights import start_encoder, with_encoder_of
from mien.training.outcome import TrainingRun
from mien.training.partition import History, Parts, SplitConfig, divide, examine, guard, hash_shared
from mien.training.preflight import preflight
from mien.training.selection import LAST, RESULTS, TEST, VALIDATION, Choice, Marking, mark_all, watch
from mien.training.skipped_clips import unread_paths
from mien.video.container import FrameLimit
from mien.video.leaks import Hashes
from mien.video.transforms import AugmentConfig
from mien.video.views import ViewConfig

FITS = "the recipe svfap_finetune with tiny behind it"
"""What trains on a small machine."""

OFTEN = (
    "output", "init", "data.manifest", "data.select", "split.test", "split.holdout", "task.column", "task.columns", "clip.size", "clip.stride", "train.epochs", "train.batch", "train.accumulate", "train.precision", "train.device", "train.workers", "optim.lr",
)  # fmt: skip
"""Options that ``--help`` explains; ``--help-all`` has the others."""


@dataclass(frozen=True, config=STRICT)
class Config(FrameLimit):
    """Options of ``mien finetune``."""

    output: Path = Path("runs/finetune")
    """Folder of the run."""
    init: str = ""
    """Start the encoder from these weights, a run's folder or an import, at their sizes where none are given; empty starts
    from scratch."""
    data: TrainingDataConfig = TrainingDataConfig()
    split: SplitConfig = SplitConfig()
    leaks_allowed: bool = False
    """Train although training, validation, test or pre-training share clips, contents or people; every report says so."""
    clip: ClipConfig = ClipConfig()
    augment: AugmentConfig = AugmentConfig.finetune()
    pixels: PixelsConfig = PixelsConfig()
    encoder: EncoderConfig = TPSBTConfig()
    task: TaskConfig = ClassificationConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    views: ViewConfig = ViewConfig()
    """Views of validation and test clips."""


def run(config: Config) -> TrainingRun:
    """Fine-tune, export, and mark what was chosen."""
    refuse_probing(config.task)
    with distributed.session(config.train.device, config.train.matmul, config.train.parallel) as session:
        config = with_encoder_of(config, session.print)
        clips = load_training_clips(config, session)
        config = replace(config, task=located(config.task, clips, session.print))
        parts, hashes, history = look(config, clips, session)
        names = config.task.names(parts["train"])
        targets = {part: config.task.targets(clips, names) for part, clips in parts.items()}
        marking = Marking(config.split, config.views, config.train.workers, session, config.data)
        others = [*parts["validation"], *parts["test"]]
        if open_folder(config, parts["train"], session, others):
            distributed.seed_step(config.train.seed)
            encoder = config.encoder.build(config.clip.frames, config.clip.size)
            start_encoder(encoder, config.init, config, session.print)
            task = config.task.build(encoder, config.pixels, names, targets["train"])
            learn(task, parts, names, history, hashes, config, marking)
        if others and not (config.output / RESULTS).is_file():
            mark_all(config.output, parts, marking)
    return TrainingRun(config.output)


def refuse_probing(task: TaskConfig) -> None:
    """What only a probe over a frozen encoder does is refused: here it would change nothing, or marking alone."""
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


def look(config: Config, clips: list[Clip], session: Session) -> tuple[Parts, Hashes, History]:
    """The clips of each part, their contents, and what the model will have learnt from; leaks are refused here."""
    parts = divide(clips, config.split, config.task, config.train.seed)
    if parts["validation"] or parts["test"]:
        session.print(", ".join(f"{len(part)} {name} clips" for name, part in parts.items()))
    refuse_sharded(parts, config)
    unread = unread_paths(config.output, clips, config.train.skip)
    hashes = hash_shared([clip for part in parts.values() for clip in part], config.train.workers, session, unread)
    history = examine(parts, config.init, config.split.group, hashes)
    guard(history, config.leaks_allowed, session.print)
    return parts, hashes, history


def refuse_sharded(parts: Parts, config: Config) -> None:
    """A sharded model cannot be scored while it trains."""
    if config.train.parallel == "fsdp" and (parts["validation"] or config.split.choose_on_test):
        raise ValueError(
            "choosing weights while training needs --train.parallel ddp; with fsdp take --split.holdout 0, which marks the "
            "last epoch alone"
        )


def learn(
    task: Task,
    parts: Parts,
    names: tuple[str, ...],
    history: History,
    hashes: Hashes,
    config: Config,
    marking: Marking,
) -> None:
    """Train on the training clips, keeping the weights that do best, and export the last ones."""
    session: Session = marking.session
    learnt = config.task.training_targets(parts["train"], names)
    preflight(task, config, len(parts["train"]), session, FITS, learnt[0])
    claim_folder(task, config, parts["train"], session, [*parts["validation"], *parts["test"]])
    leaks, history = tuple(map(str, history.leaks)), history.as_begun(config.output)
    if session.first:
        history.write(config.output)

    def card(**more: Any) -> ModelCard:
        return card_of(config, parts["train"], names=names, leaks=leaks, **more)

    analyzer = Analyzer(task, card(), session.device)

    def choice(kind: str, part: str, history: History) -> Choice:
        folder = config.output / kind.replace(" ", "-")
        return Choice(kind, parts[part], analyzer, marking, folder, card, history)

    choices = [choice(VALIDATION, "validation", history)] if parts["validation"] else []
    if config.split.choose_on_test:
        choices.append(choice(TEST, "test", history.adding("choice on test", parts["test"], hashes)))
    every = config.split.every or -(-len(parts["train"]) // config.train.batch)
    steps = config.train.total(len(parts["train"]))
    fit(
        task, parts["train"], config, session,
        targets=learnt,
        card=lambda: card(selection=LAST, step=steps),
        watch=watch(choices, every, steps) if choices else None,
    )  # fmt: skip
