"""What a container says of itself before anything is decoded: length and frame rate, shown to people and never relied on."""

from __future__ import annotations

from pathlib import Path

import av

from mien.video.packet_table import FOLDER_FPS, open_container, video_stream

FASTEST = 500.0
"""Frames per second beyond which a container tells the unit of its clock, not its rate."""


def claimed_duration(path: Path) -> float | None:
    """Seconds that a container claims, for the progress bar only."""
    if path.is_dir():
        return None
    with open_container(path) as container:
        return container.duration / av.time_base if container.duration else None


def claimed_rate(path: Path) -> float | None:
    """Frames per second that a container claims, for warnings only; None where it claims none that a camera has."""
    if path.is_dir():
        return FOLDER_FPS
    with open_container(path) as container:
        rate = float(video_stream(container, path).average_rate or 0)
        return rate if 0 < rate <= FASTEST else None
