"""A radar plot: the recall of each class or the concordance of each target, several results overlaid."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.projections.polar import PolarAxes

from mien.reports.plots import DPI, FAINT, INK, escape_dollars, line_styles

FEWEST = 3
"""Spokes below which there is no area to see."""

SIDE, MARGIN = 4.2, 0.15
"""Diameter of the circle and paper around everything, in inches."""


def radar(
    results: Mapping[str, Mapping[str, float]],
    spokes: Sequence[str],
    title: str = "",
    percent: bool = True,
    ours: Collection[str] = (),
) -> Figure:
    """Result -> {spoke: value}: one closed line per result, its own colour; those in ``ours`` are solid, a single one filled.

    Values are shares, shown in percent, or with ``percent=False`` plain numbers such as CCC, and then may be negative.
    A spoke without a value is a gap in the line. Fewer than three spokes raise ``ValueError``.
    """
    if len(spokes) < FEWEST:
        raise ValueError(f"{len(spokes)} spokes ({', '.join(spokes)}) make no radar plot; it takes at least {FEWEST}")
    figure = Figure(figsize=(7, 7), dpi=DPI)
    axis = figure.add_subplot(projection="polar")
    assert isinstance(axis, PolarAxes)
    axis.set_position((0.2, 0.2, SIDE / 7, SIDE / 7))
    angles = 2 * np.pi * np.arange(len(spokes) + 1) / len(spokes)
    for (name, values), (colour, line) in zip(results.items(), line_styles(), strict=False):
        reach = np.array([values.get(spoke, np.nan) for spoke in (*spokes, spokes[0])], dtype=float)
        own = name in ours
        style = {"linestyle": line if own else "--", "linewidth": 2.2 if own else 1.5, "zorder": 3 if own else 2}
        axis.plot(
            angles,
            reach,
            color=colour,
            marker="o",
            markersize=4 if own else 3,
            label=escape_dollars(name),
            clip_on=False,
            **style,
        )
        if own and len(ours) == 1 and np.isfinite(reach).all():
            axis.fill(angles, reach, color=colour, alpha=0.10, linewidth=0)
    draw_rings(axis, results, percent)
    name_spokes(axis, angles[:-1], spokes)
    axis.set_title(escape_dollars(title), loc="left", fontsize=11, fontweight="bold", color=INK, pad=26)
    fit_paper(figure, axis)
    return figure


def draw_rings(axis: PolarAxes, results: Mapping[str, Mapping[str, float]], percent: bool) -> None:
    """Rings from 0, or the ring below the lowest value, to the ring above the highest; labelled between two spokes."""
    values = [v for row in results.values() for v in row.values() if np.isfinite(v)]
    low, high = min(0, np.floor(min(values, default=0) * 5)), max(1, np.ceil(max(values, default=1) * 5))
    rings = np.arange(low + 1, high + 1) / 5
    axis.set_ylim(low / 5, high / 5)
    axis.set_yticks(rings, [f"{ring:.0%}" if percent else f"{ring:.1f}" for ring in rings])
    axis.tick_params(axis="y", labelsize=7.5, labelcolor=FAINT)
    for label in axis.get_yticklabels():
        label.set_path_effects([withStroke(linewidth=2, foreground="white")])
    axis.grid(color=FAINT, alpha=0.35, linewidth=0.8)
    axis.spines["polar"].set_color(FAINT)


def name_spokes(axis: PolarAxes, angles: np.ndarray, spokes: Sequence[str]) -> None:
    """Names around the circle, the first on top, going clockwise, each reading away from the circle."""
    axis.set_theta_zero_location("N")
    axis.set_theta_direction(-1)
    axis.set_rlabel_position(float(np.rad2deg(angles[1] / 2)))
    axis.set_xticks(angles, list(map(escape_dollars, spokes)))
    axis.tick_params(axis="x", labelsize=10, labelcolor=INK, pad=3)
    for label, angle in zip(axis.get_xticklabels(), angles, strict=True):
        across = np.sin(angle)
        label.set_horizontalalignment("left" if across > 0.1 else "right" if across < -0.1 else "center")


def fit_paper(figure: Figure, axis: PolarAxes) -> None:
    """The legend right of the longest name, and the paper as large as all that is drawn; layout engines do neither."""
    figure.draw_without_rendering()
    circle = axis.get_window_extent()
    right = max(label.get_window_extent().x1 for label in axis.get_xticklabels())
    if axis.get_lines():
        edge = (right - circle.x0) / circle.width + 0.05
        axis.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(edge, 1.0), borderaxespad=0)
    figure.draw_without_rendering()
    drawn = axis.get_tightbbox()
    assert drawn is not None
    x0, y0, wide, high = (pixels / DPI for pixels in (drawn.x0, drawn.y0, drawn.width, drawn.height))
    size = wide + 2 * MARGIN, high + 2 * MARGIN
    place = circle.x0 / DPI - x0 + MARGIN, circle.y0 / DPI - y0 + MARGIN
    figure.set_size_inches(*size)
    axis.set_position((place[0] / size[0], place[1] / size[1], SIDE / size[0], SIDE / size[1]))
