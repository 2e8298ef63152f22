"""The short help of a command: the options people use, each in a sentence, and every choice of every ``*.name``.

All of it stands in the configs: a field's default, and the sentence under it. ``--help-all`` is tyro's full help.
"""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FEW = 20
"""A command with no more options than this shows them all."""


@dataclass(frozen=True)
class Option:
    """One option of a command."""

    name: str
    """With its sections: data.manifest."""
    takes: str
    """What to write behind it."""
    default: object
    about: str
    """The sentences under its field."""
    positional: bool = False

    @property
    def section(self) -> str:
        """The sections it stands in; empty for an option of the command itself."""
        return self.name.rpartition(".")[0]

    @property
    def flag(self) -> str:
        """As it is written on the command line."""
        if self.positional:
            return self.name.upper()
        return f"--{self.name.replace('_', '-')}{' ' + self.takes if self.takes else ''}"


def short_help(schema: type, often: Sequence[str], prog: str, description: str, default: object = None) -> str:
    """Usage, what the command does, the options ``often`` used (all of them where they are few), and all choices."""
    every = list(options(schema, default))
    shown = [o for o in every if o.name in often] if often else [o for o in every if len(every) <= FEW or not o.section]
    width = screen()
    places = " ".join(o.flag for o in every if o.positional)
    lines = [
        f"usage: {prog} {places + ' ' if places else ''}[recipe ...] [--option value ...]",
        "",
        description.strip(),
    ]
    for section in dict.fromkeys(o.section for o in shown):
        lines += ["", f"{section or 'options'}:"]
        lines += [line for o in shown if o.section == section for line in described(o, width)]
    kinds = choices_help(schema, default)
    lines += ["", kinds] if kinds else []
    rest = len(every) - len(shown)
    if rest:
        named = next((name for name, about, _ in choices(schema, default) if any(about.values())), None)
        of = f"; those of another kind: {prog} --{named}.name KIND --help-all" if named else ""
        lines += ["", f"{rest} more options: {prog} --help-all{of}"]
    return "\n".join(lines)


def choices_help(schema: type, default: object = None) -> str:
    """Every ``*.name`` that takes one of several values, and what each of them is; empty where there is none."""
    width, lines, listed = screen(), list[str](), list[dict[str, str]]()
    for name, kinds, chosen in choices(schema, default):
        if kinds in listed:
            continue
        listed.append(kinds)
        names = ", ".join(f"{kind} (default)" if kind == chosen else kind for kind in kinds)
        lines += wrapped(f"--{name.replace('_', '-')}.name", names, width)
        lines += [line for kind, about in kinds.items() if about for line in wrapped(f"    {kind}", about, width)]
    return "\n".join(["choices:", *lines]) if lines else ""


def screen() -> int:
    """Characters of a line."""
    return min(shutil.get_terminal_size((100, 24)).columns, 110)


def described(option: Option, width: int) -> list[str]:
    """An option, its first sentence and its default."""
    first = re.split(r"(?<=\.)\s+(?=[A-Z])", option.about, maxsplit=1)[0]
    first = first if first.endswith("...") else first.rstrip(".")
    plain = option.default if not isinstance(option.default, tuple) else " ".join(map(str, option.default))
    shown = option.default is not MISSING and plain not in (None, "", False)
    return wrapped(option.flag, first + (f" ({plain})" if shown else ""), width)


def wrapped(left: str, text: str, width: int, column: int = 30) -> list[str]:
    """A word on the left, a text on the right."""
    lines = textwrap.wrap(text, max(width - column - 2, 30)) or [""]
    head = [f"  {left:<{column}}{lines[0]}"] if len(left) < column else [f"  {left}", " " * (column + 2) + lines[0]]
    return head + [" " * (column + 2) + line for line in lines[1:]]


def options(schema: type, default: object = None, prefix: str = "") -> Iterator[Option]:
    """All options of a config, those of its sections behind their names; ``default`` is an instance that recipes made."""
    hints = get_type_hints(schema, include_extras=True)
    for field in fields(schema):
        value = getattr(default, field.name, MISSING) if default is not None else default_of(field)
        if is_dataclass(value):
            yield from options(type(value), value, f"{prefix}{field.name}.")
        else:
            kind = hints[field.name]
            named = (getattr(extra, "name", None) for extra in getattr(kind, "__metadata__", ()))
            yield Option(
                prefix + next(filter(None, named), field.name),
                metavar(kind),
                value,
                sentences(schema).get(field.name, ""),
                positional(kind),
            )


