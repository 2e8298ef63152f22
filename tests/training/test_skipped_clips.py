"""A clip that breaks while a run trains is named, can be left out from then on, and the run stays exact."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import get_worker_info

from conftest import ONE_PROCESS, TINY_DECODER, TINY_TPSBT
from mien import cli
from mien.engine.runlog import read_metrics
from mien.interfaces import Clip
from mien.training import skipped_clips
from mien.video import clips, crashes, views
from mien.video.clips import BLANK, StepSampler
from mien.video.decode import VideoError
from runs import after_step


def small(corpus: Path, folder: Path, clips: int = 8) -> Path:
    """A copy of the first clips, which a test may break."""
    table = pd.read_csv(corpus, dtype=str).head(clips)
    for path in table["path"]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(corpus.parent / path, folder / path)
    table.to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


def video(manifest: Path, line: int) -> Path:
    return manifest.parent / str(pd.read_csv(manifest)["path"][line - 2])


def pretrain(manifest: Path, output: Path, *more: str) -> int:
    flags = [
        f"--data.manifest={manifest}", f"--output={output}", "--train.steps=6", "--train.batch=4",
        "--train.save-every=1", *TINY_TPSBT, *TINY_DECODER, *ONE_PROCESS,
    ]  # fmt: skip
    return cli.main(["pretrain", *flags, *more])


def interrupt() -> None:
    raise KeyboardInterrupt


def test_a_clip_that_breaks_is_left_out_from_then_on(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, run = small(corpus, tmp_path), tmp_path / "run"
    with monkeypatch.context() as patch:
        after_step(patch, 3, lambda: video(manifest, 5).write_bytes(b"broken"))
        assert pretrain(manifest, run) == 1
    error = capsys.readouterr().err
    assert "line 5: " in error
    assert "at step " in error
    assert "--train.skip 5" in error
    assert pretrain(manifest, run) == 1
    assert "--train.skip" in capsys.readouterr().err
    done = int(max((run / "checkpoints").iterdir()).stem.removeprefix("step-"))
    assert done >= 3
    shutil.copytree(run, tmp_path / "twin")
    assert pretrain(manifest, run, "--train.skip", "5") == 0
    said = json.loads((run / "model.json").read_text())["skipped"]
    assert said == [f"{video(manifest, 5).name} (line 5), left out after step {done}"]
    with monkeypatch.context() as patch:
        after_step(patch, 1, interrupt)
        assert pretrain(manifest, tmp_path / "twin", "--train.skip", video(manifest, 5).name) == 130
    assert pretrain(manifest, tmp_path / "twin") == 0
    one, other = (load_file(folder / "weights.safetensors") for folder in (run, tmp_path / "twin"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_report_says_what_was_left_out(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest, run = small(corpus, tmp_path, 7), tmp_path / "run"
    flags = [
        f"--data.manifest={manifest}", f"--output={run}", "--train.steps=2", "--train.batch=4", *TINY_TPSBT, *ONE_PROCESS,
    ]  # fmt: skip
    assert cli.main(["finetune", *flags, "--train.skip", "9"]) == 1
    assert "no training clip" in capsys.readouterr().err
    video(manifest, 3).unlink()
    assert cli.main(["finetune", *flags, "--train.skip", "3"]) == 0
    rest = pd.read_csv(manifest, dtype=str).drop(index=1)
    rest.to_csv(tmp_path / "rest.csv", index=False)
    asked = ["evaluate", f"--model={run}", f"--data.manifest={tmp_path / 'rest.csv'}", "--device=cpu", "--workers=0"]
    assert cli.main(asked) == 0
    assert "left out after step 0" in capsys.readouterr().out
    assert "skipped" in json.loads((run / "evaluation" / "metrics.json").read_text())


def test_the_loss_of_a_smaller_batch_is_the_mean_over_its_clips(corpus: Path, tmp_path: Path) -> None:
    """Also where a micro-step has no clip left."""
    lines = []
    for accumulate in (1, 4):
        folder = tmp_path / str(accumulate)
        flags = [
            f"--data.manifest={small(corpus, tmp_path, 4)}", f"--output={folder}", "--task.name=regression",
            "--train.steps=2", "--train.batch=4", f"--train.accumulate={accumulate}", "--optim.warmup=0",
            "--optim.lr-batch=0", "--train.log-every=1", "--train.skip=3", *TINY_TPSBT, *ONE_PROCESS,
        ]  # fmt: skip
        assert cli.main(["finetune", *flags]) == 0
        lines.append(read_metrics(folder / "metrics.jsonl")[-1])
    assert lines[0]["loss"] == pytest.approx(lines[1]["loss"], rel=1e-4)
    assert lines[0]["grad_norm"] == pytest.approx(lines[1]["grad_norm"], rel=1e-3)


def test_no_other_clip_moves_and_ranks_agree_on_what_is_left() -> None:
    whole = [iter(StepSampler(10, 2, 1, 4, rank, 2, 2)) for rank in range(2)]
    parts = [StepSampler(10, 2, 1, 4, rank, 2, 2, {3: 0, 5: 3, 6: 1000}) for rank in range(2)]
    rows = [iter(part) for part in parts]
    for micro in range(4, 24):
        weights = []
        for rank in range(2):
            expected = [k for k in next(whole[rank]) if k[1] != 3 and not (k[1] == 5 and micro // 2 >= 3)]
            assert next(rows[rank]) == (expected or [BLANK])
            weights.append((parts[rank].weight(micro), len(expected)))
        per_clip = {round(weight / count, 9) for weight, count in weights if weight and count}
        assert len(per_clip) == 1, "every clip of a step counts the same"


def test_a_step_without_clips_changes_nothing(corpus: Path, tmp_path: Path) -> None:
    manifest = small(corpus, tmp_path, 2)
    flags = ["--train.batch=1", "--train.steps=4", "--train.log-every=1", "--train.skip=2"]
    assert pretrain(manifest, tmp_path / "run", *flags) == 0
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert sum("loss" in line for line in lines) == 2


def test_a_clip_that_crashes_the_decoder_is_named(
    corpus: Path, tmp_path: Path, capfd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In training and in what reads views; PyTorch's own words name neither file nor way out."""
    manifest = small(corpus, tmp_path)
    killer = video(manifest, 5).rename(video(manifest, 5).with_name("killer.mp4"))
    table = pd.read_csv(manifest, dtype=str)
    table.loc[3, "path"] = str(killer.relative_to(tmp_path))
    table.to_csv(manifest, index=False)
    open_clip = clips.open_clip

    def crashing(clip: Clip, *rest: Any):
        if clip.path == killer and get_worker_info() is not None:
            signal.signal(signal.SIGILL, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGILL)
        return open_clip(clip, *rest)

    monkeypatch.setattr(clips, "open_clip", crashing)
    monkeypatch.setattr(views, "open_clip", crashing)
    for module in (skipped_clips, crashes):  # which decodes them in processes of their own
        monkeypatch.setattr(module, "find_crash", lambda paths: killer if killer in list(paths) else None)
    assert pretrain(manifest, tmp_path / "run", "--train.workers=1", "--train.batch=2") == 1
    error = capfd.readouterr().err
    assert f"line 5: {killer}: the decoder crashed on it" in error
    assert "--train.skip 5" in error
    rows = [Clip(killer), Clip(video(manifest, 2))]
    with pytest.raises(VideoError, match=r"killer\.mp4: the decoder crashed on it"):
        list(views.load_views(views.ViewDataset(rows, clips.ClipConfig(frames=2, size=32), views.ViewConfig()), 1))


def test_no_memory_is_no_fault_of_a_clip(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, run = small(corpus, tmp_path), tmp_path / "run"
    open_clip = clips.open_clip

    def short(*given: object) -> None:
        raise VideoError("v.mp4: decoding fails after 3 frames: Cannot allocate memory")

    with monkeypatch.context() as patch:
        after_step(patch, 2, lambda: patch.setattr(clips, "open_clip", short))
        assert pretrain(manifest, run) == 1
    error = capsys.readouterr().err
    assert "memory ran out" in error
    assert "--train.batch" in error
    assert "Put the file right" not in error
    assert clips.open_clip is open_clip
    assert [path.name for path in sorted((run / "checkpoints").iterdir())] == ["step-0000001.pt", "step-0000002.pt"]
