"""Folds and other work spread over processes: all is done once, errors come through, nothing outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from mien.engine.distributed import over_devices


def note(folder: Path, item: str, device: str) -> None:
    if item == "bad":
        raise ValueError("bad: this item is bad")
    time.sleep(0.1)
    (folder / f"{item} {device} {os.getpid()}").touch()


def test_every_item_is_done_once_by_one_process_per_device(tmp_path: Path) -> None:
    over_devices(partial(note, tmp_path), list("abcdef"), ["one", "two"])
    done = [file.name.split() for file in tmp_path.iterdir()]
    assert sorted(item for item, _, _ in done) == list("abcdef")
    assert {device for _, device, _ in done} <= {"one", "two"}
    for device in ("one", "two"):
        assert len({process for _, where, process in done if where == device}) <= 1


def test_an_error_is_raised_and_stops_what_has_not_begun(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="this item is bad"):
        over_devices(partial(note, tmp_path), ["bad", *"abcdef"], ["one"])
    assert not list(tmp_path.iterdir())


PARENT = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from mien.engine.distributed import over_devices
from test_distributed import linger
if __name__ == "__main__":
    over_devices(linger, [{folder!r}], ["cpu"])
"""


def linger(folder: str, device: str) -> None:
    for _ in range(600):
        (Path(folder) / str(os.getpid())).touch()
        time.sleep(0.1)


def test_a_process_ends_with_its_killed_parent(tmp_path: Path) -> None:
    (tmp_path / "pids").mkdir()
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "pids")))
    parent = subprocess.Popen([sys.executable, str(script)], env=os.environ)
    deadline = time.monotonic() + 180
    while not any((tmp_path / "pids").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    child = next((tmp_path / "pids").iterdir())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and time.time() - child.stat().st_mtime < 5:
        time.sleep(0.1)
    assert time.time() - child.stat().st_mtime >= 5, "the child works on after its parent was killed"
