"""Attack: workers of ``mien extract-faces --engine ray`` are killed while they cut; the store must be that of an undisturbed run."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from uuid import uuid4

import pandas as pd
import pytest

from slow.conftest import Tallying
from slow.tally import start
from toy_models import pictures, write_video

KILLS, VIDEOS = 5, 4


def workers(mark: str) -> list[int]:
    """Processes that cut a video for the run whose environment holds ``mark``."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdecimal() and b"ray::distant" in (process / "cmdline").read_bytes():
                found += [int(process.name)] * (mark.encode() in (process / "environ").read_bytes())
        except OSError:
            continue  # it has ended, or is another user's
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_killed_ray_workers_lose_nothing(tally: Tallying, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    (tmp_path / "in").mkdir()
    for i in range(VIDEOS):
        write_video(tmp_path / "in" / f"{i}.mp4", pictures(200, seed=i, size=320))
    command = ["extract-faces", str(tmp_path / "in"), "--detector.name=haar", "--follow.every=1"]
    mark = uuid4().hex
    with tally("kills of Ray workers that cut faces") as attack:
        alone = attack.mien(*command, "--output", str(tmp_path / "alone"), "--workers=1", timeout=900)
        assert alone.code == 0, alone.err
        flags = ["--output", str(tmp_path / "ray"), "--engine=ray"]
        with start(*command, *flags, env={"MIEN_ATTACK": mark, "RAY_USAGE_STATS_ENABLED": "0"}) as run:
            killed, until = set(), time.monotonic() + 900
            while run.poll() is None and time.monotonic() < until:
                for worker in workers(mark)[: KILLS - len(killed)]:
                    if worker not in killed:
                        time.sleep(0.3)
                        killed.add(worker)
                        os.kill(worker, signal.SIGKILL)
                time.sleep(0.2)
            if run.poll() is None:
                attack.hang("faces on Ray")
                run.kill()
            said = b"".join(run.communicate()).decode(errors="replace")
        attack.scan(said, "faces on Ray")
        attack.tried += len(killed)
        for table in ("manifest.csv", "files.csv"):
            one, other = (pd.read_csv(tmp_path / name / table) for name in ("alone", "ray"))
            if not one.equals(other):
                attack.lose(f"{table} differs:\n{other.to_string()}\n{said[-500:]}")
        left = [path.name for path in (tmp_path / "ray" / "partial").iterdir()]
        if left:
            attack.lose(f"left half done: {left}")
        attack.note = f"{len(killed)} kills over {VIDEOS} videos"
        assert killed
