"""Arrows point down: the model column, the data column and the engine never import one another."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "mien"

LAYERS = {
    "model": (
        "layers", "positions", "masking", "blocks", "schedules", "metrics", "crossing", "sums", "answers", "statistics", "subgroups",
        "heads", "pixels", "encoders", "objectives", "tasks",
    ),
    "data": ("video", "datasets", "faces", "models"),
    "engine": ("training", "optim", "distributed", "checkpoint", "runlog", "stopping", "probing", "cost", "memory", "pickled"),
}  # fmt: skip
NOUNS = {"interfaces", "config", "files", "extras", "names", "progress", "help"}
MAY_USE = {
    "model": NOUNS | set(LAYERS["model"]),
    "data": NOUNS | set(LAYERS["data"]),
    "engine": NOUNS | set(LAYERS["engine"]) | {"layers", "positions", "schedules"},
}


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


def files(*names: str) -> list[Path]:
    paths = [PACKAGE / name for name in names]
    return [f for p in paths for f in (sorted(p.rglob("*.py")) if p.is_dir() else [p.with_suffix(".py")])]


@pytest.mark.parametrize("column", LAYERS)
def test_columns_do_not_import_one_another(column: str) -> None:
    for file in files(*LAYERS[column]):
        assert imports(file) <= MAY_USE[column], file


def test_nouns_import_nothing_of_mien_but_one_another() -> None:
    for file in files(*NOUNS):
        assert imports(file) <= NOUNS, file


def test_nothing_outside_tasks_asks_which_task_it_has() -> None:
    kinds = "classification|regression|multilabel"
    asks = re.compile(rf"isinstance\([^)]*(?i:{kinds})|[!=]= \"({kinds})\"|\"({kinds})\" [!=]=")
    for file in PACKAGE.rglob("*.py"):
        if file.parent.name != "tasks":
            assert not asks.search(file.read_text()), file


def test_analysis_does_not_know_commands_and_nothing_knows_the_command_line() -> None:
    for file in files("analysis"):
        assert "commands" not in imports(file), file
    for file in PACKAGE.rglob("*.py"):
        if file.name != "__main__.py":
            assert "cli" not in imports(file), file


def test_importing_mien_is_cheap_and_does_nothing() -> None:
    code = "import sys, mien; assert not {'torch', 'numpy', 'av', 'cv2'} & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


ONE = {
    "os.replace(": "files.py", "os.fsync(": "files.py", ".add_stream(": "video/writing.py", "dist.barrier(": "distributed.py",
    "checkpoint.export(": "card.py", " = read_views(": "analysis/analyzer.py",
    "\n    device: str =": "distributed.py", "\n    workers: NonNegativeInt = 2": "distributed.py",
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
