"""A text in sections, each with tables, sentences and a picture, written as Markdown and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mien.reports.page import Report, format_cell

Rows = Sequence[Mapping[str, object]]


@dataclass(frozen=True)
class Section:
    """A part of a report, in this order: heading, sentences, table, picture, notes."""

    heading: str
    sentences: Sequence[str] = ()
    rows: Rows = ()
    picture: Path | None = None
    """PNG beside the report."""
    caption: str = ""
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    """What touches every number; stands before the sentences, on a page in the colour of a warning."""


def markdown(title: str, sections: Sequence[Section]) -> str:
    """The whole as Markdown; pictures are links to their files."""
    blocks = [f"# {title}"]
    for part in sections:
        blocks += [f"## {part.heading}", *(f"**{text}**" for text in part.warnings), *part.sentences]
        blocks += [table(part.rows)] if part.rows else []
        blocks += [f"![{part.caption}]({part.picture.name})"] if part.picture else []
        blocks += ["\n".join(f"- {note}" for note in part.notes)] if part.notes else []
    return "\n\n".join(blocks) + "\n"


def page(title: str, sections: Sequence[Section]) -> Report:
    """The whole as one HTML page that holds its pictures."""
    report = Report(title)
    for part in sections:
        report.heading(part.heading)
        for text in part.warnings:
            report.warning(text)
        for sentence in part.sentences:
            report.text(sentence)
        if part.rows:
            report.table(part.rows)
        if part.picture:
            report.picture(part.picture.read_bytes(), part.caption)
        for note in part.notes:
            report.text(note)
    return report


def table(rows: Rows) -> str:
    """A Markdown table of all keys as they first occur, padded so that it reads as plain text too."""
    names = list(dict.fromkeys(key for row in rows for key in row))
    cells = [names, *([escape_cell(format_cell(row.get(name))) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    lines = ["| " + " | ".join(text.ljust(w) for text, w in zip(line, widths, strict=True)) + " |" for line in cells]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def escape_cell(text: str) -> str:
    """Text that stays inside its cell."""
    return text.replace("|", r"\|").replace("\n", " ")
