"""Learn from unlabelled face video: hide most of a clip and predict it from the rest (SVFAP).

mien pretrain recipes/svfap_pretrain.yaml --data.manifest clips.csv --output runs/pretrain

Run the same command again to go on after a kill. The run's folder holds the config, metrics.jsonl, pictures of
reconstructions, checkpoints and, at the end, the weights that finetune starts from (--init); seen.csv holds the hashes
of the clips, by which later commands notice that a test clip was among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic.dataclasses import dataclass
from torch.utils.data import default_collate

from mien import distributed
from mien.analysis.plots import reconstruction_grid, save_png
from mien.commands.fitting import ClipConfig, TrainingDataConfig, fit, load_clips, open_folder, start_encoder
from mien.commands.parts import remember
from mien.config import STRICT, to_yaml
from mien.distributed import Session
from mien.encoders import EncoderConfig
from mien.encoders.tpsbt import TPSBTConfig
from mien.interfaces import Clip, Objective
from mien.objectives import ObjectiveConfig
from mien.objectives.masked_autoencoding import MaskedAutoencodingConfig
from mien.optim import OptimConfig
from mien.pixels import PixelsConfig
from mien.training import TrainConfig
from mien.video.clips import ClipDataset
from mien.video.transforms import AugmentConfig


@dataclass(frozen=True, config=STRICT)
class Config:
    """Options of ``mien pretrain``."""

    output: Path = Path("runs/pretrain")
    """Folder of the run."""
    init: str = ""
    """Start the encoder from these weights: a run's folder or an import."""
    data: TrainingDataConfig = TrainingDataConfig()
    clip: ClipConfig = ClipConfig()
    augment: AugmentConfig = AugmentConfig()
    pixels: PixelsConfig = PixelsConfig()
    encoder: EncoderConfig = TPSBTConfig()
    objective: ObjectiveConfig = MaskedAutoencodingConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()


def run(config: Config) -> None:
    """Pre-train and export."""
    with distributed.session(config.train.device, config.train.matmul, config.train.parallel) as session:
        clips = load_clips(config.data, config.train.workers, session.say)
        if not open_folder(config, to_yaml(config), clips, session):
            return
        remember(config.output, clips, config.init, config.train.workers, session)
        distributed.seed_step(config.train.seed)
        encoder = config.encoder.build(config.clip.frames, config.clip.size)
        start_encoder(encoder, config.init)
        objective = config.objective.build(encoder, config.pixels)
        fit(objective, clips, config, session, draw=lambda step: draw(objective, clips, config, session, step))


def draw(
    objective: Objective, clips: Sequence[Clip], config: Config, session: Session, step: int, count: int = 4
) -> None:
    """Picture of the first clips: original, what the encoder sees, and what comes of it.

    Every rank takes part, for weights may be spread over them; the first one saves.
    """
    dataset = ClipDataset(clips[:count], config.clip, AugmentConfig.none(), config.train.seed)
    batch = session.to_device(default_collate([dataset[0, i] for i in range(len(dataset))]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.train.seed)
        objective.eval()
        rows = objective.picture(batch)
        objective.train()
    if not session.first:
        return
    image = reconstruction_grid({name: value.float().cpu().numpy() for name, value in rows.items()})
    save_png(image, config.output / "pictures" / f"reconstruction-{step:07d}.png")
