"""Attacks on the server: many clients, requests made up from its document, a full disk."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from slow.clients import attack, full_disk, made_up
from slow.conftest import Tallying


@pytest.mark.slow
def test_fifty_clients_at_once(tally: Tallying) -> None:
    with tally("clients of mien serve") as row:
        attack(row, time.monotonic() + 60, clients=50)


@pytest.mark.slow
def test_made_up_requests(tally: Tallying) -> None:
    with tally("requests from the OpenAPI document") as row:
        made_up(row, 500)


@pytest.mark.slow
def test_a_full_disk(tally: Tallying, tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk needs the right to mount one")
    try:
        with tally("mien serve on a full disk") as row:
            full_disk(row, tmp_path)
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)
