"""A marked run as it lies on disk: predictions.csv, metrics.json and, where it is recorded, protocol.json.

``mien evaluate`` and cross-validation write such folders. predictions.csv has a row per clip: ``path``; for classes
``truth``, ``predicted`` and a probability per class, for values a column per target and ``<target>_truth``; then
``start``, ``end``, ``subject`` and other columns of the manifest.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from mien.analysis.marking import SUBJECT, TIMES, clusters
from mien.analysis.protocol import Protocol, read_protocol
from mien.answers import Answers, classified, valued
from mien.metrics import Array
from mien.names import read_csv
from mien.subgroups import number


@dataclass(frozen=True)
class Run:
    """A marked run."""

    name: str
    folder: Path
    clips: tuple[str, ...]
    """What tells each clip from others: path and, where a video holds several, its times."""
    answers: Answers
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
        raise ValueError(f"{given}: no predictions.csv here or in its folder evaluation; mark the model: mien evaluate")
    table = read_csv(file)
    if "path" not in table or table.empty:
        raise ValueError(f"{file}: no predictions; it needs a column 'path' and a row per clip")
    subjects = tuple(table[SUBJECT]) if SUBJECT in table else ("",) * len(table)
    predictions, targets, names = classes(file, table) if "truth" in table else values(file, table)
    answers = (classified if targets.ndim == 1 else valued)(predictions, targets, names, clusters(subjects))
    name = folder.parent.name if folder.name == "evaluation" and folder.parent.name else folder.name
    return Run(name or str(given), folder, keys(file, table), answers, subjects, read_protocol(folder))


def classes(file: Path, table: pd.DataFrame) -> tuple[Array, Array, tuple[str, ...]]:
    """Predicted and true class indices (N,), and the names of all classes, which metrics.json lists by their recall."""
    names = class_names(file.parent / "metrics.json")
    index = {name: i for i, name in enumerate(names)}
    columns = []
    for column in ("predicted", "truth"):
        if column not in table:
            raise ValueError(f"{file}: no column {column!r}")
        odd = [(row, cell) for row, cell in enumerate(table[column], start=2) if cell not in index]
        if odd:
            raise ValueError(f"{file} line {odd[0][0]}: {column} {odd[0][1]!r} is none of {', '.join(names)}")
        columns.append(np.array([index[cell] for cell in table[column]]))
    return columns[0], columns[1], names


def class_names(file: Path) -> tuple[str, ...]:
    """The classes that a metrics.json knows."""
    try:
        return tuple(json.loads(file.read_text(encoding="utf-8"))["recall"])
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file} does not list the recall of each class; mark the model again: mien evaluate"
        ) from error


def values(file: Path, table: pd.DataFrame) -> tuple[Array, Array, tuple[str, ...]]:
    """Predicted and true values (N, K) and the names of the targets."""
    names = tuple(name for name in table if f"{name}_truth" in table)
    if not names:
        raise ValueError(f"{file}: neither a column 'truth' nor a column TARGET_truth; what is it marked against?")
    columns = {column: numbers(file, column, table) for name in names for column in (name, f"{name}_truth")}
    stack = [np.stack([columns[name + end] for name in names], axis=1) for end in ("", "_truth")]
    return stack[0], stack[1], names


def numbers(file: Path, column: str, table: pd.DataFrame) -> Array:
    """A column (N,) of finite numbers."""
    found = np.array([number(cell) for cell in table[column]])
    odd = np.flatnonzero(~np.isfinite(found))
    if len(odd):
        raise ValueError(f"{file} line {odd[0] + 2}: {column} {table[column].iloc[odd[0]]!r} is not a finite number")
    return found


def keys(file: Path, table: pd.DataFrame) -> tuple[str, ...]:
    """What names each clip; a clip that stands twice would count twice, and is an error."""
    parts = [table[name] for name in ("path", *TIMES) if name in table]
    found = [" ".join(filter(None, cells)) for cells in zip(*parts, strict=True)]
    seen: dict[str, int] = {}
    for row, key in enumerate(found, start=2):
        if seen.setdefault(key, row) != row:
            raise ValueError(f"{file} line {row}: the same clip as on line {seen[key]}: {key}")
    return tuple(found)


def paired(first: Run, second: Run) -> tuple[Answers, Answers]:
    """The answers of two runs clip by clip, in the order of the first, clustered by whichever run names subjects.

    ``ValueError`` where the runs are not about the same clips with the same truth and names.
    """
    if set(first.clips) != set(second.clips):
        common = len(set(first.clips) & set(second.clips))
        counts = f"{len(first.clips)} and {len(second.clips)} clips"
        raise ValueError(f"{first.name} and {second.name} hold {counts}, {common} of them in common: no pair")
    one, two = first.answers, second.answers
    if set(one.names) != set(two.names) or one.classes != two.classes:
        raise ValueError(f"{first.name} and {second.name} name {listed(one)} and {listed(two)}: no pair")
    places = {clip: i for i, clip in enumerate(second.clips)}
    two = renamed(two.of(np.array([places[clip] for clip in first.clips])), one.names)
    if not any(first.subjects):
        one = replace(one, subjects=two.subjects)
    return one, replace(two, subjects=one.subjects)


def listed(answers: Answers) -> str:
    """The names in a sentence."""
    return f"({', '.join(answers.names)})"


def renamed(answers: Answers, names: tuple[str, ...]) -> Answers:
    """The same answers with their names in another order."""
    order = [answers.names.index(name) for name in names]
    if not answers.classes:
        return replace(
            answers, names=names, predictions=answers.predictions[:, order], targets=answers.targets[:, order]
        )
    place = np.argsort(order)  # the index that each class gets
    return replace(answers, names=names, predictions=place[answers.predictions], targets=place[answers.targets])
