"""A run's folder: what it was told, what it saw, what it drew.

config.yaml     the resolved config; resuming with another one is refused
metrics.jsonl   one line per logged step, always; cut back to the checkpoint on resume, so no step stands twice
pictures/       reconstructions and plots
tensorboard/    with the extra ``track`` and --train.tensorboard
"""

from __future__ import annotations

import difflib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

from mien.config import renamed_lines
from mien.engine.checkpoint import CARD, checkpoints
from mien.extras import install
from mien.files import LOCK, write_whole
from mien.progress import progress_bar

IDENTITY = "identity.yaml"
KEPT = ("step-*.pt", "weights.safetensors", "model.json", "predictions.csv")
"""What a run has to lose: while none of these is in its folder or below, another run may begin there."""


def open_run(folder: Path, config: str, started_with: str) -> None:
    """Make a run's folder, or check that the one there is the same run (``refuse_other_run``).

    ``config`` is the resolved config as YAML, ``started_with`` the part of it that decides the result. What a start left
    that failed before anything was trained, under another config, is removed.
    """
    refuse_other_run(folder, started_with)
    before = folder / IDENTITY
    if before.is_file() and identity_lines(before.read_text()) != identity_lines(started_with):
        for name in ("seen.csv", "skipped.json", "metrics.jsonl"):
            (folder / name).unlink(missing_ok=True)
        for name in ("checkpoints", "pictures", "tensorboard"):
            shutil.rmtree(folder / name, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(before, lambda path: path.write_text(started_with))  # first: without it the folder is not known again
    write_whole(folder / "config.yaml", lambda path: path.write_text(config))


def refuse_other_run(folder: Path, started_with: str) -> None:
    """Refuse a folder that holds something else, or that has anything to lose of a run with another config, whose
    difference is shown."""
    before = folder / IDENTITY
    if not before.is_file():
        if folder.is_dir() and any(path.name != LOCK for path in folder.iterdir()):
            raise ValueError(f"{folder} is not empty and holds no run; choose another --output")
        return
    difference = list(difflib.unified_diff(identity_lines(before.read_text()), identity_lines(started_with), n=0))[2:]
    if difference and has_results(folder):
        shown = "\n  ".join(line for line in difference if not line.startswith("@@"))
        hint = (
            "\nIf a clip broke since the run began, leave its row in the manifest and give --train.skip LINE."
            if "clips.count" in shown
            else ""
        )
        raise ValueError(
            f"{folder} holds a run with another config:\n  {shown}\nChoose another --output, or delete that folder.{hint}"
        )


def identity_lines(text: str) -> list[str]:
    """The lines of a run's identity under the names they have now; their order says nothing."""
    return sorted(renamed_lines(text).splitlines())


def has_results(folder: Path) -> bool:
    """Whether a run's folder holds anything that training or evaluation has made."""
    return any(next(folder.rglob(name), None) for name in KEPT)


def finished(folder: Path, steps: int) -> bool:
    """Whether the run in a folder has taken all its steps and its weights are whole, which the card says."""
    found = checkpoints(folder)
    return bool(found) and int(found[-1].stem.removeprefix("step-")) >= steps and (folder / CARD).is_file()


class RunLog:
    """Appends scalars to ``metrics.jsonl``, shows a progress bar with clips/s and ETA."""

    def __init__(self, folder: Path, start: int, steps: int, active: bool, tensorboard: bool = False) -> None:
        self.active, self.file, self.board = active, None, None
        self.warned: set[str] = set()
        self.bar = progress_bar(total=steps, initial=start, unit="step", disable=not active, delay=0, leave=True)
        if not active:
            return
        path = folder / "metrics.jsonl"
        kept = [line for line in read_metrics(path) if line["step"] <= start]
        write_whole(path, lambda p: p.write_text("".join(json.dumps(line) + "\n" for line in kept)))
        self.file = path.open("a", buffering=1)
        if tensorboard:
            self.board = summary_writer(folder / "tensorboard")

    def step(self, scalars: Mapping[str, float]) -> None:
        """Advance the bar by one step and show the scalars beside it."""
        self.bar.set_postfix({k: f"{v:.4g}" for k, v in scalars.items()}, refresh=False)
        self.bar.update()

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Append one line for ``step`` (steps done)."""
        if self.file:
            self.file.write(json.dumps({"step": step, **scalars}) + "\n")
        if self.board:
            for name, value in scalars.items():
                self.board.add_scalar(name, value, step)

    def warn(self, step: int, alarms: Sequence[str]) -> None:
        """Say above the bar what is going wrong; each alarm (its first word) once in a run of the process."""
        for alarm in alarms:
            kind = alarm.split()[0]
            if self.active and kind not in self.warned:
                self.warned.add(kind)
                self.bar.write(f"warning at step {step}: {alarm}")

    def close(self) -> None:
        """End the bar and the files."""
        self.bar.close()
        for stream in (self.file, self.board):
            if stream:
                stream.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a ``metrics.jsonl``; a last line cut off by a kill is left out."""
    if not path.is_file():
        return []
    text = path.read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def summary_writer(folder: Path) -> SummaryWriter:
    """TensorBoard's writer, from the extra ``track``."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError(f"--train.tensorboard needs the extra track: {install('track')}") from error
    return SummaryWriter(folder)
