"""Recipes and flags become one frozen, strict config; a config becomes YAML again.

A config is a pydantic dataclass declared with ``STRICT``: unknown keys are errors that name the key, and strings
such as ``1e-4`` (which YAML reads as text) become numbers. Every field has one default, in its class, and a sentence
with its unit under it, which is also its ``--help``.
"""

from __future__ import annotations

import contextlib
import io
import re
import reprlib
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from itertools import pairwise, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, TypeVar, get_args, get_type_hints

import tyro
import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from mien.help import choices_help, classes, default_of, kind_name, positional, refusal, short_help
from mien.yaml_files import read_yaml

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

STRICT = ConfigDict(extra="forbid", validate_default=True)

Width = Annotated[int, Field(ge=1, le=16384)]
"""Channels of a token, or what divides them."""
Depth = Annotated[int, Field(ge=1, le=1000)]
"""Number of blocks."""
Ratio = Annotated[float, Field(gt=0, le=64, allow_inf_nan=False)]
"""Hidden width over width."""
Share = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
"""A rate at which something is dropped."""

T = TypeVar("T")

Tree = dict[str, Any]
"""Sections and values by name, as JSON and YAML have them."""

RENAMED = {"task.labels": "task.column", "labels": "column"}
"""Options by the name they had once, with the name they have now. The old one goes on working in flags and recipes, in the
folders of runs and in model.json. Where a command has another option of the old name, that one is meant."""


def parse(
    schema: type[T], arguments: Sequence[str], prog: str, description: str | None = None, often: Sequence[str] = ()
) -> T:
    """``recipe ... --section.key value ...`` -> a config: recipes merge left to right, flags last.

    A recipe is the name of one that ships with mien, or a YAML file. ``--help`` prints the options ``often`` used, ``--help-all`` every one; both then raise ``SystemExit``.
    """
    arguments = renamed_flags(arguments, schema)
    kinds = get_type_hints(schema, include_extras=True)
    files = {f"--{name.replace('_', '-')}" for name, kind in kinds.items() if kind is Path or Path in get_args(kind)}
    recipes = recipe_words(arguments, named=not any(map(positional, kinds.values())), files=files)
    flags = [a for a in arguments if a not in recipes]
    trees = [renamed(read_recipe(recipe_file(r)), renamings(schema), r) for r in recipes]
    sizes = {f"--{name}.size" for name, kind in kinds.items() if any(issubclass(one, Sized) for one in classes(kind))}
    chosen, flags = chosen_names(flags, sizes), without(flags, sizes)
    options: Tree = {}
    if trees or chosen:
        options["default"] = partly(schema, layered(schema, *trees, chosen))
    if {"-h", "--help"} & set(flags):
        print(short_help(schema, often, prog, description or "", options.get("default")))
        raise SystemExit(0)
    if "--help-all" in flags:
        print(choices_help(schema, options.get("default")))
        flags = ["--help" if flag == "--help-all" else flag for flag in flags]
    printed, plain = io.StringIO(), (tyro.conf.AvoidSubcommands,)
    try:
        with contextlib.redirect_stderr(printed):
            return tyro.cli(schema, args=flags, prog=prog, description=description, config=plain, **options)
    except SystemExit:
        if why := refusal(printed.getvalue()):
            printed = io.StringIO()
            raise ValueError(why) from None
        raise
    finally:
        sys.stderr.write(printed.getvalue())


def partly(schema: type[T], tree: Mapping[str, object]) -> T:
    """A config whose fields without a default, such as the file to read, are still to come as flags."""
    missing = [f.name for f in fields(schema) if f.default is MISSING and f.default_factory is MISSING]  # pyright: ignore
    missing = [name for name in missing if name not in tree]
    config = build(schema, {**tree, **dict.fromkeys(missing, "")})
    for name in missing:
        object.__setattr__(config, name, tyro.MISSING)
    return config


def sections(schema: type) -> Tree:
    """The sections of a config as they are by default: what a recipe leaves out stays so, even in a section it names."""
    defaults = {field.name: field.default for field in fields(schema)}
    return {name: to_tree(default) for name, default in defaults.items() if is_dataclass(default)}


