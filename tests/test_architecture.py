"""Arrows point down: which room may import which stands in one table, and a room names only rooms above it."""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "src" / "mien"

NOUNS = {
    "interfaces",
    "config",
    "files",
    "downloads",
    "extras",
    "model_files",
    "names",
    "progress",
    "help",
    "yaml_files",
}
"""Files at the top of the package that every room may import, and that import one another only."""

MODEL = {"modules", "encoders", "objectives", "tasks"}
DATA = {"video", "faces", "datasets"}

ROOMS: dict[str, set[str]] = {
    "statistics": set(),
    "modules": set(),
    "encoders": {"modules"},
    "objectives": {"modules"},
    "tasks": {"modules", "statistics"},
    "engine": {"modules"},
    "video": set(),
    "faces": {"video"},
    "datasets": {"video"},
    "models": {"engine", "video", "faces", *MODEL},
    "evaluation": {"statistics", "tasks", "video"},
    "calibration": {"statistics", "tasks", "video"},
    "features": {"models", "engine", "video", "encoders", "modules", "statistics"},
    "inference": {"models", "calibration", "engine", "video", "faces", "tasks"},
    "reports": {"inference", "evaluation", "calibration", "video", "faces", "statistics"},
    "explanations": {"reports", "inference", "models", "video", "faces", "objectives"},
    "training": {
        "reports", "inference", "evaluation", "features", "models", "engine", "video", "faces", "tasks", "encoders", "modules", "statistics",
    },
    "web": {"reports", "inference", "engine", "video", "faces"},
    "commands": {
        "web", "training", "explanations", "reports", "inference", "features", "calibration", "evaluation", "models",
        "engine", "statistics", *DATA, *MODEL,
    },
    "api": {"training", "explanations", "reports", "inference", "calibration", "evaluation", "faces", "video"},
    "cli": {"api", "engine"},
}  # fmt: skip
"""Room -> rooms whose files it may import, besides the nouns, at the top of a file or inside a function."""

PER_KIND = {"commands", "datasets"}
"""Rooms with a file per kind, which may grow."""
FILES = 20
LINES = 300


def imports(file: Path) -> set[str]:
    """First-level names of mien that a file imports at any depth."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "mien":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("mien.")}
    return found - {"__version__"}


def files(room: str) -> list[Path]:
    path = PACKAGE / room
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def test_a_room_names_only_rooms_above_it() -> None:
    """So that there are no circles, lazy ones neither."""
    above: set[str] = set()
    for room, named in ROOMS.items():
        assert named <= above, room
        above.add(room)


def test_every_file_imports_only_what_its_room_may() -> None:
    for room, named in ROOMS.items():
        for file in files(room):
            strange = imports(file) - NOUNS - named - {room}
            assert not strange, f"{file.relative_to(PACKAGE)} imports {strange}: move what it needs down, or itself up"


def test_the_table_names_no_arrow_that_nothing_draws() -> None:
    for room, named in ROOMS.items():
        assert named <= set().union(*map(imports, files(room))), room


def test_the_picture_of_the_rooms_shows_the_imports_of_today() -> None:
    docs = PACKAGE.parent.parent / "docs"
    drawn = runpy.run_path(str(docs / "rooms.py"))["picture"]()
    assert drawn == (docs / "rooms.svg").read_text(), "run python docs/rooms.py"


def test_every_file_is_in_a_room_or_a_noun() -> None:
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert there == ROOMS.keys() | NOUNS | {"__init__", "__main__"}


def test_columns_do_not_import_one_another() -> None:
    columns = [{"engine"}, DATA, MODEL]
    for column in columns:
        for room in column:
            others = set().union(*columns) - column - ({"modules"} if room == "engine" else set())
            assert not ROOMS[room] & others, room


def test_nouns_import_nothing_of_mien_but_one_another() -> None:
    for noun in NOUNS:
        assert imports(PACKAGE / f"{noun}.py") <= NOUNS, noun


def test_rooms_and_files_stay_small() -> None:
    for folder in {file.parent for file in PACKAGE.rglob("*.py")}:
        count = len([file for file in folder.glob("*.py") if file.name != "__init__.py"])
        assert count <= FILES or folder.name in PER_KIND, f"{folder.name} has {count} files"
    for file in PACKAGE.rglob("*.py"):
        name, lines = str(file.relative_to(PACKAGE)), len(file.read_text().splitlines())
        assert lines <= LINES, f"{name} has {lines} lines"


def test_a_room_says_what_it_is_for_and_imports_nothing_by_itself() -> None:
    """But for rooms that are a union of kinds, whose ``__init__`` is the union."""
    unions = {"encoders", "objectives", "tasks"}
    for room in ROOMS.keys() - {"api", "cli"}:
        tree = ast.parse((PACKAGE / room / "__init__.py").read_text())
        assert len(ast.get_docstring(tree) or "") > 150, room
        assert room in unions or len(tree.body) == 1, room


def test_nothing_outside_tasks_asks_which_task_it_has() -> None:
    kinds = "classification|regression|multilabel"
    asks = re.compile(rf"isinstance\([^)]*(?i:{kinds})|[!=]= \"({kinds})\"|\"({kinds})\" [!=]=")
    for file in PACKAGE.rglob("*.py"):
        if file.parent.name != "tasks":
            assert not asks.search(file.read_text()), file


def test_nothing_knows_the_command_line() -> None:
    for file in PACKAGE.rglob("*.py"):
        if file.name != "__main__.py":
            assert "cli" not in imports(file), file


def test_importing_mien_is_cheap_and_does_nothing() -> None:
    code = "import sys, mien; assert not {'torch', 'numpy', 'av', 'cv2'} & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


ONE = {
    "os.replace(": "files.py", "os.fsync(": "files.py", ".add_stream(": "video/writer.py", "dist.barrier(": "engine/distributed.py",
    "checkpoint.export(": "models/card.py", " = forward_views(": "inference/analyzer.py",
    "\n    device: str =": "engine/distributed.py",
    "\n    workers: NonNegativeInt = 2": "engine/distributed.py",
}  # fmt: skip
"""What is written in one file alone: the same work is not done in two ways."""


def test_there_is_one_of_each() -> None:
    texts = {str(file.relative_to(PACKAGE)): file.read_text() for file in PACKAGE.rglob("*.py")}
    assert {words: [name for name, text in texts.items() if words in text] for words in ONE} == {
        words: [place] for words, place in ONE.items()
    }


def test_no_span_of_time_is_measured_by_a_clock_that_may_be_set() -> None:
    """``time.time`` jumps when somebody sets the clock; ``monotonic`` and ``perf_counter`` do not."""
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            wall = isinstance(node, ast.Attribute) and node.attr == "time" and getattr(node.value, "id", "") == "time"
            named = (
                isinstance(node, ast.ImportFrom) and node.module == "time" and "time" in {a.name for a in node.names}
            )
            assert (wall, named) == (False, False), file


def test_tests_mirror_the_rooms() -> None:
    folders = {path.name for path in Path(__file__).parent.iterdir() if any(path.glob("test_*.py"))}
    assert folders - {"slow"} <= ROOMS.keys()
