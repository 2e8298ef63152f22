"""Every fold is tested once and pooled; a killed run ends in the same table; folds that cheat are refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from conftest import ONE_PROCESS, TINY_DECODER, TINY_TPSBT
from mien import cli
from mien.commands import cross_validate, synth
from mien.evaluation.protocol import read_protocol
from mien.training import preflight
from mien.video.manifest import read_manifest, write_manifest

TRAINING = ["--train.steps=5", "--train.batch=4", "--train.save-every=1", *TINY_TPSBT, *ONE_PROCESS]
FOLDS = list("12345")
TABLES = ("folds.csv", "metrics.json", "predictions.csv", "subgroups.csv", "radar.png", "report.html")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of 35 clips of 10 persons in 5 folds."""
    folder = tmp_path_factory.mktemp("drawn")
    synth.run(synth.Config(output=folder, clips=35, subjects=10, folds=5, size=32, frames=16, workers=1))
    return folder / "manifest.csv"


def arguments(manifest: Path, output: Path, *more: str) -> list[str]:
    return ["cross-validate", "finetune", f"--data.manifest={manifest}", f"--output={output}", *TRAINING, *more]


@pytest.fixture(scope="module")
def whole(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-validation that nobody disturbed."""
    output = tmp_path_factory.mktemp("whole") / "run"
    assert cli.main(arguments(drawn, output, "--folds.subgroups", "style", "arousal")) == 0
    return output


def test_killed_in_the_third_fold_and_started_again_gives_the_same_table(
    drawn: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / whole.parent.name / whole.name  # reports name the last two folders
    command = [sys.executable, "-m", "mien", *arguments(drawn, run, "--folds.subgroups", "style", "arousal")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not any((run / "fold-3" / "checkpoints").glob("step-*.pt")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (run / "fold-3" / "weights.safetensors").exists(), "the kill came too late to test anything"
    finished = [run / f"fold-{fold}" / "weights.safetensors" for fold in "12"]
    before = [file.stat().st_mtime_ns for file in finished]
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert [file.stat().st_mtime_ns for file in finished] == before
    assert "fold-3: going on from step-" in again.stdout
    assert "fold 1 of" not in again.stdout
    for name in TABLES:
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name


def test_pooled_metrics_are_those_of_all_predictions_and_folds_are_averaged(drawn: Path, whole: Path) -> None:
    table, folds = pd.read_csv(whole / "predictions.csv"), pd.read_csv(whole / "folds.csv").set_index("metric")
    assert list(table["path"]) == [str(clip.path) for clip in read_manifest(drawn)]
    known = reference.recall_score(table["truth"], table["predicted"], average="macro")
    assert folds.loc["UAR", "pooled"] == pytest.approx(known)
    each = [np.mean(part["truth"].to_numpy() == part["predicted"].to_numpy()) for _, part in table.groupby("fold")]
    assert folds.loc["WAR", [f"fold {fold}" for fold in FOLDS]].tolist() == pytest.approx(each)
    assert folds.loc["WAR", "mean"] == pytest.approx(np.mean(each))
    assert folds.loc["WAR", "deviation"] == pytest.approx(np.std(each, ddof=1))
    assert folds.loc["WAR", "low"] <= folds.loc["WAR", "pooled"] <= folds.loc["WAR", "high"]
    protocol = read_protocol(whole)
    assert protocol is not None
    assert (protocol.folds, protocol.clips, protocol.pooling, protocol.selection) == (5, 35, "pooled", "last epoch")


def test_each_fold_is_marked_on_people_that_its_model_never_saw(drawn: Path, whole: Path) -> None:
    clips = read_manifest(drawn)
    for fold in FOLDS:
        tested = pd.read_csv(whole / f"fold-{fold}" / "evaluation" / "predictions.csv")
        assert set(tested["path"]) == {str(clip.path) for clip in clips if clip.columns["fold"] == fold}
        trained = (whole / f"fold-{fold}" / "config.yaml").read_text()
        assert f"test: fold={fold}" in trained


@pytest.mark.slow
def test_a_process_per_device_gives_the_same_table(drawn: Path, whole: Path, tmp_path: Path) -> None:
    """Two folds are to be done, the others are there."""
    run = tmp_path / "run"
    shutil.copytree(whole, run, ignore=shutil.ignore_patterns("fold-2", "fold-4"))
    flags = ["--folds.subgroups", "style", "arousal", "--folds.devices", "cpu", "cpu"]
    command = [sys.executable, "-m", "mien", *arguments(drawn, run, *flags)]
    subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
    assert (run / "folds.csv").read_bytes() == (whole / "folds.csv").read_bytes()
    assert sorted(file.name for file in run.glob("*.log")) == ["fold-2.log", "fold-4.log"]
    assert "steps done" in (run / "fold-4.log").read_text()


def test_another_config_in_the_same_folder_is_refused(
    drawn: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments(drawn, whole, "--optim.lr=0.1")) == 1
    assert "+optim.lr: 0.1" in capsys.readouterr().err


def test_a_failed_start_claims_nothing(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(preflight, "available", lambda device: 1000)
        assert cli.main(arguments(drawn, run, "--optim.lr=7")) == 1
    assert "are there" in capsys.readouterr().err
    begun: list[str] = []
    monkeypatch.setattr(
        cross_validate, "run_fold", lambda config, fold: begun.append(f"{fold} {config.optim.lr}") or 1 / 0
    )
    assert cli.main(arguments(drawn, run, "--optim.lr=0.1")) == 1
    assert begun == ["1 0.1"], "the corrected command begins"


def test_values_are_pooled_too(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = ("valence", "arousal", "extraversion")
    flags = ["--train.steps=1", "--task.name=regression", "--task.columns", *columns, "--data.select=fold=1,2"]
    assert cli.main(arguments(drawn, tmp_path / "run", *flags)) == 0
    assert "CCC.extraversion" in capsys.readouterr().out
    table, folds = pd.read_csv(tmp_path / "run" / "predictions.csv"), pd.read_csv(tmp_path / "run" / "folds.csv")
    found = dict(zip(folds["metric"], folds["pooled"], strict=True))
    for name in columns:
        assert found[f"1-MAE.{name}"] == pytest.approx(
            1 - np.abs(table[name].to_numpy() - table[f"{name}_truth"].to_numpy()).mean()
        )
    assert (tmp_path / "run" / "radar.png").is_file()


def test_weights_chosen_on_validation_have_a_table_of_their_own(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--train.steps=2", "--split.holdout=2", "--data.select=fold=1,2", "--task.name=regression"]
    assert cli.main(arguments(drawn, tmp_path / "run", *flags)) == 0
    out = capsys.readouterr().out
    assert "## 2 folds, last epoch" in out
    assert "## 2 folds, best on validation" in out
    for folder, kind in ((tmp_path / "run", "last epoch"), (tmp_path / "run/best-on-validation", "best on validation")):
        protocol = read_protocol(folder)
        assert protocol is not None
        assert protocol.selection == kind
        assert (
            len(pd.read_csv(folder / "predictions.csv")) == json.loads((folder / "metrics.json").read_text())["clips"]
        )


def test_probes_are_cross_validated(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [f"--data.manifest={drawn}", f"--output={tmp_path / 'pre'}", "--train.steps=1", "--train.batch=4"]
    assert cli.main(["pretrain", *flags, *TINY_TPSBT, *TINY_DECODER, *ONE_PROCESS]) == 0
    probe = [
        "cross-validate", "probe", f"--model={tmp_path / 'pre'}", f"--data.manifest={drawn}", f"--output={tmp_path / 'no'}",
        f"--features.folder={tmp_path / 'features'}", "--segments=1", "--probe.epochs=1", "--views.crops=1",
        "--probe.lrs", "1e-3", "--workers=0", "--device=cpu",
    ]  # fmt: skip
    assert cli.main(probe) == 1
    assert "content of a clip of pretraining" in capsys.readouterr().err
    probe += ["--leaks-allowed", f"--output={tmp_path / 'run'}"]
    assert cli.main(probe) == 0
    saved = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert saved["clips"] == 35
    assert len(saved["leaks"]) == 5
    protocol = read_protocol(tmp_path / "run")
    assert protocol is not None
    assert protocol.selection == "best on validation"
    assert cli.main([*probe, "--test=fold=2"]) == 1


def rewritten(drawn: Path, file: Path, **columns: list[str]) -> Path:
    rows = [{**clip.columns, "path": str(clip.path)} for clip in read_manifest(drawn)]
    write_manifest(file, [row | {name: cells[i] for name, cells in columns.items()} for i, row in enumerate(rows)])
    return file


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"fold": ["0", "1", "", "3", "4"] * 7}, "7 of 35 clips have no 'fold'"),
        ({"fold": ["1"] * 35}, "holds only the fold 1"),
        ({"fold": ["a,b", "c"] * 17 + ["c"]}, "fold 'a,b'"),
        ({"subject": ["x"] * 35}, "subject x is in the folds 1 and 2"),
    ],
)
def test_folds_that_cheat_are_refused(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], columns: dict[str, list[str]], words: str
) -> None:
    manifest = rewritten(drawn, tmp_path / "manifest.csv", **columns)
    assert cli.main(arguments(manifest, tmp_path / "run")) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_command_that_trains_is_named_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cross-validate", "--output=x"]) == 1
    assert "name one of finetune, probe first" in capsys.readouterr().err
