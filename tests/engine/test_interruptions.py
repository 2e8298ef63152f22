"""Signals, kills, full disks, damaged files, two processes in one folder: nothing is lost, and each is one sentence."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import ONE_PROCESS, TINY_DECODER, TINY_TPSBT
from mien import cli
from mien.engine import checkpoint, loop
from mien.files import LOCK
from runs import after_step
from toy_models import write_model


def pretrain(corpus: Path, output: Path, *more: str) -> int:
    flags = [
        f"--data.manifest={corpus}", f"--output={output}", "--train.steps=4", "--train.batch=4", *TINY_TPSBT, *TINY_DECODER,
        *ONE_PROCESS,
    ]  # fmt: skip
    return cli.main(["pretrain", *flags, *more])


def saved(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def test_signals_keep_the_step_and_a_damaged_checkpoint_is_passed_over(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert pretrain(corpus, whole) == 0
    for step, number in ((2, signal.SIGTERM), (1, signal.SIGINT)):
        with monkeypatch.context() as patch:
            after_step(patch, step, lambda number=number: send(number))
            assert pretrain(corpus, run) == 128 + number
        assert "the same command goes on" in capsys.readouterr().err
    assert saved(run) == ["step-0000002.pt", "step-0000003.pt"]
    newest = run / "checkpoints" / "step-0000003.pt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    newest.write_bytes(content)
    assert pretrain(corpus, run) == 0
    assert "step-0000003.pt is damaged" in capsys.readouterr().out
    one, other = (load_file(folder / "weights.safetensors") for folder in (whole, run))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_without_its_card_is_not_finished(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a kill between weights and card leaves it; what a kill left beside files goes too."""
    assert pretrain(corpus, tmp_path) == 0
    before = (tmp_path / "model.json").read_text()
    (tmp_path / "model.json").unlink()
    left = [tmp_path / ".weights.safetensors.99", tmp_path / "checkpoints" / ".step-0000001.pt.99"]
    for path in left:
        path.write_bytes(b"half")
    assert pretrain(corpus, tmp_path) == 0
    assert (tmp_path / "model.json").read_text() == before
    assert not any(path.exists() for path in left)
    assert "nothing to do" not in capsys.readouterr().out


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, calls = loop.clip_gradient, iter(range(10))
    monkeypatch.setattr(loop, "clip_gradient", lambda *a: clip(*a) if next(calls) != 2 else float("inf"))
    assert pretrain(corpus, tmp_path, "--train.save-every=1") == 1
    error = capsys.readouterr().err
    assert "the gradient is inf at step 3" in error
    assert error.count("(line ") == 4
    assert saved(tmp_path) == ["step-0000001.pt", "step-0000002.pt"]


def test_a_folder_in_use_is_refused_and_names_its_holder(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path = tmp_path / "run"
    tmp_path.mkdir()
    with (tmp_path / LOCK).open("w") as other:
        other.write("process 123 on elsewhere, since noon: mien pretrain\n")
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        assert pretrain(corpus, tmp_path) == 1
        assert "in use by process 123 on elsewhere" in capsys.readouterr().err
        assert cli.main(["analyze", "no.mp4", "--model", "none", "--output", str(tmp_path)]) == 1
        assert "in use by process 123" in capsys.readouterr().err
    assert pretrain(corpus, tmp_path) == 0
    assert not (tmp_path / LOCK).exists()


def test_a_full_disk_at_a_checkpoint_is_one_sentence(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[1]))
    try:
        assert pretrain(corpus, tmp_path, "--train.save-every=2") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    error = capsys.readouterr().err
    assert "step-0000002.pt cannot be written" in error
    assert "MiB free" in error
    assert not list((tmp_path / "checkpoints").iterdir())
    assert pretrain(corpus, tmp_path, "--train.save-every=2") == 0


def test_a_folder_that_cannot_be_written_is_one_sentence(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert pretrain(corpus, tmp_path / "file" / "run") == 1
    assert "cannot be written: Not a directory" in capsys.readouterr().err


def test_weights_that_are_not_finite_are_neither_written_nor_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_model(tmp_path / "model")
    weights = load_file(model / "weights.safetensors")
    name = next(iter(weights))
    save_file(weights | {name: weights[name] * float("nan")}, model / "weights.safetensors")
    video = tmp_path / "no.mp4"
    assert cli.main(["predict", str(video), "--model", str(model), "--device=cpu"]) == 1
    assert f"1 of {len(weights)} tensors hold NaN or infinity ({name}" in capsys.readouterr().err
    layer = torch.nn.Linear(2, 2)
    torch.nn.init.constant_(layer.weight, float("inf"))
    with pytest.raises(checkpoint.NonFiniteError, match="NaN or infinity"):
        checkpoint.export(tmp_path / "out", layer, "{}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("flag", ["--train.steps=-3", "--train.epochs=0", "--train.workers=-1", "--train.seed=-1"])
def test_lengths_that_are_none_are_refused(
    flag: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        pretrain(corpus, tmp_path / "run", flag)
    assert flag.split("=")[0].split(".")[1] in capsys.readouterr().err


def test_a_signal_before_the_first_step_leaves_nothing_that_changes_the_run(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal goes to the processes that decode too, so the first batch never comes."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert pretrain(corpus, whole) == 0

    def gone(*_: object) -> None:
        send(signal.SIGTERM)
        raise RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "backward", gone)
        assert pretrain(corpus, run) == 128 + signal.SIGTERM
    assert "stopped after step 0 of 4" in capsys.readouterr().err
    assert pretrain(corpus, run) == 0
    one, other = (load_file(folder / "weights.safetensors") for folder in (whole, run))
    assert all(torch.equal(one[name], other[name]) for name in one)
