"""The fixture ``tally``, and the table at the end of a run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from slow.tally import Tally, insert, table

Tallying = Callable[[str], Tally]


def rows_file(config: pytest.Config) -> Path:
    """Where the rows of this run are collected: one file per run."""
    return config.rootpath / ".pytest_cache" / f"reliability-{os.getpid()}.jsonl"


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tallying:
    """``tally("name of the attack")``: the context manager of ``slow.tally``."""
    return lambda attack: Tally(attack, rows_file(request.config))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Print the table, and write it into the page that MIEN_RELIABILITY names."""
    collected = rows_file(session.config)
    if not collected.is_file():
        return
    rows = [json.loads(line) for line in collected.read_text().splitlines()]
    collected.unlink()
    text = table(rows, "pytest -m slow")
    print(f"\n\n{text}\n")
    if page := os.environ.get("MIEN_RELIABILITY"):
        insert(Path(page), "the long form", text)
