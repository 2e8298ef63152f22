"""Lines, files and functions of the package by room: of the working tree, and beside it of an older commit.

    python benchmarks/house.py [REVISION]

Lines are all lines of Python files, blank ones too. Functions are also methods and functions inside others; their length
runs from ``def`` to the last line, so that half of them are at most as long as the median, and 95 % as p95.
"""

from __future__ import annotations

import argparse
import ast
import math
import subprocess
import tarfile
from collections import defaultdict
from datetime import date
from io import BytesIO
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parent.parent
PACKAGE = "src/mien"
COLUMNS = ("lines", "files", "functions", "median", "p95", "longest")
Sources = dict[str, str]
"""Path of a file below the package -> its text."""


def working_tree() -> Sources:
    """The files as they lie there."""
    package = ROOT / PACKAGE
    return {path.relative_to(package).as_posix(): path.read_text() for path in package.rglob("*.py")}


def committed(revision: str) -> Sources:
    """The files of a commit."""
    archive = subprocess.run(["git", "archive", revision, PACKAGE], cwd=ROOT, check=True, capture_output=True).stdout
    sources = {}
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.name.endswith(".py") else None
            if content is not None:
                sources[PurePosixPath(member.name).relative_to(PACKAGE).as_posix()] = content.read().decode()
    return sources


def by_room(sources: Sources) -> dict[str, list[int]]:
    """Room -> what the columns hold; the last row is the whole package."""
    rooms: dict[str, list[str]] = defaultdict(list)
    for path, text in sources.items():
        rooms[path.split("/")[0] if "/" in path else "(files at the top)"].append(text)
    return {room: measured(rooms[room]) for room in sorted(rooms)} | {"**all**": measured([*sources.values()])}


def measured(texts: list[str]) -> list[int]:
    """What the columns hold, of some files."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for text in texts for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
    lengths = sorted((node.end_lineno or node.lineno) - node.lineno + 1 for node in nodes) or [0]
    shares = [lengths[math.ceil(share * len(lengths)) - 1] for share in (0.5, 0.95, 1.0)]
    return [sum(len(text.splitlines()) for text in texts), len(texts), len(nodes), *shares]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", nargs="?", help="an older commit, whose figures stand behind a slash")
    revision = parser.parse_args().revision
    now, before = by_room(working_tree()), by_room(committed(revision)) if revision else {}
    print(f"`python benchmarks/house.py{' ' + revision if revision else ''}`, {date.today()}\n")
    print("| room | " + " | ".join(COLUMNS) + " |\n|---|" + "--:|" * len(COLUMNS))
    for room in [*(room for room in before if room not in now), *now]:
        cells = zip(now.get(room, ["–"] * 6), before.get(room, ["–"] * 6), strict=True)
        print(f"| {room} | " + " | ".join(f"{new} / {old}" if revision else f"{new}" for new, old in cells) + " |")


if __name__ == "__main__":
    main()
