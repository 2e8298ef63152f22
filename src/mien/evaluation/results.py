"""The metrics of an evaluation with confidence intervals over subjects, also of subgroups.

evaluation = evaluate(task, clips, predictions, targets, names, folder, ("sex", "age:30,45,60"))
print_summary(evaluation)                 # of mien.reports.evaluation_report, as is save_page
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mien.evaluation.subgroups import Group, group, is_blank, rows_by_group, subgroups
from mien.interfaces import Clip, Outputs
from mien.statistics.intervals import LEVEL, RESAMPLES, Interval, min_subjects
from mien.statistics.metrics import MAJORITY, Array
from mien.statistics.predictions import LEAVES, parse_number, predictions_of

SUBJECT = "subject"
TIMES = ("start", "end")
RESERVED = ("path", "truth", "predicted", SUBJECT, *TIMES)
"""Columns of predictions.csv besides scores and subgroups."""
IDENTIFIERS = (SUBJECT, "fold", "session", "actor", "id")
"""Columns in which numbers are names, which make no bands."""


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """The metrics of a model on labelled clips."""

    task: Outputs
    overall: Group
    groups: dict[str, list[Group]]
    """Groups by column."""
    basis: str
    """What the intervals rest on, in a sentence."""
    predictions: pd.DataFrame
    """A row per clip: outputs, truth, and what tells clips apart."""
    folder: Path
    """Where it is, or will be, written."""

    @property
    def metrics(self) -> dict[str, Interval]:
        """The metrics with their intervals, also those of single names (``recall.anger``)."""
        return self.overall.metrics

    @property
    def table(self) -> pd.DataFrame:
        """A row per metric: value, and the interval from low to high."""
        return pd.DataFrame({name: asdict(i) for name, i in self.metrics.items()}).T

    @property
    def subgroups(self) -> pd.DataFrame:
        """A row per subgroup with its metrics and their bounds, as in subgroups.csv; empty where none were asked for."""
        return pd.DataFrame([subgroup_row(column, group) for column, groups in self.groups.items() for group in groups])

    def __repr__(self) -> str:
        metrics = ", ".join(
            f"{name} {text}" for name, text in formatted_metrics(self.task, self.overall).items() if "." not in name
        )
        return f"Evaluation({self.overall.clips} clips: {metrics})"

    @property
    def scores(self) -> dict[str, float]:
        """The metrics alone, without those that only single names have, and without what could not be measured."""
        values = {
            n: i.value
            for n, i in self.overall.metrics.items()
            if n.partition(".")[0] not in per_name_metrics(self.task)
        }
        return {name: value for name, value in values.items() if not math.isnan(value)}

    def metrics_json(self) -> dict[str, object]:
        """What metrics.json holds; None is a metric that could not be measured, as the recall of an absent class."""
        values = {n: None if math.isnan(i.value) else i.value for n, i in self.overall.metrics.items()}
        parts = {
            metric: {n.partition(".")[2]: values.pop(n) for n in list(values) if n.startswith(f"{metric}.")}
            for metric in per_name_metrics(self.task)
        }
        bounds = {n: [i.low, i.high] for n, i in self.overall.metrics.items() if math.isfinite(i.low)}
        intervals = {"level": LEVEL, "basis": self.basis, "bounds": bounds}
        return {"task": self.task.kind, **values, **parts, "intervals": intervals}


def evaluate(
    task: Outputs, clips: Sequence[Clip], outputs: NDArray[np.float64], targets: Array, names: Sequence[str],
    folder: Path, columns: Sequence[str] = (), kept: Sequence[str] = (),
) -> Evaluation:  # fmt: skip
    """Outputs (N, names) and truth (N, ...) of clips, and the ``columns`` of ``--subgroups`` -> metrics with intervals.

    Clips are clustered by the column ``subject`` if there is one. The table of predictions has, besides those of the
    subgroups, the columns ``kept`` of the manifest.
    """
    cells = [clip.columns.get(SUBJECT) for clip in clips]
    checked = predictions_of(task, outputs, targets, names, cluster_names(cells))
    table = predictions_table(task, clips, outputs, targets, names, (*columns, *kept))
    overall = group("all", checked, RESAMPLES, LEVEL, 0)
    groups = {parse_subgroup(given)[0]: subgroups(checked, subgroup_rows(clips, given)) for given in columns}
    return Evaluation(task, overall, groups, interval_basis(cells), table, folder)


def per_name_metrics(task: Outputs) -> list[str]:
    """Metrics that single names have and all together have not, as the recall of a class."""
    return [metric for metric in task.by_name if metric not in task.metrics]


def formatted_metrics(task: Outputs, found: Group) -> dict[str, str]:
    """Metrics with their intervals as texts, and beside them the majority baseline where there is one."""
    texts = {}
    for name, interval in found.metrics.items():
        metric, dot, part = name.partition(".")
        if metric in (task.by_name if dot else task.metrics):
            always = found.metrics.get(f"{metric}{MAJORITY}{dot}{part}")
            more = "" if always is None or math.isnan(always.value) else f" (majority {always.value:.4f})"
            texts[name] = format_interval(interval) + more
    return texts


def display_name(task: Outputs, name: str) -> str:
    """``recall.anger`` -> recall anger; metrics that are also measured over all names, as ``CCC.valence``, stay."""
    metric, dot, part = name.partition(".")
    return f"{metric} {part}" if dot and metric in per_name_metrics(task) else name


def subgroup_rows(clips: Sequence[Clip], given: str) -> dict[str, Array]:
    """One of ``--subgroups``, a column or a column with edges -> row numbers of the clips by group name."""
    column, edges = parse_subgroup(given)
    most = math.inf if column in IDENTIFIERS else 8
    try:
        return rows_by_group([clip.columns.get(column) for clip in clips], edges, most)
    except ValueError as error:
        raise ValueError(f"--subgroups {given}: {error}") from error


def cluster_names(cells: Sequence[object]) -> list[str] | None:
    """Cells of the column ``subject`` -> whom to cluster by; a clip without one stands for itself, as all do for None."""
    if all(map(is_blank, cells)):
        return None
    return [f"clip {i}" if is_blank(cell) else f"subject {str(cell).strip()}" for i, cell in enumerate(cells)]


def interval_basis(cells: Sequence[object], draws: int = RESAMPLES) -> str:
    """What intervals of clips with these cells in the column ``subject`` rest on, in a sentence."""
    unknown, level = sum(map(is_blank, cells)), f"{100 * LEVEL:.0f} %"
    named = len({str(cell).strip() for cell in cells if not is_blank(cell)})
    whom = " and ".join([f"{named} subjects"] * bool(named) + [f"{unknown} clips without a subject"] * bool(unknown))
    if named + unknown < min_subjects():
        return f"no intervals: {whom}, and {level} needs at least {min_subjects()}"
    alone = "" if named else ", taken as independent because no column 'subject' says who is seen"
    return f"{level} intervals: bootstrap over {whom}{alone}; {draws:,} draws"


def parse_subgroup(given: str) -> tuple[str, list[float]]:
    """``age`` or ``age:30,45`` -> column and edges of its bands."""
    column, colon, edges = given.rpartition(":")
    values = [parse_number(text) for text in edges.split(",")]
    return (column, values) if colon and all(map(math.isfinite, values)) else (given, [])


def require_columns(clips: Sequence[Clip], columns: Sequence[str], names: Sequence[str]) -> None:
    """Every column of ``--subgroups`` exists and does not stand in the way of others, or ``ValueError``."""
    known = dict.fromkeys(name for clip in clips for name in clip.columns)
    for column in (parse_subgroup(given)[0] for given in columns):
        if column not in known:
            raise ValueError(f"--subgroups {column}: no such column; there are {', '.join(known) or 'none'}")
        if column in names or column in (*RESERVED[:3], *(f"{name}_truth" for name in names)):
            raise ValueError(f"--subgroups {column}: predictions.csv has a column of that name; rename the manifest's")


def predictions_table(
    task: Outputs,
    clips: Sequence[Clip],
    outputs: NDArray[np.float64],
    targets: Array,
    names: Sequence[str],
    columns: Sequence[str],
) -> pd.DataFrame:
    """The table of predictions: outputs (N, names), the truth, and what tells its clips apart.

    That is the times, the subject and the columns of the subgroups.
    """
    columns_of = LEAVES[task.form].columns(outputs, targets, names)
    table = pd.DataFrame({"path": [clip.path for clip in clips]} | columns_of)
    known = {name: [getattr(clip, name) for clip in clips] for name in TIMES}
    for name in dict.fromkeys([SUBJECT, *(parse_subgroup(given)[0] for given in columns)]):
        known[name] = [clip.columns.get(name) for clip in clips]
    for name, cells in known.items():
        if not all(map(is_blank, cells)) and name not in table:
            table[name] = cells
    return table


def format_interval(interval: Interval) -> str:
    """A metric with its interval, as far as there is one."""
    if math.isnan(interval.value):
        return "absent from these clips"
    bounds = f" [{interval.low:.4f}, {interval.high:.4f}]" if math.isfinite(interval.low) else ""
    return f"{interval.value:.4f}{bounds}"


def summary_rows(task: Outputs, column: str, groups: Sequence[Group]) -> list[dict[str, object]]:
    """A line per group with the metrics of short tables; subgroups.csv has all."""
    return [
        {
            column: one.name,
            "clips": one.clips,
            "subjects": one.subjects,
            **{name: text for name, text in formatted_metrics(task, one).items() if name in task.shown},
            **({"absent": ", ".join(one.absent)} if any(other.absent for other in groups) else {}),
        }
        for one in groups
    ]


def subgroup_row(column: str, one: Group) -> dict[str, object]:
    """A line of subgroups.csv: every metric with its bounds."""
    values = {
        name + end: value
        for name, i in one.metrics.items()
        for end, value in (("", i.value), ("_low", i.low), ("_high", i.high))
    }
    about = {"column": column, "group": one.name, "clips": one.clips, "subjects": one.subjects}
    return {**about, **values, "absent": "; ".join(one.absent)}
