"""Leaks: clips, contents or people that are in two parts, of which one trains a model and the other tests it.

Nothing here decides what to do about a leak; ``mien.training.partition`` refuses it. A clip's content is the SHA-256 of its
file (or of its frames), so a copy under another name is found; of one file, stretches that do not overlap in time are
different clips.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

from mien.interfaces import Clip
from mien.progress import progress_bar
from mien.video.inspection import digest
from mien.video.manifest import cell

Hashes = Mapping[Path, str]
"""File (or folder of frames) -> SHA-256 of its content."""
SEEN = ("part", "sha256", "start", "end")
"""Columns of ``seen.csv``, the file that says what a model has learnt from."""
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class LearntClip:
    """A stretch of video that a model has learnt from, by its content; ``start`` and ``end`` in seconds."""

    part: str
    """pretraining, training or validation."""
    sha256: str
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True)
class Leak:
    """Something that two parts share."""

    kind: Literal["path", "content", "subject"]
    one: str
    other: str
    count: int
    """Clips of ``other`` that ``one`` holds too; for subjects, how many of them."""
    examples: str
    group: str = "subject"
    """Column that says who is who."""

    def __str__(self) -> str:
        if self.kind == "subject":
            return f"{self.one} and {self.other} share {self.count} of the {self.group}s: {self.examples}"
        if self.kind == "path":
            return f"{self.one} and {self.other} share {self.count} clips: {self.examples}"
        return f"{self.count} clips of {self.other} have the content of a clip of {self.one}: {self.examples}"


def hash_clips(clips: Iterable[Clip], workers: int = 4) -> dict[Path, str]:
    """The content of each clip's file: the manifest's column sha256 (``mien prepare`` writes it), or the file itself."""
    known = {clip.path: cell(clip, "sha256").lower() for clip in clips}
    unread = [path for path, value in known.items() if not SHA256.fullmatch(value)]
    return known | hash_files(unread, workers)


def hash_files(paths: Sequence[Path], workers: int = 4) -> dict[Path, str]:
    """The content of each file or folder of frames."""
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        read = pool.map(digest, paths)
        bar = progress_bar(read, "hashing clips", total=len(paths))
        return dict(zip(paths, bar, strict=True))


def find_leaks(parts: Mapping[str, Sequence[Clip]], hashes: Hashes, group: str) -> list[Leak]:
    """What any two parts share: clips by path, clips by content where the path differs, values of the column ``group``."""
    found: list[Leak] = []
    for one, other in combinations(parts, 2):
        a, b = parts[one], parts[other]
        by_path = overlapping(a, b, lambda clip: clip.path)
        same_path = {id(clip) for clip in by_path}
        by_content = [
            c for c in overlapping(a, b, lambda clip: hashes[clip.path] or clip.path) if id(c) not in same_path
        ]
        people = sorted(({cell(c, group) for c in a} - {""}) & {cell(c, group) for c in b})
        found += [leak("path", one, other, [c.path.name for c in by_path])] if by_path else []
        found += [leak("content", one, other, [c.path.name for c in by_content])] if by_content else []
        found += [Leak("subject", one, other, len(people), first_names(people), group)] if people else []
    return found


def find_seen(seen: Iterable[LearntClip], hashes: Hashes, part: str, clips: Sequence[Clip]) -> list[Leak]:
    """Clips of a part whose content a model has learnt from, by the part that it learnt them from."""
    stretches: dict[tuple[str, str], list[tuple[float | None, float | None]]] = defaultdict(list)
    for row in seen:
        stretches[row.part, row.sha256].append((row.start, row.end))
    found = []
    for source in sorted({name for name, _ in stretches}):
        names = [
            clip.path.name
            for clip in clips
            if any(overlap((clip.start, clip.end), s) for s in stretches.get((source, hashes[clip.path]), ()))
        ]
        found += [leak("content", source, part, names)] if names else []
    return found


def leak(kind: Literal["path", "content"], one: str, other: str, names: list[str]) -> Leak:
    """A leak of clips."""
    return Leak(kind, one, other, len(names), first_names(names))


def overlapping(one: Sequence[Clip], other: Sequence[Clip], key: Callable[[Clip], Hashable]) -> list[Clip]:
    """Clips of ``other`` that share a key and a moment with a clip of ``one``."""
    stretches: dict[Hashable, list[tuple[float | None, float | None]]] = defaultdict(list)
    for clip in one:
        stretches[key(clip)].append((clip.start, clip.end))
    return [c for c in other if any(overlap((c.start, c.end), s) for s in stretches.get(key(c), ()))]


def overlap(a: tuple[float | None, float | None], b: tuple[float | None, float | None]) -> bool:
    """Whether two stretches (start included, end excluded; None is open) have a moment in common."""
    starts_before_end = [end is None or (start or 0.0) < end for (start, _), (_, end) in ((a, b), (b, a))]
    return all(starts_before_end)


def seen_clips(part: str, clips: Iterable[Clip], hashes: Hashes) -> list[LearntClip]:
    """Clips as rows of ``seen.csv``; without those whose content is not known, which were never read."""
    return [LearntClip(part, hashes[clip.path], clip.start, clip.end) for clip in clips if hashes[clip.path]]


def write_seen(path: Path, seen: Iterable[LearntClip]) -> None:
    """One line per stretch, sorted, each once."""
    rows = sorted({(s.part, s.sha256, format_seconds(s.start), format_seconds(s.end)) for s in seen})
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(SEEN)
        table.writerows(rows)


def format_seconds(seconds: float | None) -> str:
    """A time as it is written; None is empty."""
    return "" if seconds is None else repr(seconds)


def read_seen(path: Path) -> list[LearntClip]:
    """What ``write_seen`` wrote; ``ValueError`` names file and line of anything else."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    if not rows or tuple(rows[0]) != SEEN:
        raise ValueError(f"{path}: the header is not {','.join(SEEN)}")
    found = []
    for line, row in enumerate(rows[1:], start=2):
        try:
            part, sha256, start, end = row
            found.append(LearntClip(part, sha256, float(start) if start else None, float(end) if end else None))
        except ValueError as error:
            raise ValueError(f"{path} line {line}: not {','.join(SEEN)}: {error}") from error
    return found


def first_names(names: Sequence[str]) -> str:
    """The first few names."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
