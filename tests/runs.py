"""Runs of training in other processes, and a hook into one of this process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import ONE_PROCESS, TINY_TPSBT, TINY_VJEPA
from mien.engine import runlog
from mien.engine.runlog import read_metrics

RUNS = {
    "finetune": ["--task.name=regression", *TINY_TPSBT],
    "pretrain": [*TINY_VJEPA, "--optim.clip-grad=1"],
}


def torchrun(command: str, corpus: Path, output: Path, ranks: int, *more: str) -> dict:
    """Three steps over several processes; the last line of metrics."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = [
        f"--data.manifest={corpus}", f"--output={output}", "--train.steps=3", "--train.batch=4", "--optim.warmup=0",
        "--optim.lr=1e-3", "--optim.lr-batch=0", *RUNS[command], *ONE_PROCESS, *more,
    ]  # fmt: skip
    launch = ["-m", "torch.distributed.run", f"--nproc-per-node={ranks}", f"--master-port={port}"]
    result = subprocess.run(
        [sys.executable, *launch, "-m", "mien", command, *flags],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    return read_metrics(output / "metrics.jsonl")[-1]


def after_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], object]) -> None:
    """Do something while training, after so many steps of this process."""
    advance, done = runlog.RunLog.step, iter(range(1, 1000))

    def hooked(self, scalars) -> None:
        advance(self, scalars)
        if next(done) == step:
            act()

    monkeypatch.setattr(runlog.RunLog, "step", hooked)
