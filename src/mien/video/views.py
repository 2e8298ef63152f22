"""Views of a clip for testing and for frozen features: which windows of it, at which crops.

A video is opened and decoded once for all its views, and equal views (of a video shorter than the windows) exist once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypedDict
from zlib import crc32

import numpy as np
import torch
from pydantic import NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from mien.config import STRICT
from mien.interfaces import Clip
from mien.video.clips import ClipConfig, Indices, central_square, open_clip, prepare_worker, read_scaled, to_tensor
from mien.video.crashes import name_crashed_file
from mien.video.transforms import AugmentConfig, crops, read_augmented


class ViewPlaces(TypedDict):
    """Where the views of a clip lie in it."""

    rows: Tensor
    """(U, T): which of the clip's frames that are read each distinct window has."""
    layout: Tensor
    """(S,): which of the distinct windows each window is."""
    times: Tensor
    """(U, 2): first and last frame's time in seconds."""
    index: int
    variant: int


class View(ViewPlaces):
    """All views of a clip, as ``ViewDataset`` gives them."""

    frames: Tensor
    """uint8 (C, 3, F, size, size): the frames of all windows, of every crop."""


@dataclass(frozen=True, config=STRICT)
class ViewConfig:
    """Which views of a video are read; the model's outputs for them are averaged."""

    segments: NonNegativeInt = 0
    """Windows spread evenly over the video; 0 takes what the model was made for, or 2 as in SVFAP."""
    crops: PositiveInt = 1
    """1 takes the centre, 3 the two ends of the longer side as well."""
    sliding: NonNegativeInt = 0
    """Instead of segments, windows at every sliding-th frame (with clip.fps: step) over the whole video, the last one
    included; 0 is off."""
    batch: PositiveInt = 32
    """Views that the encoder sees at a time; it does not change the result."""

    def windows(self, length: int, clip: ClipConfig) -> Indices:
        """Frame indices (windows, frames) for a video of ``length`` frames."""
        if self.sliding:
            return sliding_indices(length, clip.frames, clip.stride, self.sliding)
        return view_indices(length, clip.frames, clip.stride, self.segments or 2)


def view_indices(length: int, frames: int, stride: int, segments: int) -> Indices:
    """(segments, frames) indices of segments spread evenly over the whole video.

    With last = max(length - span, 0), segment s of S > 1 starts at round(s * last / (S - 1)), so that the first starts
    with the video and the last ends with it; a single segment starts at last // 2. Videos shorter than the span repeat
    their last frame, as in training; then all segments are alike.
    """
    last = max(length - ((frames - 1) * stride + 1), 0)
    starts = np.array([last // 2]) if segments == 1 else np.round(np.linspace(0, last, segments)).astype(np.int64)
    return np.minimum(starts[:, None] + stride * np.arange(frames), length - 1)


def sliding_indices(length: int, frames: int, stride: int, hop: int) -> Indices:
    """(windows, frames) indices of windows that start at 0, hop, 2 hop ... and, always, where the last window ends the video."""
    last = max(length - ((frames - 1) * stride + 1), 0)
    starts = np.unique(np.append(np.arange(0, last + 1, hop), last))
    return np.minimum(starts[:, None] + stride * np.arange(frames), length - 1)


class ViewDataset(Dataset):
    """All views of a clip; with ``augmentation``, each of ``variants`` times otherwise changed (item = clip, variant)."""

    def __init__(
        self,
        clips: Sequence[Clip],
        config: ClipConfig,
        views: ViewConfig,
        augmentation: AugmentConfig | None = None,
        variants: int = 1,
        seed: int = 0,
    ) -> None:
        self.clips, self.config, self.views = clips, config, views
        self.augmentation, self.variants, self.seed = augmentation, variants, seed

    def __len__(self) -> int:
        return len(self.clips) * self.variants

    def __getitem__(self, number: int) -> View:
        index, variant = divmod(number, self.variants)
        c = self.config
        with open_clip(self.clips[index], c.fps) as (reader, inside):
            windows = inside[self.views.windows(len(inside), c)]
            rows, layout = np.unique(windows, axis=0, return_inverse=True)
            needed, places = np.unique(rows, return_inverse=True)
            times = reader.timestamps[rows[:, [0, -1]]]
            if self.augmentation is not None:
                rng = np.random.default_rng(
                    (self.seed, variant, crc32(clip_key(self.clips[index]).encode("utf-8", "surrogateescape")))
                )
                canvas = c.canvas(reader.height, reader.width)
                regions = [read_augmented(reader, needed, canvas, self.augmentation, c.size, rng)]
            else:
                frames = read_scaled(reader, needed, c)
                regions = (
                    [central_square(frames, c)] if c.crop == "voxceleb2" else crops(frames, c.size, self.views.crops)
                )
        return {
            "frames": torch.stack([to_tensor(region) for region in regions]),
            "rows": torch.from_numpy(places.reshape(rows.shape)),
            "layout": torch.from_numpy(layout.reshape(-1)),
            "times": torch.from_numpy(np.ascontiguousarray(times)),
            "index": index,
            "variant": variant,
        }


def clip_key(clip: Clip) -> str:
    """A name for a clip that does not depend on where it stands in a manifest or where the folder lies."""
    return f"{clip.path.parent.name}/{clip.path.name} {clip.start} {clip.end}"


def load_views(dataset: ViewDataset, workers: int, places: Sequence[int] | None = None) -> Iterator[View]:
    """Items of a dataset in order, all or those at ``places``, read by ``workers`` processes. Raises ``VideoError`` naming
    the file on which one of them crashes."""
    places = range(len(dataset)) if places is None else places
    loader = DataLoader(Subset(dataset, places), batch_size=None, num_workers=workers, worker_init_fn=prepare_worker)
    return name_crashed_file(
        loader, [dataset.clips[place // dataset.variants].path for place in places], 2 * workers + 1
    )


def distinct_views(item: View) -> Iterator[Tensor]:
    """The distinct views (3, T, size, size) of an item, window by window, and every crop of each."""
    for rows in item["rows"]:
        for region in item["frames"]:
            yield region[:, rows]
