"""Rows that are appended as they come, survive a kill, and stand under their final name only when all are there.

A table grows as CSV in ``.NAME.partial`` beside its place; ``finish`` makes it the final CSV, or turns it into Parquet
group by group. A job that is started again cuts off a torn last line and goes on behind it.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from mien.files import publish, write_whole
from mien.inference.tables import PERSON, Layout, Row, with_person
from mien.names import from_cell, to_cell

GROUP = 20_000
"""Rows of a group of a Parquet file."""


@contextmanager
def explain_disk_errors(path: Path) -> Iterator[None]:
    """Errors of the disk say which file, and that what is done is kept."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"{path}: cannot be written ({error.strerror or error}). Nothing stands under its final name; what is done "
            "is kept beside it. Make room or choose another --output; the same command goes on from there"
        ) from error


class Journal:
    """One growing table."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """``path`` is the final name; rows of a killed job under the same columns are found and kept."""
        self.path, self.columns = path, tuple(columns)
        self.partial = path.with_name(f".{path.stem}.csv.partial")
        with explain_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.rows = self.drop_torn_row()
            self.file: TextIOWrapper = self.partial.open("a", newline="", encoding="utf-8")
            self.writer = csv.writer(self.file, lineterminator="\n")
            if self.partial.stat().st_size == 0:
                self.writer.writerow(map(to_cell, self.columns))
                self.file.flush()

    def drop_torn_row(self) -> int:
        """Cut off what is not a whole row; returns the number of rows left."""
        if not self.partial.is_file():
            return 0
        whole = ends = 0
        with self.partial.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    ends, whole = ends + 1, whole + len(line)
        os.truncate(self.partial, whole)
        return max(ends - 1, 0)

    def truncate(self, rows: int) -> None:
        """Cut the table to its first ``rows`` rows."""
        self.file.flush()
        with self.partial.open("rb") as file:
            size = sum(len(line) for line in islice(file, rows + 1))
        self.file.truncate(size)
        self.rows = rows

    def read(self) -> Iterator[dict[str, str]]:
        """The rows that are there now, as text, one at a time."""
        with self.partial.open(newline="", encoding="utf-8") as file:
            rows = islice(csv.reader(file), 1, self.rows + 1)
            yield from (dict(zip(self.columns, map(from_cell, row), strict=True)) for row in rows)

    def append(self, rows: Sequence[Row]) -> None:
        """Add rows, and hand them to the operating system, which keeps them through a kill."""
        with explain_disk_errors(self.path):
            self.writer.writerows([to_cell(value) for value in row] for row in rows)
            self.file.flush()
        self.rows += len(rows)

    def release(self) -> None:
        """Let go of the file; the rows stay. What a full disk has refused already is not tried again."""
        with suppress(OSError):
            self.file.close()

    def finish(self, layout: Layout, persons: Mapping[int, int] | None = None) -> None:
        """All rows are there: give the table its final name, and the person of every face, where those are known."""
        with explain_disk_errors(self.path):
            self.file.close()
            if self.path.suffix == ".parquet":
                write_whole(
                    self.path, lambda beside: csv_to_parquet(self.partial, beside, self.columns, layout, persons)
                )
                self.partial.unlink()
            elif persons is not None:
                write_whole(self.path, lambda beside: csv_with_persons(self.partial, beside, persons))
                self.partial.unlink()
            else:
                publish(self.partial, self.path)


def has_rows(partial: Path) -> bool:
    """Whether a growing table holds a whole row below its header; what is no plain file is taken to, and left alone."""
    if not partial.is_file():
        return True
    with partial.open("rb") as file:
        return sum(line.endswith(b"\n") for line in islice(file, 2)) == 2


def read_table(path: Path, layout: Layout) -> pd.DataFrame:
    """A finished table with its types."""
    if path.suffix == ".parquet":
        table = pd.read_parquet(path)
        return table.astype({column: layout.type_of(column) for column in table.columns})
    return next(read_groups(path, layout, None))


def read_groups(path: Path, layout: Layout, rows: int | None) -> Iterator[pd.DataFrame]:
    """A CSV table with its types, ``rows`` of it at a time, or all at once; empty cells are missing values."""
    with path.open(newline="", encoding="utf-8") as file:
        columns = list(map(from_cell, next(csv.reader(file))))
    types = {column: layout.type_of(column) for column in columns}
    texts = [column for column in columns if types[column] == "string"]
    options: Any = {"dtype": types, "names": columns, "header": 0, "keep_default_na": False, "na_values": [""]}
    for group in [pd.read_csv(path, **options)] if rows is None else pd.read_csv(path, chunksize=rows, **options):
        for column in texts:
            group[column] = group[column].map(from_cell, na_action="ignore").astype("string")
        yield group


def csv_with_persons(source: Path, target: Path, persons: Mapping[int, int]) -> None:
    """A CSV table with the column ``person``, which is put in or written anew; all else stays to the letter."""
    with source.open(newline="", encoding="utf-8") as old, target.open("w", newline="", encoding="utf-8") as new:
        rows, writer = csv.reader(old), csv.writer(new, lineterminator="\n")
        columns = next(rows)
        place, there = columns.index("face_id"), PERSON in columns
        behind = place + 1 + there
        writer.writerow([*columns[: place + 1], PERSON, *columns[behind:]])
        for row in rows:
            who = persons[int(row[place])] if row[place] else ""
            writer.writerow([*row[: place + 1], who, *row[behind:]])


def parquet_with_persons(source: Path, target: Path, persons: Mapping[int, int]) -> None:
    """A Parquet table with its column ``person`` written anew, a group of rows at a time."""
    import pyarrow as pa
    from pyarrow import parquet

    with parquet.ParquetFile(source) as old, parquet.ParquetWriter(target, old.schema_arrow, compression="zstd") as new:
        for number in range(old.num_row_groups):
            group = old.read_row_group(number)
            who = [None if face is None else persons[face] for face in group["face_id"].to_pylist()]
            place = group.schema.get_field_index(PERSON)
            new.write_table(group.set_column(place, group.schema.field(place), pa.array(who, pa.int64())))


def csv_to_parquet(
    source: Path, target: Path, columns: Sequence[str], layout: Layout, persons: Mapping[int, int] | None = None
) -> None:
    """A CSV table as Parquet, a group of rows at a time, with the column ``person`` where those are known."""
    import pyarrow as pa
    from pyarrow import parquet

    columns = columns if persons is None else with_person(columns)
    kinds = {"boolean": pa.bool_(), "Int64": pa.int64(), "string": pa.string(), "float64": pa.float64()}
    schema = pa.schema([(column, kinds[layout.type_of(column)]) for column in columns])
    with parquet.ParquetWriter(target, schema, compression="zstd") as writer:
        for group in read_groups(source, layout, GROUP):
            if persons is not None:
                group.insert(
                    columns.index(PERSON), PERSON, group["face_id"].map(persons.get, na_action="ignore").astype("Int64")
                )
            writer.write_table(pa.Table.from_pandas(group, schema, preserve_index=False))