def layered(schema: type, *trees: Mapping[str, object]) -> Tree:
    """Trees of sections over a config's defaults, later ones winning; a ``size`` counts where it stands."""
    merged, hints = sections(schema), get_type_hints(schema, include_extras=True)
    for tree in trees:
        written = {name: in_numbers(part, hints.get(name), merged.get(name)) for name, part in tree.items()}
        merged = merge(merged, written)
    return merged


class Sized:
    """A config whose sizes have names: ``--SECTION.size NAME``, or ``size: NAME`` in a recipe, stands for their numbers."""

    SIZES: ClassVar[Mapping[str, Mapping[str, object]]]

    @classmethod
    def numbers(cls, size: str) -> Tree:
        """The settings of a size: all that any size sets, so that nothing of another size is left."""
        if size not in cls.SIZES:
            raise ValueError(f"size {size!r}: {kind_name(cls)} has the sizes {', '.join(cls.SIZES)}")
        usual = {field.name: default_of(field) for field in fields(cls)}  # pyright: ignore[reportArgumentType]
        return {key: cls.SIZES[size].get(key, usual[key]) for one in cls.SIZES.values() for key in one}

    @classmethod
    def sized(cls, size: str, **more: object) -> Self:
        """The config of a size, and more settings."""
        return cls(**cls.numbers(size) | more)


def in_numbers(section: object, hint: object, before: object) -> object:
    """A section with its ``size`` written out, if it is of a kind that has sizes; ``before`` is what it is merged into."""
    if not isinstance(section, Mapping) or "size" not in section:
        return section
    name = section.get("name", before.get("name") if isinstance(before, Mapping) else None)
    kind = next((one for one in classes(hint) if kind_name(one) == name and issubclass(one, Sized)), None)
    if kind is None:
        return section
    return kind.numbers(section["size"]) | {key: value for key, value in section.items() if key != "size"}


RECIPES = Path(__file__).parent / "recipes"
"""The recipes that ship with mien."""


def recipe_words(arguments: Sequence[str], named: bool = True, files: Collection[str] = ()) -> list[str]:
    """The recipes among a command's arguments: YAML files, but for those behind an option that takes a file (``files``), and,
    where recipes can be ``named``, words before the options."""
    front = list(takewhile(lambda word: not word.startswith("-"), arguments)) if named else []
    rest = [word for before, word in pairwise(["", *arguments]) if before not in files][len(front) :]
    return [
        *front,
        *(word for word in rest if word.endswith((".yaml", ".yml")) and word[:2] != "--" and Path(word).suffix),
    ]


def recipe_file(recipe: str) -> Path:
    """Where a recipe is: a YAML file, or one that ships with mien, by its name."""
    if Path(recipe).suffix in (".yaml", ".yml"):
        return Path(recipe)
    if not (file := RECIPES / f"{recipe}.yaml").is_file():
        raise ValueError(f"no recipe {recipe!r}: mien recipes lists those there are, or name a YAML file")
    return file


def read_recipe(path: Path) -> Tree:
    """One YAML file as a tree of sections."""
    if not path.is_file():
        raise ValueError(f"{path}: no such recipe; those that ship with mien are named without a path: mien recipes")
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise ValueError(f"{path}: a recipe is sections and keys, this is {type(tree).__name__}")
    return tree


def merge(*trees: Mapping[str, object]) -> Tree:
    """Later trees win, key by key; a section that names another kind (``name``) starts afresh."""
    merged: Tree = {}
    for tree in trees:
        for key, value in tree.items():
            before = merged.get(key)
            if isinstance(before, dict) and isinstance(value, Mapping) and same_kind(before, value):
                merged[key] = merge(before, value)
            else:
                merged[key] = value
    return merged


def same_kind(before: Mapping[str, object], after: Mapping[str, object]) -> bool:
    """Whether two sections configure the same class."""
    return "name" not in after or before.get("name", after["name"]) == after["name"]


def renamings(schema: type) -> dict[str, str]:
    """The old names of options that a command has under a new one."""
    names = {field.name for field in fields(schema)}
    return {old: new for old, new in RENAMED.items() if old not in names and new.split(".")[0] in names}


