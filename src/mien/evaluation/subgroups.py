"""Metrics of subgroups of the clips, by sex, age band or any column, with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mien.statistics.intervals import LEVEL, RESAMPLES, Interval, intervals, min_subjects, natural_key
from mien.statistics.metrics import Array
from mien.statistics.predictions import Predictions, parse_number

EMPTY = "(empty)"
"""The group of clips whose cell is empty; they are shown, not dropped."""

LAST = (math.inf, EMPTY)


@dataclass(frozen=True)
class Group:
    """Clips that share a value or lie in a band."""

    name: str
    clips: int
    subjects: int
    metrics: dict[str, Interval]
    """Bounds are NaN in a group of fewer subjects than an interval needs."""
    absent: tuple[str, ...]
    """Classes that the group does not hold; its UAR is a mean over the others."""


def subgroups(
    predictions: Predictions, groups: dict[str, Array], resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> list[Group]:
    """Predictions and row numbers by group name -> metrics per group, in the given order."""
    return [group(name, predictions.select(rows), resamples, level, seed) for name, rows in groups.items()]


def group(name: str, predictions: Predictions, resamples: int, level: float, seed: int) -> Group:
    """The metrics of one group of clips."""
    if predictions.subject_count >= min_subjects(level):
        found = intervals(predictions, resamples, level, seed)
    else:
        found = {metric: Interval(value, np.nan, np.nan) for metric, value in predictions.score().items()}
    return Group(name, len(predictions.targets), predictions.subject_count, found, tuple(predictions.absent()))


def rows_by_group(cells: Sequence[object], edges: Sequence[float] = (), most: float = 8) -> dict[str, Array]:
    """Cells of a column (N,) -> row numbers by group name, in natural order, the empty ones last.

    Numbers with more than ``most`` different values are put into bands: between ``edges`` where those are given,
    otherwise of equal round width, at most six. Other columns have a group per value. ``edges`` for a column that
    holds anything but numbers, or that do not rise, raise ``ValueError``.
    """
    texts = ["" if is_blank(cell) else str(cell).strip() for cell in cells]
    values = [parse_number(text) for text in texts if text]
    if edges:
        require_bands(texts, edges)
    elif values and all(map(math.isfinite, values)) and len(set(values)) > most:
        edges = round_edges(min(values), max(values))
    if edges:
        return gather([band(parse_number(t), edges) if t else LAST for t in texts])
    order = {text: i for i, text in enumerate(sorted(set(texts), key=natural_key))}
    return gather([(order[t], t) if t else LAST for t in texts])


def require_bands(texts: Sequence[str], edges: Sequence[float]) -> None:
    """Numbers, and edges that rise."""
    odd = next((text for text in texts if text and not math.isfinite(parse_number(text))), None)
    if odd is not None:
        raise ValueError(f"bands need numbers, and the column holds {odd!r}")
    if list(edges) != sorted(set(edges)):
        raise ValueError(f"the edges {', '.join(map(format_number, edges))} of the bands do not rise")


def gather(places: Sequence[tuple[float, str]]) -> dict[str, Array]:
    """(place in the order, name) per row -> row numbers by name."""
    rows: dict[str, list[int]] = {name: [] for _, name in sorted(set(places))}
    for row, (_, name) in enumerate(places):
        rows[name].append(row)
    return {name: np.array(found) for name, found in rows.items()}


def band(value: float, edges: Sequence[float]) -> tuple[float, str]:
    """Number and name of the band that a value lies in: from an edge up to below the next."""
    place = int(np.searchsorted(edges, value, side="right"))
    if place == 0:
        return place, f"below {format_number(edges[0])}"
    if place == len(edges):
        return place, f"{format_number(edges[-1])} and above"
    return place, f"{format_number(edges[place - 1])} to below {format_number(edges[place])}"


def round_edges(low: float, high: float, most: int = 6) -> list[float]:
    """Edges of at most ``most`` bands of a width of 1, 2 or 5 times a power of ten, from ``low`` to above ``high``."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    edges: list[float] = []
    for width in (power * step for step in (1, 2, 5, 10, 20)):
        edges = [round(place * width, 12) for place in range(math.floor(low / width), math.ceil(high / width) + 1)]
        edges += [edges[-1] + width] if edges[-1] <= high else []
        if len(edges) <= most + 1:
            break
    return edges


def is_blank(cell: object) -> bool:
    """Whether a cell is empty: None, NaN or nothing but blanks."""
    return cell is None or (isinstance(cell, float) and math.isnan(cell)) or not str(cell).strip()


def format_number(value: float) -> str:
    """A number without needless digits."""
    return f"{value:g}"
