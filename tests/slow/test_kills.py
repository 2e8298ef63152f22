"""At least 100 kills of every command that writes, in about ten minutes."""

from __future__ import annotations

import time

import pytest

from slow import kills
from slow.conftest import Tallying


@pytest.mark.slow
def test_kills(tally: Tallying) -> None:
    with tally("kills at random moments") as attack:
        kills.attack(attack, time.monotonic() + 900, kills=110)
