"""The table in a manifest file, column by column: a million rows take little more memory than their text.

Cells are text or numbers, None where there is none. In CSV all are text, so that subject ``007`` stays ``007``; in Parquet
dates and times become ISO 8601 text, durations seconds, and bytes the text that they hold.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mien.names import from_cell, from_text

Cell = str | int | float | bool | None
Column = NDArray[np.generic]
"""Cells of one column: numbers, or objects."""
PARQUET = (".parquet", ".pq")


class Cells(Mapping[str, Cell]):
    """The cells of one row, which stay in their columns."""

    __slots__ = ("columns", "place")

    def __init__(self, columns: Mapping[str, Column], place: int) -> None:
        self.columns, self.place = columns, place

    def __getitem__(self, name: str) -> Cell:
        value = self.columns[name][self.place]
        if not isinstance(value, np.generic):
            return value
        return None if value != value else value.item()

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __repr__(self) -> str:
        return repr(dict(self))

    def __reduce__(self) -> tuple[type[dict], tuple[dict[str, Cell]]]:
        """A row that is sent to another process takes its own cells along, not the table."""
        return dict, (dict(self),)


def read_columns(path: Path) -> dict[str, Column]:
    """The columns of a CSV or Parquet file by name. Raises ``ValueError`` naming the file, and where it can the line."""
    if path.suffix.lower() in PARQUET:
        try:
            table = pd.read_parquet(path)
        except (ValueError, OSError) as error:
            raise ValueError(f"{path}: not a readable Parquet file: {error}") from error
        return {str(name): parquet_column(path, str(name), table.iloc[:, i]) for i, name in enumerate(table.columns)}
    try:
        table = pd.read_csv(
            path, dtype=object, keep_default_na=False, encoding="utf-8-sig", encoding_errors="surrogateescape"
        )
    except pd.errors.EmptyDataError as error:
        raise ValueError(f"{path}: the manifest is empty; it needs a header with a column 'path'") from error
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a readable CSV: {error}") from error
    return {from_cell(str(name)): csv_column(path, str(name), table.iloc[:, i]) for i, name in enumerate(table.columns)}


def csv_column(path: Path, name: str, cells: pd.Series) -> Column:
    """A column of a CSV file; cells that are alike are one object. Names may be any bytes, other text is UTF-8."""
    codes, kinds = pd.factorize(cells)
    read = from_text if name == "path" else from_cell
    found = [None if kind == "" else read(str(kind)) for kind in kinds]
    for code, kind in enumerate(found):
        # Bytes that were not UTF-8 are read as surrogates.
        if kind is not None and name != "path" and any("\ud800" <= sign <= "\udfff" for sign in kind):
            line = int(np.argmax(codes == code)) + 2
            raise ValueError(f"{path} line {line}: {name} is not UTF-8; save the manifest as UTF-8")
    return np.array([*found, None], dtype=object)[codes]


def parquet_column(path: Path, name: str, cells: pd.Series) -> Column:
    """A column of a Parquet file."""
    kind = getattr(cells.dtype, "kind", "O")
    if kind == "m":
        return (cells / pd.Timedelta(seconds=1)).to_numpy(float)
    if kind in "biuf" and isinstance(cells.dtype, np.dtype):
        return cells.to_numpy()
    if kind == "M":
        cells = cells.astype(object)
    read: Callable[[object], Cell] = path_cell if name == "path" else plain_cell
    try:
        return np.array([read(cell) for cell in cells.astype(object)] + [None], dtype=object)[:-1]
    except TypeError as error:
        raise ValueError(f"{path}: column {name!r} {error}; a manifest holds text, numbers, dates and times") from error


def plain_cell(cell: object) -> Cell:
    """A cell of a Parquet file; ``TypeError`` for what is neither text nor a number, such as a list."""
    if cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float) and cell != cell):
        return None
    if isinstance(cell, str):
        return cell or None
    if isinstance(cell, timedelta):
        return cell.total_seconds()
    if isinstance(cell, date | time):
        return cell.isoformat()
    if isinstance(cell, bytes):
        return os.fsdecode(cell).encode("utf-8", "backslashreplace").decode() or None
    if isinstance(cell, Decimal):
        return float(cell)
    if isinstance(cell, np.generic):
        return cell.item()
    if isinstance(cell, bool | int | float):
        return cell
    raise TypeError(f"holds {type(cell).__name__}")


def path_cell(cell: object) -> str | None:
    """A path of a Parquet file: text as ``mien.names`` writes it, or the bytes of a name."""
    if isinstance(cell, bytes):
        return os.fsdecode(cell) or None
    value = plain_cell(cell)
    return None if value is None else from_text(str(value))
