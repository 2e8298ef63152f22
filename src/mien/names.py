r"""File names and other text that goes into tables, pages and messages: always valid Unicode, and back to the same bytes.

A name on disk is bytes. Inside the program it is text in which bytes that are not UTF-8 are lone surrogates, as Python has
it (``os.fsdecode``); no table, JSON file or page can hold those. So wherever a name goes out, ``\xHH`` stands for such a
byte, and for a control character such as a line break, in two small hexadecimal digits::

    to_text("caf\udce9.mp4") == r"caf\xe9.mp4"          from_text(r"caf\xe9.mp4") == "caf\udce9.mp4"

A backslash that would begin such a mark itself is written ``\x5c``; every other name, and so nearly every one, stands as
it is. ``from_text(to_text(name)) == name`` for every name.

In a CSV table a spreadsheet takes text that begins with ``=``, ``+``, ``-`` or ``@`` for a formula, and runs it. Such a cell
gets an apostrophe in front, unless it is a number, and so does one that begins with apostrophes and one of these signs;
``from_cell`` takes it away. Paths get ``./`` in front instead, which names the same file.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

MARK = re.compile(r"\\x(5c|7f|[0189a-f][0-9a-f])")
"""A byte or control character as it is written; ``\\x5c`` is a backslash."""
HIDDEN = re.compile("[\x00-\x1f\x7f\udc80-\udcff]")
"""What is written as a mark, and the first sign of a mark that is none."""
LONE = re.compile("[\ud800-\udfff]")
FORMULA = tuple("=+-@\t\r")
"""First signs of what a spreadsheet runs."""
LONGEST = 200
"""Bytes of a folder's name; file systems take 255, and beside it stand names that are a little longer."""
ERRORS = "mien.names"
"""Name under which ``register`` gives text streams the marks."""


def to_text(name: str | PurePath) -> str:
    """A name as text that every table and page can hold, on one line; ``from_text`` gives it back."""
    text = str(name)
    if not HIDDEN.search(text) and "\\x" not in text:
        return text
    return HIDDEN.sub(escape, MARK.sub(lambda found: r"\x5c" + found[0][1:], text))


def from_text(text: str) -> str:
    """The name that ``to_text`` wrote."""
    return MARK.sub(unescape, text) if "\\x" in text else text


def escape(found: re.Match[str]) -> str:
    """A byte or control character as its mark."""
    return f"\\x{ord(found[0]) & 0xFF:02x}"


def unescape(found: re.Match[str]) -> str:
    """A mark as what it stands for."""
    number = int(found[1], 16)
    return chr(number if number < 0x80 else 0xDC00 + number)


def folder_name(name: str) -> str:
    """A name for a folder of its own after ``name``: not ``.`` or ``..``, and no longer than file systems take."""
    raw = name.encode("utf-8", "surrogateescape")
    if len(raw) > LONGEST:
        digest = hashlib.sha256(raw).hexdigest()[:12]
        name = raw[: LONGEST - 13].decode("utf-8", "ignore") + "-" + digest
    return f"_{name}" if not name.strip(".") else name


def printable(text: str) -> str:
    """Text for a page or a terminal: bytes that are not UTF-8 as marks, everything else as it is."""
    return LONE.sub(lambda found: escape(found) if HIDDEN.match(found[0]) else "\N{REPLACEMENT CHARACTER}", text)


def register() -> str:
    """Let text streams write marks where they cannot write a name; returns what to give them as ``errors``."""

    def write(error: UnicodeError) -> tuple[str | bytes, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        text = printable(error.object[error.start : error.end])
        return text.encode(error.encoding, "backslashreplace"), error.end

    codecs.register_error(ERRORS, write)
    return ERRORS


def to_cell(value: object) -> object:
    """A value as a cell of a CSV table: a path as its name, text that is no formula, everything else as it is."""
    if isinstance(value, PurePath):
        text = to_text(value)
        return f"./{text}" if text.startswith((*FORMULA, "'")) else text
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if is_formula(text.lstrip("'")) else text


def is_formula(text: str) -> bool:
    """Whether a spreadsheet would run it; numbers are none."""
    if not text.startswith(FORMULA):
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False


def from_cell(text: str) -> str:
    """The text that ``to_cell`` wrote; a path is read by ``from_text``."""
    return text[1:] if text.startswith("'") and is_formula(text.lstrip("'")) else text


def read_csv(path: str | Path) -> pd.DataFrame:
    """A CSV table of text as it was before ``write_csv``; empty cells stay empty, and the column
    ``path`` holds names."""
    import pandas as pd

    table = pd.read_csv(path, dtype=object, keep_default_na=False, encoding="utf-8-sig")
    table.columns = [from_cell(name) for name in table.columns]
    for place, name in enumerate(table.columns):
        read = from_text if name == "path" else from_cell
        cells = [read(cell) for cell in table.iloc[:, place]]
        table.isetitem(place, pd.Series(cells, index=table.index, dtype=object))
    return table


def write_csv(table: pd.DataFrame, path: str | Path, index: bool = False) -> None:
    """Write a table as CSV, every cell and name as ``to_cell`` has it."""
    safe = table.copy(deep=False)
    for place, kind in enumerate(table.dtypes):
        if kind.kind == "O":
            safe.isetitem(place, table.iloc[:, place].map(to_cell, na_action="ignore"))
    safe.columns = [to_cell(name) for name in table.columns]
    if index:
        safe.index = [to_cell(name) for name in table.index]
    safe.to_csv(path, index=index, encoding="utf-8")


def write_parquet(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table as Parquet, paths and text as Unicode."""
    safe = table.copy(deep=False)
    for place, kind in enumerate(table.dtypes):
        if kind.kind == "O":
            safe.isetitem(place, table.iloc[:, place].map(to_plain, na_action="ignore"))
    safe.to_parquet(path, index=False)


def to_plain(value: object) -> object:
    """A path by its name, text as Unicode, everything else as it is."""
    if isinstance(value, PurePath):
        return to_text(value)
    return printable(value) if isinstance(value, str) else value
