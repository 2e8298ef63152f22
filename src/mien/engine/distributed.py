"""Where a run happens: process group, device, precision. The only place that sets global torch state.

One process by default; ``torchrun --nproc-per-node N -m mien pretrain ...`` gives N ranks (gloo on CPUs, NCCL on GPUs).
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from pydantic import NonNegativeInt
from pydantic.dataclasses import dataclass as settings
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.nn.parallel import DistributedDataParallel

from mien.config import STRICT
from mien.interfaces import Batch, Objective

Parallel = Literal["ddp", "fsdp"]
MatmulPrecision = Literal["highest", "high", "medium"]
T = TypeVar("T")
S = TypeVar("S", bound=np.generic)


@settings(frozen=True, config=STRICT, kw_only=True)
class DeviceOptions:
    """What the options of every command that runs a model have in common."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    matmul: MatmulPrecision = "medium"
    """fp32 matrix products: medium is about twice as fast on many CPUs, highest is exact."""


@settings(frozen=True, config=STRICT, kw_only=True)
class ReaderOptions(DeviceOptions):
    """The same of commands that read the clips of a manifest."""

    workers: NonNegativeInt = 2
    """Processes that decode clips, for each rank; 0 decodes in this one."""


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

    def print(self, what: str) -> None:
        """Print, once for all ranks."""
        if self.first:
            print(what, flush=True)

    def share(self, rows: Sequence[T]) -> Sequence[T]:
        """The rows that are this rank's work: every row is one rank's."""
        return rows[self.rank :: self.world]

    def gather(self, values: NDArray[S], count: int) -> NDArray[S]:
        """What each rank made of its share, a row each, -> all ``count`` rows in order, once each, on every rank."""
        if self.world == 1:
            return values
        parts = [values] * self.world
        dist.all_gather_object(parts, values)
        whole = np.empty((count, *values.shape[1:]), values.dtype)
        for rank, part in enumerate(parts):
            whole[rank :: self.world] = part
        return whole

    def max_over_ranks(self, number: int) -> int:
        """The largest of a number over all ranks, on every rank."""
        if self.world == 1:
            return number
        value = torch.tensor(number, device=self.device)
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return int(value)

    def to_device(self, batch: Batch) -> Batch:
        """Move the tensors of a batch."""
        return {k: v.to(self.device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in batch.items()}


@contextlib.contextmanager
def session(device: str = "auto", matmul: MatmulPrecision = "medium", parallel: Parallel = "ddp") -> Iterator[Session]:
    """Set up this process, and the process group if torchrun started it; take the group down again.

    A session inside another one shares its process group. ``ValueError`` for a device that is not there and for
    ``fsdp`` in a single process.
    """
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if parallel == "fsdp" and world == 1:
        raise ValueError(
            "--train.parallel fsdp shards a model over several processes, and this is one: start it with torchrun "
            "--nproc-per-node N -m mien ..., or leave --train.parallel out"
        )
    chosen = choose_device(device)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    joins = world > 1 and not dist.is_initialized()
    if joins:
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        with matmul_precision(matmul):
            yield Session(rank, world, chosen)
    finally:
        if joins:
            dist.destroy_process_group()


@contextlib.contextmanager
def matmul_precision(matmul: MatmulPrecision) -> Iterator[None]:
    """Precision of fp32 matrix products for a while."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(matmul)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def over_devices(work: Callable[[T, str], object], items: Sequence[T], devices: Sequence[str]) -> None:
    """``work(item, device)`` for all items: one process per device, which takes the next item when it is free.

    An error stops what has not begun and is raised. The processes end with this one, even if it is killed.
    """
    context, threads = multiprocessing.get_context("spawn"), max(1, torch.get_num_threads() // len(devices))
    waiting = list(reversed(items))

    def serve(device: str) -> None:
        with ProcessPoolExecutor(1, context, start_child, (threads,)) as process:
            while item := pop_last(waiting):
                try:
                    process.submit(work, item[0], device).result()
                except BrokenProcessPool as error:
                    waiting.clear()
                    raise OSError(
                        f"the process of {item[0]} on {device} was ended by the system, most often for memory: lower the "
                        "batch, or take fewer devices at a time; the same command goes on from what is done"
                    ) from error
                except BaseException:
                    waiting.clear()
                    raise

    with ThreadPoolExecutor(len(devices)) as lanes:
        try:
            list(lanes.map(serve, devices))
        except KeyboardInterrupt:  # SIGTERM, too
            waiting.clear()
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def pop_last(waiting: list[T]) -> list[T]:
    """The last item, taken out, or nothing; two threads never take the same."""
    try:
        return [waiting.pop()]
    except IndexError:
        return []


def start_child(threads: int) -> None:
    """A process of ``over_devices``: its share of the cores, and an end when its parent ends."""
    torch.set_num_threads(threads)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def choose_device(name: str) -> torch.device:
    """``auto`` is this rank's GPU (``cuda``) if there is one, else the CPU. ``ValueError`` for a device that is not there."""
    there = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    there += ["mps"] if torch.backends.mps.is_available() else []
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and torch.cuda.is_available():
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    if name not in there:
        raise ValueError(f"no device {name!r} here: PyTorch finds {', '.join(there)}; auto takes what there is")
    return torch.device(name)


def wrap(model: Objective, parallel: Parallel, session: Session) -> nn.Module:
    """Replicate (ddp) or shard (fsdp, each of its blocks) a model over the ranks; a single process keeps it as it is.

    DDP is not told to look for unused parameters: a weight that gets no gradient is a fault and must raise.
    """
    if parallel == "fsdp":
        for block in model.blocks:
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


def barrier() -> None:
    """Wait for all ranks, so that what one has written the others can read."""
    if dist.is_initialized():
        dist.barrier()


def seed_step(*key: int) -> None:
    """Make masks, dropout and drop path a function of (seed, step, micro-step, rank) and of nothing before."""
    torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))


def gather(items: list[T], session: Session) -> list[T]:
    """The items of all ranks, on every rank, rank after rank."""
    if session.world == 1:
        return items
    parts = [items] * session.world
    dist.all_gather_object(parts, items)
    return [item for part in parts for item in part]


def mean_over_ranks(value: Tensor, session: Session) -> Tensor:
    """Average a tensor over all ranks."""
    if session.world > 1:
        dist.all_reduce(value)
        value = value / session.world
    return value
