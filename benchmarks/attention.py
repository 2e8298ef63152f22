"""Attention on a CPU: the fused kernel against plain products, by length and head width, with and without a gradient.

    python benchmarks/attention.py [--threads 2] [--repeats 7]

Decides ``mien.modules.layers.SHORT``. Median milliseconds over repeats, variants in turn.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from datetime import date

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
import torch.nn.functional as F
from torch import Tensor


def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Three steps."""
    return ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(dim=-1) @ v


def once(attention, q: Tensor, k: Tensor, v: Tensor) -> float:
    """Milliseconds of forward and, where there is a gradient, backward."""
    start = time.perf_counter()
    out = attention(q, k, v).sum()
    if out.requires_grad:
        out.backward()
    return 1000 * (time.perf_counter() - start)


def without_gradient(repeats: int) -> None:
    """Print the table of forward passes in fp32, at both precisions of products."""
    print("\n| tokens | matmul precision | fused, ms | plain, ms | fused / plain |\n|---|---|---|---|---|")
    for tokens in (64, 128, 256, 512):
        q, k, v = (torch.randn(32, 4, tokens, 16) for _ in range(3))
        for precision in ("highest", "medium"):
            torch.set_float32_matmul_precision(precision)
            rounds = [(once(F.scaled_dot_product_attention, q, k, v), once(plain, q, k, v)) for _ in range(repeats + 1)]
            fused, own = (statistics.median(column) for column in zip(*rounds[1:], strict=True))
            print(f"| {tokens} | {precision} | {fused:.1f} | {own:.1f} | {fused / own:.2f} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    torch.set_float32_matmul_precision("medium")
    print(f"batch 64, width 96 or 128, torch {torch.__version__}, {a.threads} threads, {date.today()}\n")
    print("| tokens | heads x width | precision | fused, ms | plain, ms | fused / plain |\n|---|---|---|---|---|---|")
    for tokens in (64, 128, 256, 512):
        for heads, width in ((4, 24), (2, 32), (2, 64)):
            for kind in (torch.float32, torch.bfloat16):
                make = lambda: torch.randn(64, heads, tokens, width, dtype=kind).requires_grad_()  # noqa: B023, E731
                q, k, v = make(), make(), make()
                rounds = [
                    (once(F.scaled_dot_product_attention, q, k, v), once(plain, q, k, v)) for _ in range(a.repeats + 1)
                ]
                fused, own = (statistics.median(column) for column in zip(*rounds[1:], strict=True))
                name = str(kind).removeprefix("torch.")
                print(
                    f"| {tokens} | {heads} x {width} | {name} | {fused:.1f} | {own:.1f} | {fused / own:.2f} |",
                    flush=True,
                )
    without_gradient(a.repeats)


if __name__ == "__main__":
    main()
