"""The outcome of every clip of a corpus: usable, or not and why; the two add up to the listing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mien.datasets.corpus import Cell, Corpus, Entry, Fault
from mien.video.inspection import Finding

COUNTED = ("expression", "split", "fold", "seeded_fold")
"""Columns whose values are counted even if no counts are published."""


@dataclass(frozen=True)
class Outcome:
    """One clip of the listing, the finding of its file, and what is wrong with it."""

    entry: Entry
    finding: Finding | None
    fault: Fault | None


@dataclass(frozen=True)
class Count:
    """Clips that meet a condition: as published (None if nothing is), in the tables, and usable."""

    condition: str
    expected: int | None
    listed: int
    usable: int


def outcomes_of(entries: Iterable[Entry], findings: Mapping[Path, Finding], min_frames: int) -> list[Outcome]:
    """Each entry with its fault: that of its rows first, then of its file."""
    outcomes = []
    for entry in entries:
        finding = findings.get(entry.path)
        outcomes.append(Outcome(entry, finding, entry.fault or file_fault(entry, finding, min_frames)))
    return outcomes


def file_fault(entry: Entry, finding: Finding | None, min_frames: int) -> Fault | None:
    """What is wrong with the file of an entry."""
    if finding is None:
        return Fault("missing", f"{entry.path}: no such file")
    if finding.damage:
        return Fault("broken", finding.damage)
    frames = frames_between(finding, entry.columns.get("start"), entry.columns.get("end"))
    if frames < min_frames:
        return Fault("short", f"{entry.path}: {frames} frames, fewer than {min_frames}")
    return None


def frames_between(finding: Finding, start: Cell, end: Cell) -> int:
    """Frames of a file from ``start`` to ``end`` in seconds, supposing an even rate."""
    if start is None and end is None:
        return finding.frames
    first = float(start or 0)
    last = min(finding.seconds, float(end)) if end is not None else finding.seconds
    return max(0, round(finding.frames * (last - first) / finding.seconds)) if finding.seconds else 0


def mark_duplicates(
    outcomes: Sequence[Outcome], labels: Sequence[str]
) -> tuple[list[Outcome], list[tuple[Path, Fault]]]:
    """Clips of equal content: the first stays, the others carry the fault; if their labels differ, all do.

    Also gives (path, fault) of each, for a run that keeps them.
    """
    groups: dict[tuple[str, Cell, Cell], list[int]] = {}
    for i, outcome in enumerate(outcomes):
        if outcome.fault is None and outcome.finding is not None:
            columns = outcome.entry.columns
            groups.setdefault((outcome.finding.sha256, columns.get("start"), columns.get("end")), []).append(i)
    marked = list(outcomes)
    for group in (g for g in groups.values() if len(g) > 1):
        for i, fault in duplicate_faults([outcomes[i].entry for i in group], group, labels):
            marked[i] = replace(marked[i], fault=fault)
    both = zip(outcomes, marked, strict=True)
    return marked, [(new.entry.path, new.fault) for old, new in both if new.fault is not None and old.fault is None]


def duplicate_faults(entries: Sequence[Entry], places: Sequence[int], labels: Sequence[str]) -> list[tuple[int, Fault]]:
    """(place, fault) for the clips of a group of equal content that cannot stay."""
    values = [tuple(entry.columns.get(name) for name in labels) for entry in entries]
    first = entries[0]
    if len(set(values)) > 1:
        labelled = "; ".join(f"{e.path.name} is {', '.join(map(str, v))}" for e, v in zip(entries, values, strict=True))
        return [
            (place, Fault("duplicate", f"{entry.path}: one content, several labels: {labelled}"))
            for place, entry in zip(places, entries, strict=True)
        ]
    return [
        (place, Fault("duplicate", f"{entry.path}: the same content as {first.path} ({first.source})"))
        for place, entry in zip(places[1:], entries[1:], strict=True)
    ]


def count_clips(corpus: Corpus, outcomes: Sequence[Outcome]) -> list[Count]:
    """Counts of all clips, of the persons, of the published conditions, and of classes and folds without any."""
    counts = [count_of("", corpus.expected.get(""), outcomes)]
    if corpus.subjects or count_subjects(outcomes):
        usable = count_subjects([o for o in outcomes if o.fault is None])
        counts.append(Count("subjects", corpus.subjects, count_subjects(outcomes), usable))
    counts += [count_of(condition, number, outcomes) for condition, number in corpus.expected.items() if condition]
    covered = {part.partition("=")[0].strip() for condition in corpus.expected for part in condition.split(";")}
    for column in (c for c in COUNTED if c not in covered):
        values = {outcome.entry.columns.get(column) for outcome in outcomes} - {None}
        ordered = sorted(values, key=lambda value: (isinstance(value, str), value))
        counts += [count_of(f"{column}={value}", None, outcomes) for value in ordered]
    return counts


def count_subjects(outcomes: Sequence[Outcome]) -> int:
    """The number of persons."""
    return len({o.entry.columns.get("subject") for o in outcomes} - {None})


def count_of(condition: str, expected: int | None, outcomes: Sequence[Outcome]) -> Count:
    """How many clips meet ``column=value; column=value``."""
    wanted = [tuple(map(str.strip, part.split("="))) for part in condition.split(";") if part]
    meeting = [o for o in outcomes if all(str(o.entry.columns.get(name)) == value for name, value in wanted)]
    return Count(condition, expected, len(meeting), sum(o.fault is None for o in meeting))
