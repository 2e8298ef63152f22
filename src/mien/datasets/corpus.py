"""What a corpus is: the nouns that ``mien prepare`` and the file of each corpus share.

A corpus file holds one ``CORPUS``: its facts (labels, citation, licence, expected counts) and one function that lists
its clips from the official tables and folders. A listing says which clips there should be, where each lies and what is
known of it. Whether the files can be read is found later (``mien.video.inspection``); what becomes of every clip is
settled in ``mien.datasets.outcomes``. Labels are names, never indices: tools and corpora disagree about those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Cell = str | int | float | None
Kind = Literal["missing", "broken", "short", "label", "duplicate", "fold"]
"""What can be wrong: the file is absent; cannot be decoded; has too few frames; its label is unknown, outside the scale
or contradictory; its content is another clip's; it is in no fold or part, or in two, or a list of folds is absent."""


@dataclass(frozen=True)
class Fault:
    """Why a clip cannot be used; the reason names file, row and value."""

    kind: Kind
    reason: str


@dataclass(frozen=True)
class Entry:
    """One clip that the corpus should have."""

    path: Path
    """The file (or folder of frames), or where it should lie."""
    columns: Mapping[str, Cell]
    """Everything known of it by column: labels, subject, split, fold."""
    source: str = ""
    """Where it is written: table and line, or folder."""
    fault: Fault | None = None
    """What is wrong with its rows, before the file is looked at."""


@dataclass
class Listing:
    """All clips of a corpus, and what else was found on the way."""

    entries: list[Entry]
    problems: list[tuple[Path, Fault]] = field(default_factory=list)
    """What is wrong with the corpus but is no listed clip: an absent list of a fold, a file with an impossible name."""
    ignored: Counter[str] = field(default_factory=Counter)
    """Files left aside on purpose: reason -> how many."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the report."""

    def ignore_unlisted(self, found: Iterable[Path]) -> None:
        """Count the clips that lie there but are no entry."""
        self.ignored["clips that no list names"] += len(set(found) - {entry.path for entry in self.entries})


@dataclass(frozen=True)
class Options:
    """What the listing of some corpora needs to be told."""

    clips: str = ""
    """Folder of the clips inside the root, where a corpus comes in several forms."""
    labels: Path | None = None
    """Table of clips and labels."""
    path_column: str = "path"
    """Column of that table that names the clip."""
    scale: tuple[float, float] | None = None
    """Lowest and highest value a label may have."""


@dataclass(frozen=True)
class Corpus:
    """The facts of a corpus and the function that lists its clips."""

    name: str
    title: str
    task: str
    """What it is used for, in a few words."""
    labels: tuple[str, ...]
    """Columns that hold labels."""
    citation: str
    licence: str
    access: str
    """Where to ask for a copy."""
    layout: str
    """The tree below the root."""
    list_clips: Callable[[Path, Options], Listing]
    expected: Mapping[str, int] = field(default_factory=dict)
    """Published counts of clips by condition, as in ``--data.select``: '' is all, 'fold=1', 'split=test; expression=fear'."""
    subjects: int | None = None
    """Published number of persons."""
    takes: tuple[str, ...] = ()
    """The ``Options`` that its listing uses."""


def unknown_label(source: str, value: str, names: Mapping[str, str]) -> Fault:
    """A label that the corpus does not have."""
    return Fault("label", f"{source}: label {value!r} is none of {', '.join(names)}")


def number_in(source: str, name: str, text: object, low: float, high: float) -> tuple[float | None, Fault | None]:
    """A number within a scale, or the fault that names file, row and value."""
    try:
        value = float(str(text))
    except ValueError:
        return None, Fault("label", f"{source}: {name} {text!r} is not a number")
    if not low <= value <= high:
        return None, Fault("label", f"{source}: {name} {text} is outside the scale from {low:g} to {high:g}")
    return value, None