def renamed_flags(arguments: Sequence[str], schema: type) -> list[str]:
    """Flags under the names they have now; a note names an old one."""
    flags = {f"--{old}": f"--{new}" for old, new in renamings(schema).items()}
    words = [argument.split("=", 1) for argument in arguments]
    for word in words:
        if word[0] in flags:
            print(f"note: {word[0]} is now called {flags[word[0]]}", file=sys.stderr)
    return ["=".join([flags.get(word[0], word[0]), *word[1:]]) for word in words]


def renamed(tree: Mapping[str, object], names: Mapping[str, str], where: str = "") -> Tree:
    """A tree of sections under the names its keys have now; with ``where``, a recipe's file, an old one is told."""
    tree = dict(tree)
    for old, new in names.items():
        section, _, key = old.rpartition(".")
        inside = tree.get(section) if section else tree
        if isinstance(inside, Mapping) and key in inside:
            moved = {new.rpartition(".")[2] if name == key else name: value for name, value in inside.items()}
            tree = {**tree, section: moved} if section else moved
            if where:
                print(f"note: {where}: {old} is now called {new}", file=sys.stderr)
    return tree


def renamed_lines(text: str) -> str:
    """``section.key: value`` lines under the names the keys have now."""
    for old, new in RENAMED.items():
        text = re.sub(rf"^{re.escape(old)}:", f"{new}:", text, flags=re.MULTILINE)
    return text


def without(flags: Sequence[str], options: Collection[str]) -> list[str]:
    """The flags but for these options and their values."""
    spoken = {at for at, flag in enumerate(flags) if flag in options}
    return [
        flag
        for at, flag in enumerate(flags)
        if at not in spoken and at - 1 not in spoken and flag.partition("=")[0] not in options
    ]


def chosen_names(flags: Sequence[str], sizes: Collection[str] = ()) -> Tree:
    """Flags such as ``--encoder.name vit``, which decide the class that the other flags of a section belong to, and the
    ``sizes`` among them, which stand for other flags, as sections."""
    tree: Tree = {}
    words = [word for flag in flags for word in (flag.split("=", 1) if flag.startswith("--") else [flag])]
    for flag, value in pairwise(words):
        if flag.startswith("--") and (flag.endswith(".name") or flag in sizes):
            section: Tree = {flag[-4:]: value}
            for key in reversed(flag[2:-5].split(".")):
                section = {key: section}
            tree = merge(tree, section)
    return tree


def build(schema: type[T], tree: object) -> T:
    """A tree of sections -> a checked config; an unknown or impossible key is an error that names it."""
    if not isinstance(tree, Mapping):
        raise ValueError(f"config: this is {type(tree).__name__}, not keys and values")
    try:
        return TypeAdapter(schema).validate_python(dict(tree))
    except ValidationError as error:
        raise ValueError(explain(error)) from error


def explain(error: ValidationError) -> str:
    """A validation error in a line per key; what a config checks of itself (``__post_init__``) says all on its own."""
    own = [e["msg"].removeprefix("Value error, ") for e in error.errors() if e["type"] == "value_error"]
    keys = [
        f"{'.'.join(map(str, e['loc']))}: {e['msg'][:300]} (given: {reprlib.repr(e['input'])})"
        for e in error.errors()
        if e["type"] != "value_error"
    ]
    return "\n".join([*own, *(["config: " + "\n        ".join(keys)] if keys else [])])


def changed(config: DataclassInstance, section: str = "", usual: DataclassInstance | None = None) -> list[str]:
    """The options of a config that are not at their defaults (those of ``usual`` if given), as flags: ``--section.key``."""
    flags = {f"--{section}.{f.name}" if section else f"--{f.name}": f for f in fields(config)}
    before = {f.name: default_of(f) if usual is None else getattr(usual, f.name) for f in fields(config)}
    return [flag for flag, f in flags.items() if getattr(config, f.name) != before[f.name]]


def to_tree(config: object) -> Tree:
    """A config as plain sections and values, for JSON and YAML."""
    return TypeAdapter(type(config)).dump_python(config, mode="json")


def to_yaml(config: object) -> str:
    """A config as a recipe."""
    return yaml.safe_dump(to_tree(config), sort_keys=False, allow_unicode=True)
