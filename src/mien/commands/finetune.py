"""Adapt an encoder to labels: expressions by name, valence and arousal, personality.

mien finetune recipes/finetune.yaml --data.manifest clips.csv --data.select 'split=train' \\
    --init runs/pretrain --task.labels expression --output runs/finetune

Without --init the encoder starts from scratch. Run the same command again to go on after a kill.
"""

from __future__ import annotations

from pathlib import Path

from pydantic.dataclasses import dataclass

from mien import distributed
from mien.commands.fitting import ClipConfig, DataConfig, fit, load_clips, open_folder, start_encoder
from mien.config import STRICT, to_yaml
from mien.encoders import EncoderConfig
from mien.encoders.tpsbt import TPSBTConfig
from mien.optim import OptimConfig
from mien.pixels import PixelsConfig
from mien.tasks import TaskConfig
from mien.tasks.classification import ClassificationConfig
from mien.training import TrainConfig
from mien.video.transforms import AugmentConfig


@dataclass(frozen=True, config=STRICT)
class Config:
    """Options of ``mien finetune``."""

    output: Path = Path("runs/finetune")
    """Folder of the run."""
    init: str = ""
    """Start the encoder from these weights: a run's folder or an import; empty starts from scratch."""
    data: DataConfig = DataConfig()
    clip: ClipConfig = ClipConfig()
    augment: AugmentConfig = AugmentConfig.finetune()
    pixels: PixelsConfig = PixelsConfig()
    encoder: EncoderConfig = TPSBTConfig()
    task: TaskConfig = ClassificationConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()


def run(config: Config) -> None:
    """Fine-tune and export."""
    with distributed.session(config.train.device, config.train.matmul) as session:
        clips = load_clips(config.data, config.train.workers, session.say)
        names = config.task.names(clips)
        targets = config.task.targets(clips, names)
        if not open_folder(config, to_yaml(config), clips, session):
            return
        distributed.seed_step(config.train.seed)
        encoder = config.encoder.build(config.clip.frames, config.clip.size)
        start_encoder(encoder, config.init)
        task = config.task.build(encoder, config.pixels, names, targets)
        fit(task, clips, config, session, targets=targets, describe={"names": list(names)})
