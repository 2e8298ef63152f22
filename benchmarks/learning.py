"""At which settings does a tiny TPSBT learn in minutes, and does pre-training help when labels are few?

    python benchmarks/learning.py OUTPUT [--rows all-slow all-fast few ...] [--seeds 0 1 2] [--threads 2]

Draws the demo's corpus once per seed, runs each row through the real commands and prints a Markdown table: UAR on
unseen people, and seconds of pre-training and of fine-tuning. Rows differ from the demo only in what they name.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from mien.commands import demo, evaluate, finetune, pretrain
from mien.modules.heads import MeanHeadConfig
from mien.objectives.masked_autoencoding import MaskedAutoencodingConfig
from mien.training.data import DataConfig

WIDE: dict[str, Any] = {"dim": 128, "heads": 4, "depths": (3, 2)}
Config = TypeVar("Config")
Result = TypeVar("Result")
ROWS: dict[str, dict[str, Any]] = {
    # all labels, from scratch: which sizes and rates learn at all
    "all-slow": {"labels": 9999, "encoder": WIDE, "lr": 1e-3, "batch": 32, "steps": 600},
    "all-fast": {"labels": 9999, "lr": 4e-3, "batch": 64, "steps": 800},
    "all-narrow-slow": {"labels": 9999, "lr": 1e-3, "batch": 64, "steps": 800},
    "all-faint-head": {"labels": 9999, "lr": 4e-3, "batch": 64, "steps": 800, "head": MeanHeadConfig()},
    # few labels: from scratch, and after pre-training
    "few": {},
    "few-pretrained": {"pretrain": 1200},
    "few-pretrained-short": {"pretrain": 300},
    "few-pretrained-75": {"pretrain": 1200, "mask_ratio": 0.75},
    "few-pretrained-90": {"pretrain": 1200, "mask_ratio": 0.9},
}


def timed(run: Callable[[Config], Result], config: Config) -> tuple[Result, float]:
    """Run a command quietly; its result and seconds."""
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        result = run(config)
    return result, time.perf_counter() - start


def run_row(name: str, row: dict[str, Any], seed: int, output: Path) -> tuple[float, float, float]:
    """UAR, seconds of pre-training, seconds of fine-tuning."""
    settings = demo.Config(output=output / f"seed{seed}", seed=seed, labels=row.get("labels", demo.Config().labels))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        unlabelled, labelled, test = demo.draw_corpus(settings)
    folder = output / f"seed{seed}-{name}"
    encoder = replace(demo.ENCODER, **row.get("encoder", {}))
    init, taken = "", 0.0
    if "pretrain" in row:
        base = demo.pretraining(replace(settings, pretrain_steps=row["pretrain"]), unlabelled)
        assert isinstance(base.objective, MaskedAutoencodingConfig)
        objective = replace(base.objective, mask_ratio=row.get("mask_ratio", base.objective.mask_ratio))
        config = replace(base, output=folder / "pretrain", encoder=encoder, objective=objective)
        taken, init = timed(pretrain.run, config)[1], str(folder / "pretrain")
    base = demo.finetuning(settings, labelled, init, folder / "finetune")
    config = replace(
        base,
        encoder=encoder,
        task=replace(base.task, head=row.get("head", base.task.head)),
        optim=replace(base.optim, lr=row.get("lr", base.optim.lr)),
        train=replace(base.train, steps=row.get("steps", base.train.steps), batch=row.get("batch", base.train.batch)),
    )
    tuned = timed(finetune.run, config)[1]
    tested = evaluate.Config(model=folder / "finetune", data=DataConfig(manifest=str(test)), workers=0, device="cpu")
    return timed(evaluate.run, tested)[0].metrics["UAR"].value, taken, tuned


def main() -> None:
    """Run rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    print(f"torch {torch.__version__}, {a.threads} threads, {date.today()}\n")
    print(
        "| row | what differs from the demo | seed | UAR | pre-training, s | fine-tuning, s |\n|---|---|---|---|---|---|"
    )
    for name in a.rows:
        for seed in a.seeds:
            uar, pretraining, tuning = run_row(name, ROWS[name], seed, a.output)
            what = ", ".join(f"{k} {v}" for k, v in ROWS[name].items()) or "no pre-training"
            print(f"| {name} | {what} | {seed} | {uar:.1%} | {pretraining:.0f} | {tuning:.0f} |", flush=True)


if __name__ == "__main__":
    main()
