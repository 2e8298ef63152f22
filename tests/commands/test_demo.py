"""The demo's report: numbers with intervals, faces at their strongest moment, what to do next."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.cli import main
from mien.commands.demo import apex
from toy_models import write_video


def test_a_poster_shows_the_strongest_moment(tmp_path: Path) -> None:
    frames = np.full((20, 32, 32, 3), 100, np.uint8)
    frames[12] = 180
    frames[5] = 120
    poster = np.asarray(Image.open(BytesIO(apex(write_video(tmp_path / "v.mp4", frames)))))
    assert abs(float(poster.mean()) - 180) < 12


@pytest.mark.slow
def test_the_demo_says_how_sure_it_is_and_what_comes_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {"clips": 70, "subjects": 35, "labels": 14, "pretrain-steps": 1, "finetune-steps": 1}
    flags = [text for name, count in sizes.items() for text in (f"--{name}", str(count))]
    assert main(["demo", "--output", str(tmp_path / "demo"), *flags]) == 0
    said = capsys.readouterr().out
    assert "points of UAR on unseen people" in said
    assert "mien calibrate --model" in said
    page = (tmp_path / "demo" / "report.html").read_text()
    assert page.count("poster=") == 8
    assert "bootstrap over 7 subjects" in page
    assert "What next" in page
