"""Learn from unlabelled face video: hide most of a clip and predict it from the rest (SVFAP).

mien pretrain svfap_pretrain --data.manifest clips.csv --output runs/pretrain

Run the same command again to go on after a kill. The run's folder holds the config, metrics.jsonl, pictures of
reconstructions, checkpoints and, at the end, the weights that finetune starts from (--init); seen.csv holds the hashes
of the clips, by which later commands notice that a test clip was among them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic.dataclasses import dataclass

from mien.config import STRICT
from mien.engine import distributed
from mien.engine.checkpoint import checkpoints
from mien.objectives import ObjectiveConfig
from mien.objectives.masked_autoencoding import MaskedAutoencodingConfig
from mien.training.fit import (
    card_of,
    claim_folder,
    fit,
    load_training_clips,
    open_folder,
    reconstruction_pictures,
)
from mien.training.initial_weights import initial_encoder, start_objective
from mien.training.outcome import TrainingRun
from mien.training.partition import remember
from mien.training.preflight import preflight
from mien.training.run_config import RunConfig
from mien.training.skipped_clips import unread_paths

FITS = "the recipe svfap_tiny or vjepa_tiny"
"""What trains on a small machine."""

OFTEN = (
    "output", "init", "data.manifest", "data.select", "data.skip_bad", "clip.size", "clip.frames", "clip.stride", "train.epochs", "train.steps", "train.batch", "train.accumulate", "train.precision", "train.device", "train.workers", "optim.lr",
)  # fmt: skip
"""Options that ``--help`` explains; ``--help-all`` has the others."""


@dataclass(frozen=True, config=STRICT)
class Config(RunConfig):
    """Options of ``mien pretrain``."""

    output: Path = Path("runs/pretrain")
    """Folder of the run."""
    init: str = ""
    """Go on from these weights, a run's folder or an import: all parts that fit the objective are taken, and the encoder's
    sizes, where none are given."""
    objective: ObjectiveConfig = MaskedAutoencodingConfig()


def run(config: Config) -> TrainingRun:
    """Pre-train and export."""
    output, train = config.output, config.train
    with distributed.session(train.device, train.matmul, train.parallel) as session:
        config = replace(config, encoder=initial_encoder(config.encoder, config.init, session.print))
        clips = load_training_clips(config, session)
        if not open_folder(config, clips, session):
            return TrainingRun(output)
        distributed.seed_step(train.seed)
        card = replace(card_of(config, clips), objective=config.objective)
        objective = config.objective.build(card.initial_encoder(), config.pixels)
        if not checkpoints(output):
            start_objective(objective, config.init, card, session.print)
        preflight(objective, config.clip, train, len(clips), session, fits=FITS)
        claim_folder(objective, config, clips, session)
        remember(output, clips, config.init, train.workers, session, unread_paths(output, clips, train.skip))
        draw = reconstruction_pictures(objective, clips, config.clip, train.seed, output, session)
        fit(objective, clips, config, card, session, draw=draw)
    return TrainingRun(output)
