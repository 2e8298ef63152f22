"""Model files of others that mien can use: list them, or download one into the user's cache and check it.

mien models            what there is, with licence, and what is on this machine
mien models get yunet  download the face detector
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tyro
from pydantic.dataclasses import dataclass

from mien.config import STRICT, changed
from mien.faces.detectors import registry


@dataclass(frozen=True, config=STRICT)
class Config:
    """Options of ``mien models``."""

    action: tyro.conf.Positional[Literal["list", "get"]] = "list"
    """list: show all; get: download one."""
    name: tyro.conf.Positional[str | None] = None
    """Which model to get, by its name in the list."""
    url: str | None = None
    """Address to download from instead of the official one; the file must be the same (SHA-256)."""
    folder: Path | None = None
    """Folder to put it into instead of the user's cache."""


def run(config: Config) -> None:
    """List or get."""
    if config.action == "list":
        if given := [flag for flag in changed(config) if flag != "--action"]:
            raise ValueError(
                f"{', '.join(given)}: only `mien models get NAME` takes these; `mien models list` shows all"
            )
        for name, model in registry.MODELS.items():
            where = registry.find(name) or f"not here; get it: mien models get {name}"
            print(f"{name:<8} {model.what}; {model.licence}; {model.size / 1000:.0f} kB\n         {where}")
        return
    if config.name is None:
        raise ValueError(f"get which model? There are {', '.join(registry.MODELS)}: mien models get yunet")
    path = registry.fetch(config.name, config.url, config.folder)
    print(f"{config.name}: {path} (SHA-256 checked, {registry.model_file(config.name).licence})")
