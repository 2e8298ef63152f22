"""Pickles of other people, read without running them: dicts, strings and numbers, nothing else.

A pickle is a program. Here its instructions are looked at first, one by one, and any that could import, call or build
something is refused; what is left can only make dicts, strings and numbers. Pickles of Python 2 hold bytes, read as
Latin-1.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import NoReturn

HARMLESS = {
    "PROTO", "FRAME", "MARK", "STOP",
    "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS",
    "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT",
}  # fmt: skip
"""Instructions that make dicts, strings and numbers, or keep order among them."""


PLAIN = (str, int, float)
Plain = str | int | float


class Classless(pickle.Unpickler):
    """An unpickler that knows no classes: a second lock behind the first."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"{module}.{name}")


def read_pickle(path: Path) -> dict[Plain, Plain | dict[Plain, Plain]]:
    """The dict in a pickle file: strings and numbers by key, or dicts of these (no deeper).

    Raises ``ValueError`` naming the file for anything else than dicts of strings and numbers, and for broken files.
    """
    data = path.read_bytes()
    refuse_programs(path, data)
    try:
        value = Classless(io.BytesIO(data), encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, IndexError, KeyError, ValueError, TypeError, UnicodeError) as error:
        raise ValueError(f"{path}: not a readable pickle: {error}") from error
    refuse_others(path, value)
    return value


def refuse_programs(path: Path, data: bytes) -> None:
    """Refuse every instruction that is not on the list, and memory places that a file of this size cannot have."""
    try:
        for code, argument, place in pickletools.genops(data):
            if code.name not in HARMLESS:
                shown = f" {argument!r}" if argument is not None else ""
                raise ValueError(
                    f"{path}: refused at byte {place}: {code.name}{shown}. A pickle may hold dicts, strings and numbers only"
                )
            if code.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(str(argument)) > len(data):
                raise ValueError(f"{path}: refused at byte {place}: {code.name} {argument} is beyond the file's size")
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path}: not a readable pickle: {error}") from error


def refuse_others(path: Path, value: object) -> None:
    """Refuse all but a dict of strings, numbers and dicts of strings and numbers."""
    if type(value) is not dict:
        raise ValueError(f"{path}: holds {type(value).__name__}, not a dict")
    for key, inner in value.items():
        pairs = inner.items() if type(inner) is dict else [(key, inner)]
        for name, leaf in ((key, key), *pairs):
            if type(name) not in PLAIN or type(leaf) not in PLAIN:
                raise ValueError(
                    f"{path}: under {key!r} is {type(leaf).__name__}; a pickle may hold a dict of strings, numbers and "
                    "dicts of strings and numbers"
                )
