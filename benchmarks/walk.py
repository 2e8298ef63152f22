"""The way of one command through the rooms: which room calls which, in order, and where a call goes up.

python benchmarks/walk.py pretrain svfap_tiny --data.manifest clips.csv --train.steps 2 --train.workers 0 --output run

Runs the command in this process and watches its calls. A room is a folder of the package or a file at its top; it stands
above the rooms it imports. A call from a room into one above it (a function that was handed down) is a climb. With
PYTHONPATH=OTHER/src the same command walks another version.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import mien
from mien.cli import main

PACKAGE = Path(mien.__file__).parent


def room(file: str | Path) -> str:
    """The folder below the package, or the name of a file at its top."""
    return Path(file).relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(file: Path) -> set[str]:
    """Rooms that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mien":
            parts = str(node.module).split(".")
            names |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return names


def levels() -> dict[str, int]:
    """Room -> length of the longest way down from it; rooms that import one another share a level."""
    below: dict[str, set[str]] = {}
    for file in PACKAGE.rglob("*.py"):
        below.setdefault(room(file), set()).update(imported(file))
    reach = {name: {name} for name in below}
    for _ in below:
        reach = {name: seen.union(*(reach.get(other, set()) for other in below[name])) for name, seen in reach.items()}

    def level(name: str) -> int:
        strictly = [other for other in reach[name] if name not in reach[other]]
        return 1 + max((level(other) for other in strictly), default=-1)

    return {name: level(name) for name in below}


class Walk:
    """Watches calls: how often each room called each other, in order of the first time."""

    def __init__(self) -> None:
        self.edges: Counter[tuple[str, str]] = Counter()

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if event != "call" or not frame.f_code.co_filename.startswith(str(PACKAGE)):
            return
        caller = frame.f_back
        while caller and not caller.f_code.co_filename.startswith(str(PACKAGE)):
            caller = caller.f_back
        if caller is not None:
            ends = room(caller.f_code.co_filename), room(frame.f_code.co_filename)
            if ends[0] != ends[1] and frame.f_code.co_name != "<module>":
                self.edges[ends] += 1


if __name__ == "__main__":
    walk, level = Walk(), levels()
    sys.setprofile(walk)
    code = main(sys.argv[1:])
    sys.setprofile(None)
    up = [(a, b) for a, b in walk.edges if level[b] > level[a]]
    rooms = list(dict.fromkeys(name for edge in walk.edges for name in edge))
    print(f"{len(rooms)} rooms: {', '.join(rooms)}")
    print(f"{len(walk.edges)} arrows, {len(up)} of them up: {', '.join(f'{a} -> {b}' for a, b in up)}")
    raise SystemExit(code)
