"""Read labels off a frozen encoder: attentive or linear probes over its features, which are computed once and kept.

mien probe --model runs/vjepa --data.manifest clips.csv --train 'split=train' --test 'split=test'

Every learning rate is tried with every weight decay, all at once; the probe that does best on *validation* clips is kept
(--validation, or one person in five of the training rows) and marked once on the test clips. Several --model folders
make one table; --baselines adds the same encoders with random weights, and raw pixels. Each probe's folder then serves
as --model of evaluate and predict.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mien.config import STRICT, changed, to_yaml
from mien.engine import checkpoint, distributed
from mien.features import baselines
from mien.features.cache import Features, ProbeFeatureConfig
from mien.features.frozen import Frozen, answers, load_encoder, views_of
from mien.features.probes import Best, ProbeConfig, train_probes
from mien.files import remove_files
from mien.interfaces import Clip, Task
from mien.models.card import ModelCard
from mien.modules.heads import AttentiveHeadConfig, HeadConfig, MeanHeadConfig, StandardisedHead
from mien.reports import evaluation_report, plots
from mien.reports.evaluation_report import warnings
from mien.reports.page import Report
from mien.tasks import TaskConfig
from mien.tasks.classification import ClassificationConfig
from mien.training.fit import DataConfig, load_clips, located, warn
from mien.training.outcome import ProbeResults, probe_folder
from mien.training.partition import History, Parts, SplitConfig, divide, examine, guard, provenance
from mien.training.preflight import preflight_probes
from mien.training.scoring import origin
from mien.training.selection import VALIDATION
from mien.video.clips import epoch_order
from mien.video.container import FrameLimit
from mien.video.leaks import hash_clips
from mien.video.rates import count_rates
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
    """Rows to mark the chosen probe on; empty marks nothing, and only validation scores are given."""
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


def settled(config: Config) -> Config:
    """The config with the probe's head and segments in its task; options that would change nothing are refused."""
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
    return replace(config, task=replace(config.task, head=config.head, segments=config.segments))


def run(config: Config) -> ProbeResults:
    """Probe every encoder, print and save the table."""
    config = settled(config)
    with distributed.session(config.device, config.matmul) as session:
        clips = load_clips(config.data, config.workers)
        config = replace(config, task=located(config.task, clips))
        parts, histories = split(config, clips)
        names = config.task.names(parts["train"])
        targets = {part: config.task.targets(clips, names) for part, clips in parts.items()}
        rows = [
            probe(source, parts, names, targets, config, session.device, history)
            for source, history in sources(config, session.device, histories)
        ]
        if config.baselines:
            rows.append(pixels(load_encoder(config.model[0], session.device), parts, names, targets, config))
    write_table(rows, config)
    return ProbeResults(config.output, rows)


def split(config: Config, clips: list[Clip]) -> tuple[Parts, dict[str, History]]:
    """Training, validation and test clips, and what each model ('' has random weights) has seen; leaks are refused."""
    for folder in config.model:
        warn(config.data, clips, ModelCard.load(folder))
    parts = parts_of(clips, config)
    print(", ".join(f"{len(part)} {name} clips" for name, part in parts.items()), flush=True)
    hashes = hash_clips([clip for clips in parts.values() for clip in clips], config.workers)
    models = [str(folder) for folder in config.model]
    histories = {model: examine(parts, model, config.group, hashes) for model in ("", *models)}
    for model in models:
        guard(histories[model], config.leaks_allowed, print)
    return parts, histories


def parts_of(clips: list[Clip], config: Config) -> Parts:
    """Training, validation and test clips."""
    holdout = None if config.validation else 5
    rows = SplitConfig(config.train, config.validation, config.test, holdout=holdout, group=config.group)
    return divide(clips, rows, config.task, config.probe.seed)


def sources(config: Config, device: torch.device, histories: dict[str, History]) -> Iterator[tuple[Frozen, History]]:
    """The encoders to probe, one in memory at a time, and what they have learnt from."""
    seen: set[str] = set()
    for folder in config.model:
        yield load_encoder(folder, device), histories[str(folder)]
    for folder in config.model if config.baselines else ():
        distributed.seed_step(config.probe.seed)
        frozen = load_encoder(folder, device, random=True)
        if repr(frozen.config) not in seen:
            seen.add(repr(frozen.config))
            yield frozen, histories[""]


