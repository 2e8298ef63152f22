"""Train and mark on every fold of a corpus, and pool the predictions of all folds as papers do.

mien cross-validate finetune svfap_finetune --data.manifest dfew/manifest.csv --init runs/pretrain --output runs/dfew

mien cross-validate probe --model runs/vjepa --data.manifest crema_d/manifest.csv --output runs/crema_d

The first word is the command that trains; its options follow. Every clip is tested once, by a model trained on the other
folds. Prints and saves the pooled metrics with intervals, the folds with their mean and deviation, subgroups and a radar
plot. Run the same command again after a kill: finished folds are kept, the one that was running goes on from its
checkpoint (a probe: from its features), and the table is the same. --folds.devices cuda:0 cuda:1 trains a fold on each
device at a time.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass as plain
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from mien.commands import finetune, probe
from mien.config import STRICT, to_yaml
from mien.engine import distributed
from mien.engine.runlog import open_run
from mien.evaluation import results
from mien.evaluation.protocol import Protocol, write_protocol
from mien.interfaces import Clip
from mien.names import read_csv
from mien.reports import cross_validation as table
from mien.reports import evaluation_report
from mien.reports.document import markdown
from mien.statistics.intervals import cross_validation
from mien.statistics.predictions import predictions_of
from mien.tasks import TaskConfig
from mien.training import selection
from mien.training.data import load_clips, located
from mien.training.outcome import CrossValidationResults
from mien.training.partition import SplitConfig
from mien.training.run_config import decisive, identity_of
from mien.training.scoring import origin
from mien.video.splits import Rows, find_folds, refuse_shared_groups


@dataclass(frozen=True, config=STRICT)
class FoldsConfig:
    """The folds, where they are trained, and what is reported of them."""

    column: str = "fold"
    """Column of the manifest that names the fold in which a clip is tested."""
    group: str = "subject"
    """Column whose values (people) must not be in two folds; rows without a value are not looked at."""
    devices: tuple[str, ...] = ()
    """Devices that take the folds in turn, one process each: cuda:0 cuda:1, or cpu cpu; empty trains one after another."""
    subgroups: tuple[str, ...] = ()
    """Columns of the manifest whose groups are marked on their own: sex, age (in bands), or age:30,45 (at these)."""
    corpus: str = ""
    """Name of the corpus in mien compare; empty takes what mien prepare wrote beside the manifest, if it did."""
    split: str = ""
    """Name of the scheme of the folds in mien compare: official folds, actor blocks, ..."""


@dataclass(frozen=True, config=STRICT)
class Finetune(finetune.Config):
    """Options of ``mien cross-validate finetune``: those of ``mien finetune``, and the folds."""

    output: Path = Path("runs/crossval")
    """Folder for the folds, the table and the report."""
    folds: FoldsConfig = FoldsConfig()


@dataclass(frozen=True, config=STRICT)
class Probe(probe.Config):
    """Options of ``mien cross-validate probe``: those of ``mien probe``, and the folds."""

    output: Path = Path("runs/crossval")
    """Folder for the folds, the table and the report."""
    folds: FoldsConfig = FoldsConfig()


OFTEN = ("folds.column", "folds.devices", "folds.subgroups", *finetune.OFTEN, *probe.OFTEN)
"""Options that ``--help`` explains, as far as the command that trains has them."""
CONFIGS = {"finetune": Finetune, "probe": Probe}
"""What may train, by the first word on the command line."""

Config = Finetune | Probe
C = TypeVar("C")


@plain(frozen=True)
class FoldedCorpus:
    """All clips and what is asked of them."""

    clips: list[Clip]
    names: tuple[str, ...]
    targets: NDArray[Any]
    folds: dict[str, Rows]
    """Rows by fold, in natural order."""
    task: TaskConfig
    """The task over the column that these clips have."""


def run(config: Config) -> CrossValidationResults | None:
    """Run what is not done, pool, print and save; None on all ranks but the first."""
    require_folds_alone(config)
    where = config.train if isinstance(config, Finetune) else config
    alone = bool(config.folds.devices)
    parallel = config.train.parallel if isinstance(config, Finetune) else "ddp"
    with distributed.session("cpu" if alone else where.device, where.matmul, parallel) as session:
        if alone and session.world > 1:
            raise ValueError("--folds.devices starts its own processes: leave torchrun out, or the devices")
        for device in config.folds.devices:
            distributed.choose_device(device)
        corpus = read_corpus(config, where.workers, session)
        config = replace(config, task=corpus.task)
        if session.first:
            open_run(config.output, to_yaml(config), identity(config, corpus.clips))
        settled = replace(config, task=config.task.with_names(corpus.names))
        waiting = [fold for fold in corpus.folds if not marked(config, fold)]
        if alone:
            distributed.over_devices(partial(logged_fold, settled), waiting, config.folds.devices)
        for fold in waiting if not alone else ():
            session.print(f"\n== fold {fold} of {', '.join(corpus.folds)}")
            run_fold(settled, fold)
        return pool(config, corpus) if session.first else None


def require_folds_alone(config: Config) -> None:
    """Nothing but the folds says who trains, who tests and where, and one encoder is probed."""
    where, group = (config.train, config.split.group) if isinstance(config, Finetune) else (config, config.group)
    if config.folds.devices and where.device not in ("auto", *config.folds.devices):
        raise ValueError(f"--folds.devices says where each fold is trained: leave the device {where.device} out")
    if group != SplitConfig.group:
        raise ValueError(f"--folds.group names the column of the people, also of those held out: not {group} elsewhere")
    if isinstance(config, Finetune):
        if config.split.train or config.split.validation or config.split.test:
            raise ValueError("the folds say which rows train and test: leave --split.train, .validation and .test out")
        if config.train.skip:
            raise ValueError(
                "cross-validation tests every clip once, so none can be left out of it: put the file right, or take its row "
                "out of the manifest and begin again in another --output"
            )
        if config.split.group_by:
            raise ValueError("cross-validation marks each clip: leave --split.group_by out")
        return
    if config.train or config.validation or config.test:
        raise ValueError("the folds say which rows train and test: leave --train, --validation and --test out")
    if len(config.model) != 1 or config.baselines:
        raise ValueError("cross-validation takes one --model, and no --baselines")


def read_corpus(config: Config, workers: int, session: distributed.Session) -> FoldedCorpus:
    """The clips, their folds, and the classes over all folds, so that every fold has the same outputs."""
    clips = load_clips(config.data, workers, session.print)
    task = located(config.task, clips, session.print)
    names = task.names(clips)
    results.require_columns(clips, config.folds.subgroups, names)
    folds = find_folds(clips, config.folds.column)
    refuse_shared_groups(clips, folds, config.folds.group)
    return FoldedCorpus(clips, tuple(names), task.targets(clips, names).numpy(), folds, task)


def identity(config: Config, clips: Sequence[Clip]) -> str:
    """What decides the predictions of all folds."""
    return identity_of(
        decisive(config) | {"folds": {"column": config.folds.column, "group": config.folds.group}}, clips
    )


def fold_folder(config: Config, fold: str) -> Path:
    """Where a fold is trained."""
    return config.output / f"fold-{fold}"


def marked(config: Config, fold: str) -> dict[str, Path]:
    """The evaluations of a fold by how its weights were chosen; nothing while they are not whole."""
    folder = fold_folder(config, fold)
    if isinstance(config, Probe):
        whole = next(folder.glob(f"*/evaluation/{evaluation_report.METRICS}"), None)
        return {selection.VALIDATION: whole.parent} if whole else {}
    if not (folder / selection.RESULTS).is_file():
        return {}
    return {kind: weights / "evaluation" for kind, weights in selection.folders(folder).items()}


def logged_fold(config: Config, fold: str, device: str) -> None:
    """A fold in a process of its own: what it says goes into a file."""
    log = config.output / f"fold-{fold}.log"
    print(f"fold {fold} on {device}: {log}", flush=True)
    config = on_device(config, device)
    with log.open("a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        run_fold(config, fold)
    print(f"fold {fold} is marked", flush=True)


def on_device(config: Config, device: str) -> Config:
    """The config with another device."""
    if isinstance(config, Finetune):
        return replace(config, train=replace(config.train, device=device))
    return replace(config, device=device)


def run_fold(config: Config, fold: str) -> None:
    """Train on all folds but one and mark that one; goes on where a killed run stopped."""
    folder, column = fold_folder(config, fold), config.folds.column
    if isinstance(config, Probe):
        chosen = {"train": f"{column}!={fold}", "test": f"{column}={fold}"}
        probe.run(narrowed(probe.Config, config, output=folder, group=config.folds.group, **chosen))
        return
    split = replace(config.split, test=f"{column}={fold}", holdout=config.split.holdout or 0, group=config.folds.group)
    finetune.run(narrowed(finetune.Config, config, output=folder, split=split))


def narrowed(schema: type[C], config: Any, **changes: Any) -> C:
    """A command's own config out of the wider one."""
    return schema(**{field.name: getattr(config, field.name) for field in fields(schema)} | changes)  # pyright: ignore[reportArgumentType]


