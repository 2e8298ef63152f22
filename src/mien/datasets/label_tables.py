"""Rows of the corpora's own tables, each with the line that a person finds it on."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

from mien.extras import install


@dataclass(frozen=True)
class Row:
    """One line of a table: its cells by column, without spaces around them."""

    cells: dict[str, str]
    source: str
    """File and line."""

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def whole(self, column: str) -> int:
        """A whole number of at least 0; ``ValueError`` names line, column and value."""
        if not self[column].isdecimal():
            raise ValueError(f"{self.source}: {column or 'the first column'} is {self[column]!r}, not a whole number")
        return int(self[column])


def read_table(path: Path, needed: Sequence[str] = ()) -> list[Row]:
    """Rows of a CSV, TSV or XLSX table with a header.

    Raises ``ValueError`` naming the file for a table that cannot be read and for columns that are ``needed`` but absent.
    """
    header, lines = read_xlsx(path) if path.suffix.lower() == ".xlsx" else read_csv(path)
    absent = [name for name in needed if name not in header]
    if absent:
        raise ValueError(f"{path}: no column {', '.join(absent)}; the columns are {', '.join(header) or 'none'}")
    rows = []
    for line, cells in lines:
        if any(cells):  # blank lines are passed over
            if len(cells) != len(header):
                raise ValueError(f"{path} line {line}: {len(cells)} cells under {len(header)} columns; mend this line")
            rows.append(Row(dict(zip(header, cells, strict=True)), f"{path.name} line {line}"))
    return rows


def read_csv(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and numbered lines of a text table; tabs separate where the header has one."""
    text = read_utf8(path)
    mark = "\t" if "\t" in text.split("\n", 1)[0] else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    if not lines:
        raise ValueError(f"{path}: the table is empty")
    return lines[0][1], lines[1:]


def read_utf8(path: Path) -> str:
    """The text of a file, UTF-8 with or without its mark."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from error


def read_xlsx(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and numbered rows of the first sheet of an Excel file, all cells as text."""
    import pandas as pd

    try:
        table = pd.read_excel(path, dtype=str, keep_default_na=False, engine="openpyxl")
    except ImportError as error:
        raise ValueError(
            f"{path}: reading Excel files needs openpyxl: {install('xlsx')}; or save the sheet as CSV"
        ) from error
    except (ValueError, KeyError, BadZipFile) as error:
        raise ValueError(f"{path}: not a readable Excel file ({error}); save the sheet as CSV") from error
    rows = [[str(cell).strip() for cell in row] for row in table.to_numpy()]
    return [str(name).strip() for name in table.columns], list(enumerate(rows, start=2))


def read_pairs(path: Path, mark: str | None = None) -> list[tuple[str, str, str]]:
    """(name, label, source) of each line ``name label`` without a header; the name may hold spaces.

    ``mark`` separates the two; None is white space. A line without a label is an error that names it.
    """
    pairs = []
    for line, text in enumerate(read_utf8(path).splitlines(), start=1):
        parts = [part.strip() for part in text.rsplit(mark, 1)]
        if not text.strip():
            continue
        if len(parts) != 2 or not all(parts):
            raise ValueError(f"{path} line {line}: {text!r} is not a name and a label; mend this line")
        pairs.append((parts[0], parts[1], f"{path.name} line {line}"))
    return pairs
