"""Learn from unlabelled face video: hide most of a clip and predict it from the rest (SVFAP).

mien pretrain svfap_pretrain --data.manifest clips.csv --output runs/pretrain

Run the same command again to go on after a kill. The run's folder holds the config, metrics.jsonl, pictures of
reconstructions, checkpoints and, at the end, the weights that finetune starts from (--init); seen.csv holds the hashes
of the clips, by which later commands notice that a test clip was among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic.dataclasses import dataclass
from torch.utils.data import default_collate

from mien.config import STRICT
from mien.encoders import EncoderConfig
from mien.encoders.tpsbt import TPSBTConfig
from mien.engine import distributed
from mien.engine.checkpoint import checkpoints
from mien.engine.distributed import Session
from mien.engine.loop import TrainConfig
from mien.engine.optim import OptimConfig
from mien.interfaces import Clip, Objective
from mien.modules.pixels import PixelsConfig
from mien.objectives import ObjectiveConfig
from mien.objectives.masked_autoencoding import MaskedAutoencodingConfig
from mien.reports.plots import reconstruction_grid, save_png
from mien.training.fit import ClipConfig, TrainingDataConfig, claim_folder, fit, load_training_clips, open_folder
from mien.training.initial_weights import start_objective, with_encoder_of
from mien.training.outcome import TrainingRun
from mien.training.partition import remember
from mien.training.preflight import preflight
from mien.training.skipped_clips import read_skips, unread_paths
from mien.video.clips import ClipDataset
from mien.video.container import FrameLimit
from mien.video.decode import VideoError
from mien.video.transforms import AugmentConfig

FITS = "the recipe svfap_tiny or vjepa_tiny"
"""What trains on a small machine."""

OFTEN = (
    "output", "init", "data.manifest", "data.select", "data.skip_bad", "clip.size", "clip.frames", "clip.stride", "train.epochs", "train.steps", "train.batch", "train.accumulate", "train.precision", "train.device", "train.workers", "optim.lr",
)  # fmt: skip
"""Options that ``--help`` explains; ``--help-all`` has the others."""


@dataclass(frozen=True, config=STRICT)
class Config(FrameLimit):
    """Options of ``mien pretrain``."""

    output: Path = Path("runs/pretrain")
    """Folder of the run."""
    init: str = ""
    """Go on from these weights, a run's folder or an import: all parts that fit the objective are taken, and the encoder's
    sizes, where none are given."""
    data: TrainingDataConfig = TrainingDataConfig()
    clip: ClipConfig = ClipConfig()
    augment: AugmentConfig = AugmentConfig()
    pixels: PixelsConfig = PixelsConfig()
    encoder: EncoderConfig = TPSBTConfig()
    objective: ObjectiveConfig = MaskedAutoencodingConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()


def run(config: Config) -> TrainingRun:
    """Pre-train and export."""
    with distributed.session(config.train.device, config.train.matmul, config.train.parallel) as session:
        config = with_encoder_of(config, session.print)
        clips = load_training_clips(config, session)
        if not open_folder(config, clips, session):
            return TrainingRun(config.output)
        distributed.seed_step(config.train.seed)
        encoder = config.encoder.build(config.clip.frames, config.clip.size)
        objective = config.objective.build(encoder, config.pixels)
        if not checkpoints(config.output):
            start_objective(objective, config.init, config, session.print)
        preflight(objective, config, len(clips), session, fits=FITS)
        claim_folder(objective, config, clips, session)
        unread = unread_paths(config.output, clips, config.train.skip)
        remember(config.output, clips, config.init, config.train.workers, session, unread)
        fit(objective, clips, config, session, draw=lambda step: draw(objective, clips, config, session, step))
    return TrainingRun(config.output)


def draw(
    objective: Objective, clips: Sequence[Clip], config: Config, session: Session, step: int, count: int = 4
) -> None:
    """Picture of the first clips that the run reads: original, what the encoder sees, and what comes of it.

    Every rank takes part, for weights may be spread over them; the first one saves. A clip that cannot be read costs the
    picture and not the run.
    """
    skipped = {skip.index for skip in read_skips(config.output)}
    shown = [clip for i, clip in enumerate(clips) if i not in skipped][:count]
    dataset = ClipDataset(shown, config.clip, AugmentConfig.none(), config.train.seed)
    try:
        batch = session.to_device(default_collate([dataset[0, i] for i in range(len(dataset))]))
    except VideoError as error:
        session.print(f"no picture at step {step}: {error}")
        return
    objective.eval()
    rows = objective.picture(batch)
    objective.train()
    if not rows or not session.first:
        return
    image = reconstruction_grid({name: value.float().cpu().numpy() for name, value in rows.items()})
    save_png(image, config.output / "pictures" / f"reconstruction-{step:07d}.png")
