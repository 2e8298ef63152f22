"""A model as one ONNX file: stored pixels in, scores out, with all that says how to feed it, and a check against PyTorch.

    parity = export(analyzer, Path("model.onnx"), clips)      # clips uint8 (N, 3, T, size, size)
    print(parity.table())

Inside the file are the normalisation of pixels, encoder, head, the form of the answer and, of a calibrated model, the
distance by which it is told what is unfamiliar. The card and the calibration travel as notes, names and preprocessing also
in a form that no code of mien is needed for (docs/export.md).
"""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mien.calibration.calibration import Calibration, CalibrationFacts
from mien.calibration.clip_statistics import statistics
from mien.calibration.maps import TINY
from mien.config import to_tree
from mien.extras import install
from mien.files import write_whole
from mien.inference.analyzer import Analyzer
from mien.interfaces import Task
from mien.model_files import append_notes
from mien.models.card import NOTE
from mien.models.onnx_task import CALIBRATED, DISTANCE, FEATURES, INPUT, SCORES, session_of

LARGEST = 2**31 - 2**20
"""Bytes of weights that fit into one ONNX file."""
TOLERANCE = 1e-4
"""Largest difference of scores from PyTorch's, in fp32, with which a file is kept."""
BATCHES = (1, 4)
"""Batches whose latency is measured."""
REPEATS = 5
"""Of which the median is taken."""


@dataclass(frozen=True)
class Parity:
    """How far an exported network is from PyTorch, and how fast both are."""

    clips: int
    """Clips that were compared."""
    differences: dict[str, float]
    """Largest absolute difference by output; that of the distance is relative."""
    milliseconds: dict[int, tuple[float, float]]
    """Median time of a batch, by its size: PyTorch (eager), ONNX Runtime; with ``threads`` threads of the CPU."""
    threads: int

    def table(self) -> str:
        """Both in one table."""
        rows = [f"{'largest difference of ' + name:<32} {value:9.1e}" for name, value in self.differences.items()]
        rows += [f"{'batch':<8} {'PyTorch':>11} {'ONNX':>11}   ({self.threads} threads, fp32)"]
        rows += [f"{size:<8} {eager:8.1f} ms {onnx:8.1f} ms" for size, (eager, onnx) in self.milliseconds.items()]
        return "\n".join([f"{self.clips} clips compared with PyTorch", *rows])


class Network(nn.Module):
    """Stored pixels uint8 (B, 3, T, size, size) -> scores (B, names), mean token (B, dim), and, of a calibrated model,
    calibrated scores (B, names) and distance (B,)."""

    mean: Tensor
    scale: Tensor
    precision: Tensor

    def __init__(self, task: Task, calibration: Calibration | None) -> None:
        super().__init__()
        self.task, self.facts = task, calibration.facts if calibration else None
        for name, value in (calibration.density.tensors() if calibration else {}).items():
            self.register_buffer(name, torch.from_numpy(np.asarray(value, np.float32)))

    @property
    def outputs(self) -> list[str]:
        """Names of what it gives, in order."""
        return [SCORES, FEATURES, *([CALIBRATED, DISTANCE] if self.facts else [])]

    def forward(self, video: Tensor) -> tuple[Tensor, ...]:
        task = self.task
        pixels = task.pixels(video)
        tokens = task.encoder.features(pixels)
        scores = task.postprocess(task.head(tokens)).float()
        if self.facts is None:
            return scores, tokens.float().mean(1)
        measured = statistics(pixels, task.encoder.patch_embed(pixels), tokens).double()
        apart = (measured - self.mean) / self.scale
        squares = (apart @ self.precision.double() * apart).sum(1)
        distance = squares.clamp(min=0).sqrt().float()
        return scores, tokens.float().mean(1), calibrated(scores, self.facts), distance


def calibrated(scores: Tensor, facts: CalibrationFacts) -> Tensor:
    """Scores (B, names) as ``mien.calibration.maps`` changes them; values stay as they are."""
    if facts.slopes:
        logits = scores.double().clamp(TINY, 1 - TINY).logit()
        slopes, shifts = torch.tensor([facts.slopes, facts.shifts], dtype=torch.float64)
        return (slopes * logits + shifts).sigmoid().float()
    if (facts.temperature, facts.uniform) == (1.0, 0.0):
        return scores
    sure = (scores.clamp(min=TINY).log() / facts.temperature).softmax(1)
    return (1 - facts.uniform) * sure + facts.uniform / scores.shape[1]


