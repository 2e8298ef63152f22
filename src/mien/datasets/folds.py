"""Folds as rules: official lists combined into columns, blocks of persons, and persons dealt by a seed.

A fold is named by the number of the round in which its clips are the test: ``--data.select 'fold!=1'`` trains the first
round and ``'fold=1'`` tests it. Official lists keep their own columns ``split1`` ... with train and test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.datasets.corpus import Cell, Entry, Fault, Listing, unknown_label
from mien.datasets.layout import unknown_layout


@dataclass(frozen=True)
class Line:
    """One line of an official list: a clip and its label as written."""

    clip: str
    label: str
    source: str


Lists = Mapping[str, Mapping[str, Sequence[Line]]]
"""Column -> part (train, test) -> lines."""
Mention = tuple[str, str, Line]
"""Column, part, line."""


def block_of(number: int, blocks: Iterable[Iterable[int]]) -> int | None:
    """Which block (from 1) holds a number."""
    return next((fold for fold, block in enumerate(blocks, start=1) if number in block), None)


def deal_subjects(subjects: Iterable[str], folds: int, seed: int) -> dict[str, int]:
    """Persons dealt to ``folds`` folds (from 1) of nearly equal numbers, by a seed alone."""
    persons = sorted(set(subjects))
    if not 2 <= folds <= len(persons):
        raise ValueError(f"folds is {folds}: it must be between 2 and the number of subjects ({len(persons)})")
    order = np.random.default_rng(seed).permutation(len(persons))
    parts = np.array_split(order, folds)
    return {persons[i]: fold for fold, part in enumerate(parts, start=1) for i in part}


def read_lists(
    columns: Iterable[str],
    files: Callable[[str, str], Path],
    read: Callable[[Path], Sequence[Line]],
    root: Path,
    layout: str,
) -> tuple[dict[str, dict[str, Sequence[Line]]], list[tuple[Path, Fault]]]:
    """The official lists that are there; a round of which a list is absent is left out and named as a problem.

    ``files`` gives the list of a column and a part. Without any whole round the layout is unknown: ``ValueError``.
    """
    lists: dict[str, dict[str, Sequence[Line]]] = {}
    problems = []
    for column in columns:
        paths = {part: files(column, part) for part in ("train", "test")}
        absent = [path for path in paths.values() if not path.is_file()]
        problems += [(path, Fault("fold", f"{path}: not there, so there is no column {column}")) for path in absent]
        if not absent:
            lists[column] = {part: read(path) for part, path in paths.items()}
    if not lists:
        raise unknown_layout(root, f"no round has both its lists; {problems[0][0].relative_to(root)} is absent", layout)
    return lists, problems


def combine(lists: Lists, names: Mapping[str, str], find: Callable[[str], Path], whole: bool) -> Listing:
    """Official lists of the same clips -> one entry per clip with columns expression, split columns and fold.

    ``names`` maps the corpus's labels to ours. ``fold``, the round in which a clip is tested, is written where there are
    several rounds and all are there (``whole``). Clips with an unknown label, two labels, two parts or none in a round
    carry the fault; a line that repeats another is a problem, and its clip counts once.
    """
    mentions: dict[str, list[Mention]] = {}
    for column, parts in lists.items():
        for part, lines in parts.items():
            for line in lines:
                mentions.setdefault(line.clip, []).append((column, part, line))
    entries = [entry_of(clip, found, lists, names, find(clip), whole) for clip, found in sorted(mentions.items())]
    return Listing(entries, [(find(clip), fault) for clip, found in mentions.items() for fault in repeats(found)])


def repeats(found: Sequence[Mention]) -> list[Fault]:
    """Lines of one list that name the same clip again."""
    seen: dict[tuple[str, str], str] = {}
    faults = []
    for column, part, line in found:
        if (column, part) in seen:
            faults.append(Fault("duplicate", f"{line.source}: the same clip as {seen[column, part]}; it counts once"))
        seen.setdefault((column, part), line.source)
    return faults


def entry_of(
    clip: str, found: Sequence[Mention], lists: Lists, names: Mapping[str, str], path: Path, whole: bool
) -> Entry:
    """One clip from all lines that name it."""
    first = found[0][2]
    columns: dict[str, Cell] = {"expression": names.get(first.label)}
    parts = {column: sorted({part for c, part, _ in found if c == column}) for column in lists}
    columns |= {column: part[0] if len(part) == 1 else None for column, part in parts.items()}
    tested = [column for column, part in parts.items() if part == ["test"]]
    if whole and len(lists) > 1:
        columns["fold"] = list(lists).index(tested[0]) + 1 if len(tested) == 1 else None
    fault = label_fault(found, names) or part_fault(clip, found, parts)
    if fault is None and "fold" in columns and columns["fold"] is None:
        fault = Fault("fold", f"{first.source}: clip {clip} is tested in {len(tested)} rounds; it should be in one")
    return Entry(path, columns, first.source, fault)


def label_fault(found: Sequence[Mention], names: Mapping[str, str]) -> Fault | None:
    """A label that is unknown, or another in another line."""
    first = found[0][2]
    for _, _, line in found:
        if line.label not in names:
            return unknown_label(line.source, line.label, names)
        if line.label != first.label:
            return Fault("label", f"{line.source}: label {line.label!r}, but {first.label!r} in {first.source}")
    return None


def part_fault(clip: str, found: Sequence[Mention], parts: Mapping[str, Sequence[str]]) -> Fault | None:
    """A clip that is in both parts of a round, or in neither."""
    for column, part in parts.items():
        if len(part) > 1:
            sources = ", ".join(line.source for c, _, line in found if c == column)
            return Fault("fold", f"{sources}: clip {clip} is in train and test of {column}")
        if not part:
            return Fault("fold", f"{found[0][2].source}: clip {clip} is in neither train nor test of {column}")
    return None
