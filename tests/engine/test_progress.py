"""Progress: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import ast
import io
from typing import Any

import pytest

from mien import progress
from mien.engine.runlog import RunLog
from mien.progress import progress_bar
from test_architecture import PACKAGE


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines come as often as they may."""
    monkeypatch.setattr(progress, "PAUSE", 0.0)


def written(watched: bool, **options: Any) -> str:
    file = io.StringIO()
    for _ in progress_bar(
        range(1000), "faces", total=1000, unit="video", delay=0, file=file, watched=watched, **options
    ):
        pass
    return file.getvalue()


def test_a_log_gets_a_line_every_few_per_cent(hurried) -> None:
    lines = written(watched=False).splitlines()
    assert 10 <= len(lines) <= 50
    assert lines[0].startswith("faces: 20/1000 video (2 %), ")
    assert "\r" not in "".join(lines)
    assert max(map(len, lines)) < 100


def test_a_log_gets_no_line_before_the_pause_is_over() -> None:
    assert written(watched=False) == ""


def test_a_bar_with_units_of_its_own_has_no_bar_in_a_log(hurried) -> None:
    lines = written(
        watched=False, bar_format="{desc}: {percentage:3.0f}% |{bar}| {n:.0f} of {total:.0f} s"
    ).splitlines()
    assert lines[0] == "faces:   2% 20 of 1000 s"


def test_a_terminal_gets_a_bar() -> None:
    assert "\rfaces:" in written(watched=True)


def test_training_writes_step_loss_speed_and_time_left(hurried, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    log = RunLog(tmp_path, 50, 100, active=True)
    for _ in range(50):
        log.step({"loss": 0.25, "clips_per_s": 12.0})
    log.close()
    lines = capsys.readouterr().err.splitlines()
    assert 10 <= len(lines) <= 25
    assert lines[0].startswith("52/100 step (52 %), ")
    assert lines[0].endswith("left, loss=0.25, clips_per_s=12")


def test_progress_is_drawn_in_one_place() -> None:
    for file in PACKAGE.rglob("*.py"):
        names = {a.name for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Import) for a in n.names}
        names |= {n.module for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.ImportFrom)}
        assert file.name == "progress.py" or "tqdm" not in names, file
