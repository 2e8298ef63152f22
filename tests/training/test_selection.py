"""Last epoch and best on validation are both reported; a choice on the test clips marks its numbers; ranks agree."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from conftest import ONE_PROCESS, TINY_TPSBT
from mien import cli
from mien.engine.loop import TrainConfig
from mien.engine.runlog import read_metrics
from mien.interfaces import Clip
from mien.training.fine_tuning import refuse_sharded
from mien.training.partition import SplitConfig
from mien.video.leaks import read_seen

SMALL = [
    "--train.steps=6", "--train.batch=4", "--train.save-every=1", "--split.test=fold=2", "--split.holdout=2",
    "--split.every=2", "--optim.lr=1e-2", "--optim.lr-batch=0", "--optim.warmup=0", *TINY_TPSBT, *ONE_PROCESS,
]  # fmt: skip


def arguments(corpus: Path, output: Path, *more: str) -> list[str]:
    return ["finetune", f"--data.manifest={corpus}", f"--output={output}", *SMALL, *more]


@pytest.fixture(scope="module")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has chosen on validation and, as it was told, on test."""
    folder = tmp_path_factory.mktemp("chosen")
    assert cli.main(arguments(corpus, folder, "--split.choose-on-test")) == 0
    return folder


def results(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["weights"]: row for row in json.loads((folder / "results.json").read_text())}


def test_every_choice_is_the_best_that_was_logged(run: Path) -> None:
    lines = [line for line in read_metrics(run / "metrics.jsonl") if "validation_UAR" in line]
    assert [line["step"] for line in lines] == [2, 4, 6]
    rows = results(run)
    for kind, key in (("best on validation", "validation_UAR"), ("best on test", "test_UAR")):
        best = max(line[key] for line in lines)
        first = next(line["step"] for line in lines if line[key] == best)
        about = json.loads((run / kind.replace(" ", "-") / "model.json").read_text())
        assert about["chosen"] == {"metric": "UAR", "score": best, "step": first}
        assert rows[kind]["step"] == first
    assert rows["best on validation"]["validation UAR"] == max(line["validation_UAR"] for line in lines)
    assert rows["best on test"]["test UAR"] == max(line["test_UAR"] for line in lines)
    assert (rows["last epoch"]["step"], rows["last epoch"]["test UAR"]) == (6, lines[-1]["test_UAR"])


def test_validation_people_are_neither_trained_nor_marked(run: Path, corpus: Path) -> None:
    with corpus.open(newline="") as file:
        subjects = {str(corpus.parent / row["path"]): row["subject"] for row in csv.DictReader(file)}
    tested = {subjects[path] for path in pd.read_csv(run / "evaluation/predictions.csv")["path"]}
    assert len(tested) == 2
    parts = [row.part for row in read_seen(run / "best-on-validation/seen.csv")]
    assert sorted(parts) == ["training"] * 7 + ["validation"] * 7
    assert sum(row.part == "choice on test" for row in read_seen(run / "best-on-test/seen.csv")) == 14