def export(analyzer: Analyzer, file: Path, clips: Tensor) -> Parity:
    """Write a model as an ONNX file, compared with PyTorch on ``clips`` (N, 3, T, size, size), uint8, as they are stored.

    Raises ``ValueError`` for a model that cannot be exported, and where the scores differ by more than ``TOLERANCE``;
    nothing is written then.
    """
    require_exportable(analyzer)
    network = Network(analyzer.task, analyzer.calibration).eval()
    found: list[Parity] = []

    def write(path: Path) -> None:
        write_network(network, path, clips)
        append_notes(path, notes(analyzer))
        found.append(compare(network, path, clips))
        if not found[0].differences[SCORES] <= TOLERANCE:
            raise ValueError(
                f"{file}: its scores differ from PyTorch's by {found[0].differences[SCORES]:.1e}, more than {TOLERANCE:g}; "
                "nothing was written"
            )

    write_whole(file, write)
    return found[0]


def require_exportable(analyzer: Analyzer) -> None:
    """Refuse what one ONNX file cannot hold."""
    task, name = analyzer.task, analyzer.folder or "this model"
    if task.encoder.dim == len(task.names) and not any(True for _ in task.parameters()):
        raise ValueError(f"{name} runs an ONNX file already")
    if task.segments > 1:
        raise ValueError(
            f"{name} reads {task.segments} segments of a video at once; models of one segment can be exported as ONNX, this one "
            "as a folder: --format hub"
        )
    size = sum(value.numel() * value.element_size() for value in task.state_dict().values())
    if size > LARGEST:
        raise ValueError(f"{name}: {size / 2**30:.1f} GiB of weights; an ONNX file holds 2. Take --format hub")


def write_network(network: Network, path: Path, clips: Tensor) -> None:
    """Trace and write; the size of the batch stays open."""
    example = clips[[0, -1]]  # two, since a batch of one would be taken to be always one
    try:
        with torch.no_grad(), quiet():
            torch.onnx.export(
                network, (example,), str(path), dynamo=True, external_data=False, verbose=False,
                input_names=[INPUT], output_names=network.outputs, dynamic_shapes=({0: torch.export.Dim("batch")},),
            )  # fmt: skip
    except ImportError as error:
        raise ValueError(f"writing ONNX needs the extra export: {install('export')}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporter's remarks on itself."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def notes(analyzer: Analyzer) -> dict[str, str]:
    """What the file says of itself: the card, the calibration, and the same for readers that know nothing of mien."""
    card = analyzer.card
    return {
        NOTE: json.dumps(card.tree()),
        "names": json.dumps(list(analyzer.names)),
        "outputs": "probabilities" if analyzer.outputs.bounds else "values",
        "preprocessing": json.dumps(preprocessing(analyzer)),
        "sources": json.dumps(list(card.sources)),
    } | (analyzer.calibration.notes() if analyzer.calibration else {})


def preprocessing(analyzer: Analyzer) -> dict[str, object]:
    """How a clip is made for a model, as plain values."""
    card, clip = analyzer.card, analyzer.clip
    return {
        "frames": clip.frames,
        "stride": clip.stride,
        "fps": clip.fps,
        "size": clip.size,
        "colours": "RGB",
        "pixels": "uint8",
        "mean": list(card.pixels.mean),
        "std": list(card.pixels.std),
        "frame_crop": clip.crop,
        "face_crop": to_tree(card.face_crop) if card.face_crop else None,
    }


@torch.inference_mode()
def compare(network: Network, path: Path, clips: Tensor) -> Parity:
    """The written file beside the network in PyTorch: largest differences over clips, and latency."""
    session, differences = session_of(path), {}
    names = [output.name for output in session.get_outputs()]
    for part in clips.split(max(BATCHES)):
        for name, theirs, ours in zip(names, session.run(None, {INPUT: part.numpy()}), network(part), strict=True):
            apart = np.abs(theirs - ours.numpy())
            apart = apart / np.maximum(np.abs(ours.numpy()), 1) if name == DISTANCE else apart
            differences[name] = max(differences.get(name, 0.0), float(apart.max()))
    times = {}
    for size in BATCHES:
        batch = clips[torch.arange(size) % len(clips)]
        array = batch.numpy()
        times[size] = (median_time(lambda: network(batch)), median_time(lambda: session.run(None, {INPUT: array})))  # noqa: B023
    return Parity(len(clips), differences, times, torch.get_num_threads())


def median_time(call: Callable[[], object]) -> float:
    """Milliseconds that a call takes once it is warm."""
    taken: Sequence[float] = []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        call()
        taken = [*taken, 1000 * (time.perf_counter() - start)]
    return float(np.median(taken[1:]))
