"""Many timelines summed up: a tidy table, means per participant and per condition, a picture.

Every table carries ``share_unreliable``, the share of the seen time on which the model's calibration found the answers not
reliable (empty without a calibration), and ``only_unreliable``, which marks means that rest on nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from mien.evaluation.subgroups import is_blank
from mien.inference.tables import with_person
from mien.inference.timeline import Timeline
from mien.interfaces import Clip
from mien.names import folder_name, to_text
from mien.reports.plots import COLOURS, FAINT, INK, canvas, escape_dollars, style_axis
from mien.video.manifest import cell

TIDY = ("participant", "condition", "video", "face_id", "main", "measure", "mean", "sd", "seconds", "share_seen",
        "share_unreliable", "only_unreliable")  # fmt: skip
PEOPLE = ("participant", "condition", "measure", "mean", "seconds", "videos", "share_unreliable", "only_unreliable")
SUMMARY = ("condition", "measure", "participants", "mean", "sd", "lower", "upper", "share_unreliable",
           "participants_unreliable", "only_unreliable")  # fmt: skip
UNRELIABLE = "#c1121f"
"""Colour of means that rest on unreliable frames only."""


@dataclass(frozen=True, eq=False, repr=False)
class Study:
    """What many videos show together."""

    folder: Path
    videos: pd.DataFrame
    """A row per video, face and measure, as study.csv."""
    participants: pd.DataFrame
    """A row per participant, condition and measure, as participants.csv."""
    summary: pd.DataFrame
    """A row per condition and measure, over participants, as summary.csv."""
    timelines: dict[str, Timeline]
    """Every video's frames and windows, by the name of its folder."""

    def __repr__(self) -> str:
        return f"Study({str(self.folder)!r}: {len(self.timelines)} videos)\n{self.summary.to_string(index=False)}"


def folder_names(clips: Sequence[Clip], root: Path) -> list[str]:
    """A folder name for every row: its path below the study's, with its times if it has any; no two are the same."""
    base = root if root.is_dir() else root.parent
    names = []
    for clip in clips:
        inside = clip.path.is_relative_to(base)
        name = "_".join((clip.path.relative_to(base) if inside else Path(clip.path.name)).with_suffix("").parts)
        name += "" if clip.start is None and clip.end is None else f"_{clip.start or 0:g}-{clip.end or 'end'}"
        tail = clip.path.suffix.lstrip(".") if name in names else ""
        name = f"{name}_{tail}" if tail else name
        name = folder_name(name)
        names.append(name if name not in names else f"{name}_{clip.row}")
    return names


def require_column(clips: Sequence[Clip], column: str | None, option: str, default: str) -> str:
    """The column that an option names, or its default; '' where nothing was named and there is no such column.

    Raises ``ValueError`` for a named column that no row has, which lists those there are, and for rows whose cell is
    empty: counted as participants or conditions of their own they would make the sample look larger than it is.
    """
    known = list(dict.fromkeys(name for clip in clips for name in clip.columns))
    chosen = column or default
    if chosen not in known:
        if column is None:
            return ""
        there = f"there are {', '.join(known)}" if known else "there are no columns besides path and times"
        raise ValueError(f"--{option} {column}: no such column; {there}")
    if empty := [clip for clip in clips if is_blank(clip.columns.get(chosen))]:
        raise ValueError(
            f"manifest line {empty[0].row} ({empty[0].path}): no {chosen}, as {len(empty)} of {len(clips)} rows; fill it in, "
            f"leave such rows out (--select '{chosen}!='), or name another column with --{option}"
        )
    return chosen