def test_a_choice_on_test_marks_every_number_it_touches(
    run: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = {kind: json.loads((run / kind / "evaluation/metrics.json").read_text()) for kind in (".", "best-on-test")}
    assert saved["."]["selection"] == "last epoch"
    assert saved["best-on-test"]["selection"] == "best on test"
    command = ["evaluate", f"--data.manifest={corpus}", "--workers=0", "--device=cpu", "--data.select=fold=2"]
    assert cli.main([*command, f"--model={run}"]) == 0
    assert "!" not in capsys.readouterr().out
    assert cli.main([*command, f"--model={run / 'best-on-test'}"]) == 0
    said = capsys.readouterr().out
    assert "! these weights were chosen on test clips" in said
    assert "! leak: 14 clips of these have the content of a clip of choice on test" in said


def test_without_the_flag_nothing_is_chosen_on_test(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments(corpus, tmp_path)) == 0
    table = capsys.readouterr().out.split("weights  ")[1]
    assert "last epoch" in table
    assert "best on validation" in table
    assert "*" not in table
    assert not (tmp_path / "best-on-test").exists()
    assert set(results(tmp_path)) == {"last epoch", "best on validation"}
    assert not any("test_UAR" in line for line in read_metrics(tmp_path / "metrics.jsonl"))
    (tmp_path / "results.json").unlink()  # as if killed before the marks
    assert cli.main(arguments(corpus, tmp_path)) == 0
    assert set(results(tmp_path)) == {"last epoch", "best on validation"}


def test_validation_does_not_change_training(corpus: Path, tmp_path: Path) -> None:
    for name, every in (("often", 1), ("never", 6)):
        assert cli.main(arguments(corpus, tmp_path / name, f"--split.every={every}")) == 0
    often, never = (load_file(tmp_path / name / "weights.safetensors") for name in ("often", "never"))
    assert all(torch.equal(often[name], never[name]) for name in often)


def reached(run: Path, step: str) -> bool:
    """Whether a run has a checkpoint of this step or a later one."""
    return any(path.stem >= step for path in (run / "checkpoints").glob("step-*.pt"))


def test_killed_and_started_again_chooses_the_same(run: Path, corpus: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mien", *arguments(corpus, tmp_path, "--split.choose-on-test")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    quiet: dict[str, Any] = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **quiet)
    deadline = time.monotonic() + 120
    while not reached(tmp_path, "step-0000003") and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "results.json").exists(), "the kill came too late to test anything"
    subprocess.run(command, check=True, **quiet)
    assert results(tmp_path) == results(run)
    for kind in (".", "best-on-validation", "best-on-test"):
        a, b = (load_file(folder / kind / "weights.safetensors") for folder in (run, tmp_path))
        assert all(torch.equal(a[name], b[name]) for name in a), kind


def test_a_corpus_may_bring_its_own_validation(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["--split.train=subject=s000", "--split.validation=subject=s002", "--split.test=fold=2", "--split.holdout=0"]
    assert cli.main(arguments(corpus, tmp_path, *own)) == 0
    assert "7 train clips, 7 validation clips, 14 test clips" in capsys.readouterr().out


def test_choices_and_marks_may_be_per_video(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments(corpus, tmp_path, "--split.group-by=expression")) == 0
    assert capsys.readouterr().out.count("\n7 clips: WAR") == 2
    assert len(pd.read_csv(tmp_path / "best-on-validation/evaluation/predictions.csv")) == 7


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--split.group=film"], "not every row has a film"),
        (["--split.holdout=5"], "2 different subjects are too few to take one in 5"),
        (["--split.test=fold=1,2"], "none is left to train on"),
        (["--train.parallel=fsdp"], "start it with torchrun"),
    ],
)
def test_mistakes_name_the_way_out(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags, says
) -> None:
    assert cli.main(arguments(corpus, tmp_path / "run", *flags)) == 1
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_sharded_model_is_not_scored_while_it_trains() -> None:
    sharded = TrainConfig(parallel="fsdp")
    refuse_sharded({"train": [], "validation": [], "test": []}, SplitConfig(), sharded)
    with pytest.raises(ValueError, match=r"needs --train\.parallel ddp"):
        refuse_sharded({"train": [], "validation": [Clip(Path("a.mp4"))], "test": []}, SplitConfig(), sharded)


@pytest.mark.parametrize("flags", [["--split.holdout=1"], ["--split.test=", "--split.choose-on-test"]])
def test_flags_that_contradict_are_refused(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags
) -> None:
    with suppress(SystemExit):  # what the parser finds
        assert cli.main(arguments(corpus, tmp_path / "run", *flags)) == 1
    assert "split.holdout is 1" in (said := capsys.readouterr().err) or "needs the test rows" in said


@pytest.mark.slow
def test_three_ranks_mark_ten_clips_as_one_process_does(corpus: Path, tmp_path: Path) -> None:
    """Ten clips over three ranks: the shares are unequal, and each clip counts once."""
    with corpus.open(newline="") as file:
        rows = [row | {"path": str(corpus.parent / row["path"])} for row in csv.DictReader(file)]
    chosen = [row for row in rows if row["fold"] == "2"][:10] + [row for row in rows if row["fold"] == "1"]
    pd.DataFrame(chosen).to_csv(tmp_path / "clips.csv", index=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = ["-m", "torch.distributed.run", "--nproc-per-node=3", f"--master-port={port}", "-m", "mien"]
    flags = arguments(tmp_path / "clips.csv", tmp_path / "run", "--train.batch=6")
    result = subprocess.run(
        [sys.executable, *launch, *flags], env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.count("last epoch, marked") == 1
    several = pd.read_csv(tmp_path / "run/evaluation/predictions.csv")
    command = ["evaluate", f"--model={tmp_path / 'run'}", f"--data.manifest={tmp_path / 'clips.csv'}", "--workers=0"]
    command += ["--data.select=fold=2", "--device=cpu", "--matmul=highest", f"--output={tmp_path / 'alone'}"]
    assert cli.main(command) == 0
    alone = pd.read_csv(tmp_path / "alone/predictions.csv")
    assert len(several) == 10
    pd.testing.assert_frame_equal(several, alone, rtol=1e-5)
    marks = json.loads((tmp_path / "alone/metrics.json").read_text())
    assert results(tmp_path / "run")["last epoch"]["test UAR"] == pytest.approx(marks["UAR"])
