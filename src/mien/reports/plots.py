"""Pictures of runs and results. Every plot is a Figure of its own; nothing touches pyplot's global state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from mien.files import write_whole

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666")
"""Okabe and Ito's palette: told apart by colour-blind readers too."""

INK, FAINT, DPI = "#333333", "#999999", 120


def axes(width: float, height: float, title: str = "") -> tuple[Figure, Axes]:
    """A figure of ``width`` x ``height`` inches with one plain axis."""
    figure = canvas(width, height)
    return figure, style_axis(figure.add_subplot(), title)


def canvas(width: float, height: float) -> Figure:
    """An empty figure of ``width`` x ``height`` inches that keeps its labels off the edge."""
    layout = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09)
    return Figure(figsize=(width, height), dpi=DPI, layout=layout)


def style_axis(axis: Axes, title: str = "") -> Axes:
    """Title on the left, two spines, quiet ticks."""
    axis.set_title(escape_dollars(title), loc="left", fontsize=11, fontweight="bold", color=INK, pad=9)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["bottom", "left"]].set_color(FAINT)
    axis.tick_params(labelsize=9, color=FAINT, labelcolor=INK)
    for side in (axis.xaxis, axis.yaxis):
        side.label.set(fontsize=10, color=INK)
    return axis


def escape_dollars(text: str) -> str:
    """Text that matplotlib shows as it is, dollars too."""
    return text.replace("$", r"\$")


def line_styles() -> Iterator[tuple[str, str]]:
    """Colours and line styles without end: once round the palette the lines become dashed, then dotted."""
    return ((colour, line) for line in cycle(("-", "--", ":")) for colour in COLOURS)


