"""Ten minutes of video through ``mien analyze``; an hour and more with ``python tests/slow/hours.py analyze``."""

from __future__ import annotations

from pathlib import Path

import pytest

from slow import long_video
from slow.conftest import Tallying


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_video(tally: Tallying, tmp_path: Path) -> None:
    with tally("ten minutes of video through analyze, memory watched") as attack:
        long_video.attack(attack, 600, tmp_path, limit=600)
