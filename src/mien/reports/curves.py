"""A timeline made ready for drawing: per face a curve of bounded length on which gaps stay gaps."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mien.inference.timeline import Timeline
from mien.reports.plots import COLOURS

Row = dict[Hashable, Any]
"""A row of the table of frames, by column."""
POINTS = 1500
"""Points of a curve at most: more than a screen has columns."""

EXPRESSIONS = {
    "anger": "#D55E00", "disgust": "#009E73", "fear": "#CC79A7", "happiness": "#E6A817", "neutral": "#B4B9BF",
    "sadness": "#0072B2", "surprise": "#56B4E9", "contempt": "#8C6D31",
}  # fmt: skip
"""One colour per expression in all pictures, after Okabe and Ito: told apart by colour-blind readers too."""


def palette(names: Sequence[str]) -> dict[str, str]:
    """A colour for every output."""
    spare = [colour for colour in COLOURS if colour not in {EXPRESSIONS.get(name) for name in names}]
    others = [name for name in names if name not in EXPRESSIONS]
    return {name: EXPRESSIONS.get(name) or spare[others.index(name) % len(spare)] for name in names}


@dataclass(frozen=True, eq=False)
class Curve:
    """One face over time; NaN where it was not seen."""

    face_id: int
    time: NDArray[np.float64]
    """Seconds (P,), evenly spaced over the video."""
    values: dict[str, NDArray[np.float64]]
    """Mean of each output around each time (P,)."""
    low: dict[str, NDArray[np.float64]]
    """Lower end of a band around the values, for outputs that are values; see ``value_bands``."""
    high: dict[str, NDArray[np.float64]]
    unreliable: NDArray[np.bool_]
    """Where the answers were found unreliable (P,)."""
    person: int | None = None
    """Who it is, where faces were joined."""

    @property
    def title(self) -> str:
        """The face, and its person."""
        return f"face {self.face_id}" + (f", person {self.person}" if self.person is not None else "")

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Where the face was seen (P,)."""
        return np.isfinite(next(iter(self.values.values())))


def curves(timeline: Timeline, faces: int = 6) -> list[Curve]:
    """The curves of the faces seen longest, in order of their ids."""
    seen = timeline.frames[timeline.frames["success"] == 1]
    chosen = sorted(seen["face_id"].value_counts().index[:faces])
    edges = bin_edges(timeline)
    return [face_curve(timeline, seen[seen["face_id"] == face], int(face), edges) for face in chosen]


def bin_edges(timeline: Timeline) -> NDArray[np.float64]:
    """Edges of time bins over the whole video: one per frame, or ``POINTS`` of them for long videos."""
    times = np.unique(timeline.frames["timestamp"].to_numpy(float))
    if len(times) <= POINTS:
        step = float(np.median(np.diff(times))) if len(times) > 1 else 0.04
        return np.append(times - step / 2, times[-1] + step / 2)
    return np.linspace(times[0], times[-1] + 1e-6, POINTS + 1)


def face_curve(timeline: Timeline, rows: pd.DataFrame, face: int, edges: NDArray[np.float64]) -> Curve:
    """One face's rows, averaged in time bins."""
    place = np.searchsorted(edges, rows["timestamp"].to_numpy(float), side="right") - 1
    values = {name: bin_means(floats(rows, name), place, len(edges) - 1) for name in timeline.names}
    low, high = value_bands(timeline, rows, face, edges, values, place)
    flagged = rows["reliable"].eq(False).fillna(False).to_numpy(float)
    unreliable = np.nan_to_num(bin_means(flagged, place, len(edges) - 1)) > 0
    person = int(rows["person"].iloc[0]) if timeline.layout.persons else None
    return Curve(face, (edges[:-1] + edges[1:]) / 2, values, low, high, unreliable, person)


def floats(rows: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """A column, NaN where a cell is empty."""
    return rows[name].to_numpy(float, na_value=np.nan)


def bin_means(values: NDArray[np.float64], place: NDArray[np.int64], bins: int) -> NDArray[np.float64]:
    """Mean per bin, NaN for bins without a value."""
    kept = np.isfinite(values)
    sums = np.bincount(place[kept], weights=values[kept], minlength=bins)
    counts = np.bincount(place[kept], minlength=bins)
    return np.divide(sums, counts, out=np.full(bins, np.nan), where=counts > 0)


def value_bands(
    timeline: Timeline,
    rows: pd.DataFrame,
    face: int,
    edges: NDArray[np.float64],
    values: dict[str, NDArray[np.float64]],
    place: NDArray[np.int64],
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """Bands around lines: the width of the calibrated intervals, or without them one deviation over the windows."""
    if timeline.layout.outputs.curve != "lines":
        return {}, {}
    windows = timeline.windows[timeline.windows["face_id"] == face]
    low, high = {}, {}
    for name, middle in values.items():
        half = ((windows[f"{name}_upper"] - windows[f"{name}_lower"]) / 2).mean()
        spread = bin_means(floats(rows, f"{name}_sd"), place, len(edges) - 1) if np.isnan(half) else half
        low[name], high[name] = middle - spread, middle + spread
    return low, high


def true_runs(where: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """First and last-plus-one index of every stretch of True."""
    padded = np.concatenate([[False], where, [False]]).astype(int)
    steps = np.diff(padded)
    yield from zip(np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist(), strict=True)
