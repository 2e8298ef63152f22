"""Pictures of how far answers can be trusted: reliability diagrams."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from mien.calibration.calibrated import BINS, calibration_error, reliability_bins
from mien.interfaces import Outputs
from mien.reports.plots import COLOURS, FAINT, INK, canvas, style_axis


def reliability(
    rows: Mapping[str, tuple[ArrayLike, ArrayLike]], task: Outputs, title: str = "", bins: int = BINS
) -> Figure:
    """How sure answers are, and whether they are right, by name -> accuracy over confidence, a panel per name.

    The gap to the mean confidence of a bin is coloured by its side. Below stands how many clips each bin holds.
    """
    figure = canvas(3.7 * len(rows), 4.6)
    grid = figure.add_gridspec(2, len(rows), height_ratios=[3.4, 1])
    width = 1 / bins
    over, under = ("too sure", "not sure enough") if task.exclusive else ("too high", "too low")
    share, sure, what = (
        ("accuracy", "confidence", "clips") if task.exclusive else ("share of yes", "probability", "cells")
    )
    for i, (name, (confidence, right)) in enumerate(rows.items()):
        found = reliability_bins(confidence, right, bins)
        left = np.floor(np.minimum(found.confidence, 1 - 1e-9) * bins) * width
        head = f"{title}, {name}" if title else name
        axis = style_axis(
            figure.add_subplot(grid[0, i]), f"{head}\nECE {calibration_error(confidence, right, bins):.3f}"
        )
        axis.bar(left, found.accuracy, width, align="edge", color=COLOURS[0], edgecolor="white", label=share)
        gap = found.confidence - found.accuracy
        bottom = np.minimum(found.accuracy, found.confidence)
        for chosen, colour, label in ((gap > 0, COLOURS[1], over), (gap <= 0, COLOURS[5], under)):
            axis.bar(
                left[chosen], np.abs(gap[chosen]), width, bottom[chosen], align="edge", color=colour, edgecolor="white",
                label=label,
            )  # fmt: skip
        axis.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1)
        axis.set(xlim=(0, 1), ylim=(0, 1), ylabel=share if i == 0 else "")
        axis.tick_params(labelbottom=False)
        below = style_axis(figure.add_subplot(grid[1, i]))
        below.bar(left, found.count, width, align="edge", color=FAINT, edgecolor="white")
        below.set(xlim=(0, 1), xlabel=sure, ylabel=what if i == 0 else "")
        if i == 0:
            axis.legend(frameon=False, fontsize=8.5, loc="upper left")
    return figure
