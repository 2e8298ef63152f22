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
import torch

import mien
from conftest import ONE_PROCESS, TINY_TPSBT
from mien import cli
from mien.engine.distributed import Session
from mien.evaluation.subgroups import EMPTY
from mien.video.manifest import read_manifest, write_manifest
from mien.video.views import ViewConfig


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


def evaluate(model: Path, manifest: Path, output: Path, *more: str) -> list[str]:
    """Arguments of ``mien evaluate``."""
    known = [f"--model={model}", f"--data.manifest={manifest}", f"--output={output}", "--workers=0", "--device=cpu"]
    return ["evaluate", *known, *more]


def test_three_processes_mark_each_clip_once_and_equal_one(
    model: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """10 clips over 3 ranks: one has a clip more than the others, none is read twice to fill up."""
    rows = [{"path": str(clip.path), **clip.columns} for clip in read_manifest(corpus)[:10]]
    write_manifest(tmp_path / "ten.csv", rows)
    one, three = tmp_path / "one", tmp_path / "three"
    assert cli.main(evaluate(model, tmp_path / "ten.csv", one, "--matmul=highest")) == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = ["-m", "torch.distributed.run", "--nproc-per-node=3", f"--master-port={port}", "-m", "mien"]
    result = subprocess.run(
        [sys.executable, *launch, *evaluate(model, tmp_path / "ten.csv", three, "--matmul=highest")],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.replace(str(three), str(one)) == capsys.readouterr().out
    a, b = (pd.read_csv(folder / "predictions.csv") for folder in (one, three))
    assert list(b["path"]) == list(a["path"]) == [row["path"] for row in rows]
    names = list(json.loads((one / "metrics.json").read_text())["recall"])
    np.testing.assert_allclose(a[names], b[names], atol=1e-6)
    assert (one / "metrics.json").read_bytes() == (three / "metrics.json").read_bytes()


def test_every_row_is_one_ranks_and_ranks_may_have_none(model: Path) -> None:
    shares = [Session(rank, 3, torch.device("cpu")).share([0, 1]) for rank in range(3)]
    assert shares == [[0], [1], []]
    assert mien.load(model, device="cpu").score_clips([], ViewConfig(), progress=False).mean.shape == (0, 7)


def test_absent_classes_are_named(
    model: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(evaluate(model, corpus, tmp_path, "--data.select=expression!=fear")) == 0
    saved = json.loads((tmp_path / "metrics.json").read_text())
    assert [name for name, value in saved["recall"].items() if value is None] == ["fear"]
    out = capsys.readouterr().out
    assert "absent from these clips" in next(line for line in out.splitlines() if "fear" in line)
    table = pd.read_csv(tmp_path / "predictions.csv")
    recalls = [(part["predicted"] == name).mean() for name, part in table.groupby("truth")]
    assert saved["UAR"] == pytest.approx(np.mean(recalls))


def test_groups_are_marked_on_their_own(
    model: Path, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(evaluate(model, people, tmp_path, "--subgroups", "sex", "age:30,45", "arousal")) == 0
    out = capsys.readouterr().out
    assert "by sex" in out
    assert "4 subjects, and 95 % needs at least 6" in out
    table, groups = pd.read_csv(tmp_path / "predictions.csv"), pd.read_csv(tmp_path / "subgroups.csv")
    by_age = groups[groups["column"] == "age"].set_index("group")
    assert list(by_age.index) == ["below 30", "30 to below 45", "45 and above", EMPTY]
    assert sum(by_age["clips"].tolist()) == len(table) == 28
    young = table[table["age"] == 19]
    assert by_age.loc["below 30", "WAR"] == pytest.approx((young["truth"] == young["predicted"]).mean())
    assert sum(groups[groups["column"] == "arousal"]["clips"].tolist()) == 28
    assert "By sex" in (tmp_path / "report.html").read_text()


def test_a_group_column_that_nobody_has_is_named(
    model: Path, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(evaluate(model, people, tmp_path, "--subgroups", "gender")) == 1
    assert "--subgroups gender: no such column; there are subject" in capsys.readouterr().err
