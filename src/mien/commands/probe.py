"""Read labels off a frozen encoder: attentive or linear probes over its features, which are computed once and kept.

mien probe --model runs/vjepa --data.manifest clips.csv --train 'split=train' --test 'split=test'

Every learning rate is tried with every weight decay, all at once; the probe that does best on *validation* clips is kept
(--validation, or one person in five of the training rows) and evaluated once on the test clips. Several --model folders
make one table; --baselines adds the same encoders with random weights, and raw pixels. Each probe's folder then serves
as --model of evaluate and predict.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from mien.config import STRICT, changed, to_yaml
from mien.engine import distributed
from mien.features.cache import ProbeFeatureConfig
from mien.features.frozen import load_encoder
from mien.features.probes import ProbeConfig
from mien.models.card import ModelCard
from mien.modules.heads import AttentiveHeadConfig, HeadConfig, MeanHeadConfig
from mien.tasks import TaskConfig
from mien.tasks.classification import ClassificationConfig
from mien.training.data import DataConfig, load_clips, located, warn
from mien.training.frozen_probes import frozen_encoders, histories_of, probe, raw_pixels, write_table
from mien.training.outcome import ProbeResults
from mien.training.partition import LabelledParts, SplitConfig, divide
from mien.training.probe_setup import ProbeSetup
from mien.video.container import FrameLimit
from mien.video.transforms import AugmentConfig
from mien.video.views import ViewConfig

OFTEN = (
    "model", "output", "data.manifest", "data.select", "train", "validation", "test", "task.column", "task.columns", "segments", "baselines", "probe.lrs", "probe.epochs", "features.folder", "device", "workers",
)  # fmt: skip
"""Options that ``--help`` explains; ``--help-all`` has the others."""


@dataclass(frozen=True, config=STRICT)
class Config(FrameLimit, distributed.ReaderOptions):
    """Options of ``mien probe``."""

    model: tuple[Path, ...] = (Path("runs/pretrain"),)
    """Folders of pre-trained or imported encoders."""
    output: Path = Path("runs/probe")
    """Folder for the probes and the report."""
    data: DataConfig = DataConfig()
    train: str = ""
    """Rows to train on, as conditions on columns; of all that --data.select leaves."""
    validation: str = ""
    """Rows to choose the probe on; empty takes one group in five out of the training rows."""
    test: str = ""
    """Rows to evaluate the chosen probe on; empty evaluates nothing, and only validation scores are given."""
    group: str = "subject"
    """Column whose values (people) must not be in two parts."""
    leaks_allowed: bool = False
    """Probe although training, validation, test or pre-training share clips, contents or people; every report says so."""
    task: TaskConfig = ClassificationConfig(smoothing=0.0, mixup=0.0, cutmix=0.0)
    head: HeadConfig = AttentiveHeadConfig(standardise=True)
    """The probe: attentive, or mean, which is linear; it takes the place of the task's head."""
    segments: PositiveInt = 8
    """Segments of a video that the probe attends to at once; with 1 the answers for single segments are averaged."""
    probe: ProbeConfig = ProbeConfig()
    features: ProbeFeatureConfig = ProbeFeatureConfig()
    views: ViewConfig = ViewConfig(crops=3)
    augment: AugmentConfig = AugmentConfig(scales=(), operations=4, erase=0.25)
    """Changes of the training views, where --features.variants is more than 1."""
    baselines: bool = False
    """Also probe each encoder with random weights, and raw pixels with a linear model."""


def run(config: Config) -> ProbeResults:
    """Probe every encoder, print and save the table."""
    refuse_unread(config)
    with distributed.session(config.device, config.matmul) as session:
        clips = load_clips(config.data, config.workers)
        config = replace(config, task=located(config.task, clips))
        setup = setup_of(config, session.device)
        divided = divide(clips, setup.split, setup.task, config.probe.seed)
        for folder in config.model:
            warn(config.data, clips, ModelCard.load(folder))
        histories = histories_of(config.model, divided, config.group, config.leaks_allowed, config.workers)
        parts = LabelledParts.of(divided, setup.task)
        encoders = frozen_encoders(config.model, config.baselines, config.probe.seed, session.device)
        rows = [probe(encoder, parts, setup, histories[model]) for encoder, model in encoders]
        if config.baselines:
            rows.append(raw_pixels(load_encoder(config.model[0], session.device), parts, setup))
    write_table(rows, setup)
    return ProbeResults(config.output, rows)


def refuse_unread(config: Config) -> None:
    """Options that would change nothing are refused."""
    if config.task != replace(config.task, head=MeanHeadConfig(), segments=1):
        raise ValueError("a probe's head and segments are --head and --segments, not --task.head and --task.segments")
    if why := config.task.needs_pixels():
        raise ValueError(f"a probe trains on features, where {why}")
    given = changed(config.augment, "augment", Config.augment)
    if config.features.variants == 1 and given:
        raise ValueError(
            f"{', '.join(given)} changes nothing while there is one view of each training clip: "
            "add --features.variants, the number of augmented views"
        )
    if config.segments > 1 and (config.views.sliding or config.views.segments not in (0, config.segments)):
        raise ValueError(
            "the probe attends to --segments at once; with --segments 1, --views.segments and .sliding count"
        )
    if len({folder.name for folder in config.model}) < len(config.model):
        raise ValueError("two --model folders have the same name, and so would their probes; rename one")


def setup_of(config: Config, device: torch.device) -> ProbeSetup:
    """How every encoder is probed under a config."""
    holdout = None if config.validation else 5
    segments = config.segments if config.segments > 1 else config.views.segments or 2
    return ProbeSetup(
        task=replace(config.task, head=config.head, segments=config.segments),
        probe=config.probe,
        features=config.features,
        views=replace(config.views, segments=segments),
        augment=config.augment,
        data=config.data,
        split=SplitConfig(config.train, config.validation, config.test, holdout=holdout, group=config.group),
        workers=config.workers,
        device=device,
        output=config.output,
        recipe=to_yaml(config),
    )
