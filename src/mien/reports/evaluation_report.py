"""The files of an evaluation: predictions, figures, subgroups, the page, and, last, metrics.json.

marks = report(task, clips, predictions, targets, names, folder, ("sex", "age:30,45,60"))
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mien.evaluation import results
from mien.evaluation.results import Marks, brief, full, listed, spaced
from mien.files import withdraw, write_whole
from mien.interfaces import Clip, Outputs
from mien.names import write_csv
from mien.reports import figures
from mien.reports.document import Section, page, table

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
Targets = NDArray[Any]
"""The truth (N, ...), as a task's config gives it."""


def clear(folder: Path) -> None:
    """Remove what an evaluation left in a folder before another one is written there."""
    withdraw(folder, WRITTEN)


def report(
    task: Outputs, clips: Sequence[Clip], predictions: Predictions, targets: Targets, names: Sequence[str], folder: Path,
    subgroups: Sequence[str] = (), notes: Mapping[str, Any] | None = None,
) -> Marks:  # fmt: skip
    """Mark predictions, print the metrics with their intervals and write everything into ``folder``.

    ``notes`` is what the numbers have to carry (``mien.training.partition.provenance``, ``warnings`` below).
    """
    marks = results.mark(task, clips, predictions, targets, names, subgroups)
    tell(marks)
    write(marks, clips, predictions, targets, names, folder, subgroups, notes=notes or {})
    return marks


def write(
    marks: Marks, clips: Sequence[Clip], predictions: Predictions, targets: Targets, names: Sequence[str], folder: Path,
    kept: Sequence[str] = (), first: Sequence[Section] = (), notes: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Write predictions.csv with the ``kept`` columns of the manifest, pictures, report.html and, last, metrics.json.

    ``clear`` the folder first: where metrics.json stands, the whole is of one evaluation.
    """
    touched = warnings(dict(notes or {}))
    for line in touched:
        print(f"  ! {line}")
    predicted = results.predictions(marks.task, clips, predictions, targets, names, kept)
    write_whole(folder / "predictions.csv", lambda path: write_csv(predicted, path))
    figures.draw(marks.task, predictions, targets, names, folder)
    save_page(marks, folder, [*context(notes or {}, touched), *first])
    saved = json.dumps({"clips": len(clips)} | marks.saved() | dict(notes or {}), indent=2) + "\n"
    write_whole(folder / METRICS, lambda path: path.write_text(saved))
    print(f"report in {folder}", flush=True)


def context(notes: Mapping[str, Any], touched: Sequence[str]) -> list[Section]:
    """What stands before the numbers: what touches them, which model, which clips."""
    warned = [*touched, *notes.get("cautions", [])]
    about = [{"what": name, "value": value} for name, value in notes.get("evaluated", {}).items()]
    sections = [Section("What touches these numbers", warnings=warned)] if warned else []
    return sections + ([Section("What was evaluated", rows=about)] if about else [])


def tell(marks: Marks) -> None:
    """Print the metrics with their intervals, and the subgroups."""
    found = listed(marks.task, marks.whole)
    print(f"{marks.whole.clips} clips: " + ", ".join(f"{n} {text}" for n, text in found.items() if "." not in n))
    for name, text in found.items():
        if "." in name:
            print(f"  {spaced(marks.task, name):<23} {text}")
    print(marks.basis)
    tell_parts(marks)


def tell_parts(marks: Marks) -> None:
    """Print the subgroups."""
    for column, groups in marks.parts.items():
        print(f"\nby {column}\n{table(brief(marks.task, column, groups))}")


def warnings(notes: dict[str, Any]) -> list[str]:
    """The notes that touch every number, as sentences."""
    lines = [f"leak: {leak}" for leak in notes.get("leaks", [])]
    lines += [f"a training clip broke and is not in all of the training: {skip}" for skip in notes.get("skipped", [])]
    if notes.get("selection") == "best on test":
        lines.insert(0, "these weights were chosen on test clips: the numbers are the best of many, not a test")
    return lines


def save_page(marks: Marks, folder: Path, first: Sequence[Section] = ()) -> None:
    """Write subgroups.csv, where there are groups, and report.html: ``first``, then marks and pictures of the folder."""
    rows = [full(column, group) for column, groups in marks.parts.items() for group in groups]
    if rows:
        write_whole(folder / "subgroups.csv", lambda path: write_csv(pd.DataFrame(rows), path))
    page("Evaluation", [*first, *sections(marks, folder)]).save(folder / "report.html")


def sections(marks: Marks, folder: Path) -> list[Section]:
    """The page: all metrics, the picture, the subgroups."""
    rows = [{"metric": name, "value": text} for name, text in listed(marks.task, marks.whole).items()]
    pictures = [folder / f"{name}.png" for name in (marks.task.figure, "reliability")]
    return [
        Section(f"{marks.whole.clips} clips", [marks.basis], rows),
        *(Section(picture.stem.capitalize(), picture=picture) for picture in pictures if picture.is_file()),
        *(Section(f"By {column}", rows=brief(marks.task, column, groups)) for column, groups in marks.parts.items()),
    ]