def pool(config: Config, corpus: FoldedCorpus) -> CrossValidationResults:
    """The table of every choice of weights; that of the first lies in the run's folder and is returned."""
    first, *others = marked(config, next(iter(corpus.folds)))
    found = pool_choice(config, corpus, first, config.output)
    for kind in others:
        pool_choice(config, corpus, kind, config.output / kind.replace(" ", "-"))
    return found


def pool_choice(config: Config, corpus: FoldedCorpus, kind: str, folder: Path) -> CrossValidationResults:
    """All predictions as one evaluation, and the folds beside it."""
    outputs = np.full((len(corpus.clips), len(corpus.names)), np.nan)
    folds = np.empty(len(corpus.clips), dtype=object)
    for fold, rows in corpus.folds.items():
        place = marked(config, fold)[kind]
        outputs[rows], folds[rows] = read_outputs(place, [corpus.clips[row] for row in rows], corpus.names), fold
    task = config.task.outputs
    answers = predictions_of(task, outputs, corpus.targets, corpus.names)
    found = cross_validation(answers, folds.tolist())
    marks = results.evaluate(
        task, corpus.clips, outputs, corpus.targets, corpus.names, folder, config.folds.subgroups, [config.folds.column]
    )
    evaluation_report.clear(folder)
    section = table.section(found, marks, folder, kind)
    print("\n" + markdown("Cross-validation", [section]), flush=True)
    evaluation_report.print_subgroups(marks)
    leaks = [leak for fold in corpus.folds for leak in leaks_of(marked(config, fold)[kind])]
    notes = {"selection": kind} | ({"leaks": list(dict.fromkeys(leaks))} if leaks else {})
    notes |= origin(config.output, config.data, corpus.clips)
    write_protocol(folder, replace(protocol(config, corpus), selection=kind))
    evaluation_report.write(marks, outputs, corpus.targets, corpus.names, [section], notes)
    return CrossValidationResults(folder, marks, found)


