"""Marks of a model: each clip counts once over any number of processes, groups and intervals stand beside them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import ONE_PROCESS, TINY_TPSBT
from mien import cli
from mien.subgroups import EMPTY
from mien.video.manifest import read_manifest, write_manifest


@pytest.fixture(scope="module")
def model(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier that has learnt next to nothing."""
    folder = tmp_path_factory.mktemp("model") / "run"
    flags = ["--train.steps=2", "--train.batch=4", *TINY_TPSBT, *ONE_PROCESS]
    assert cli.main(["finetune", f"--data.manifest={corpus}", f"--output={folder}", *flags]) == 0
    return folder


@pytest.fixture(scope="module")
def people(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn clips with a sex and an age of each person, one of unknown age."""
    rows = [
        {"path": str(clip.path), **clip.columns, "sex": "fm"[i % 2], "age": ["19", "33", "48", ""][i % 4]}
        for i, clip in enumerate(read_manifest(corpus))
    ]
    file = tmp_path_factory.mktemp("people") / "people.csv"
    write_manifest(file, rows)
    return file


def evaluate(model: Path, manifest: Path, output: Path, *more: str, ranks: int = 1) -> Path:
    """``mien evaluate`` in real processes; returns its folder."""
    flags = [f"--model={model}", f"--data.manifest={manifest}", f"--output={output}", "--workers=0", "--device=cpu"]
    launch = [sys.executable]
    if ranks > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        launch += ["-m", "torch.distributed.run", f"--nproc-per-node={ranks}", f"--master-port={port}"]
    result = subprocess.run(
        [*launch, "-m", "mien", "evaluate", *flags, "--matmul=highest", *more],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.count("clips: WAR") == 1
    return output


@pytest.mark.parametrize("clips", [10, 2])
def test_three_processes_mark_each_clip_once_and_equal_one(
    model: Path, corpus: Path, tmp_path: Path, clips: int
) -> None:
    """10 clips leave the third rank fewer than the others, 2 clips none."""
    rows = [{"path": str(clip.path), **clip.columns} for clip in read_manifest(corpus)[:clips]]
    write_manifest(tmp_path / "few.csv", rows)
    one = evaluate(model, tmp_path / "few.csv", tmp_path / "one")
    three = evaluate(model, tmp_path / "few.csv", tmp_path / "three", ranks=3)
    a, b = (pd.read_csv(folder / "predictions.csv") for folder in (one, three))
    assert len(b) == clips
    assert list(b["path"]) == list(a["path"])
    assert list(b["predicted"]) == list(a["predicted"])
    names = list(json.loads((one / "metrics.json").read_text())["recall"])
    np.testing.assert_allclose(a[names], b[names], atol=1e-6)
    assert (one / "metrics.json").read_bytes() == (three / "metrics.json").read_bytes()


def test_absent_classes_are_named(model: Path, corpus: Path, tmp_path: Path, capsys) -> None:
    assert cli.main(["evaluate", f"--model={model}", f"--data.manifest={corpus}", f"--output={tmp_path}", "--workers=0",
                     "--data.select=expression!=fear", "--device=cpu"]) == 0  # fmt: skip
    saved = json.loads((tmp_path / "metrics.json").read_text())
    assert [name for name, value in saved["recall"].items() if value is None] == ["fear"]
    out = capsys.readouterr().out
    assert "absent from these clips" in next(line for line in out.splitlines() if "fear" in line)
    table = pd.read_csv(tmp_path / "predictions.csv")
    recalls = [(part["predicted"] == name).mean() for name, part in table.groupby("truth")]
    assert saved["UAR"] == pytest.approx(np.mean(recalls))


def test_groups_are_marked_on_their_own(model: Path, people: Path, tmp_path: Path, capsys) -> None:
    flags = ["--subgroups", "sex", "age:30,45", "arousal"]
    assert cli.main(["evaluate", f"--model={model}", f"--data.manifest={people}", f"--output={tmp_path}", "--workers=0",
                     "--device=cpu", *flags]) == 0  # fmt: skip
    out = capsys.readouterr().out
    assert "by sex" in out
    assert "4 subjects, and 95 % needs at least 6" in out
    table, groups = pd.read_csv(tmp_path / "predictions.csv"), pd.read_csv(tmp_path / "subgroups.csv")
    by_age = groups[groups["column"] == "age"].set_index("group")
    assert list(by_age.index) == ["below 30", "30 to below 45", "45 and above", EMPTY]
    assert by_age["clips"].sum() == len(table) == 28
    young = table[table["age"] == 19]
    assert by_age.loc["below 30", "WAR"] == pytest.approx((young["truth"] == young["predicted"]).mean())
    assert groups[groups["column"] == "arousal"]["clips"].sum() == 28
    assert "By sex" in (tmp_path / "report.html").read_text()


def test_a_group_column_that_nobody_has_is_named_before_anything_is_read(model: Path, people: Path, capsys) -> None:
    flags = ["--workers=0", "--device=cpu", "--subgroups", "gender"]
    assert cli.main(["evaluate", f"--model={model}", f"--data.manifest={people}", *flags]) == 1
    assert "--subgroups gender: no such column; there are subject" in capsys.readouterr().err