def probe(
    source: Frozen, parts: Parts, names: Sequence[str], targets: dict[str, Tensor], config: Config, device: torch.device,
    history: History,
) -> dict[str, Any]:  # fmt: skip
    """Train the probes over one encoder, keep the best and mark it; returns its row of the table."""
    task = config.task.build(source.encoder, source.pixels, names, targets["train"]).to(device)
    learnt = config.task.training_targets(parts["train"], names)
    views = views_in_all(parts, config)
    preflight_probes(task, config, source.clip, views, len(parts["train"]), learnt[0], device)
    checkpoint.write_whole(config.output / "config.yaml", lambda path: path.write_text(to_yaml(config)))
    features = {part: features_of(part, source, task, clips, config, device) for part, clips in parts.items() if clips}
    folder = config.output / probe_folder(source.name)
    found = fit(task, features, targets | {"train": learnt}, config, device, folder)
    best = max(found, key=lambda one: one.score)
    heads = [with_weights(task.head, one) for one in found]
    task.head.load_state_dict(best.state)
    lr, decay = config.probe.settings()[best.probe]
    card = ModelCard(
        encoder=source.config, clip=source.clip, pixels=source.pixels, task=config.task, names=tuple(names),
        selection=VALIDATION, rates=dict(count_rates(parts["train"])), leaks=tuple(map(str, history.leaks)),
    )  # fmt: skip
    history.write(folder)
    card.save(folder, task)
    row = {
        "features": source.name,
        "lr": lr,
        "weight decay": decay,
        "epoch": best.epoch,
        "validation": best.score * task.outputs.direction,
    }
    if "test" not in features:
        return row
    print(f"{source.name}, marked on the test clips:")
    each = answers(task, heads, features["test"], device)
    truth = targets["test"].numpy()
    notes = provenance(folder) | origin(folder, config.data, parts["test"], config.test)
    evaluation_report.clear(folder / "evaluation")
    marks = evaluation_report.report(
        task.outputs, parts["test"], each[found.index(best)], truth, names, folder / "evaluation", notes=notes
    )
    return row | marks.scores | over_seeds(task, each, truth) | history.provenance()


def views_in_all(parts: Parts, config: Config) -> int:
    """Views of all clips that the encoder reads: each once, but with --features.live those of an epoch in every epoch.

    Windows at a hop are counted as if they were segments.
    """
    segments = config.segments if config.segments > 1 else config.views.segments or 2
    epochs, crops = config.probe.epochs if config.features.live else 1, config.views.crops
    each = {"train": epochs if config.features.live else config.features.variants, "validation": epochs * crops}
    return segments * sum(len(clips) * each.get(part, crops) for part, clips in parts.items())


def with_weights(head: nn.Module, best: Best) -> nn.Module:
    """A copy of a head with the weights that were kept."""
    head = deepcopy(head).eval()
    head.load_state_dict(best.state)
    return head


def over_seeds(task: Task, each: NDArray[np.float64], truth: NDArray) -> dict[str, float]:
    """Mean and deviation of the headline metric over the probes of all seeds (seeds, clips, names)."""
    if len(each) == 1:
        return {}
    name = task.outputs.headline
    values = [task.score(one, truth)[name] for one in each]
    return {f"{name} mean": float(np.mean(values)), f"{name} deviation": float(np.std(values, ddof=1))}


def features_of(
    part: str, source: Frozen, task: Task, clips: list[Clip], config: Config, device: torch.device
) -> Features:
    """The features of one part: training clips at one crop and perhaps augmented, the others at all crops."""
    training = part == "train"
    views = replace(config.views, segments=task.segments if task.segments > 1 else config.views.segments or 2)
    views = replace(views, crops=1 if training else views.crops)
    augmentation = config.augment if training and config.features.variants > 1 else None
    found = Features(
        source.encoder, task.pixels, clips, source.clip, views, config.features, device, augmentation, config.probe.seed
    )
    found.prepare(config.workers, f"{source.name}: {part} features")
    return found


