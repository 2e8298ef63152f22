"""A trained model that reads videos: ``mien.load(folder)`` -> ``Analyzer``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien import __version__
from mien.calibration.calibration import Calibration
from mien.calibration.clip_statistics import encode, size_of
from mien.config import build
from mien.engine import checkpoint
from mien.engine.distributed import MatmulPrecision, choose_device, matmul_precision
from mien.faces.quality import clip_sharpness
from mien.inference.predict import Listener, ReadConfig, predict_into, stream
from mien.inference.profiling import Profile
from mien.inference.sources import Video, open_source
from mien.inference.tables import Layout
from mien.inference.timeline import Timeline
from mien.inference.window_prediction import WindowPrediction, require_finite, with_reliability
from mien.inference.windows import Window
from mien.interfaces import Clip, Outputs, Task
from mien.model_files import ONNX, weights_file
from mien.models.batching import forward_views
from mien.models.card import ModelCard
from mien.models.onnx_task import OnnxTask
from mien.progress import progress_bar
from mien.video.inspection import digest
from mien.video.views import View, ViewConfig, ViewDataset, load_views


@dataclass(frozen=True)
class Scores:
    """The outputs of a model for clips, in their order."""

    mean: NDArray[np.float64]
    """Outputs (clips, names), averaged over the views."""
    votes: NDArray[np.float64]
    """Share of the views (clips, names) in which a name has the largest output."""
    features: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    """Statistics of each clip (clips, ``pooling.size_of``), means over the views; of width 0 where they were not asked for."""
    sharpness: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """Sharpness (clips,) of the centre crops' frames; NaN where it was not asked for."""

    @property
    def majority(self) -> NDArray[np.int64]:
        """Index of the name with most votes (clips,); of equal ones that with the larger mean."""
        return (self.votes + 1e-6 * self.mean).argmax(axis=1)


@dataclass(frozen=True, eq=False, repr=False)
class VideoFeatures:
    """What the encoder makes of the windows of a video, or of many."""

    windows: pd.DataFrame
    """A row per window, as in ``Timeline.windows``: which face, when."""
    values: NDArray[np.float32]
    """Mean token of each window (windows, dim); of mien.extract_features(tokens=True) all tokens (windows, tokens, dim)."""

    def __repr__(self) -> str:
        return f"VideoFeatures({len(self.windows)} windows, values {self.values.shape})"


def load(path: str | Path, device: str = "auto", matmul: MatmulPrecision = "medium") -> Analyzer:
    """Load exported weights from the folder of a fine-tuned run, or from the hub as ``hf://owner/name``.

    ``device`` and ``matmul`` are the options of the commands. Raises ``ValueError`` where the folder holds no model, or
    weights that do not fit what model.json says.
    """
    folder = checkpoint.model_folder(path)
    card = ModelCard.load(folder)
    if card.task is None:
        raise ValueError(f"{folder} is a pre-trained encoder without a task; fine-tune it first: mien finetune --init")
    task = OnnxTask(card, folder) if folder.suffix == ONNX else card.build(folder)
    assert isinstance(task, Task)
    return Analyzer(task, card, choose_device(device), folder, matmul)


