"""All folds of a cross-validation as one corpus, and the table of their pooled predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from mien.config import STRICT
from mien.engine.distributed import Session
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
from mien.training.data import DataConfig, load_clips, located
from mien.training.outcome import CrossValidationResults
from mien.training.scoring import origin
from mien.video.splits import Rows, find_folds, refuse_shared_groups

FoldEvaluations = Mapping[str, Mapping[str, Path]]
"""Folder of each fold's evaluation by how its weights were chosen."""


@dataclass(frozen=True, config=STRICT)
class FoldsConfig:
    """The folds, where they are trained, and what is reported of them."""

    column: str = "fold"
    """Column of the manifest that names the fold in which a clip is tested."""
    group: str = "subject"
    """Column whose values (people) must not be in two folds; rows without a value are not compared."""
    devices: tuple[str, ...] = ()
    """Devices that take the folds in turn, one process each: cuda:0 cuda:1, or cpu cpu; empty trains one after another."""
    subgroups: tuple[str, ...] = ()
    """Columns of the manifest whose groups are evaluated on their own: sex, age (in bands), or age:30,45 (at these)."""
    corpus: str = ""
    """Name of the corpus in mien compare; empty takes what mien prepare wrote beside the manifest, if it did."""
    split: str = ""
    """Name of the scheme of the folds in mien compare: official folds, actor blocks, ..."""


@plain(frozen=True)
class FoldedCorpus:
    """All clips and what is to be predicted of them."""

    clips: list[Clip]
    names: tuple[str, ...]
    targets: NDArray
    folds: dict[str, Rows]
    """Rows by fold, in natural order."""
    task: TaskConfig
    """The task over the column that these clips have."""
    data: DataConfig


def read_corpus(data: DataConfig, task: TaskConfig, folds: FoldsConfig, workers: int, session: Session) -> FoldedCorpus:
    """The clips, their folds, and the classes over all folds, so that every fold has the same outputs."""
    clips = load_clips(data, workers, session.print)
    task = located(task, clips, session.print)
    names = task.names(clips)
    results.require_columns(clips, folds.subgroups, names)
    rows = find_folds(clips, folds.column)
    refuse_shared_groups(clips, rows, folds.group)
    return FoldedCorpus(clips, tuple(names), task.targets(clips, names).numpy(), rows, task, data)


def pool(corpus: FoldedCorpus, evaluations: FoldEvaluations, options: FoldsConfig, run: Path) -> CrossValidationResults:
    """The table of every choice of weights; that of the first lies in the run's folder and is returned."""
    first, *others = next(iter(evaluations.values()))
    pooled = pool_choice(corpus, evaluations, first, options, run, run)
    for kind in others:
        pool_choice(corpus, evaluations, kind, options, run, run / kind.replace(" ", "-"))
    return pooled


def pool_choice(
    corpus: FoldedCorpus, evaluations: FoldEvaluations, kind: str, options: FoldsConfig, run: Path, folder: Path
) -> CrossValidationResults:
    """All predictions of one choice of weights as one evaluation in ``folder``, and the folds beside it."""
    outputs = np.full((len(corpus.clips), len(corpus.names)), np.nan)
    folds = np.empty(len(corpus.clips), dtype=object)
    for fold, rows in corpus.folds.items():
        place = evaluations[fold][kind]
        outputs[rows], folds[rows] = read_outputs(place, [corpus.clips[row] for row in rows], corpus.names), fold
    task = corpus.task.outputs
    predictions = predictions_of(task, outputs, corpus.targets, corpus.names)
    per_fold = cross_validation(predictions, folds.tolist())
    evaluation = results.evaluate(
        task, corpus.clips, outputs, corpus.targets, corpus.names, folder, options.subgroups, [options.column]
    )
    evaluation_report.clear(folder)
    section = table.section(per_fold, evaluation, folder, kind)
    print("\n" + markdown("Cross-validation", [section]), flush=True)
    evaluation_report.print_subgroups(evaluation)
    notes: dict[str, object] = {"selection": kind} | origin(run, corpus.data, corpus.clips)
    for name in ("leaks", "sources", "no_commercial_use"):
        if found := list(dict.fromkeys(one for kinds in evaluations.values() for one in noted(kinds[kind], name))):
            notes[name] = found
    write_protocol(folder, replace(protocol(corpus, options), selection=kind))
    evaluation_report.write(evaluation, outputs, corpus.targets, corpus.names, [section], notes)
    return CrossValidationResults(folder, evaluation, per_fold)


def noted(folder: Path, name: str) -> list[str]:
    """What the evaluation of a fold notes under a name, such as the leaks that were allowed."""
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8")).get(name, [])


def read_outputs(folder: Path, clips: Sequence[Clip], names: Sequence[str]) -> NDArray[np.float64]:
    """A fold's predictions (clips, names), checked to be of its clips in their order."""
    saved = read_csv(folder / "predictions.csv")
    if list(map(Path, saved["path"])) != [clip.path for clip in clips]:
        raise ValueError(
            f"{folder / 'predictions.csv'}: not the {len(clips)} clips of the fold; delete it and run again"
        )
    return saved[list(names)].to_numpy().astype(float)


def protocol(corpus: FoldedCorpus, options: FoldsConfig) -> Protocol:
    """How the pooled numbers came about."""
    return Protocol(
        corpus=options.corpus or recorded_corpus(Path(corpus.data.manifest)),
        modality="video",
        split=options.split or None,
        folds=len(corpus.folds),
        clips=len(corpus.clips),
        pooling="pooled",
        **corpus.task.protocol(corpus.names),
    )


def recorded_corpus(manifest: Path) -> str | None:
    """The corpus that ``mien prepare`` names beside a manifest of its own."""
    account = manifest.parent / "report.json"
    if not account.is_file():
        return None
    tree = json.loads(account.read_text(encoding="utf-8"))
    return tree["corpus"]["name"] if isinstance(tree.get("corpus"), dict) else None
