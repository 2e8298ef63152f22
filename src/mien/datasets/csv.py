"""Any table of clips: one row per clip, every column is kept as it is.

The clip's column is ``path`` (or --path-column), relative to ROOT or absolute; ``start`` and ``end`` are seconds.
"""

from __future__ import annotations

from pathlib import Path

from mien.datasets.corpus import Cell, Corpus, Entry, Fault, Listing, Options
from mien.datasets.label_tables import Row, read_table
from mien.datasets.layout import walk_clips

LAYOUT = """
--labels TABLE        CSV, TSV or XLSX with a header: path (see --path-column) and any other columns
ROOT/<path> ...       the clips
"""
TIMES = ("start", "end")


def list_clips(root: Path, options: Options) -> Listing:
    """The rows of the table."""
    if options.labels is None:
        raise ValueError(f"csv needs --labels, the table of clips. Expected:\n{LAYOUT.strip()}")
    rows = read_table(options.labels, needed=(options.path_column,))
    listing = Listing([entry_of(row, options.path_column, root) for row in rows])
    listing.ignore_unlisted(walk_clips(root))
    return listing


def entry_of(row: Row, path_column: str, root: Path) -> Entry:
    """One row as it is, its times as numbers."""
    columns: dict[str, Cell] = {name: cell or None for name, cell in row.cells.items() if name != path_column}
    fault = None if row[path_column] else Fault("missing", f"{row.source}: no path")
    for name in TIMES:
        if columns.get(name) is not None:
            columns[name], wrong = time_of(row, name)
            fault = fault or wrong
    start, end = columns.get("start"), columns.get("end")
    if fault is None and isinstance(start, float) and isinstance(end, float) and end <= start:
        fault = Fault("label", f"{row.source}: end {end} is not after start {start}")
    return Entry(root / row[path_column], columns, row.source, fault)


def time_of(row: Row, name: str) -> tuple[float | None, Fault | None]:
    """A time of a row in seconds."""
    try:
        value = float(row[name])
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        return None, Fault("label", f"{row.source}: {name} {row[name]!r} is not a time in seconds")
    return value, None


CORPUS = Corpus(
    name="csv",
    title="a table of clips",
    task="anything",
    labels=(),
    citation="",
    licence="",
    access="",
    layout=LAYOUT,
    list_clips=list_clips,
    takes=("labels", "path_column"),
)