def tidy_rows(
    timeline: Timeline, name: str, clip: Clip, participant: str = "", condition: str = "", reliable_only: bool = False
) -> pd.DataFrame:
    """A row per face and measure of one video; a video without a face has rows with empty values.

    ``participant`` and ``condition`` are columns of the manifest; '' makes the video its own participant, and all
    conditions the same. ``main`` marks the face that was seen longest, or, where faces were joined, all faces of the person
    seen longest. ``sd`` is over time, ``share_seen`` of all frames. ``reliable_only`` takes means over reliable frames; a
    face without any has ``seconds`` 0 and empty values.
    """
    shared = {
        "participant": cell(clip, participant) if participant else to_text(name),
        "condition": cell(clip, condition) if condition else "all",
        "video": to_text(name),
    }
    columns = list(with_person(TIDY) if timeline.layout.persons else TIDY)
    frames = timeline.frames["frame"].nunique()
    times = np.unique(timeline.frames["timestamp"].to_numpy(float))
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    summary, used = timeline.summary(), reliable_part(timeline, reliable_only).summary()
    if summary.empty:
        nothing = {"face_id": pd.NA, "main": True, "mean": np.nan, "sd": np.nan, "seconds": 0.0, "share_seen": 0.0}
        return pd.DataFrame([shared | nothing | {"measure": m} for m in timeline.names], columns=columns)
    who = "person" if timeline.layout.persons else "face_id"
    seen_for: Any = summary.groupby(who)["frames"].sum()
    main = seen_for.idxmax()
    means = {face["face_id"]: face for face in used.to_dict("records")}
    rows = []
    for face in summary.to_dict("records"):
        taken = means.get(face["face_id"], {})
        seen = {"face_id": face["face_id"], "main": face[who] == main, "seconds": taken.get("frames", 0) * step}
        seen |= {"person": face["person"]} if timeline.layout.persons else {}
        seen |= {"share_seen": face["frames"] / frames, "share_unreliable": face["unreliable"]}
        seen["only_unreliable"] = all_unreliable(face["unreliable"])
        rows += [
            shared | seen | {"measure": m, "mean": taken.get(m), "sd": taken.get(f"{m}_sd")} for m in timeline.names
        ]
    return pd.DataFrame(rows, columns=columns)


def reliable_part(timeline: Timeline, reliable_only: bool) -> Timeline:
    """The timeline, or only its rows with a face on which the answer is reliable."""
    if not reliable_only:
        return timeline
    return replace(timeline, frames=timeline.frames[timeline.frames["reliable"].eq(True).fillna(False)])


def all_unreliable(share: float) -> bool | None:
    """Whether nothing is reliable; None where nobody can tell."""
    return None if pd.isna(share) else bool(share >= 1)


def participant_means(table: pd.DataFrame) -> pd.DataFrame:
    """Main faces only: the mean of each participant's videos in each condition, weighted by the seconds that count."""
    main = table.loc[table["main"] & (table["seconds"] > 0)]
    rows = []
    for (condition, who, measure), group in main.groupby(["condition", "participant", "measure"], sort=True):
        seconds = group["seconds"].to_numpy(float)
        shares = group["share_unreliable"].to_numpy(float, na_value=np.nan)
        share = float(np.average(shares, weights=seconds))
        mean = float(np.average(group["mean"].to_numpy(float), weights=seconds))
        row = {"participant": who, "condition": condition, "measure": measure, "mean": mean, "seconds": seconds.sum()}
        row |= {"videos": group["video"].nunique(), "share_unreliable": share}
        rows.append(row | {"only_unreliable": all_unreliable(share)})
    return pd.DataFrame(rows, columns=list(PEOPLE))


def condition_means(table: pd.DataFrame, bounds: tuple[float, float] | None = None) -> pd.DataFrame:
    """A row per condition and measure: mean, deviation and 95 % interval of the mean over participants (Student's t).

    Intervals are cut off at ``bounds``, between which every value lies, as (0, 1) for probabilities, if it does.
    ``participants_unreliable`` counts those whose own mean rests on unreliable frames only.
    """
    from scipy.stats import t  # half a second to import

    rows, people, (least, most) = [], participant_means(table), bounds or (-np.inf, np.inf)
    grouped: Any = people.groupby(["condition", "measure"], sort=True)
    for (condition, measure), group in grouped:
        values = group["mean"].to_numpy(float)
        count, mean = len(values), float(values.mean())
        deviation = float(values.std(ddof=1)) if count > 1 else np.nan
        half = float(t.ppf(0.975, count - 1)) * deviation / np.sqrt(count) if count > 1 else np.nan
        row = {"condition": condition, "measure": measure, "participants": count, "mean": mean, "sd": deviation}
        row |= {"lower": np.maximum(mean - half, least), "upper": np.minimum(mean + half, most)}
        share = float(group["share_unreliable"].to_numpy(float, na_value=np.nan).mean())
        alone = int(group["only_unreliable"].eq(True).sum())
        known = not np.isnan(share)
        row |= {"share_unreliable": share, "participants_unreliable": alone if known else None}
        rows.append(row | {"only_unreliable": alone == count if known else None})
    return pd.DataFrame(rows, columns=list(SUMMARY)).astype({"participants_unreliable": "Int64"})


