"""Public models by name: list them, or get some into the user's cache, verified and ready to be named.

mien models                        what there is, under which licence, and what is on this machine
mien models get yunet fer-opencv   the face detector, and a model that reads expressions
mien analyze VIDEO --model fer-opencv

A model that became a folder is named by --model or --init; a file (a detector) is found by itself. A transfer that is cut
goes on when the command is given again. --from takes a file that was fetched by hand; the environment's proxies are
honoured, HF_ENDPOINT names a mirror of the hub, MIEN_MODELS a folder that is looked into first.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic.dataclasses import dataclass

from mien.config import STRICT, changed
from mien.models import registry
from mien.models.registry import PublicModel


@dataclass(frozen=True, config=STRICT)
class Config:
    """Options of ``mien models``."""

    action: tyro.conf.Positional[Literal["list", "get"]] = "list"
    """list: show all; get: fetch, verify and convert."""
    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Which models to get, by their names in the list."""
    url: str = ""
    """Address to download a model of one file from instead of the official one; it must be the same file."""
    source: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """File that was fetched by hand, taken instead of a download."""
    folder: Path | None = None
    """Folder to put it into instead of the user's cache."""
    accept_licence: bool = False
    """Take models whose licence forbids commercial use, under that licence; asked once for each."""


def run(config: Config) -> list[Path]:
    """List or get; the files and folders that were got."""
    if config.action == "list":
        if given := [flag for flag in changed(config) if flag != "--action"]:
            raise ValueError(
                f"{', '.join(given)}: only `mien models get NAME` takes these; `mien models list` shows all"
            )
        print("\n".join(row(name, model) for name, model in registry.models().items()))
        return []
    if not config.names:
        raise ValueError(
            f"get which models? There are {', '.join(registry.models())}: mien models get yunet fer-opencv"
        )
    if (config.url or config.source) and len(config.names) > 1:
        raise ValueError("--url and --from stand for the file of one model: name one")
    for name in config.names:
        registry.known(name)
    places = []
    for name in config.names:
        model, accept = registry.known(name), config.accept_licence
        if not accept and not registry.accepted(name) and sys.stdin.isatty():
            answer = input(f"{name} comes under {model.licence}, which forbids commercial use. Take it? [y/N] ")
            accept = answer.strip().lower() in ("y", "yes")
        place, notes = registry.get(name, config.url, config.source, config.folder, accept)
        places.append(place)
        print("\n".join([f"{name}: {place} ({model.licence})", *(f"  {note}" for note in notes)]))
    return places


def row(name: str, model: PublicModel) -> str:
    """A model in two lines: what it is, and where."""
    size = sum(file.size for file in model.files)
    facts = [model.kind, model.licence, "commercial use allowed" if model.commercial else "no commercial use"]
    facts += [f"{size / 1e6:.1f} MB"] if size else []
    place = registry.find(name)
    way = f"by hand: {model.by_hand}" if model.by_hand else f"mien models get {name}"
    use = {"file": "", "frame": "--model", "encoder": "--init"}[model.becomes]
    return f"{name:<22} {'; '.join(facts)}\n{'':<22} {f'here: {place}' if place else way}{f' ({use} {name})' if use else ''}"
