"""Pictures of runs and results. Every plot is a Figure of its own; nothing touches pyplot's global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from mien.checkpoint import write_whole

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666")
"""Okabe and Ito's palette: told apart by colour-blind readers too."""


def axes(width: float, height: float, title: str = "") -> tuple[Figure, Axes]:
    """A figure with one plain axis."""
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    axis = figure.add_subplot()
    axis.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axis.spines[["top", "right"]].set_visible(False)
    return figure, axis


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
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    side = 2.2 + 0.62 * len(names)
    figure, axis = axes(side + 0.6, side, title)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        axis.text(column, row, f"{share:.0%}\n{table[row, column]}", ha="center", va="center", fontsize=7,
                  color="white" if share > 0.55 else "#333333")  # fmt: skip
    recall = [f"{shares[i, i]:.0%}" if table[i].sum() else "absent" for i in range(len(names))]
    axis.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axis.set_yticks(range(len(names)), names)
    right = axis.secondary_yaxis("right")
    right.set_yticks(range(len(names)), recall)
    right.set_ylabel("recall")
    axis.set(xlabel="predicted", ylabel="truth")
    return figure


def curves(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]], xlabel: str, ylabel: str, title: str = "", window: int = 9
) -> Figure:
    """Curves (x, y) by name: the raw values faint, their running mean over ``window`` points strong."""
    figure, axis = axes(6.4, 3.6, title)
    for (name, (x, y)), colour in zip(series.items(), COLOURS, strict=False):
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        axis.plot(x, y, color=colour, alpha=0.25, linewidth=1)
        width = min(window, len(y))
        if width:
            smooth = np.convolve(y, np.ones(width) / width, mode="valid")
            axis.plot(x[width - 1 :], smooth, color=colour, linewidth=1.8, label=name)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    axis.grid(alpha=0.2)
    axis.legend(frameon=False)
    return figure


def scatter(predictions: ArrayLike, targets: ArrayLike, names: Sequence[str]) -> Figure:
    """Truth against prediction (N, K), a panel per target, with the line of perfect agreement."""
    from mien.metrics import concordance

    values, truth = np.asarray(predictions), np.asarray(targets)
    figure = Figure(figsize=(3.4 * len(names), 3.5), dpi=120, layout="constrained")
    for i, name in enumerate(names):
        axis = figure.add_subplot(1, len(names), i + 1)
        low, high = min(truth[:, i].min(), values[:, i].min()), max(truth[:, i].max(), values[:, i].max())
        axis.plot([low, high], [low, high], color="#999999", linewidth=1)
        axis.scatter(truth[:, i], values[:, i], s=9, alpha=0.5, color=COLOURS[0], linewidths=0)
        ccc = concordance(values[:, i : i + 1], truth[:, i : i + 1])[0]
        axis.set_title(f"{name}: CCC {ccc:.3f}", fontsize=10)
        axis.set(xlabel="truth", ylabel="predicted")
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def bars(values: Mapping[str, float], title: str = "", unit: str = "") -> Figure:
    """Horizontal bars by name, the first on top."""
    figure, axis = axes(5.4, 0.8 + 0.36 * len(values), title)
    places = range(len(values))
    axis.barh(places, list(values.values()), color=COLOURS[0], height=0.62)
    axis.set_yticks(places, list(values))
    axis.invert_yaxis()
    axis.set_xlabel(unit)
    for place, value in zip(places, values.values(), strict=True):
        axis.text(value, place, f" {value:.2f}", va="center", fontsize=8)
    axis.margins(x=0.12)
    return figure


def comparison(groups: Mapping[str, Mapping[str, float]], title: str = "", chance: float | None = None) -> Figure:
    """Grouped bars: metric -> {run: share}; a dashed line marks chance."""
    figure, axis = axes(5.8, 3.4, title)
    runs = list(next(iter(groups.values())))
    width = 0.8 / len(runs)
    for i, (run, colour) in enumerate(zip(runs, COLOURS, strict=False)):
        places = np.arange(len(groups)) + (i - (len(runs) - 1) / 2) * width
        shares = [values[run] for values in groups.values()]
        axis.bar(places, shares, width * 0.92, color=colour, label=run)
        for place, share in zip(places, shares, strict=True):
            axis.text(place, share, f"{share:.0%}", ha="center", va="bottom", fontsize=9)
    if chance is not None:
        axis.axhline(chance, color="#666666", linestyle="--", linewidth=1)
        axis.text(len(groups) - 0.5, chance, "chance ", ha="right", va="bottom", fontsize=8, color="#666666")
    axis.set_xticks(range(len(groups)), list(groups))
    axis.set_ylim(0, 1)
    axis.legend(frameon=False)
    return figure


def reconstruction_grid(rows: Mapping[str, ArrayLike], columns: int = 8) -> NDArray[np.uint8]:
    """Clips by row name, each (B, 3, T, H, W) in [0, 1] -> a labelled mosaic (H, W, 3).

    For every clip the rows stand below one another (original, masked, reconstructed); ``columns`` frames side by side.
    """
    stacks = {name: np.asarray(value).transpose(0, 2, 3, 4, 1) for name, value in rows.items()}  # B T H W 3
    first: NDArray[Any] = next(iter(stacks.values()))
    times = np.linspace(0, first.shape[1] - 1, min(columns, first.shape[1])).round().astype(int)
    lines = [(name, stack[clip][times]) for clip in range(len(first)) for name, stack in stacks.items()]
    return mosaic([(name if i < len(stacks) else "", frames) for i, (name, frames) in enumerate(lines)], len(stacks))


def mosaic(lines: Sequence[tuple[str, NDArray[Any]]], group: int = 0, gap: int = 6) -> NDArray[np.uint8]:
    """Labelled lines of frames (T, H, W, 3) in [0, 1] -> one picture; a wider gap after every ``group`` lines."""
    side = lines[0][1].shape[1]
    zoom = max(1, round(72 / side))
    strips = []
    for i, (_, frames) in enumerate(lines):
        strip = np.concatenate(list((frames * 255).round().astype(np.uint8)), axis=1)
        strip = strip.repeat(zoom, axis=0).repeat(zoom, axis=1)
        space = gap if group and (i + 1) % group == 0 else 1
        strips.append(np.pad(strip, ((0, space), (110, 0), (0, 0)), constant_values=255))
    picture = Image.fromarray(np.concatenate(strips))
    draw, top = ImageDraw.Draw(picture), 0
    for (label, _), strip in zip(lines, strips, strict=True):
        draw.text((6, top + side * zoom // 2 - 6), label, fill="#333333", font=ImageFont.load_default(13))
        top += len(strip)
    return np.asarray(picture)


def save_png(image: NDArray[np.uint8], path: Path) -> None:
    """Write an image (H, W, 3) as PNG, whole or not at all."""
    write_whole(path, lambda beside: Image.fromarray(image).save(beside, format="PNG"))
