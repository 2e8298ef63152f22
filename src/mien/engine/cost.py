"""What a step of training costs before it is taken: parameters, memory and time, from one small step.

    cost = measure(module, lambda clips: loss of a batch of so many clips, 3 * frames * size**2, device)
    cost.memory(clips)      # bytes that a step over so many clips at once needs

Method. Weights, gradients and AdamW's two moments are counted from the parameters: 16 bytes for each that is trained, 4
for each other one. What a clip adds is what autograd keeps for the backward pass; it is summed up while the forward pass
runs over one and over two clips, which gives a part that does not depend on the batch and one that grows with it. ``COPIES``
of a clip's pixels live for a moment only, and ``RUNTIME`` is what PyTorch takes when it first works. Time is that of a
forward and a backward pass over two clips, then, where that was quick, over more and more of them: a small model's pass over
two clips is mostly what does not depend on the clips. benchmarks/cost.py holds the estimate against the peak of real
processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor, nn

COPIES = 5
"""Copies of a clip in fp32 that are alive at once while it is normalised, cut into patches and compared."""
RUNTIME = 150e6
"""Bytes that the libraries take when they first work."""
FIRST_CLIPS = 2
"""Clips of the first step that is timed."""
TIMING_SECONDS = 1.5
"""Seconds of timing; until then each step is followed by one over four times as many clips."""
TIMING_BYTES = 1e9
"""Bytes that timing may take for its clips."""
SLOW_FORWARD = 10.0
"""Seconds of a forward pass over one clip beyond which nothing more is measured, and the rest is reckoned from it."""
STEP_OVER_FORWARD = 3.0
"""A backward pass does about twice the products of the forward pass."""

Loss = Callable[[int], Tensor]
"""The loss of a batch of so many made-up clips."""


@dataclass(frozen=True)
class Cost:
    """What one model costs to train at one clip size, on one device."""

    parameters: int
    """Numbers that are learnt, and those that are not."""
    trained: int
    """Numbers that are learnt."""
    weights: int
    """Bytes of all parameters and buffers, as they lie in memory once the model is built."""
    fixed: float
    """Bytes that a step keeps whatever its batch."""
    per_clip: float
    """Bytes that each clip of a micro-step adds."""
    pixels: int
    """Numbers of one clip of video."""
    seconds: float
    """Of a forward and a backward pass, per clip."""
    timed_clips: int
    """Clips of the step that was timed; 0 where the time is reckoned from a forward pass."""

    @property
    def optimizer_bytes(self) -> int:
        """Bytes of gradients and of AdamW's moments."""
        return 12 * self.trained

    def memory(self, clips: int) -> float:
        """Bytes at the peak of a step over ``clips`` clips at once."""
        return self.weights + self.optimizer_bytes + RUNTIME + self.fixed + self.bytes_per_clip * clips

    @property
    def bytes_per_clip(self) -> float:
        """Bytes for each clip of a micro-step."""
        return self.per_clip + 4 * COPIES * self.pixels


def measure(
    module: nn.Module, loss: Loss, pixels: int, device: torch.device, precision: str = "fp32", most: int = FIRST_CLIPS
) -> Cost:
    """Cost of training ``module`` on clips of so many ``pixels`` (numbers); it is left as it was, and the random state too.

    Takes about as long as a step over four clips, or a second or two where clips are quick; steps over more than ``most``
    clips (those of a micro-step) are not timed.
    """
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    tensors = [*module.parameters(), *module.buffers()]
    known = {t.untyped_storage().data_ptr() for t in tensors}
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), training_mode(module):
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            one, first = saved_bytes(loss, 1, known, device)
            quick = first < SLOW_FORWARD
            two = saved_bytes(loss, 2, known, device)[0] if quick else 2 * one
        most = min(most, int(TIMING_BYTES / max(two - one + 4 * COPIES * pixels, 1)))
        seconds, timed = seconds_per_clip(loss, most, device, precision) if quick else (STEP_OVER_FORWARD * first, 0)
    module.zero_grad(set_to_none=True)
    return Cost(
        sum(n for n, _ in sizes), sum(n for n, learnt in sizes if learnt),
        sum(t.untyped_storage().nbytes() for t in tensors), max(2 * one - two, 0.0), max(two - one, one / 2), pixels, seconds,
        timed,
    )  # fmt: skip


def saved_bytes(loss: Loss, clips: int, known: set[int], device: torch.device) -> tuple[float, float]:
    """Bytes that autograd keeps of a forward pass, storages of ``known`` left out, and its seconds."""
    found: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no storage takes the place of another one

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            found[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor.detach())
        return tensor

    began = perf_counter()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss(clips)
    synchronize(device)
    return float(sum(found.values())), perf_counter() - began


def seconds_per_clip(loss: Loss, most: int, device: torch.device, precision: str) -> tuple[float, int]:
    """Seconds per clip of a forward and a backward pass at its quickest, and over how many clips, ``most`` at most, the
    last one was."""
    clips, spent, best = FIRST_CLIPS, 0.0, float("inf")
    while True:
        began = perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            value = loss(clips)
        value.backward()
        synchronize(device)
        seconds = perf_counter() - began
        spent, best = spent + seconds, min(best, seconds / clips)
        if spent >= TIMING_SECONDS or clips >= most:
            return best, clips
        clips = min(4 * clips, most)


def synchronize(device: torch.device) -> None:
    """Wait for a device that works on its own."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def forward_macs(module: nn.Module, loss: Loss) -> float:
    """Multiplications with an addition (MACs) of a forward pass over one clip; the module stays as it was."""
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with torch.random.fork_rng(devices=[]), torch.no_grad(), training_mode(module), counter:
        loss(1)
    return counter.get_total_flops() / 2


@contextmanager
def training_mode(module: nn.Module) -> Iterator[None]:
    """As when it trains, for a while."""
    before = module.training
    module.train()
    try:
        yield
    finally:
        module.train(before)


def noise_batch(
    clips: int, frames: int, size: int, device: torch.device, target: Tensor | None = None
) -> dict[str, Tensor]:
    """A batch of noise: clips of ``frames`` x ``size`` x ``size`` pixels, each with the ``target`` of one clip."""
    batch = {
        "video": torch.randint(0, 256, (clips, 3, frames, size, size), dtype=torch.uint8, device=device),
        "index": torch.arange(clips, device=device),
        "key": torch.arange(clips, device=device),
    }
    return batch if target is None else batch | {"target": target.expand(clips, *target.shape).to(device)}
