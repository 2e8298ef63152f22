"""Where files lie: the tree that was expected beside the one that was found, and clips by name, whatever the suffix."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mien.video.decode import IMAGES, VIDEOS, ends_in


def unknown_layout(root: Path, why: str, layout: str) -> ValueError:
    """The error for a tree that is not the corpus's: what is missing, the expected tree, the found one."""
    found = f"{root} is {'a file' if root.exists() else 'not there'}"
    if root.is_dir():
        found = "\n".join([f"{root}/", *branches(root, depth=3, width=6, margin="  ")])
    return ValueError(
        f"{root}: {why}\nexpected:\n{indent(layout)}\nfound:\n{indent(found)}\n"
        "Name the folder that holds this tree as ROOT."
    )


def indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip("\n").splitlines())


def branches(folder: Path, depth: int, width: int, margin: str) -> list[str]:
    """The upper ``depth`` levels of a tree below one folder, at most ``width`` names of each; folders come first."""
    names = sorted(folder.iterdir(), key=lambda f: (not f.is_dir(), f.name))
    lines = []
    for path in names[:width]:
        lines.append(margin + path.name + ("/" if path.is_dir() else ""))
        if path.is_dir() and depth > 1:
            lines += branches(path, depth - 1, width, margin + "  ")
    if len(names) > width:
        lines.append(f"{margin}... and {len(names) - width} more")
    return lines or [f"{margin}(empty)"]


def require(path: Path, root: Path, layout: str) -> Path:
    """The path, if it is there; else the error that shows both trees."""
    if not path.exists():
        raise unknown_layout(root, f"{path.relative_to(root)} is not there", layout)
    return path


def choose_folder(root: Path, asked: str, usual: Sequence[str], layout: str) -> Path:
    """The folder of the clips: the one asked for, or the only one of the usual ones that exists."""
    if asked:
        return require(root / asked, root, layout)
    there = [name for name in usual if (root / name).is_dir()]
    if not there:
        raise unknown_layout(root, f"none of {', '.join(usual)} is there", layout)
    if len(there) > 1:
        raise ValueError(
            f"{root} holds the clips in several forms: choose one with --clips {' or --clips '.join(there)}"
        )
    return root / there[0]


def is_video(path: Path | os.DirEntry[str]) -> bool:
    """Whether the suffix is a video's, in any case."""
    return ends_in(path.name, VIDEOS)


def clips_by_name(folder: Path) -> dict[str, Path]:
    """Videos (by name without suffix) and folders directly in a folder.

    Raises ``ValueError`` where two have one name, such as 00001.mp4 beside 00001/.
    """
    found: dict[str, Path] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            folder_of_frames = entry.is_dir()
            if folder_of_frames or is_video(entry):
                add(found, entry.name if folder_of_frames else os.path.splitext(entry.name)[0], Path(entry.path))
    return found


def all_clips_by_name(root: Path) -> dict[str, Path]:
    """Videos and folders of frames at any depth, by name without suffix; two of one name are an error."""
    found: dict[str, Path] = {}
    for path in walk_clips(root):
        add(found, path.name if path.is_dir() else path.stem, path)
    return found


def add(found: dict[str, Path], name: str, path: Path) -> None:
    """Enter a clip under its name."""
    if name in found:
        raise ValueError(
            f"two clips are called {name}: {found[name]} and {path}. Name the folder to use with --clips, or move one"
        )
    found[name] = path


def walk_clips(root: Path) -> Iterator[Path]:
    """Every video and every folder that directly holds images, below a folder, in order of their paths."""
    for folder, folders, files in os.walk(root):
        folders.sort()
        if any(ends_in(name, IMAGES) for name in files):
            yield Path(folder)
        yield from (Path(folder, name) for name in sorted(files) if ends_in(name, VIDEOS))
