"""The account of a prepared corpus, for people and for programs: counts, problems, notes, and the rows of its tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mien.datasets.corpus import Cell, Corpus, Fault, Listing
from mien.datasets.outcomes import Count, Outcome
from mien.names import to_cell, to_text

FILE_COLUMNS = ("frames", "seconds", "sha256")
"""Columns of a manifest that come from inspecting the files."""
PROBLEM_COLUMNS = ("kind", "path", "source", "reason")
SHOWN = 3
"""Problems of each kind that are printed."""


@dataclass(frozen=True)
class CorpusReport:
    """Everything known about a corpus after its files were inspected."""

    corpus: Corpus
    root: Path
    listing: Listing
    outcomes: Sequence[Outcome]
    counts: Sequence[Count]

    @property
    def usable(self) -> list[Outcome]:
        """The clips of the manifest."""
        return [outcome for outcome in self.outcomes if outcome.fault is None]

    @property
    def faults(self) -> list[tuple[Path, str, Fault]]:
        """(path, source, fault) of everything that is wrong: first what is no clip, then the clips."""
        clips = [(o.entry.path, o.entry.source, o.fault) for o in self.outcomes if o.fault]
        return [*((path, "", fault) for path, fault in self.listing.problems), *clips]

    @property
    def kinds(self) -> Counter[str]:
        """How many problems of each kind there are."""
        return Counter[str](fault.kind for _, _, fault in self.faults)

    def failures(self, allowed: Container[str]) -> dict[str, int]:
        """Kinds of problems that are not allowed, and how many; ``counts`` is tables that differ from what is published."""
        found: dict[str, int] = {**self.kinds, "counts": sum(differs(count) for count in self.counts)}
        return {kind: number for kind, number in found.items() if number and kind not in allowed}


def differs(count: Count) -> bool:
    """Whether the tables are not what was published."""
    return count.expected is not None and count.expected != count.listed


def manifest_rows(report: CorpusReport, folder: Path) -> tuple[list[str], list[dict[str, Cell]]]:
    """Header and rows of the manifest in ``folder``; paths are absolute, or relative where they lie below it."""
    columns = dict.fromkeys(name for outcome in report.outcomes for name in outcome.entry.columns)
    header = ["path", *columns, *(name for name in FILE_COLUMNS if name not in columns)]
    rows: list[dict[str, Cell]] = []
    for outcome in report.usable:
        inspected = {name: getattr(outcome.finding, name) for name in FILE_COLUMNS}
        rows.append(
            {"path": str(to_cell(relative_path(outcome.entry.path, folder))), **inspected, **outcome.entry.columns}
        )
    return header, rows


def problem_rows(report: CorpusReport) -> Iterator[dict[str, Cell]]:
    """One row for everything that is wrong."""
    for path, source, fault in report.faults:
        where = str(to_cell(relative_path(path, report.root)))
        yield {"kind": fault.kind, "path": where, "source": source, "reason": fault.reason}


def relative_path(path: Path, folder: Path) -> Path:
    """The path relative to a folder, if it lies there."""
    return path.relative_to(folder) if path.is_relative_to(folder) else path


def as_tree(report: CorpusReport) -> dict[str, object]:
    """The account as plain values for JSON."""
    corpus, usable = report.corpus, len(report.usable)
    return {
        "corpus": {n: getattr(corpus, n) for n in ("name", "title", "task", "labels", "citation", "licence", "access")},
        "root": to_text(report.root),
        "clips": {"listed": len(report.outcomes), "usable": usable, "unusable": len(report.outcomes) - usable},
        "counts": [asdict(count) for count in report.counts],
        "problems": dict(report.kinds),
        "ignored": {reason: number for reason, number in report.listing.ignored.items() if number},
        "notes": report.listing.notes,
    }


def as_text(report: CorpusReport) -> str:
    """The account for a person."""
    corpus, listed, usable = report.corpus, len(report.outcomes), len(report.usable)
    lines = [f"{corpus.title} in {report.root}: {listed} clips listed = {usable} usable + {listed - usable} not", ""]
    lines += [*count_lines(report.counts), "", *problem_lines(report)]
    lines += [f"left aside: {number} {reason}" for reason, number in report.listing.ignored.items() if number]
    lines += [f"note: {note}" for note in report.listing.notes]
    lines += [f"{name}: {value}" for name, value in (("cite", corpus.citation), ("licence", corpus.licence)) if value]
    return "\n".join(lines)


def count_lines(counts: Sequence[Count]) -> list[str]:
    """The table of counts."""
    width = max(len(count.condition) for count in counts) + 2
    lines = [f"{'':<{width}}{'published':>10}{'listed':>10}{'usable':>10}"]
    for count in counts:
        published = "-" if count.expected is None else count.expected
        row = f"{count.condition or 'clips':<{width}}{published:>10}{count.listed:>10}{count.usable:>10}"
        lines.append(row + ("  differs" if differs(count) else ""))
    return lines


def problem_lines(report: CorpusReport) -> list[str]:
    """Each kind of problem with its number and its first cases."""
    lines = []
    for kind, number in report.kinds.most_common():
        reasons = [fault.reason for _, _, fault in report.faults if fault.kind == kind]
        lines += [f"{kind}: {number}", *(f"  {reason}" for reason in reasons[:SHOWN])]
        if number > SHOWN:
            lines.append(f"  ... and {number - SHOWN} more in problems.csv")
    return lines or ["no problems"]
