"""TPSBT against a plain eager version of the same model: training step and inference, side by side in one run.

    python benchmarks/tpsbt.py [--size base|small] [--device cpu|cuda] [--threads 2] [--batch 2] [--repeats 5]

The plain version is written as the released code runs: explicit softmax attention, all patches embedded before the
visible ones are taken, fp32 products at the highest precision, no autocast. Each figure is the median over repeats, the
variants taken in turn. Prints a table of seconds and of ratios plain / mien.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import date

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor

from mien.encoders.tpsbt import TPSBTConfig
from mien.modules import layers
from mien.modules.heads import MeanHead
from mien.modules.pixels import PixelsConfig
from mien.objectives.masked_autoencoding import MaskedAutoencodingConfig


def explicit_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention as three steps, with its matrix of weights in memory."""
    return ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(dim=-1) @ v


def embed_all(self: layers.PatchEmbed, video: Tensor, index: Tensor | None = None) -> Tensor:
    """All patches by convolution, then the visible ones."""
    tokens = self.proj(video).flatten(2).transpose(1, 2)
    return tokens if index is None else layers.take(tokens, index)


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Swap in the plain pieces."""
    kept = layers.attend, layers.PatchEmbed.forward
    layers.attend, layers.PatchEmbed.forward = explicit_attention, embed_all
    try:
        yield
    finally:
        layers.attend, layers.PatchEmbed.forward = kept


@contextlib.contextmanager
def variant(name: str, device: str) -> Iterator[None]:
    """plain fp32, mien fp32 (medium products), or mien bf16 (autocast)."""
    torch.set_float32_matmul_precision("highest" if name == "plain fp32" else "medium")
    swap = plain() if name == "plain fp32" else contextlib.nullcontext()
    with swap, torch.autocast(device, torch.bfloat16, enabled=name == "mien bf16"):
        yield


VARIANTS = ("plain fp32", "mien fp32", "mien bf16")


def seconds(job: Callable[[], object], device: str) -> float:
    """Wall time of one call."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    job()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def jobs(size: str, batch: int, device: str) -> dict[str, Callable[[], object]]:
    """What is timed: a pre-training step, a fine-tuning step, inference; 16x160x160 clips."""
    config = TPSBTConfig.sized("base") if size == "base" else TPSBTConfig.sized("small")
    objective = MaskedAutoencodingConfig().build(config.build(16, 160), PixelsConfig()).to(device)
    encoder, head = config.build(16, 160).to(device), MeanHead(config.dim, 7).to(device)
    video = torch.randn(batch, 3, 16, 160, 160, device=device)

    def pretrain() -> None:
        objective({"video": video, "key": torch.arange(len(video))})["loss"].backward()
        objective.zero_grad()

    def finetune() -> None:
        head(encoder.features(video)).float().logsumexp(1).mean().backward()
        encoder.zero_grad()

    @torch.inference_mode()
    def infer() -> None:
        head(encoder.features(video))

    return {"pre-training step (90 % hidden)": pretrain, "fine-tuning step": finetune, "inference": infer}


def main() -> None:
    """Time every job under every variant in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["base", "small"], default="base")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    where = torch.cuda.get_device_name() if a.device == "cuda" else f"{platform.machine()} CPU, {a.threads} threads"
    print(f"TPSBT-{a.size}, batch {a.batch}, torch {torch.__version__}, {where}, {date.today()}\n")
    print("| | " + " | ".join(f"{v}, s" for v in VARIANTS) + " | plain / fp32 | plain / bf16 |\n|---|" + "---|" * 5)
    for name, job in jobs(a.size, a.batch, a.device).items():
        taken: dict[str, list[float]] = {v: [] for v in VARIANTS}
        for repeat in range(a.repeats + 1):
            for v in VARIANTS:
                with variant(v, a.device):
                    once = seconds(job, a.device)
                if repeat:  # the first round warms up
                    taken[v].append(once)
        median = {v: statistics.median(times) for v, times in taken.items()}
        ratios = [median["plain fp32"] / median[v] for v in VARIANTS[1:]]
        cells = [f"{median[v]:.3f}" for v in VARIANTS] + [f"{r:.2f}x" for r in ratios]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
