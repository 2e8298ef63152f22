"""What `mien cost` says of memory against the peak of real processes: python benchmarks/cost.py [--batches 8 24]

Each line is a process of its own that takes two steps (forward, backward, AdamW) of a model on noise; the kernel is asked
for its peak resident size, of which what it held before the model was built is taken off.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys

import torch

from mien.config import parse
from mien.engine.cost import Cost, measure, noise_batch

CPU = torch.device("cpu")


def peak() -> int:
    """Peak resident bytes of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def one(recipe: str, batch: int) -> None:
    """Print the estimate (batch 0: a Cost) or the real peak of two steps."""
    from mien.commands.pretrain import Config

    config = parse(Config, [recipe], "benchmark")
    began = peak()
    model = config.objective.build(config.encoder.build(config.clip.frames, config.clip.size), config.pixels)
    frames, size = config.clip.frames, config.clip.size
    if batch == 0:
        print(measure(model, lambda n: model(noise_batch(n, frames, size, CPU))["loss"], 3 * frames * size**2, CPU))
        return
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for _ in range(2):
        model(noise_batch(batch, frames, size, CPU))["loss"].backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    print(peak() - began)


def ask(recipe: str, batch: int) -> str:
    """What ``one`` prints in a process of its own."""
    command = [sys.executable, __file__, recipe, "--one", str(batch)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Print a line per batch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", nargs="?", default="svfap_tiny")
    parser.add_argument("--batches", type=int, nargs="+", default=(64, 512))
    parser.add_argument("--one", type=int)
    arguments = parser.parse_args()
    if arguments.one is not None:
        one(arguments.recipe, arguments.one)
        return
    cost: Cost = eval(ask(arguments.recipe, 0), {"Cost": Cost})
    for batch in arguments.batches:
        real, said = int(ask(arguments.recipe, batch)), cost.memory(batch)
        print(
            f"batch {batch:4d}: estimate {said / 1e6:6.0f} MB, peak {real / 1e6:6.0f} MB, ratio {said / real:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
