"""Pictures of an explanation: when, where, and how the checks went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from mien.explanations.checks import Curves
from mien.explanations.occlusion import Array
from mien.reports.plots import COLOURS, FAINT, INK, axes, canvas, style_axis


def temporal_figure(times: Array, losses: Sequence[Array], about: Mapping[str, object]) -> Figure:
    """Times of frames (S, T) in seconds and loss per slot of each window -> a step per slot over the video."""
    figure, axis = axes(6.4, 3.0, f"When: {about['target']}")
    axis.axhline(0, color=FAINT, linewidth=1)
    for frames, values in zip(times, losses, strict=True):
        starts = np.array([slot[0] for slot in np.array_split(frames, len(values))])
        length = (frames[-1] - frames[0]) / max(len(frames) - 1, 1) * len(frames) / len(values)
        edges = np.append(starts, starts[-1] + max(length, 1e-3))
        axis.stairs(values, edges, baseline=0, fill=True, color=COLOURS[0], alpha=0.3)
        axis.stairs(values, edges, baseline=None, color=COLOURS[0], linewidth=1.8)
    axis.set_xlabel("time, s", color=INK)
    axis.set_ylabel(f"lost when hidden, {about['unit']}", color=INK)
    return figure


def spatial_figure(clips: Tensor, losses: Sequence[Array], about: Mapping[str, object], most: int = 6) -> Figure:
    """Middle frames of windows (S, 3, T, H, W), uint8, and loss per site -> the face and, beside it, the map over it."""
    shown = np.unique(np.linspace(0, len(clips) - 1, min(most, len(clips))).round().astype(int))
    limit = max(float(np.abs(np.stack(losses)).max()), 1e-9)
    figure = canvas(2.5 * 2 + 0.9, 2.6 * len(shown) + 0.3)
    grid = figure.subplots(len(shown), 2, squeeze=False)
    for (left, right), number in zip(grid, shown, strict=True):
        frame = clips[number, :, clips.shape[2] // 2].permute(1, 2, 0).numpy()
        extent = (-0.5, frame.shape[1] - 0.5, frame.shape[0] - 0.5, -0.5)
        left.imshow(frame)
        right.imshow(frame.mean(axis=2), cmap="gray", vmin=0, vmax=255)
        drawn = right.imshow(losses[number], cmap="RdBu_r", vmin=-limit, vmax=limit, alpha=0.6, extent=extent)
        figure.colorbar(drawn, ax=right, label=f"lost when hidden, {about['unit']}", shrink=0.85)
        for axis in (left, right):
            axis.set_axis_off()
    grid[0, 0].set_title(f"Where: {about['target']}", loc="left", fontsize=11, fontweight="bold", color=INK)
    return figure


def removal_figure(found: Mapping[str, Sequence[Curves]], target: str) -> Figure:
    """Deletion and insertion curves by method, means over the windows; random orders as a band of all of them."""
    figure = canvas(3.4 * 2, 3.1 * len(found))
    for row, (method, windows) in enumerate(found.items()):
        for column, what in enumerate(("deletion", "insertion")):
            axis = style_axis(figure.add_subplot(len(found), 2, 2 * row + column + 1), f"{method}, {what}")
            shares = windows[0].shares
            own = np.mean([getattr(one, what) for one in windows], axis=0)
            chance = np.mean([getattr(one, f"random_{what}") for one in windows], axis=0)  # draws, steps
            axis.fill_between(shares, chance.min(axis=0), chance.max(axis=0), color=FAINT, alpha=0.3, linewidth=0)
            axis.plot(shares, chance.mean(axis=0), color=FAINT, linestyle="--", label="random regions")
            axis.plot(shares, own, color=COLOURS[0], linewidth=1.9, label="by the map")
            axis.set_xlabel(f"share {'deleted' if what == 'deletion' else 'inserted'}", color=INK)
            axis.set_ylabel(target, color=INK)
            if row == column == 0:
                axis.legend(frameon=False, fontsize=8.5)
    return figure