def fit(
    task: Task, features: dict[str, Features], targets: dict[str, Tensor], config: Config, device: torch.device,
    folder: Path,
) -> list[Best]:  # fmt: skip
    """Train one head per seed and setting over the features; a line per epoch goes to ``epochs.jsonl``."""
    heads = config.probe.start(lambda seed: first_head(seed, task, features["train"], config.task.head)).to(device)
    task.train()
    task.encoder.eval()
    steps_per_epoch = -(-len(features["train"]) // config.probe.batch)
    lines: list[str] = []

    def validate(heads: nn.ModuleList) -> list[float]:
        predictions = answers(task, list(heads), features["validation"], device)
        return [task.outputs.gain(task.score(p, targets["validation"].numpy())) for p in predictions]

    best = train_probes(
        heads, task.losses, epochs(features["train"], targets["train"], task, config.probe, device),
        steps_per_epoch * config.probe.epochs, config.probe, validate, lambda line: lines.append(json.dumps(line)),
    )  # fmt: skip
    checkpoint.write_whole(folder / "epochs.jsonl", lambda path: path.write_text("\n".join(lines) + "\n"))
    task.eval()
    return best


def first_head(seed: int, task: Task, features: Features, config: HeadConfig, clips: int = 500) -> nn.Module:
    """A head with the first weights of a seed; a ``Standard`` is fitted to training clips spread over all."""
    distributed.seed_step(seed)  # here, so that reading features cannot shift the first weights
    head = config.build(task.encoder.dim, len(task.names))
    if isinstance(head, StandardisedHead):
        places = np.unique(np.linspace(0, len(features) - 1, clips).astype(int))
        head.standard.fit(features[int(i), 0] for i in places)
    return head


def epochs(
    features: Features, targets: Tensor, task: Task, config: ProbeConfig, device: torch.device
) -> Iterator[Iterator[tuple[Tensor, Tensor]]]:
    """Batches of tokens and targets, epoch by epoch, in an order that follows from the seed."""

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        rng = np.random.default_rng((config.seed, epoch))
        places = epoch_order(config.seed, epoch, len(features))
        for start in range(0, len(places), config.batch):
            chosen = places[start : start + config.batch]
            views = [views_of(features[int(i), epoch], task.segments > 1) for i in chosen]
            tokens = torch.stack([v[int(rng.integers(len(v)))] for v in views])
            yield tokens.to(device), targets[torch.from_numpy(chosen)].to(device)

    return (batches(epoch) for epoch in range(config.epochs))


def pixels(
    source: Frozen, parts: Parts, names: Sequence[str], targets: dict[str, Tensor], config: Config
) -> dict[str, Any]:
    """The row of a linear model on raw pixels, its strength chosen on validation."""
    task = config.task.build(source.encoder, source.pixels, names, targets["train"])
    x = {part: baselines.raw_pixels(clips, source.clip, config.workers) for part, clips in parts.items() if clips}
    y = {part: values.numpy() for part, values in targets.items()}
    predict, gain, _ = baselines.fit_linear(
        task.outputs.linear, x["train"], y["train"], x["validation"],
        lambda p: task.outputs.gain(task.score(p, y["validation"])), len(names),
    )  # fmt: skip
    row = {"features": "raw pixels, linear", "validation": gain * task.outputs.direction}
    return row | (task.score(predict(x["test"]), y["test"]) if "test" in x else {})


def write_table(rows: list[dict[str, Any]], config: Config) -> None:
    """Print the table; save it with a picture as report.html."""
    metric, others = config.task.outputs.headline, config.task.outputs.shown
    columns = dict.fromkeys((metric, f"{metric} mean", f"{metric} deviation", *others))  # the two over --probe.seeds
    shown = [m for m in columns if any(m in row for row in rows)]
    width = max(len(row["features"]) for row in rows)
    print(f"\n{'features':<{width}}  validation {metric}" + "".join(f"  {'test ' + m:>{len(m) + 5}}" for m in shown))
    for row in rows:
        cells = "".join(f"  {row[m]:>{len(m) + 5}.4f}" if m in row else " " * (len(m) + 7) for m in shown)
        print(f"{row['features']:<{width}}  {row['validation']:>{11 + len(metric)}.4f}{cells}")
    remove_files(config.output, ("probe.json", "report.html"))
    report = Report("Probes over frozen features")
    report.text(
        f"Each probe was chosen on validation ({metric}), never on test. Head: {config.task.head.name}; "
        f"{config.task.segments} segments at once; {config.probe.epochs} epochs."
    )
    for line in dict.fromkeys(line for row in rows for line in warnings(row)):
        print(f"  ! {line}")
        report.text(line)
    report.table([{name: value for name, value in row.items() if name != "leaks"} for row in rows])
    part = metric if shown else "validation"
    values = {part: {row["features"]: row[part] for row in rows}}
    report.figure(plots.comparison(values, "Test" if shown else "Validation"))
    report.save(config.output / "report.html")
    saved = json.dumps(rows, indent=2) + "\n"
    checkpoint.write_whole(config.output / "probe.json", lambda path: path.write_text(saved))
    print(f"report in {config.output / 'report.html'}")
