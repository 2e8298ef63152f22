"""What cannot work is refused in one sentence that names the way out, before anything is made."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from conftest import TINY_DECODER, TINY_TPSBT
from mien import __main__, cli
from mien.interfaces import Clip
from mien.video.splits import held_out
from toy_models import write_model


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The message of a command that must fail; it is short and no traceback."""
    capsys.readouterr()
    code = cli.main(arguments)
    message = capsys.readouterr().err.strip()
    assert code in (1, 2), message
    assert "\n" not in message
    assert len(message) < 400, message
    return message


@pytest.mark.parametrize("device", ["cuda:7", "gpu", "meta"])
def test_a_device_that_is_not_there(
    device: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["pretrain", f"--data.manifest={corpus}", f"--output={tmp_path / 'run'}", *TINY_TPSBT, *TINY_DECODER]
    message = refused(capsys, *flags, f"--train.device={device}")
    assert f"no device {device!r} here: PyTorch finds cpu" in message
    assert "auto takes what there is" in message
    assert not (tmp_path / "run").exists()


def test_a_fold_on_a_device_that_is_not_there(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["cross-validate", "finetune", f"--data.manifest={corpus}", f"--output={tmp_path / 'run'}", *TINY_TPSBT]
    assert "no device 'cuda:7'" in refused(capsys, *flags, "--folds.devices", "cpu", "cuda:7")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_sharding_without_other_processes(
    command: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [command, f"--data.manifest={corpus}", f"--output={tmp_path / 'run'}", *TINY_TPSBT]
    message = refused(capsys, *flags, "--train.parallel=fsdp")
    assert "torchrun" in message
    assert "--train.parallel" in message
    assert not (tmp_path / "run").exists()


def test_three_clips_to_calibrate_on(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], recwarn) -> None:
    model = write_model(tmp_path / "model")
    flags = ["calibrate", f"--model={model}", f"--data.manifest={corpus}", "--device=cpu", "--workers=0"]
    lines = corpus.read_text().splitlines()
    first = next(line for line in lines[1:] if "s000" in line)
    few = corpus.with_name("three.csv")
    few.write_text("\n".join([lines[0], first, *[line for line in lines[1:] if "s001" in line][:2]]) + "\n")
    flags[2] = f"--data.manifest={few}"
    message = refused(capsys, *flags)
    assert "needs at least 9 validation clips, there are 3" in message
    assert "--coverage" in message
    message = refused(capsys, *flags, "--coverage=0.5")
    assert "needs more clips of others" in message
    assert not [warning for warning in recwarn if "sample" in str(warning.message)]


def test_too_few_clips_of_each_class_to_hold_some_out(recwarn) -> None:
    clips = [Clip(Path(f"{i}.mp4"), columns={"subject": f"s{i}"}) for i in range(6)]
    with pytest.raises(ValueError, match=r"no class has the 5 clips .* smaller holdout"):
        held_out(clips, "subject", [0, 0, 1, 1, 2, 2], 5, seed=0)
    assert sum(held_out(clips, "subject", [0, 0, 0, 0, 0, 1], 5, seed=0)) in (1, 2)
    assert not recwarn.list


@pytest.mark.parametrize("arguments", [["finetune", "--help"], ["--help"]], ids=" ".join)
def test_a_reader_that_leaves_is_no_error(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as nobody:
        monkeypatch.setattr(sys, "stdout", nobody)
        monkeypatch.setattr(sys, "argv", ["mien", *arguments])
        with pytest.raises(SystemExit) as ended:
            __main__.main()
    assert ended.value.code == 141
    assert capsys.readouterr().err == ""
