"""Train and evaluate on every fold of a corpus, and pool the predictions of all folds as papers do.

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
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic.dataclasses import dataclass

from mien.commands import finetune, probe
from mien.config import STRICT, to_yaml
from mien.engine import distributed
from mien.engine.runlog import open_run
from mien.interfaces import Clip
from mien.reports import evaluation_report
from mien.training import selection
from mien.training.fold_table import FoldsConfig, pool, read_corpus
from mien.training.outcome import CrossValidationResults
from mien.training.partition import SplitConfig
from mien.training.run_config import decisive, identity_of


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
        corpus = read_corpus(config.data, config.task, config.folds, where.workers, session)
        config = replace(config, task=corpus.task)
        if session.first:
            open_run(config.output, to_yaml(config), identity(config, corpus.clips))
        with_names = replace(config, task=config.task.with_names(corpus.names))
        waiting = [fold for fold in corpus.folds if not evaluations(config, fold)]
        if alone:
            distributed.over_devices(partial(logged_fold, with_names), waiting, config.folds.devices)
        for fold in waiting if not alone else ():
            session.print(f"\n== fold {fold} of {', '.join(corpus.folds)}")
            run_fold(with_names, fold)
        each = {fold: evaluations(config, fold) for fold in corpus.folds} if session.first else {}
        return pool(corpus, each, config.folds, config.output) if session.first else None


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
            raise ValueError("cross-validation evaluates each clip: leave --split.group_by out")
        return
    if config.train or config.validation or config.test:
        raise ValueError("the folds say which rows train and test: leave --train, --validation and --test out")
    if len(config.model) != 1 or config.baselines:
        raise ValueError("cross-validation takes one --model, and no --baselines")


def identity(config: Config, clips: Sequence[Clip]) -> str:
    """What decides the predictions of all folds."""
    return identity_of(
        decisive(config) | {"folds": {"column": config.folds.column, "group": config.folds.group}}, clips
    )


def fold_folder(config: Config, fold: str) -> Path:
    """Where a fold is trained."""
    return config.output / f"fold-{fold}"


def evaluations(config: Config, fold: str) -> dict[str, Path]:
    """The evaluations of a fold by how its weights were chosen; nothing while they are not whole."""
    folder = fold_folder(config, fold)
    if isinstance(config, Probe):
        whole = next(folder.glob(f"*/evaluation/{evaluation_report.METRICS}"), None)
        return {selection.VALIDATION: whole.parent} if whole else {}
    if not (folder / selection.RESULTS).is_file():
        return {}
    return {kind: weights / "evaluation" for kind, weights in selection.folders(folder).items()}


def logged_fold(config: Config, fold: str, device: str) -> None:
    """A fold in a process of its own: its output goes into a file."""
    log = config.output / f"fold-{fold}.log"
    print(f"fold {fold} on {device}: {log}", flush=True)
    config = on_device(config, device)
    with log.open("a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        run_fold(config, fold)
    print(f"fold {fold} is evaluated", flush=True)


def on_device(config: Config, device: str) -> Config:
    """The config with another device."""
    if isinstance(config, Finetune):
        return replace(config, train=replace(config.train, device=device))
    return replace(config, device=device)


def run_fold(config: Config, fold: str) -> None:
    """Train on all folds but one and evaluate on that one; goes on where a killed run stopped."""
    folder, column = fold_folder(config, fold), config.folds.column
    if isinstance(config, Probe):
        chosen = {"train": f"{column}!={fold}", "test": f"{column}={fold}"}
        probe.run(narrowed(probe.Config, config, output=folder, group=config.folds.group, **chosen))
        return
    split = replace(config.split, test=f"{column}={fold}", holdout=config.split.holdout or 0, group=config.folds.group)
    finetune.run(narrowed(finetune.Config, config, output=folder, split=split))


def narrowed(schema: type[C], config: Config, **changes: object) -> C:
    """A command's own config out of the wider one."""
    return schema(**{field.name: getattr(config, field.name) for field in fields(schema)} | changes)  # pyright: ignore[reportArgumentType]
