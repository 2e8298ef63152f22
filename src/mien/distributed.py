"""Where a run happens: process group, device, precision. The only place that sets global torch state.

One process by default; ``torchrun --nproc-per-node N -m mien pretrain ...`` gives N ranks (gloo on CPUs, NCCL on GPUs).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.nn.parallel import DistributedDataParallel

from mien.interfaces import Batch
from mien.layers import Block

T = TypeVar("T")
Parallel = Literal["ddp", "fsdp"]
MatmulPrecision = Literal["highest", "high", "medium"]


@dataclass(frozen=True)
class Session:
    """This process among its peers."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def say(self, what: str) -> None:
        """Print, once for all ranks."""
        if self.first:
            print(what, flush=True)

    def to_device(self, batch: Batch) -> dict[str, Any]:
        """Move the tensors of a batch."""
        return {k: v.to(self.device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in batch.items()}


@contextlib.contextmanager
def session(device: str = "auto", matmul: MatmulPrecision = "medium") -> Iterator[Session]:
    """Set up this process, and the process group if torchrun started it; take the group down again."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    chosen = choose_device(device)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(matmul)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if world > 1:
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Session(rank, world, chosen)
    finally:
        torch.set_float32_matmul_precision(before)
        if world > 1:
            dist.destroy_process_group()


def choose_device(name: str) -> torch.device:
    """``auto`` is this rank's GPU if there is one, else the CPU."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cpu")


def wrap(model: nn.Module, parallel: Parallel, session: Session) -> nn.Module:
    """Replicate (ddp) or shard (fsdp) a model over the ranks; a single process keeps it as it is.

    DDP is not told to look for unused parameters: a weight that gets no gradient is a fault and must raise.
    """
    if parallel == "fsdp":
        for block in [m for m in model.modules() if isinstance(m, Block)]:
            fully_shard(block)
        fully_shard(model)
        register_fsdp_forward_method(model, "picture")  # called from outside, it must gather weights as forward does
        return model
    return DistributedDataParallel(model) if session.world > 1 else model


@contextlib.contextmanager
def accumulating(model: nn.Module, last: bool) -> Iterator[None]:
    """Leave gradients on their rank until the last micro-step of a step."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last)
    with model.no_sync() if isinstance(model, DistributedDataParallel) and not last else contextlib.nullcontext():
        yield


def seed_step(*key: int) -> None:
    """Make masks, dropout and drop path a function of (seed, step, micro-step, rank) and of nothing before."""
    torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))


def gather(items: list[T], session: Session) -> list[T]:
    """The items of all ranks, on every rank, rank after rank."""
    if session.world == 1:
        return items
    parts: list[Any] = [None] * session.world
    dist.all_gather_object(parts, items)
    return [item for part in parts for item in part]


def mean_over_ranks(value: Tensor, session: Session) -> Tensor:
    """Average a tensor over all ranks."""
    if session.world > 1:
        dist.all_reduce(value)
        value = value / session.world
    return value
