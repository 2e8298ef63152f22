"""Nothing is lost when a run is killed; one process, many micro-steps and many ranks do the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from conftest import ONE_PROCESS, TINY_DECODER, TINY_TPSBT, TINY_VJEPA
from mien import cli
from mien.commands import pretrain
from mien.config import parse
from mien.engine.runlog import read_metrics
from runs import torchrun


def arguments(corpus: Path, output: Path, *more: str) -> list[str]:
    return [
        f"--data.manifest={corpus}", f"--output={output}", "--train.steps=12", "--train.batch=4",
        "--train.save-every=1", "--train.log-every=1", *TINY_TPSBT, *TINY_DECODER, *ONE_PROCESS, *more,
    ]  # fmt: skip


def pretrained(corpus: Path, output: Path, *more: str) -> dict[str, torch.Tensor]:
    assert cli.main(["pretrain", *arguments(corpus, output, *more)]) == 0
    return load_file(output / "weights.safetensors")


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_killed_and_started_again_is_bit_identical(corpus: Path, tmp_path: Path) -> None:
    whole = pretrained(corpus, tmp_path / "whole")
    command = [sys.executable, "-m", "mien", "pretrain", *arguments(corpus, tmp_path / "killed")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoints = tmp_path / "killed" / "checkpoints"
    deadline = time.monotonic() + 120
    while not any(checkpoints.glob("step-*.pt")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = sorted(p.stem for p in checkpoints.glob("step-*.pt"))
    assert done
    assert done[-1] < "step-0000012", "the kill came too late to test anything"
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert equal(whole, load_file(tmp_path / "killed" / "weights.safetensors"))
    steps = [line["step"] for line in read_metrics(tmp_path / "killed" / "metrics.jsonl")]
    assert steps == list(range(1, 13))


def test_number_of_workers_changes_nothing(corpus: Path, tmp_path: Path) -> None:
    alone = pretrained(corpus, tmp_path / "alone")
    assert equal(alone, pretrained(corpus, tmp_path / "workers", "--train.workers=2"))
    assert equal(alone, pretrained(corpus, tmp_path / "cache", "--data.cache"))


def test_another_seed_gives_other_weights(corpus: Path, tmp_path: Path) -> None:
    assert not equal(pretrained(corpus, tmp_path / "a"), pretrained(corpus, tmp_path / "b", "--train.seed=1"))


def test_changed_config_is_refused_and_finished_runs_rest(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrained(corpus, tmp_path / "run")
    assert cli.main(["pretrain", *arguments(corpus, tmp_path / "run", "--optim.lr=0.1")]) == 1
    error = capsys.readouterr().err
    assert "another config" in error
    assert "+optim.lr: 0.1" in error
    assert cli.main(["pretrain", *arguments(corpus, tmp_path / "run", "--train.log-every=5")]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_non_finite_loss_names_step_and_clips(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mien.objectives.masked_autoencoding import MaskedAutoencoding

    forward, third = MaskedAutoencoding.forward, tmp_path / "checkpoints" / "step-0000003.pt"

    def poisoned(self, batch):
        out = forward(self, batch)
        return out | {"loss": out["loss"] * float("nan")} if third.exists() else out

    monkeypatch.setattr(MaskedAutoencoding, "forward", poisoned)
    assert cli.main(["pretrain", *arguments(corpus, tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "step 4" in error
    assert ".mp4 (line" in error
    assert [p.stem for p in sorted((tmp_path / "checkpoints").iterdir())] == ["step-0000002", "step-0000003"]


def test_micro_steps_give_the_gradient_of_the_whole_batch(corpus: Path, tmp_path: Path) -> None:
    """A regression without drop path or mixing has no randomness but the clips, so halves must add up."""
    runs = []
    for accumulate in (1, 2):
        folder = tmp_path / str(accumulate)
        flags = [
            f"--data.manifest={corpus}", f"--output={folder}", "--task.name=regression", "--train.steps=2",
            "--train.batch=4", f"--train.accumulate={accumulate}", "--optim.warmup=0", "--optim.lr-batch=0",
            *TINY_TPSBT, *ONE_PROCESS,
        ]  # fmt: skip
        assert cli.main(["finetune", *flags]) == 0
        runs.append(read_metrics(folder / "metrics.jsonl")[-1])
    assert runs[0]["loss"] == pytest.approx(runs[1]["loss"], rel=1e-4)
    assert runs[0]["grad_norm"] == pytest.approx(runs[1]["grad_norm"], rel=1e-3)


@pytest.mark.parametrize(
    ("command", "parallel"),
    [
        ("pretrain", "ddp"),
        ("finetune", "fsdp"),
        pytest.param("pretrain", "fsdp", marks=pytest.mark.slow),
        pytest.param("finetune", "ddp", marks=pytest.mark.slow),
    ],
)
def test_two_processes_equal_one(corpus: Path, tmp_path: Path, parallel: str, command: str) -> None:
    flags = [f"--train.parallel={parallel}"]
    one = torchrun(command, corpus, tmp_path / "one", 1)
    two = torchrun(command, corpus, tmp_path / "two", 2, *flags)
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
    assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-3)
    a, b = (load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two"))
    for name in a:
        torch.testing.assert_close(felt(name, a[name]), felt(name, b[name]), rtol=1e-3, atol=1e-5)


def felt(name: str, weight: torch.Tensor) -> torch.Tensor:
    """A weight without the biases of keys, which the softmax cancels: Adam makes whole steps of their rounding noise."""
    if not name.endswith("qkv.bias"):
        return weight
    query, _, value = weight.chunk(3)
    return torch.cat([query, value])


@pytest.mark.slow
def test_two_processes_leave_out_what_one_does(corpus: Path, tmp_path: Path) -> None:
    """All 28 clips come up; ten are left out, so that some rank has none in some steps. A resume is exact."""
    flags = ["--train.steps=8", "--train.save-every=1", "--train.log-every=1"]
    skip = ["--train.skip", *map(str, range(2, 12))]
    for name, ranks in (("one", 1), ("two", 2)):
        torchrun("finetune", corpus, tmp_path / name, ranks, *flags, *skip)
    lines = [read_metrics(tmp_path / name / "metrics.jsonl") for name in ("one", "two")]
    for alone, both in zip(*lines, strict=True):
        assert both["loss"] == pytest.approx(alone["loss"], rel=1e-6)
        assert both["grad_norm"] == pytest.approx(alone["grad_norm"], rel=1e-5)
    one, two = (load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two"))
    for name in one:
        torch.testing.assert_close(felt(name, one[name]), felt(name, two[name]), rtol=0, atol=1e-6)
    for lost in ("checkpoints/step-0000008.pt", "weights.safetensors", "model.json"):
        (tmp_path / "two" / lost).unlink()
    torchrun("finetune", corpus, tmp_path / "two", 2, *flags)
    assert equal(two, load_file(tmp_path / "two" / "weights.safetensors"))


def test_run_folder_says_what_it_was_told(corpus: Path, tmp_path: Path) -> None:
    pretrained(corpus, tmp_path)
    again = parse(pretrain.Config, [str(tmp_path / "config.yaml")], prog="mien pretrain")
    assert again == parse(pretrain.Config, arguments(corpus, tmp_path), prog="mien pretrain")
    assert json.loads((tmp_path / "model.json").read_text())["encoder"]["dim"] == 32
    assert (tmp_path / "pictures" / "reconstruction-0000012.png").stat().st_size > 0


def test_tensorboard_and_bf16(corpus: Path, tmp_path: Path) -> None:
    pretrained(corpus, tmp_path / "board", "--train.tensorboard", "--train.precision=bf16", "--optim.clip-grad=1")
    assert list((tmp_path / "board" / "tensorboard").glob("events*"))
    losses = [line["loss"] for line in read_metrics(tmp_path / "board" / "metrics.jsonl")]
    exact = pretrained(corpus, tmp_path / "exact", "--optim.clip-grad=1")
    assert exact
    known = [line["loss"] for line in read_metrics(tmp_path / "exact" / "metrics.jsonl")]
    assert losses == pytest.approx(known, rel=0.05)


def test_a_failed_start_claims_nothing(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mien.objectives.masked_autoencoding import MaskedAutoencoding

    run = tmp_path / "run"
    assert cli.main(["pretrain", *arguments(corpus, run, "--objective.mask=random")]) == 1
    assert not run.exists(), "the model could not even be built"
    with monkeypatch.context() as patch:
        patch.setattr(MaskedAutoencoding, "forward", lambda self, batch: 1 / 0)
        assert cli.main(["pretrain", *arguments(corpus, run, "--optim.lr=7")]) == 1
    capsys.readouterr()
    assert cli.main(["pretrain", *arguments(corpus, run, "--train.steps=1")]) == 0
    assert cli.main(["pretrain", *arguments(corpus, run, "--optim.lr=7")]) == 1
    assert "another config" in capsys.readouterr().err


def test_concordance_over_parts_of_a_batch_is_refused(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [
        f"--data.manifest={corpus}", f"--output={tmp_path / 'run'}", "--task.name=regression", "--task.loss=ccc",
        "--train.steps=1", "--train.batch=4", *TINY_TPSBT, *ONE_PROCESS,
    ]  # fmt: skip
    assert cli.main(["finetune", *flags, "--train.accumulate=2"]) == 1
    assert "do not add up" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert cli.main(["finetune", *flags]) == 0


def test_a_clip_is_not_blended_with_itself(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [
        f"--data.manifest={corpus}", f"--output={tmp_path / 'run'}", "--train.steps=1", "--train.batch=2",
        "--train.accumulate=2", *TINY_TPSBT, *ONE_PROCESS,
    ]  # fmt: skip
    assert cli.main(["finetune", *flags]) == 1
    assert "--task.mixup 0 --task.cutmix 0" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert cli.main(["finetune", *flags, "--task.mixup=0", "--task.cutmix=0"]) == 0


DRAWN = {
    "masked_autoencoding": [*TINY_TPSBT, *TINY_DECODER, "--encoder.drop-path=0.3"],
    "joint_embedding": [*TINY_VJEPA, "--encoder.drop-path=0.3"],
    "classification": [*TINY_TPSBT, "--encoder.drop-path=0.3"],
}


@pytest.mark.parametrize("learns", DRAWN)
def test_a_forward_pass_draws_nothing(
    learns: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a compiled one, whose random numbers are others, sees the same masks, mixing and dropped paths."""
    states: list[bool] = []

    def watched(model, *args, **options):
        def forward(batch):
            before = torch.get_rng_state()
            out = model(batch)
            states.append(torch.equal(before, torch.get_rng_state()))
            return out

        return forward

    monkeypatch.setattr(torch, "compile", watched)
    command = "finetune" if learns == "classification" else "pretrain"
    flags = [f"--data.manifest={corpus}", f"--output={tmp_path}", "--train.steps=2", "--train.batch=4", *ONE_PROCESS]
    assert cli.main([command, *flags, *DRAWN[learns], "--train.compile"]) == 0
    assert states == [True, True]


@pytest.mark.slow
@pytest.mark.parametrize("learns", ["masked_autoencoding", "classification"])
def test_compiled_equals_eager(learns: str, corpus: Path, tmp_path: Path) -> None:
    """Needs a C++ compiler."""
    command, lines = "finetune" if learns == "classification" else "pretrain", []
    for more in ([], ["--train.compile"]):
        flags = [
            f"--data.manifest={corpus}", f"--output={tmp_path / str(len(more))}", "--train.steps=3", "--train.batch=4",
            "--train.log-every=1", *ONE_PROCESS, *DRAWN[learns], *more,
        ]  # fmt: skip
        assert cli.main([command, *flags]) == 0
        lines.append(read_metrics(tmp_path / str(len(more)) / "metrics.jsonl"))
    for eager, compiled in zip(*lines, strict=True):
        assert compiled["loss"] == pytest.approx(eager["loss"], rel=1e-4)
        assert compiled["grad_norm"] == pytest.approx(eager["grad_norm"], rel=1e-3)
