"""The figure of an evaluation, by the kind that a task's outputs name, and the numbers behind it as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mien.files import write_whole
from mien.interfaces import Outputs
from mien.names import write_csv
from mien.reports import plots
from mien.statistics import metrics
from mien.statistics.metrics import MAJORITY, Array

Drawn = tuple[Figure, pd.DataFrame | None]
"""A figure, and a table with the names of the outputs as its index."""


def draw(task: Outputs, outputs: Array, targets: Array, names: Sequence[str], folder: Path) -> None:
    """Write the figure of an evaluation, named after its kind, as PNG, and its table, if there is one, as CSV."""
    figure, table = FIGURES[task.figure](outputs, targets, names)
    plots.save(figure, folder / f"{task.figure}.png")
    if table is not None:
        write_whole(folder / f"{task.figure}.csv", lambda path: write_csv(table, path, index=True))


def confusion(outputs: Array, targets: Array, names: Sequence[str]) -> Drawn:
    """The confusion matrix."""
    counts = metrics.confusion(outputs, targets, names)
    figure = plots.confusion_matrix(counts, names, "Rows: truth")
    return figure, pd.DataFrame(counts, index=list(names), columns=list(names))


def scatter(outputs: Array, targets: Array, names: Sequence[str]) -> Drawn:
    """Values against the truth."""
    return plots.scatter(outputs, targets, names), None


def labels(outputs: Array, targets: Array, names: Sequence[str]) -> Drawn:
    """Every label's metrics, each beside what the majority gets."""
    found = metrics.labels(outputs, targets, names)
    rows = {name: {m: found[f"{m}.{name}"] for m in metrics.LABEL_METRICS} for name in names}
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.insert(0, "clips", (targets != metrics.UNKNOWN).sum(axis=0))
    return label_bars(table, found), table


def label_bars(table: pd.DataFrame, means: dict[str, float]) -> Figure:
    """A row per label: its share of yes, then F1, AUC and accuracy as bars, with a line where the majority ends."""
    count, longest = len(table), max(map(len, table.index))
    figure = plots.canvas(0.075 * longest + 9.2, 0.3 * count + 1.5)
    panels = figure.subplots(1, 4, sharey=True)
    places = np.arange(count)
    for axis, metric in zip(panels, ("rate", "F1", "AUC", "accuracy"), strict=True):
        head = "share of yes" if metric == "rate" else f"{metric}, mean {means[metric]:.2f}"
        plots.style_axis(axis, head)
        values, reach = table[metric].to_numpy(float), table[metric].to_numpy(float)
        colour = plots.FAINT if metric == "rate" else plots.COLOURS[0]
        axis.barh(places, np.nan_to_num(values), color=colour, height=0.62)
        if metric != "rate":
            ends = table[f"{metric}{MAJORITY}"].to_numpy(float)
            axis.vlines(ends, places - 0.42, places + 0.42, color=plots.COLOURS[1], linewidth=2, label="majority")
            reach = np.fmax(values, ends)
        for place, value, at in zip(places, values, reach, strict=True):
            text = f"{value:.2f}" if np.isfinite(value) else "absent"
            axis.text(np.nan_to_num(at) + 0.02, place, text, va="center", fontsize=8, color=plots.INK)
        axis.set(xlim=(0, 1.18), xticks=(0, 0.5, 1))
        axis.tick_params(axis="y", length=0)
    panels[0].set_yticks(places, list(map(plots.escape_dollars, table.index)))
    panels[0].invert_yaxis()
    figure.legend(*panels[1].get_legend_handles_labels(), frameon=False, fontsize=9, loc="outside lower right")
    return figure


FIGURES: dict[str, Callable[[Array, Array, Sequence[str]], Drawn]] = {
    "confusion": confusion,
    "scatter": scatter,
    "labels": labels,
}
"""What ``Outputs.figure`` may name."""
