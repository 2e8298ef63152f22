"""Adapt an encoder to labels: expressions, valence and arousal, personality; any column of a manifest.

mien finetune svfap_finetune --init runs/pretrain --data.manifest clips.csv --split.test 'fold=1' \\
    --output runs/finetune

Without --init the encoder starts from scratch. Run the same command again to go on after a kill. With --split.test,
one person in five is taken out of training for validation; at the end the weights of the last epoch and those that did
best on validation are both evaluated on the test rows. What training and test share (clips, contents, people, also of the
pre-training) is refused before training.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic.dataclasses import dataclass

from mien.config import STRICT
from mien.engine import distributed
from mien.tasks import TaskConfig
from mien.tasks.classification import ClassificationConfig
from mien.training.data import located
from mien.training.fine_tuning import examined, learn, refuse_probing, refuse_sharded
from mien.training.fit import card_of, load_training_clips, open_folder
from mien.training.initial_weights import initial_encoder, start_encoder
from mien.training.outcome import TrainingRun
from mien.training.partition import LabelledParts, SplitConfig, divide
from mien.training.run_config import RunConfig
from mien.training.selection import RESULTS, Evaluator, evaluate_all
from mien.training.skipped_clips import unread_paths
from mien.video.transforms import AugmentConfig
from mien.video.views import ViewConfig

OFTEN = (
    "output", "init", "data.manifest", "data.select", "split.test", "split.holdout", "task.column", "task.columns", "clip.size", "clip.stride", "train.epochs", "train.batch", "train.accumulate", "train.precision", "train.device", "train.workers", "optim.lr",
)  # fmt: skip
"""Options that ``--help`` explains; ``--help-all`` has the others."""


@dataclass(frozen=True, config=STRICT)
class Config(RunConfig):
    """Options of ``mien finetune``."""

    output: Path = Path("runs/finetune")
    """Folder of the run."""
    init: str = ""
    """Start the encoder from these weights, a run's folder or an import, at their sizes where none are given; empty starts
    from scratch."""
    split: SplitConfig = SplitConfig()
    leaks_allowed: bool = False
    """Train although training, validation, test or pre-training share clips, contents or people; every report says so."""
    augment: AugmentConfig = AugmentConfig.finetune()
    task: TaskConfig = ClassificationConfig()
    views: ViewConfig = ViewConfig()
    """Views of validation and test clips."""


def run(config: Config) -> TrainingRun:
    """Fine-tune, export, and evaluate what was chosen."""
    refuse_probing(config.task)
    init, output, split, train = config.init, config.output, config.split, config.train
    with distributed.session(train.device, train.matmul, train.parallel) as session:
        config = replace(config, encoder=initial_encoder(config.encoder, init, session.print))
        clips = load_training_clips(config, session)
        config = replace(config, task=located(config.task, clips, session.print))
        divided = divide(clips, split, config.task, train.seed)
        refuse_sharded(divided, split, train)
        unread = unread_paths(output, clips, train.skip)
        history, hashes = examined(divided, init, split.group, config.leaks_allowed, train.workers, unread, session)
        parts = LabelledParts.of(divided, config.task)
        evaluator = Evaluator(split, config.views, train.workers, session, config.data)
        if open_folder(config, divided["train"], session, parts.others):
            distributed.seed_step(train.seed)
            leaks = tuple(map(str, history.leaks))
            card = replace(card_of(config, divided["train"]), task=config.task, names=parts.names, leaks=leaks)
            encoder = card.initial_encoder()
            start_encoder(encoder, init, card, session.print)
            task = config.task.build(encoder, config.pixels, parts.names, parts.targets["train"])
            learn(task, parts, config, card, history, hashes, evaluator)
        if parts.others and not (output / RESULTS).is_file():
            evaluate_all(output, divided, evaluator)
    return TrainingRun(output)