def leaks_of(folder: Path) -> list[str]:
    """The leaks that were allowed in a fold."""
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8")).get("leaks", [])


def read_outputs(folder: Path, clips: Sequence[Clip], names: Sequence[str]) -> NDArray[np.float64]:
    """A fold's predictions (clips, names), checked to be of its clips in their order."""
    saved = read_csv(folder / "predictions.csv")
    if list(map(Path, saved["path"])) != [clip.path for clip in clips]:
        raise ValueError(
            f"{folder / 'predictions.csv'}: not the {len(clips)} clips of the fold; delete it and run again"
        )
    return saved[list(names)].to_numpy().astype(float)


def protocol(config: Config, corpus: FoldedCorpus) -> Protocol:
    """How the pooled numbers came about."""
    return Protocol(
        corpus=config.folds.corpus or recorded_corpus(Path(config.data.manifest)),
        modality="video",
        split=config.folds.split or None,
        folds=len(corpus.folds),
        clips=len(corpus.clips),
        pooling="pooled",
        **config.task.protocol(corpus.names),
    )


def recorded_corpus(manifest: Path) -> str | None:
    """The corpus that ``mien prepare`` names beside a manifest of its own."""
    account = manifest.parent / "report.json"
    if not account.is_file():
        return None
    tree = json.loads(account.read_text(encoding="utf-8"))
    return tree["corpus"]["name"] if isinstance(tree.get("corpus"), dict) else None
