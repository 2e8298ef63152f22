"""The recipes that ship with mien, and what each reproduces.

mien recipes                    lists them
mien recipes svfap_pretrain     prints one, to read, or to save under another name and change

Commands take them by name, in front of their options: mien pretrain svfap_tiny --data.manifest clips.csv
"""

from __future__ import annotations

import tyro
from pydantic.dataclasses import dataclass

from mien.config import RECIPES, STRICT, recipe_file


@dataclass(frozen=True, config=STRICT)
class Config:
    """Options of ``mien recipes``."""

    name: tyro.conf.Positional[str] = ""
    """Recipe to print; without one, all are listed."""


def run(config: Config) -> None:
    """List the recipes, or print one."""
    if config.name:
        print(recipe_file(config.name).read_text(encoding="utf-8"), end="")
        return
    for file in sorted(RECIPES.glob("*.yaml")):
        print(f"  {file.stem:<16} {about(file.read_text(encoding='utf-8'))}")


def about(text: str) -> str:
    """The first line of a recipe, a comment that says what it is for."""
    return text.splitlines()[0].removeprefix("# ")
