"""The files of an evaluation: predictions, figures, subgroups, the page, and, last, metrics.json.

evaluation = report(task, clips, predictions, targets, names, folder, ("sex", "age:30,45,60"))
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.evaluation import results
from mien.evaluation.results import Evaluation, display_name, formatted_metrics, summary_rows
from mien.files import remove_files, write_whole
from mien.interfaces import Clip, Outputs
from mien.names import write_csv
from mien.reports import figures
from mien.reports.document import Section, page, table
from mien.statistics.metrics import Array

METRICS = "metrics.json"
"""Says that an evaluation is whole."""
WRITTEN = (
    METRICS, "report.html", "predictions.csv", "subgroups.csv",
    *(f"{figure}.{end}" for figure in figures.FIGURES for end in ("png", "csv")),
    "majority.json", "trust.csv", "calibrated.csv", "reliability.png", "folds.csv", "radar.png",
)  # fmt: skip
"""Files of an evaluation, or of a cross-validation."""
Predictions = NDArray[np.float64]
"""Outputs (N, names)."""
Targets = Array
"""The truth (N, ...), as a task's config gives it."""
Notes = Mapping[str, Any]
"""What numbers have to carry, by name, as metrics.json holds it."""


def clear(folder: Path) -> None:
    """Remove the files of an earlier evaluation before another one is written there."""
    remove_files(folder, WRITTEN)


def report(
    task: Outputs, clips: Sequence[Clip], predictions: Predictions, targets: Targets, names: Sequence[str], folder: Path,
    subgroups: Sequence[str] = (), notes: Notes | None = None,
) -> Evaluation:  # fmt: skip
    """Evaluate predictions, print the metrics with their intervals and write everything into ``folder``.

    ``notes`` is what the numbers have to carry (``mien.training.partition.provenance``, ``warnings`` below).
    """
    evaluation = results.evaluate(task, clips, predictions, targets, names, folder, subgroups)
    print_summary(evaluation)
    write(evaluation, predictions, targets, names, notes=notes or {})
    return evaluation


def write(
    evaluation: Evaluation, predictions: Predictions, targets: Targets, names: Sequence[str],
    first: Sequence[Section] = (), notes: Notes | None = None,
) -> None:  # fmt: skip
    """Write predictions.csv, pictures, report.html and, last, metrics.json into the evaluation's folder.

    ``clear`` the folder first: where metrics.json stands, the whole is of one evaluation.
    """
    touched = warnings(notes or {})
    for line in touched:
        print(f"  ! {line}")
    folder = evaluation.folder
    write_whole(folder / "predictions.csv", lambda path: write_csv(evaluation.predictions, path))
    figures.draw(evaluation.task, predictions, targets, names, folder)
    save_page(evaluation, [*leading_sections(notes or {}, touched), *first])
    saved = (
        json.dumps({"clips": len(evaluation.predictions)} | evaluation.metrics_json() | dict(notes or {}), indent=2)
        + "\n"
    )
    write_whole(folder / METRICS, lambda path: path.write_text(saved))
    print(f"report in {folder}", flush=True)


def leading_sections(notes: Notes, touched: Sequence[str]) -> list[Section]:
    """The sections before the metrics: warnings, then which model on which clips."""
    warned = [*touched, *notes.get("cautions", [])]
    about = [{"what": name, "value": value} for name, value in notes.get("evaluated", {}).items()]
    about += [{"what": "began from", "value": source} for source in notes.get("sources", [])]
    sections = [Section("What touches these numbers", warnings=warned)] if warned else []
    return sections + ([Section("What was evaluated", rows=about)] if about else [])


def print_summary(evaluation: Evaluation) -> None:
    """Print the metrics with their intervals, and the subgroups."""
    found = formatted_metrics(evaluation.task, evaluation.overall)
    print(f"{evaluation.overall.clips} clips: " + ", ".join(f"{n} {text}" for n, text in found.items() if "." not in n))
    for name, text in found.items():
        if "." in name:
            print(f"  {display_name(evaluation.task, name):<23} {text}")
    print(evaluation.basis)
    print_subgroups(evaluation)


def print_subgroups(evaluation: Evaluation) -> None:
    """Print the subgroups."""
    for column, groups in evaluation.groups.items():
        print(f"\nby {column}\n{table(summary_rows(evaluation.task, column, groups))}")


def warnings(notes: Notes) -> list[str]:
    """Sentences on what affects every metric, or the use of the weights: leaks, clips left out, a choice on test clips, licences."""
    lines = [f"leak: {leak}" for leak in notes.get("leaks", [])]
    lines += [f"a training clip broke and is not in all of the training: {skip}" for skip in notes.get("skipped", [])]
    lines += [f"no commercial use: these weights began from {source}" for source in notes.get("no_commercial_use", [])]
    if notes.get("selection") == "best on test":
        lines.insert(0, "these weights were chosen on test clips: the numbers are the best of many, not a test")
    return lines


def save_page(evaluation: Evaluation, first: Sequence[Section] = ()) -> None:
    """Write subgroups.csv, where there are groups, and report.html: ``first``, then metrics and pictures of the folder."""
    folder, subgroups = evaluation.folder, evaluation.subgroups
    if len(subgroups):
        write_whole(folder / "subgroups.csv", lambda path: write_csv(subgroups, path))
    page("Evaluation", [*first, *sections(evaluation)]).save(folder / "report.html")


def sections(evaluation: Evaluation) -> list[Section]:
    """The page: all metrics, the picture, the subgroups."""
    rows = [
        {"metric": name, "value": text} for name, text in formatted_metrics(evaluation.task, evaluation.overall).items()
    ]
    pictures = [evaluation.folder / f"{name}.png" for name in (evaluation.task.figure, "reliability")]
    return [
        Section(f"{evaluation.overall.clips} clips", [evaluation.basis], rows),
        *(Section(picture.stem.capitalize(), picture=picture) for picture in pictures if picture.is_file()),
        *(
            Section(f"By {column}", rows=summary_rows(evaluation.task, column, groups))
            for column, groups in evaluation.groups.items()
        ),
    ]