def condition_plot(table: pd.DataFrame, condition: str = "", bounds: tuple[float, float] | None = None) -> Figure:
    """A panel per measure: every participant a dot, the mean of each condition with its interval.

    ``condition`` names the axis; ``bounds`` are the least and largest value there can be, (0, 1) for probabilities. Dots
    that rest on unreliable frames only are red rings.
    """
    people = participant_means(table)
    summary = condition_means(table, bounds)
    measures, conditions = list(dict.fromkeys(table["measure"])), sorted(people["condition"].unique())
    across = min(4, max(len(measures), 1))
    down = -(-max(len(measures), 1) // across)
    figure = canvas(3.0 * across, 2.6 * down + 0.4)
    rng = np.random.default_rng(0)
    for i, measure in enumerate(measures):
        axis = style_axis(figure.add_subplot(down, across, i + 1), measure)
        for place, name in enumerate(conditions):
            chosen = people.loc[(people["measure"] == measure) & (people["condition"] == name)]
            draw_dots(axis, chosen, place, rng)
            row = summary.loc[(summary["measure"] == measure) & (summary["condition"] == name)]
            if len(row):
                mean, lower, upper = row[["mean", "lower", "upper"]].to_numpy(float)[0]
                axis.plot([place - 0.25, place + 0.25], [mean, mean], color=INK, linewidth=2)
                axis.plot([place, place], [lower, upper], color=INK, linewidth=1.2)
        axis.set_ylim(*axis_limits(people.loc[people["measure"] == measure, "mean"].to_numpy(float), bounds))
        axis.set_xticks(range(len(conditions)), [escape_dollars(str(c)) for c in conditions], rotation=20)
        axis.set_xlim(-0.6, max(len(conditions), 1) - 0.4)
        axis.set_ylabel(("probability" if bounds else "value, in the units of the labels") if i % across == 0 else "")
        axis.set_xlabel(escape_dollars(condition) if i + across >= len(measures) else "")
        axis.grid(axis="y", alpha=0.2, color=FAINT)
    draw_legend(figure, people)
    return figure


def draw_dots(axis: Axes, people: pd.DataFrame, place: int, rng: np.random.Generator) -> None:
    """The participants of one condition."""
    beside = place + rng.uniform(-0.14, 0.14, len(people))
    alone = people["only_unreliable"].eq(True).to_numpy(bool)
    values = people["mean"].to_numpy(float)
    axis.scatter(beside[~alone], values[~alone], s=14, color=COLOURS[place % len(COLOURS)], alpha=0.55, linewidths=0)
    axis.scatter(beside[alone], values[alone], s=18, facecolors="none", edgecolors=UNRELIABLE, linewidths=1)


def axis_limits(values: NDArray[np.float64], bounds: tuple[float, float] | None) -> tuple[float, float]:
    """Ends of an axis: the dots set the scale, since intervals of few people reach far; none beyond what can be."""
    if not len(values):
        return bounds or (0.0, 1.0)
    margin = 0.35 * max(float(np.ptp(values)), 0.02)
    low, high = float(values.min()) - margin, float(values.max()) + margin
    return (max(low, bounds[0]), min(high, bounds[1])) if bounds else (low, high)


def draw_legend(figure: Figure, people: pd.DataFrame) -> None:
    """What dots, lines and rings are, under the panels."""
    marks = [
        Line2D([], [], color=FAINT, marker="o", markersize=4, linestyle="", label="a participant"),
        Line2D([], [], color=INK, linewidth=2, label="mean over participants, 95 % interval"),
    ]
    if people["only_unreliable"].eq(True).to_numpy().any():
        ring = {"marker": "o", "markersize": 5, "markerfacecolor": "none", "linestyle": ""}
        marks.append(Line2D([], [], color=UNRELIABLE, **ring, label="unreliable frames only"))
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), frameon=False, fontsize=9)
