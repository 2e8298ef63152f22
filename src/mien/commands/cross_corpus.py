"""Evaluate a classifier on another corpus, whose classes may not be its own; every handling of the difference is given.

mien cross-corpus --model runs/crema_d --data.manifest ravdess.csv --merge calm=neutral

The classes that only one side has are counted as errors, dropped as rows, merged (--merge), or dropped as predictions
(labelled optimistic). The report says what each number left out. --rename gives the corpus's labels the model's names.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from mien.config import STRICT
from mien.engine import distributed
from mien.engine.checkpoint import ModelFolder
from mien.evaluation.cross_corpus import Handling, handlings
from mien.files import LOCK, remove_files, write_whole
from mien.inference.analyzer import load
from mien.interfaces import Clip
from mien.model_files import report_folder
from mien.names import write_csv
from mien.reports import plots
from mien.reports.evaluation_report import warnings
from mien.reports.page import Report
from mien.statistics import metrics
from mien.tasks.labels import canonical, label_text
from mien.training.data import DataConfig, load_clips, located, warn
from mien.training.partition import provenance
from mien.video.container import FrameLimit
from mien.video.views import ViewConfig

WRITTEN = ("cross.json", "report.html", "predictions.csv")
"""Its files, the one that is written last first."""


@dataclass(frozen=True, config=STRICT)
class Config(FrameLimit, distributed.ReaderOptions):
    """Options of ``mien cross-corpus``."""

    model: ModelFolder = Path("runs/finetune")
    """Folder of a fine-tuned or probed model."""
    output: Path | None = None
    """Folder for the report; by default the folder cross inside the model's."""
    data: DataConfig = DataConfig()
    column: str = ""
    """Column of the manifest that holds the class name; empty takes the one that the model was trained on."""
    rename: tuple[str, ...] = ()
    """Labels of the corpus in the model's words, as theirs=ours."""
    merge: tuple[str, ...] = ()
    """Classes to merge, as from=into, in answers and truth alike: calm=neutral."""
    views: ViewConfig = ViewConfig()


def writes(config: Config) -> Path | None:
    """The lock of the folder that is written; none where there is no model to write beside."""
    return folder_of(config) / LOCK if config.output or config.model.exists() else None


def folder_of(config: Config) -> Path:
    """Where the report goes."""
    return config.output or report_folder(config.model) / "cross"


def run(config: Config) -> list[dict[str, object]]:
    """Predict, evaluate under every handling, print and save; returns the rows of the table."""
    with distributed.session(config.device, config.matmul):
        analyzer = load(config.model, config.device)
        if not analyzer.outputs.exclusive:
            raise ValueError(
                f"{config.model} gives {analyzer.outputs.nouns}, not classes; mien evaluate measures it on any corpus"
            )
        clips = load_clips(config.data, config.workers)
        warn(config.data, clips, analyzer.card)
        own: Any = analyzer.config  # of exclusive outputs: it has a column of classes
        known = replace(own, column=config.column or own.column)
        column = located(known, clips).column
        labels = labels_of(clips, column, pairs(config.rename, "--rename"))
        touched = warnings(provenance(config.model, clips, config.workers))
        probabilities = analyzer.score_clips(clips, config.views, config.workers).mean
    merge = pairs(config.merge, "--merge")
    found = handlings(probabilities, analyzer.names, labels, merge)
    folder = folder_of(config)
    remove_files(folder, WRITTEN)
    save_answers(clips, labels, probabilities, analyzer.names, folder)
    return report(found, len(clips), config, folder, touched)


def pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """``from=into`` texts -> a map between canonical names."""
    found = {}
    for text in texts:
        one, _, other = text.partition("=")
        if not one or not other:
            raise ValueError(f"{option} {text!r}: write it as from=into, for example calm=neutral")
        found[canonical(one)] = canonical(other)
    return found


def labels_of(clips: Sequence[Clip], column: str, rename: dict[str, str]) -> list[str]:
    """The class of every clip in the model's words; a renaming that meets no clip is a mistake."""
    labels = [canonical(label_text(clip, column)) for clip in clips]
    absent = sorted(set(rename) - set(labels))
    if absent:
        raise ValueError(f"--rename {', '.join(absent)}: column {column!r} has {', '.join(sorted(set(labels)))}")
    return [rename.get(label, label) for label in labels]


def save_answers(
    clips: Sequence[Clip], labels: Sequence[str], probabilities: NDArray[np.float64], names: Sequence[str], folder: Path
) -> None:
    """One row per clip, before any handling."""
    table = pd.DataFrame(probabilities, columns=list(names))
    table.insert(0, "path", [clip.path for clip in clips])
    table.insert(1, "truth", list(labels))
    table.insert(2, "predicted", [names[i] for i in probabilities.argmax(1)])
    write_whole(folder / "predictions.csv", lambda path: write_csv(table, path))


def report(
    found: Sequence[Handling], clips: int, config: Config, folder: Path, touched: Sequence[str]
) -> list[dict[str, object]]:
    """Print the table; save it, with confusion matrices and what touches the numbers, as report.html and cross.json."""
    rows = [row_of(crossed) for crossed in found]
    width = max(len(crossed.name) for crossed in found)
    print(f"{config.model.name} on {config.data.manifest}, {clips} clips")
    print(f"{'handling':<{width}}   clips     UAR     WAR")
    for row in rows:
        print(f"{row['handling']:<{width}}  {row['clips']:>6}  {row['UAR']:>6.4f}  {row['WAR']:>6.4f}")
    for row in rows:
        print(f"  {row['handling']}: {row['note']}")
    for line in touched:
        print(f"  ! {line}")
    page = Report(f"{config.model.name} on {config.data.manifest}")
    page.text(
        "The same answers under every handling of classes that one side lacks. Name the handling with the number."
    )
    page.table(rows)
    for line in touched:
        page.text(f"! {line}")
    for crossed in found:
        page.heading(crossed.name)
        page.text(crossed.note)
        if len(crossed.kept):
            counts = metrics.confusion(crossed.predicted, crossed.truth, crossed.names)
            page.figure(plots.confusion_matrix(counts, crossed.names, "Rows: truth"))
    page.save(folder / "report.html")
    saved = json.dumps(rows, indent=2) + "\n"
    write_whole(folder / "cross.json", lambda path: path.write_text(saved))
    print(f"report in {folder / 'report.html'}")
    return rows


def row_of(crossed: Handling) -> dict[str, object]:
    """One row of the table; without a clip to count there is no number."""
    row: dict[str, object] = {"handling": crossed.name, "clips": len(crossed.kept)}
    nothing = {"UAR": float("nan"), "WAR": float("nan")}
    score = metrics.classification(crossed.predicted, crossed.truth, crossed.names) if len(crossed.kept) else nothing
    return row | {name: score[name] for name in nothing} | {"note": crossed.note.strip()}