class Analyzer:
    """A task with the card of its weights, which says how to feed it."""

    def __init__(
        self, task: Task, card: ModelCard, device: torch.device, folder: Path | None = None,
        matmul: MatmulPrecision = "medium",
    ) -> None:  # fmt: skip
        assert card.task is not None
        self.matmul: MatmulPrecision = matmul
        self.task, self.card, self.device, self.folder = task.to(device).eval(), card, device, folder
        self.clip, self.names, self.config = card.clip, card.names, card.task
        self.outputs: Outputs = task.outputs

    @cached_property
    def calibration(self) -> Calibration | None:
        """What `mien calibrate` left beside the weights; ``ValueError`` if it was made for other weights."""
        return Calibration.load(self.folder) if self.folder else None

    def predict(
        self,
        video: Video,
        output: str | Path | None = None,
        *,
        timestamps: Sequence[float] | None = None,
        format: Literal["csv", "parquet"] = "csv",
        overwrite: bool = False,
        progress: bool = True,
        profile: Profile | None = None,
        listen: Listener | None = None,
        **options: object,
    ) -> Timeline:
        """Read a video: who shows what, when.

        ``video`` is a file, a folder of frames, an open binary file, or an array (N, H, W, 3) with ``timestamps`` in
        seconds; ``options`` are the fields of ``ReadConfig``, which are also the flags of `mien predict`, which prints what
        ``summary()`` of the result says, and of `mien analyze`. With ``output``, a folder, tables grow there and a killed job
        is gone on with. ``listen`` gets everything as it becomes final. Raises ``ValueError`` for unknown options and for
        videos that cannot be read. Where the commands end with an error, the timeline says so: without a face it is
        ``empty``, and ``about["stopped"]`` is why a video broke off.
        """
        config = build(ReadConfig, options)
        with matmul_precision(self.matmul), open_source(video, timestamps) as source, ExitStack() as stack:
            folder = Path(output or stack.enter_context(TemporaryDirectory(prefix="mien-")))
            return predict_into(folder, self, source, config, format, overwrite, progress, profile, listen)

    def extract_features(
        self, video: Video, *, timestamps: Sequence[float] | None = None, **options: object
    ) -> VideoFeatures:
        """The encoder's mean token of every window of every face, with the windows' table; options as in ``predict``."""
        if isinstance(self.task, OnnxTask):
            raise ValueError(f"{self.folder} gives scores; take the folder that it was exported from for features")
        config = build(ReadConfig, options)
        config.refuse_identity("extract_features")
        layout, rows, values = self.layout(config.clock), [], []
        with (
            matmul_precision(self.matmul),
            open_source(video, timestamps) as source,
            closing(stream(self, source, config)) as events,
        ):
            for window, answer in (scored for event in events for scored in event.windows):
                rows.append(layout.window_row(source.name, window, answer))
                values.append(answer.features)
        table = pd.DataFrame(rows, columns=list(layout.windows))
        return VideoFeatures(table, np.array(values, np.float32).reshape(len(rows), self.task.encoder.feature_dim))

    def layout(self, clock: float | None = None) -> Layout:
        """Columns of the tables; ``clock`` is what a stimulus' clock shows at the video's second 0."""
        return Layout(self.names, self.outputs.kind, self.config.label(self.names), clock)

    def identity(self) -> dict[str, object]:
        """What makes this model give what it gives: version and weights, and which public weights these began from."""
        weights = weights_file(self.folder) if self.folder else Path()
        known = digest(weights) if weights.is_file() else None
        found: dict[str, object] = {"mien": __version__, "model": str(self.folder), "weights": known}
        return found | ({"sources": [*self.card.sources]} if self.card.sources else {})

    @torch.inference_mode()
    def read_windows(self, windows: Sequence[Window], coverage: float | None = None) -> list[WindowPrediction]:
        """A batch of windows -> a prediction for each, calibrated if the model is."""
        video = torch.stack([window.video for window in windows]).to(self.device)  # B, S, 3, T, H, W
        pixels, segments = self.task.pixels(video.flatten(0, 1)), video.shape[:2]
        tokens, statistics = encode(self.task.encoder, pixels) if self.calibration else (self.encode(pixels), None)
        tokens = tokens.unflatten(0, segments).flatten(1, 2)  # B, S N, dim
        outputs = self.task.postprocess(self.task.head(tokens)).float().cpu().numpy()
        require_finite(outputs, self.folder)
        features = tokens.float().mean(1).cpu().numpy()
        if self.calibration is None or statistics is None:
            return [WindowPrediction(value, feature) for value, feature in zip(outputs, features, strict=True)]
        distances = self.calibration.density.distance(statistics.unflatten(0, segments).mean(1).double().cpu().numpy())
        return with_reliability(self.calibration, self.names, windows, outputs, features, distances, coverage)

    def encode(self, pixels: Tensor) -> Tensor:
        """Normalised clips (V, 3, T, H, W) -> tokens (V, N, dim)."""
        return self.task.encoder.features(pixels)

    def scores(self, video: Video, **options: Any) -> dict[str, float]:
        """Means over a video by label name, of the face seen longest: its row of ``predict(video).summary()``.

        Options are those of ``predict``. Raises ``ValueError`` where no face is seen.
        """
        face = self.predict(video, progress=False, **options).face()
        return {name: float(face[name]) for name in self.names}

    @torch.inference_mode()
    def score_clips(
        self, clips: Sequence[Clip], views: ViewConfig, workers: int = 0, progress: bool = True, measure: bool = False
    ) -> Scores:
        """Outputs of labelled clips, averaged and voted on over their views; frames are taken as they are, as in training.

        ``measure`` adds what calibration needs to know of the clips: features and sharpness.
        """
        views, encoder, joint = self.compatible_views(views), self.task.encoder, self.task.segments > 1
        width = size_of(encoder) if measure else 0

        def step(video: Tensor) -> Tensor:
            """Views -> outputs, or tokens that are joined when all segments are there, and behind them the features."""
            pixels = self.task.pixels(video)
            tokens, features = encode(encoder, pixels) if measure else (encoder.features(pixels), None)
            outputs = (tokens.flatten(1) if joint else self.task.postprocess(self.task.head(tokens))).float()
            return outputs if features is None else torch.cat([outputs, features], dim=1)

        mean, votes = np.zeros((2, len(clips), len(self.names)))
        statistics, blur = np.zeros((len(clips), width)), np.full(len(clips), np.nan)
        items = load_views(ViewDataset(clips, self.clip, views), workers)
        read = forward_views(step, with_sharpness(items, blur) if measure else items, views.batch, self.device)
        for item, result in progress_bar(read, "reading", total=len(clips), disable=not progress):
            outputs, features = result.split([result.shape[-1] - width, width], dim=-1)  # windows crops ...
            if joint:  # tokens (S, C, N, dim) of all segments -> outputs (1, C, names), one per crop
                tokens = outputs.unflatten(-1, (-1, encoder.feature_dim)).transpose(0, 1).flatten(1, 2)
                outputs = self.task.postprocess(self.task.head(tokens))[None]
            each = outputs.flatten(0, 1).double().cpu().numpy()  # views, names
            mean[item["index"]] = each.mean(axis=0)
            votes[item["index"]] = np.bincount(each.argmax(axis=1), minlength=each.shape[1]) / len(each)
            statistics[item["index"]] = features.flatten(0, 1).double().mean(dim=0).cpu().numpy()
        require_finite(mean, self.folder)
        return Scores(mean, votes, statistics, blur)

    def compatible_views(self, views: ViewConfig) -> ViewConfig:
        """Views that suit the model: one that attends over several segments gets as many as it was trained on, and one that
        reads single frames all of them."""
        wanted = self.task.segments
        if wanted == 1:
            all_frames = self.clip.frames == 1 and not views.segments and not views.sliding
            return replace(views, sliding=1) if all_frames else views
        if views.sliding or views.segments not in (0, wanted):
            raise ValueError(
                f"this model reads {wanted} segments of a video at once, as it was trained; leave --views.segments and "
                "--views.sliding as they are, or train a probe with --segments 1"
            )
        return replace(views, segments=wanted)


def with_sharpness(items: Iterable[View], blur: NDArray[np.float64]) -> Iterator[View]:
    """Items as they are; the sharpness of each is written into ``blur``."""
    for item in items:
        blur[item["index"]] = clip_sharpness(item["frames"][0].permute(1, 2, 3, 0).numpy())
        yield item
