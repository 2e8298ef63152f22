"""Many timelines summed up: a tidy table, means per condition over participants, a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mien.analysis.plots import COLOURS, FAINT, INK, canvas, literal, plain
from mien.analysis.timeline import Timeline
from mien.interfaces import Clip

TIDY = ("participant", "condition", "video", "face_id", "main", "measure", "mean", "sd", "seconds", "share_seen")


def clip_name(clips: Sequence[Clip], root: Path) -> list[str]:
    """A folder name for every row: its path below the study's, with its times if it has any; no two are the same."""
    base = root if root.is_dir() else root.parent
    names = []
    for clip in clips:
        inside = clip.path.is_relative_to(base)
        name = "_".join((clip.path.relative_to(base) if inside else Path(clip.path.name)).with_suffix("").parts)
        name += "" if clip.start is None and clip.end is None else f"_{clip.start or 0:g}-{clip.end or 'end'}"
        tail = clip.path.suffix.lstrip(".") if name in names else ""
        name = f"{name}_{tail}" if tail else name
        names.append(name if name not in names else f"{name}_{clip.row}")
    return names


def tidy(timeline: Timeline, name: str, clip: Clip, participant: str, condition: str) -> pd.DataFrame:
    """A row per face and measure of one video; a video without a face has rows with empty values.

    ``main`` marks the face that was seen longest. ``sd`` is over time, ``share_seen`` of all frames.
    """
    shared = {
        "participant": clip.columns.get(participant) or name,
        "condition": clip.columns.get(condition) or "all",
        "video": name,
    }
    frames = timeline.frames["frame"].nunique()
    times = np.unique(timeline.frames["timestamp"].to_numpy(float))
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    summary = timeline.summary()
    if summary.empty:
        nothing = {"face_id": pd.NA, "main": True, "mean": np.nan, "sd": np.nan, "seconds": 0.0, "share_seen": 0.0}
        return pd.DataFrame([shared | nothing | {"measure": m} for m in timeline.names], columns=list(TIDY))
    main = summary.loc[summary["frames"].idxmax(), "face_id"]
    rows = []
    for face in summary.to_dict("records"):
        seen = {"face_id": face["face_id"], "main": face["face_id"] == main, "seconds": face["frames"] * step}
        seen |= {"share_seen": face["frames"] / frames}
        rows += [shared | seen | {"measure": m, "mean": face[m], "sd": face[f"{m}_sd"]} for m in timeline.names]
    return pd.DataFrame(rows, columns=list(TIDY))


def of_participants(table: Any) -> pd.DataFrame:
    """Main faces only: the mean of each participant's videos in each condition, weighted by the seconds seen."""
    main = table[table["main"] & (table["seconds"] > 0)]
    keys = ["condition", "participant", "measure"]
    weighted: Any = (
        main.assign(total=main["mean"] * main["seconds"]).groupby(keys, sort=True)[["total", "seconds"]].sum()
    )
    return (weighted["total"] / weighted["seconds"]).rename("mean").reset_index()


def by_condition(table: pd.DataFrame) -> pd.DataFrame:
    """A row per condition and measure: mean, deviation and 95 % interval of the mean over participants (Student's t)."""
    from scipy.stats import t  # half a second to import

    rows, people = [], of_participants(table)
    grouped: Any = people.groupby(["condition", "measure"], sort=True)
    for (condition, measure), group in grouped:
        values = group["mean"].to_numpy(float)
        count, mean = len(values), float(values.mean())
        deviation = float(values.std(ddof=1)) if count > 1 else np.nan
        half = float(t.ppf(0.975, count - 1)) * deviation / np.sqrt(count) if count > 1 else np.nan
        row = {"condition": condition, "measure": measure, "participants": count, "mean": mean, "sd": deviation}
        rows.append(row | {"lower": mean - half, "upper": mean + half})
    return pd.DataFrame(rows, columns=["condition", "measure", "participants", "mean", "sd", "lower", "upper"])


def condition_plot(table: pd.DataFrame) -> Figure:
    """A panel per measure: every participant a dot, the mean of each condition with its interval."""
    people: Any = of_participants(table)
    summary: Any = by_condition(table)
    measures, conditions = list(dict.fromkeys(table["measure"])), sorted(people["condition"].unique())
    across = min(4, max(len(measures), 1))
    down = -(-max(len(measures), 1) // across)
    figure = canvas(3.0 * across, 2.6 * down)
    rng = np.random.default_rng(0)
    for i, measure in enumerate(measures):
        axis = plain(figure.add_subplot(down, across, i + 1), measure)
        for place, condition in enumerate(conditions):
            chosen = people[(people["measure"] == measure) & (people["condition"] == condition)]["mean"].to_numpy(float)
            beside = place + rng.uniform(-0.14, 0.14, len(chosen))
            axis.scatter(beside, chosen, s=14, color=COLOURS[place % len(COLOURS)], alpha=0.55, linewidths=0)
            row = summary[(summary["measure"] == measure) & (summary["condition"] == condition)]
            if len(row):
                mean, lower, upper = row[["mean", "lower", "upper"]].to_numpy(float)[0]
                axis.plot([place - 0.25, place + 0.25], [mean, mean], color=INK, linewidth=2)
                axis.plot([place, place], [lower, upper], color=INK, linewidth=1.2)
        dots = people[people["measure"] == measure]["mean"].to_numpy(float)
        if len(dots):  # intervals of few people may reach far beyond what a probability can be; the dots set the scale
            margin = 0.35 * max(float(np.ptp(dots)), 0.02)
            axis.set_ylim(dots.min() - margin, dots.max() + margin)
        axis.set_xticks(range(len(conditions)), [literal(str(c)) for c in conditions], rotation=20)
        axis.set_xlim(-0.6, max(len(conditions), 1) - 0.4)
        axis.grid(axis="y", alpha=0.2, color=FAINT)
    return figure