def default_of(field: Field) -> object:
    """The default of a field."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def positional(kind: object) -> bool:
    """Whether a field is given by its place."""
    return any("Positional" in repr(extra) for extra in getattr(kind, "__metadata__", ()))


def metavar(kind: object) -> str:
    """What to write behind an option of a type; nothing for a switch."""
    if hasattr(kind, "__metadata__"):
        return metavar(get_args(kind)[0])
    parts = [part for part in get_args(kind) if part not in (type(None), Ellipsis)]
    if kind is bool:
        return ""
    if all(isinstance(part, str) for part in parts) and parts:
        return "{" + ",".join(parts) + "}"
    if get_origin(kind) is tuple:
        return " ".join(dict.fromkeys(map(metavar, parts))) + (
            " ..." if Ellipsis in get_args(kind) or len(parts) > 1 else ""
        )
    if parts and get_origin(kind) is not None and get_origin(kind) is not dict:
        return metavar(parts[0])
    return {int: "N", float: "X", str: "TEXT", Path: "PATH"}.get(kind, "VALUE")


def choices(schema: type, default: object = None, prefix: str = "") -> Iterator[tuple[str, dict[str, str], str]]:
    """Every section of a config that can be of several kinds: its name, the kinds and their sentence, the one chosen.

    Outer sections come before those inside them.
    """
    hints, inside = get_type_hints(schema, include_extras=True), list[tuple[type, object, str]]()
    for field in fields(schema):
        value = getattr(default, field.name, MISSING) if default is not None else default_of(field)
        kinds = {kind_name(kind): summary(kind) for kind in classes(hints[field.name])}
        if len(kinds) > 1:
            yield prefix + field.name, kinds, kind_name(type(value))
        if field.name == "name" and prefix and len(get_args(hints["name"])) > 1:
            yield prefix[:-1], dict.fromkeys(get_args(hints["name"]), ""), str(value)
        if is_dataclass(value):
            inside.append((type(value), value, f"{prefix}{field.name}."))
    for section in inside:
        yield from choices(*section)


def classes(kind: object) -> list[type[DataclassInstance]]:
    """The configs with a ``name`` among the members of a union."""
    found = [one for part in get_args(kind) for one in classes(part)] if get_args(kind) else [kind]
    return [
        one
        for one in found
        if isinstance(one, type) and is_dataclass(one) and "name" in {field.name for field in fields(one)}
    ]


def kind_name(kind: type) -> str:
    """The value of ``name`` by which a config is chosen."""
    return next((str(default_of(field)) for field in fields(kind) if field.name == "name"), "")


def summary(kind: type) -> str:
    """The first sentence about a class, and the names of its sizes (``config.Sized``), if it has any."""
    sizes = getattr(kind, "SIZES", {})
    first = (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ").rstrip(".")
    return first + (f"; --encoder.size {', '.join(sizes)}" if sizes else "")


@cache
def sentences(schema: type) -> dict[str, str]:
    """What stands under each field of a config and of those it extends."""
    found: dict[str, str] = {}
    for base in reversed(schema.__mro__):
        if is_dataclass(base):
            body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body  # pyright: ignore
            for field, below in pairwise(body):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(below, ast.Expr)
                    and isinstance(below.value, ast.Constant)
                ):
                    found[field.target.id] = " ".join(str(below.value.value).split())  # pyright: ignore
    return found


def refusal(box: str) -> str:
    """What tyro printed of values that a config refused, as sentences, a line each; empty of anything else it printed."""
    text = " ".join(line.strip("│╭╰─╮╯ ") for line in box.splitlines())
    head = re.search(r"Error parsing (\S+): \d+ validation errors? for (\S+) ", text)
    if head is None:
        return ""
    section = "" if head[1] == head[2] else f"{head[1]}."
    lines = []
    for part in re.split(r"For further information visit \S+", text[head.end() :])[:-1]:
        reason, _, rest = part.strip().partition(" [type=")
        own = reason.startswith("Value error, ")
        field, _, why = reason.partition(" ")
        value = rest.partition("input_value=")[2].rpartition(", input_type=")[0]
        lines.append(reason.removeprefix("Value error, ") if own else f"--{section}{field}: {why} (given: {value})")
    return "\n".join(lines)
