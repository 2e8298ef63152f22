"""Pictures of a timeline: curves over time with gaps as gaps, and a mosaic of the faces for quality control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mien.inference.timeline import Timeline
from mien.reports.curves import Curve, curves, palette, true_runs
from mien.reports.plots import FAINT, INK, canvas, escape_dollars, style_axis
from mien.reports.portraits import Portrait

MISSING = {"facecolor": "#f2f2f2", "edgecolor": "#d5d5d5", "hatch": "////", "linewidth": 0}
"""How stretches without the face look."""


def timeline_plot(timeline: Timeline) -> Figure:
    """A panel per face, drawn as the model's outputs ask for; hatched where the face was not seen."""
    drawn, panel = curves(timeline), PANELS[timeline.layout.outputs.curve]
    height = 0.22 * len(timeline.names) + 0.5 if panel is rows else 1.9
    figure = canvas(11, max(height * len(drawn), height) + 1.0)
    title = str(timeline.about.get("input", ""))
    if not drawn:
        axis = style_axis(figure.add_subplot(), title)
        axis.text(0.5, 0.5, "no face on any frame", ha="center", va="center", color=INK, transform=axis.transAxes)
        times = timeline.frames["timestamp"]
        ends = (float(times.min()), max(float(times.max()), float(times.min()) + 0.04))
        axis.axvspan(*ends, **MISSING)
        axis.set(xlabel="seconds", xlim=ends, yticks=[])
        return figure
    axes = figure.subplots(len(drawn), 1, sharex=True, squeeze=False)[:, 0]
    for axis, curve in zip(axes, drawn, strict=True):
        style_axis(axis, f"{title}, {curve.title}" if curve is drawn[0] else curve.title)
        panel(axis, curve, palette(timeline.names))
        mark_unseen(axis, curve)
    axes[-1].set_xlabel("seconds")
    handles, labels = axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, frameon=False, fontsize=9, loc="outside right upper")
    else:
        figure.colorbar(axes[0].collections[0], ax=list(axes), label="probability", pad=0.01)
    return figure


def stacked(axis: Axes, curve: Curve, colours: dict[str, str]) -> None:
    """Probabilities on top of one another; they sum to 1."""
    axis.stackplot(
        curve.time,
        list(curve.values.values()),
        labels=[escape_dollars(name) for name in curve.values],
        colors=[colours[name] for name in curve.values],
        linewidth=0,
    )
    axis.set(ylim=(0, 1), ylabel="probability")


def lines(axis: Axes, curve: Curve, colours: dict[str, str]) -> None:
    """Values as lines with their bands."""
    for name, values in curve.values.items():
        axis.fill_between(curve.time, curve.low[name], curve.high[name], color=colours[name], alpha=0.18, linewidth=0)
        axis.plot(curve.time, values, color=colours[name], linewidth=1.6, label=escape_dollars(name))
    axis.grid(alpha=0.2)
    axis.set_ylabel("value")


def rows(axis: Axes, curve: Curve, colours: dict[str, str]) -> None:
    """A row per label, as dark as its probability; any number of them can be told apart."""
    half = (curve.time[1] - curve.time[0]) / 2 if len(curve.time) > 1 else 0.02
    edges = np.append(curve.time - half, curve.time[-1] + half)
    names = list(curve.values)
    shades = np.stack([curve.values[name] for name in names])
    axis.pcolormesh(edges, np.arange(len(names) + 1) - 0.5, np.ma.masked_invalid(shades), cmap="Blues", vmin=0, vmax=1)
    axis.hlines(np.arange(1, len(names)) - 0.5, edges[0], edges[-1], color="white", linewidth=1.5)
    axis.set_yticks(range(len(names)), [escape_dollars(name) for name in names])
    axis.invert_yaxis()
    axis.tick_params(axis="y", length=0)


PANELS = {"stacked": stacked, "lines": lines, "rows": rows}
"""What ``Outputs.curve`` may name."""


def mark_unseen(axis: Axes, curve: Curve) -> None:
    """Hatch where the face was not seen; a red line below where an answer is unreliable."""
    half = (curve.time[1] - curve.time[0]) / 2 if len(curve.time) > 1 else 0.02
    for first, end in true_runs(~curve.seen):
        axis.axvspan(curve.time[first] - half, curve.time[end - 1] + half, **MISSING)
    for first, end in true_runs(curve.unreliable):
        ends = (curve.time[first] - half, curve.time[end - 1] + half)
        axis.plot(
            ends, (0, 0), color="#c1121f", linewidth=5, solid_capstyle="butt", transform=axis.get_xaxis_transform()
        )
    axis.set_xlim(curve.time[0] - half, curve.time[-1] + half)


def mosaic(portraits: Mapping[int, Sequence[Portrait]], side: int = 96) -> NDArray[np.uint8]:
    """Faces over time, a line per face, to see at a glance what the model was shown -> (H, W, 3).

    Under each stand its second and confidence; bridged faces and faint detections are framed in red.
    """
    font, left, gap, below = ImageFont.load_default(12), 64, 4, 18
    widest = max((len(p) for p in portraits.values()), default=1)
    lines = max(len(portraits), 1)
    size = (left + widest * (side + gap) + gap, lines * (side + below + gap) + gap)
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    if not portraits:
        draw.text((gap, gap), "no face", fill=INK, font=font)
    for line, (face, shown) in enumerate(sorted(portraits.items())):
        top = gap + line * (side + below + gap)
        draw.text((gap + 2, top + side // 2), f"face {face}", fill=INK, font=font, anchor="lm")
        for column, portrait in enumerate(shown):
            place = (left + column * (side + gap), top)
            picture.paste(Image.fromarray(portrait.picture).resize((side, side)), place)
            words = f"{portrait.time:.1f} s" + ("" if np.isnan(portrait.confidence) else f"  {portrait.confidence:.2f}")
            draw.text((place[0] + 1, top + side + 2), words, fill="#c1121f" if portrait.doubtful else FAINT, font=font)
            if portrait.doubtful:
                draw.rectangle((*place, place[0] + side - 1, top + side - 1), outline="#c1121f", width=2)
    return np.asarray(picture)
