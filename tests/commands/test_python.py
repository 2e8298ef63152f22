"""docs/python.md runs as printed; functions and command line make the same configs and the same files."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import mien
from conftest import ONE_PROCESS, ROOT, TINY_TPSBT
from mien import cli
from mien.api import configure
from mien.commands import analyze, cross_validate, evaluate, finetune, pretrain, probe
from mien.config import parse
from mien.encoders.tpsbt import TPSBTConfig


def test_the_page_runs_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    (drawing,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert cli.main(shlex.split(drawing)[1:]) == 0
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, names)  # noqa: S102
    assert {f"mien.{name}" for name in mien.__all__ if name[0].islower()} <= set(re.findall(r"mien\.\w+", text))
    assert names["run"].steps == 2
    assert names["evaluation"].metrics["UAR"].low <= names["evaluation"].scores["UAR"]
    assert list(names["probes"].table["features"]) == ["pretrain"]
    assert repr(names["timeline"]).startswith("Timeline(")
    pd.testing.assert_frame_equal(names["timeline"].frames, mien.Timeline.load("analysis").frames)
