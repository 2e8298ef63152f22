"""How much memory there is, and what to say when it runs out."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

import torch

GROUPS = Path("/sys/fs/cgroup")
"""Where Linux keeps the limits of a container."""

SHORTAGES = ("can't allocate memory", "not enough memory", "out of memory", "Cannot allocate memory", "bad allocation")
"""How PyTorch, OpenCV, FFmpeg and the system name a failed allocation."""
WORKER = "DataLoader worker"
"""How PyTorch names a decoding process that ended; a signal says that the system took it, most often for memory."""


def available(device: torch.device) -> int | None:
    """Bytes that a process may still take on a device; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu":
        return None
    found = [room for room in (free_memory(), container_memory()) if room is not None]
    return min(found) if found else None


def free_memory(file: Path = Path("/proc/meminfo")) -> int | None:
    """What Linux says can be taken without swapping; elsewhere all of the machine's memory, where that is known."""
    if file.is_file():
        lines = [line.split() for line in file.read_text().splitlines() if line.startswith("MemAvailable:")]
        return int(lines[0][1]) * 1024 if lines else None
    names = getattr(os, "sysconf_names", {})
    known = "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if known else None


def container_memory(folder: Path = GROUPS) -> int | None:
    """What a container may still take; None without a limit."""
    limit, used = folder / "memory.max", folder / "memory.current"
    if not (limit.is_file() and used.is_file()) or not limit.read_text().strip().isdecimal():
        return None
    cache = [
        line.split()[1]
        for line in (folder / "memory.stat").read_text().splitlines()
        if line.startswith("inactive_file ")
    ]
    return int(limit.read_text()) - int(used.read_text()) + sum(map(int, cache))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error)
    killed = WORKER in text and ("signal" in text or "exited unexpectedly" in text)
    return killed or any(words in text for words in SHORTAGES)


LOWER = {
    "optim": "--train.batch (or raise --train.accumulate, which gives the same gradient), --train.workers",
    "probe": "--probe.batch, --features.memory",
    "views": "--views.batch",
    "read": "--read.batch",
    "clip": "--clip.size",
    "encoder": "the sizes of the encoder",
    "batch": "--batch",
    "workers": "--workers",
}
"""What to lower in a command that has such a section or option."""


def memory_advice(schema: type[DataclassInstance] | None, error: BaseException) -> str:
    """What to lower after memory ran out, of the options of a command with the config ``schema``."""
    names = {field.name for field in fields(schema)} if schema else set()
    ways = [way for name, way in LOWER.items() if name in names] or ["what else runs on this machine"]
    reason = str(error).strip().split("\n")[0] or "no memory left"
    said = f"{error} {error.__cause__ or ''}"
    if WORKER in said and "by signal" in said and "signal: Killed" not in said:
        return f"a process that decodes crashed ({reason[:150]}). Let mien prepare decode the clips: it names the file"
    return f"memory ran out ({reason[:150]}). Lower {', '.join(ways)}; mien cost says what training needs"


def format_bytes(count: float) -> str:
    """Bytes for a reader."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"