def png(figure: Figure) -> bytes:
    """A figure as PNG."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    write_whole(path, lambda beside: beside.write_bytes(png(figure)))


def confusion_matrix(counts: ArrayLike, names: Sequence[str], title: str = "") -> Figure:
    """Counts (C, C), rows are the truth: coloured by share of the row, the recall at the right edge."""
    table = np.asarray(counts)
    if table.shape != (len(names), len(names)):
        raise ValueError(f"counts {table.shape} do not fit {len(names)} names")
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    longest, side = max(map(len, names)), 0.62 * len(names)
    width = max(side + 0.075 * longest + 2.0, 0.105 * len(title) + 0.09 * longest)
    figure, axis = axes(width, side + 0.055 * longest + 1.3, title)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        text = f"{share:.0%}\n{table[row, column]}"
        colour = "white" if share > 0.55 else INK if share else FAINT
        axis.text(column, row, text, ha="center", va="center", fontsize=7.5, color=colour, linespacing=1.3)
    places = range(len(names))
    axis.set_xticks(places, list(map(escape_dollars, names)), rotation=40, ha="right", rotation_mode="anchor")
    axis.set_yticks(places, list(map(escape_dollars, names)))
    axis.set(xlabel="predicted", ylabel="truth")
    recall_edge(axis, [f"{shares[i, i]:.0%}" if table[i].sum() else "absent" for i in places])
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    return figure


def recall_edge(axis: Axes, recalls: Sequence[str]) -> None:
    """The recall of each row at the right of a confusion matrix."""
    right = axis.secondary_yaxis("right")
    right.set_yticks(range(len(recalls)), list(recalls))
    right.tick_params(length=0, labelsize=9, labelcolor=INK)
    right.spines[:].set_visible(False)
    right.set_ylabel("recall", fontsize=10, color=INK)


def curves(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    xlabel: str,
    ylabel: str,
    title: str = "",
    smooth: int | None = None,
) -> Figure:
    """Curves (x, y) by name: raw values faint, their mean over the last ``smooth`` points strong.

    By default a 25th of the curve is smoothed over. Points that are not finite are left out.
    """
    figure, axis = axes(6.4, 3.6, title)
    for (name, (x, y)), (colour, line) in zip(series.items(), line_styles(), strict=False):
        steps, values = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        kept = np.isfinite(values)
        steps, values = steps[kept], values[kept]
        axis.plot(steps, values, color=colour, alpha=0.22, linewidth=1)
        mean = running_mean(values, smooth or max(1, len(values) // 25))
        axis.plot(steps, mean, color=colour, linestyle=line, linewidth=1.9, label=escape_dollars(name))
    axis.set_xlabel(escape_dollars(xlabel))
    axis.set_ylabel(escape_dollars(ylabel))
    axis.grid(alpha=0.2)
    if series:
        axis.legend(frameon=False, fontsize=9)
    return figure


def running_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Mean of each value and the ``window - 1`` before it, as many as there are: (N,) -> (N,)."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def scatter(predictions: ArrayLike, targets: ArrayLike, names: Sequence[str]) -> Figure:
    """Truth against prediction (N, K), a square panel per target, with the line of perfect agreement."""
    from mien.statistics.metrics import concordance  # brings scikit-learn, which pictures of pre-training do not need

    values, truth = np.asarray(predictions, dtype=float), np.asarray(targets, dtype=float)
    across = min(4, len(names))
    down = -(-len(names) // across)
    figure = canvas(3.3 * across, 3.7 * down)
    for i, (name, ccc) in enumerate(zip(names, concordance(values, truth), strict=True)):
        axis = style_axis(figure.add_subplot(down, across, i + 1), f"{name}\nCCC {ccc:.3f}")
        both = np.stack([truth[:, i], values[:, i]])
        margin = 0.04 * np.ptp(both) or 0.5
        ends = (both.min() - margin, both.max() + margin)
        axis.plot(ends, ends, color=FAINT, linewidth=1)
        axis.scatter(*both, s=10, alpha=0.45, color=COLOURS[0], linewidths=0)
        axis.set(xlabel="truth", ylabel="predicted", xlim=ends, ylim=ends, aspect="equal")
        axis.locator_params(nbins=5)
    return figure


def bars(values: Mapping[str, float], title: str = "", unit: str = "") -> Figure:
    """Horizontal bars by name, the first on top; negative values reach to the left."""
    figure, axis = axes(5.6, 0.9 + 0.34 * len(values), title)
    drawn = axis.barh(range(len(values)), list(values.values()), color=COLOURS[0], height=0.62)
    axis.bar_label(drawn, fmt="%.2f", padding=3, fontsize=8.5, color=INK)
    axis.set_yticks(range(len(values)), list(map(escape_dollars, values)))
    axis.invert_yaxis()
    axis.set_xlabel(escape_dollars(unit))
    if min(values.values(), default=0.0) < 0:
        axis.axvline(0, color=FAINT, linewidth=1)
    axis.margins(x=0.14)
    axis.tick_params(axis="y", length=0)
    return figure


def comparison(
    groups: Mapping[str, Mapping[str, float]],
    title: str = "",
    chance: float | None = None,
) -> Figure:
    """Grouped bars: metric -> {run: share in [0, 1]}; a run may lack a metric; a dashed line marks chance."""
    runs = list(dict.fromkeys(run for values in groups.values() for run in values))
    width = 0.8 / max(len(runs), 1)
    figure, axis = axes(max(5.0, 1.4 + 0.55 * len(runs) * len(groups)), 3.6, title)
    for i, (run, (colour, _)) in enumerate(zip(runs, line_styles(), strict=False)):
        places = np.arange(len(groups)) + (i - (len(runs) - 1) / 2) * width
        shares = [values.get(run, np.nan) for values in groups.values()]
        drawn = axis.bar(places, shares, width * 0.92, color=colour, label=escape_dollars(run))
        axis.bar_label(drawn, [f"{s:.0%}" if np.isfinite(s) else "" for s in shares], fontsize=8.5, color=INK)
    if chance is not None:
        axis.axhline(chance, color=INK, linestyle="--", linewidth=1, label=f"chance {chance:.0%}")
    axis.set_xticks(range(len(groups)), list(map(escape_dollars, groups)))
    axis.set_yticks(np.linspace(0, 1, 6), [f"{share:.0%}" for share in np.linspace(0, 1, 6)])
    axis.set_ylim(0, 1.06)
    axis.tick_params(axis="x", length=0)
    axis.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def reconstruction_grid(rows: Mapping[str, ArrayLike], columns: int = 8) -> NDArray[np.uint8]:
    """Clips by row name, in [0, 1], all of one shape -> a labelled mosaic (H, W, 3).

    Clips are (B, 3, T, H, W), or one clip as (3, T, H, W) or (T, H, W, 3). The rows of one clip stand below
    one another (original, masked, reconstructed) and ``columns`` evenly spaced frames side by side: of 16,
    every second.
    """
    stacks = {name: frames_last(np.asarray(value)) for name, value in rows.items()}
    shapes = {name: stack.shape for name, stack in stacks.items()}
    if len(set(shapes.values())) != 1:
        raise ValueError(f"rows of one grid need one shape, given: {shapes or 'none'}")
    count, length = next(iter(shapes.values()))[:2]
    times = np.arange(shown := min(columns, length)) * length // shown
    lines = [(name, stack[clip][times]) for clip in range(count) for name, stack in stacks.items()]
    labelled = [(name if i < len(stacks) else "", frames) for i, (name, frames) in enumerate(lines)]
    return mosaic(labelled, len(stacks))


def frames_last(video: NDArray[np.floating]) -> NDArray[np.floating]:
    """(B, 3, T, H, W), (3, T, H, W) or (T, H, W, 3) -> (B, T, H, W, 3)."""
    if video.ndim == 4 and video.shape[-1] == 3:
        return video[None]
    clips = video[None] if video.ndim == 4 else video
    if clips.ndim != 5 or clips.shape[1] != 3:
        raise ValueError(f"clips {video.shape} are not (B, 3, T, H, W), (3, T, H, W) or (T, H, W, 3)")
    return clips.transpose(0, 2, 3, 4, 1)


def mosaic(lines: Sequence[tuple[str, NDArray[np.floating]]], group: int = 0, gap: int = 8) -> NDArray[np.uint8]:
    """Labelled lines of frames (T, H, W, 3) in [0, 1] -> one picture; a wider gap after ``group`` lines.

    Small frames are enlarged to about 72 pixels; what lies outside [0, 1] is cut off.
    """
    font = ImageFont.load_default(13)
    left = 14 + int(max(font.getlength(label) for label, _ in lines))
    zoom = max(1, round(72 / lines[0][1].shape[1]))
    strips = []
    for i, (_, frames) in enumerate(lines):
        below = gap if group and (i + 1) % group == 0 and i + 1 < len(lines) else 2
        pixels = (frames.clip(0, 1) * 255).round().astype(np.uint8).repeat(zoom, axis=1).repeat(zoom, axis=2)
        spaced = np.pad(pixels, ((0, 0), (0, below), (0, 2), (0, 0)), constant_values=255)  # T H W 3
        strip = np.concatenate(list(spaced), axis=1)
        strips.append(np.pad(strip, ((0, 0), (left, 0), (0, 0)), constant_values=255))
    picture = Image.fromarray(np.concatenate(strips))
    draw, top = ImageDraw.Draw(picture), 0
    for (label, frames), strip in zip(lines, strips, strict=True):
        draw.text((6, top + frames.shape[1] * zoom // 2), label, fill=INK, font=font, anchor="lm")
        top += len(strip)
    return np.asarray(picture)


def save_png(image: NDArray[np.uint8], path: Path) -> None:
    """Write an image (H, W, 3) as PNG, whole or not at all."""
    write_whole(path, lambda beside: Image.fromarray(image).save(beside, format="PNG"))
