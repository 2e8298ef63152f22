"""Attack: commands that are given a file that is not there."""

from __future__ import annotations

import pytest

from slow.conftest import Tallying

COMMANDS = ("prepare", "extract-faces", "finetune", "analyze")


@pytest.mark.slow
def test_files_that_are_not_there_are_named(tally: Tallying) -> None:
    with tally("commands given a file that is not there") as attack:
        for command in COMMANDS:
            done = attack.mien(command, "nothing/there.yaml")
            if done.code == 0:
                attack.lose(f"{command}: exit code 0")
        attack.note = f"{len(COMMANDS)} commands; each must end with an error"
