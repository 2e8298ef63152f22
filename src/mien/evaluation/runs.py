"""An evaluated run as it lies on disk: predictions.csv, metrics.json and, where it is recorded, protocol.json.

``mien evaluate`` and cross-validation write such folders. predictions.csv has a row per clip: ``path``; for classes
``truth``, ``predicted`` and a probability per class, for values and for labels a column per name and ``<name>_truth``;
then ``start``, ``end``, ``subject`` and other columns of the manifest. metrics.json names the ``task``; where it does not,
a column ``truth`` tells classes from values.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mien.evaluation.protocol import Protocol, read_protocol
from mien.evaluation.results import SUBJECT, TIMES, cluster_names
from mien.interfaces import Outputs
from mien.names import read_csv
from mien.statistics.predictions import LEAVES, CellError, Predictions, predictions_of
from mien.tasks import outputs_of


@dataclass(frozen=True)
class Run:
    """An evaluated run."""

    name: str
    folder: Path
    clips: tuple[str, ...]
    """What tells each clip from others: path and, where a video holds several, its times."""
    task: Outputs
    predictions: Predictions
    subjects: tuple[str, ...]
    """Who is seen in each clip; empty texts where the run does not say."""
    protocol: Protocol | None


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Runs under names that tell them apart."""
    runs = [read_run(folder) for folder in folders]
    names = [run.name for run in runs]
    return [replace(run, name=str(given)) if names.count(run.name) > 1 else run
            for run, given in zip(runs, folders, strict=True)]  # fmt: skip


def read_run(given: Path) -> Run:
    """One run: its folder, or the model's folder in which ``mien evaluate`` made the folder evaluation.

    Raises ``ValueError`` for a folder without predictions, and naming file and row for what is no prediction.
    """
    folder = given if (given / "predictions.csv").is_file() else given / "evaluation"
    file = folder / "predictions.csv"
    if not file.is_file():
        raise ValueError(
            f"{given}: no predictions.csv here or in its folder evaluation; evaluate the model: mien evaluate"
        )
    table = read_csv(file)
    if "path" not in table or table.empty:
        raise ValueError(f"{file}: no predictions; it needs a column 'path' and a row per clip")
    subjects = tuple(table[SUBJECT]) if SUBJECT in table else ("",) * len(table)
    task, predictions = read_predictions(file, table, cluster_names(subjects))
    name = folder.parent.name if folder.name == "evaluation" and folder.parent.name else folder.name
    return Run(name or str(given), folder, clip_keys(file, table), task, predictions, subjects, read_protocol(folder))


def read_predictions(file: Path, table: pd.DataFrame, subjects: list[str] | None) -> tuple[Outputs, Predictions]:
    """The task and the predictions of a table of predictions; ``ValueError`` for what is none, naming its row."""
    task = outputs_of(read_metrics(file).get("task") or ("classification" if "truth" in table else "regression"))
    names = class_names(file) if task.exclusive else tuple(name for name in table if f"{name}_truth" in table)
    if not names:
        raise ValueError(f"{file}: neither a column 'truth' nor a column NAME_truth; what is it evaluated against?")

    def cells(column: str) -> list[str]:
        if column not in table:
            raise ValueError(f"{file}: no column {column!r}")
        return list(table[column])

    try:
        return task, predictions_of(task, *LEAVES[task.form].read(cells, names), names, subjects)
    except CellError as cell:
        raise ValueError(f"{file} line {cell.row + 2}: {cell.why}") from cell


def read_metrics(file: Path) -> dict[str, Any]:
    """metrics.json beside a table of predictions; nothing where it is not there or not readable."""
    try:
        found = json.loads((file.parent / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def class_names(file: Path) -> tuple[str, ...]:
    """The names of all classes, which metrics.json beside a table of predictions lists by their recall."""
    try:
        return tuple(read_metrics(file)["recall"])
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{file.parent / 'metrics.json'} does not list the recall of each class; evaluate the model again: mien evaluate"
        ) from error


def clip_keys(file: Path, table: pd.DataFrame) -> tuple[str, ...]:
    """What names each clip; a clip that stands twice would count twice, and is an error."""
    parts = [table[name] for name in ("path", *TIMES) if name in table]
    found = [" ".join(filter(None, cells)) for cells in zip(*parts, strict=True)]
    seen: dict[str, int] = {}
    for row, key in enumerate(found, start=2):
        if seen.setdefault(key, row) != row:
            raise ValueError(f"{file} line {row}: the same clip as on line {seen[key]}: {key}")
    return tuple(found)


def paired_predictions(first: Run, second: Run) -> tuple[Predictions, Predictions]:
    """The predictions of two runs clip by clip, in the order of the first, clustered by whichever run names subjects.

    ``ValueError`` where the runs are not about the same clips with the same truth and names.
    """
    if set(first.clips) != set(second.clips):
        common = len(set(first.clips) & set(second.clips))
        counts = f"{len(first.clips)} and {len(second.clips)} clips"
        raise ValueError(f"{first.name} and {second.name} hold {counts}, {common} of them in common: no pair")
    one, two = first.predictions, second.predictions
    if set(one.names) != set(two.names) or type(one) is not type(two):
        raise ValueError(f"{first.name} and {second.name} name {names_text(one)} and {names_text(two)}: no pair")
    places = {clip: i for i, clip in enumerate(second.clips)}
    two = two.select(np.array([places[clip] for clip in first.clips])).renamed(one.names)
    if not any(first.subjects):
        one = replace(one, subjects=two.subjects)
    return one, replace(two, subjects=one.subjects)


def names_text(predictions: Predictions) -> str:
    """The names in a sentence."""
    return f"({', '.join(predictions.names)})"
