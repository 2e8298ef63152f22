"""Clips for training: which frames, in which order, decided by (seed, epoch, index) alone."""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from typing import Annotated, Literal, NotRequired, TypedDict

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.utils.data import Dataset

from mien.config import STRICT
from mien.interfaces import Clip
from mien.progress import progress_bar
from mien.video.decode import Frames, FramesInMemory, Reader, VideoError, open_video
from mien.video.manifest import clip_frames
from mien.video.rates import resample
from mien.video.transforms import AugmentConfig, Canvas, read_augmented

Indices = NDArray[np.int64]


@dataclass(frozen=True, config=STRICT)
class ClipConfig:
    """How a clip is taken from a video; it travels with the weights."""

    frames: Annotated[int, Field(ge=1, le=4096)] = 16
    """Frames of a clip."""
    stride: Annotated[int, Field(ge=1, le=100_000)] = 4
    """Every stride-th frame of the video is taken."""
    fps: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = 0.0
    """0 counts the video's own frames, as published. Above 0, sample by time: every video is read as if it had so many
    frames per second, by its true times, so that stride and hops count steps of 1 / fps seconds."""
    size: Annotated[int, Field(ge=1, le=8192)] = 160
    """Side of the square that the encoder sees, in pixels."""
    crop: Literal["square", "squash", "voxceleb2"] = "square"
    """square keeps the shape (training crops anywhere in the frame, testing takes the centre or several crops); squash
    fits the whole frame into a square; voxceleb2 takes the upper centre of a face video (rows 0-160, columns 32-192 of
    224x224)."""

    def canvas(self, height: int, width: int) -> Canvas:
        """What of a frame of this size training may see."""
        whole = (0.0, 0.0, float(height), float(width))
        if self.crop == "squash":
            return Canvas(whole, (self.size, self.size))
        if self.crop == "voxceleb2":
            side = VOXCELEB2 * min(height, width)
            return Canvas((0.0, (width - side) / 2, side, side), (side, side))
        return Canvas(whole, (height, width))


VOXCELEB2 = 160 / 224
"""Side of the square that the voxceleb2 crop keeps, as a share of the frame's shorter side."""


def train_indices(length: int, frames: int, stride: int, rng: np.random.Generator) -> Indices:
    """``frames`` indices at ``stride`` from a random start.

    With span = (frames - 1) * stride + 1, the start is uniform over 0 ... length - span; a video shorter than the span
    starts at 0, and indices past its end repeat its last frame: index_i = min(start + i * stride, length - 1).
    """
    start = int(rng.integers(0, max(length - ((frames - 1) * stride + 1), 0) + 1))
    return np.minimum(start + stride * np.arange(frames), length - 1)


def epoch_order(seed: int, epoch: int, count: int) -> Indices:
    """The order of ``count`` clips in an epoch."""
    return np.random.default_rng((seed, epoch)).permutation(count)


Key = tuple[int, int]
"""Epoch and index of a clip."""
BLANK: Key = (-1, -1)
"""The only key of a micro-batch all of whose clips are skipped; it has no weight and keeps the ranks in step."""


class StepSampler:
    """Endless micro-batches of (epoch, index), a function of the position and of what is skipped, and of nothing else.

    The clips form one stream, epoch after epoch, each epoch in its own order; micro-step m takes places
    m * batch * world ... of it, rank r the r-th part of them. Batches may reach over the end of an epoch, so no clip is
    dropped or repeated. ``skipped`` maps the index of a clip to the step (of ``accumulate`` micro-steps) from which on its
    places stay empty; no other clip moves.
    """

    def __init__(
        self, count: int, batch: int, seed: int, start: int = 0, rank: int = 0, world: int = 1, accumulate: int = 1,
        skipped: Mapping[int, int] | None = None,
    ) -> None:  # fmt: skip
        self.count, self.batch, self.seed = count, batch, seed
        self.start, self.rank, self.world, self.accumulate = start, rank, world, accumulate
        self.skipped = skipped or {}
        self.orders: dict[int, Indices] = {}

    def __iter__(self) -> Iterator[list[Key]]:
        for micro in count(self.start):
            yield self.remaining(micro, self.rank) or [BLANK]

    def remaining(self, micro: int, rank: int) -> list[Key]:
        """The clips of one rank in a micro-step that are not skipped."""
        place, step = (micro * self.world + rank) * self.batch, micro // self.accumulate
        positions = [divmod(p, self.count) for p in range(place, place + self.batch)]
        epochs = {epoch for epoch, _ in positions}
        self.orders = {e: self.orders[e] if e in self.orders else epoch_order(self.seed, e, self.count) for e in epochs}
        keys = [(epoch, int(self.orders[epoch][i])) for epoch, i in positions]
        return [key for key in keys if step < self.skipped.get(key[1], step + 1)]

    def weight(self, micro: int) -> float | None:
        """Clips of this rank's micro-step over an even share of its step's, all ranks and micro-steps together; None where
        the whole step has none left."""
        if not self.skipped:
            return 1.0
        first = micro - micro % self.accumulate
        parts = [self.remaining(m, r) for m in range(first, first + self.accumulate) for r in range(self.world)]
        total = sum(map(len, parts))
        return len(self.remaining(micro, self.rank)) * len(parts) / total if total else None


class ClipItem(TypedDict):
    """A training clip; ``mien.interfaces.Batch`` is several of them."""

    video: Tensor
    """uint8 (3, T, size, size)."""
    index: int
    key: int
    target: NotRequired[Tensor]
    """Where there are labels."""


class ClipDataset(Dataset):
    """Training clips by (epoch, index); a clip that cannot be read raises, none is replaced by another."""

    def __init__(
        self,
        clips: Sequence[Clip],
        config: ClipConfig,
        augmentation: AugmentConfig,
        seed: int,
        targets: Tensor | None = None,
        cache: bool = False,
        unread: Collection[int] = (),
    ) -> None:
        """``cache`` decodes all clips now, but for those with the indices ``unread``."""
        self.clips, self.config, self.augmentation, self.seed = clips, config, augmentation, seed
        self.targets = targets
        self.cached = decode_clips(clips, config.fps, unread) if cache else None

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: Key) -> ClipItem:
        if key == BLANK:  # black frames that are no clip: index -1, and a target of zeros
            video = torch.zeros(3, self.config.frames, self.config.size, self.config.size, dtype=torch.uint8)
            blank: ClipItem = {"video": video, "index": -1, "key": 0}
            return blank if self.targets is None else {**blank, "target": torch.zeros_like(self.targets[0])}
        epoch, index = key
        chance = np.random.SeedSequence((self.seed, epoch, index))
        rng = np.random.default_rng(chance)
        frames = self.frames(index, rng)
        item: ClipItem = {"video": to_tensor(frames), "index": index, "key": int(chance.generate_state(1)[0])}
        return item if self.targets is None else {**item, "target": self.targets[index]}

    def frames(self, index: int, rng: np.random.Generator) -> Frames:
        """A random clip (T, size, size, 3) of a video, from the file or from memory, augmented at random."""
        c, cached = self.config, None if self.cached is None else self.cached[index]
        source = open_clip(self.clips[index], c.fps) if cached is None else nullcontext(cached)
        with source as (reader, inside):
            chosen = inside[train_indices(len(inside), c.frames, c.stride, rng)]
            canvas = c.canvas(reader.height, reader.width)
            return read_augmented(reader, chosen, canvas, self.augmentation, c.size, rng)


class open_clip(AbstractContextManager[tuple[Reader, Indices]]):
    """Open a clip's video: gives the reader and the indices of the clip's frames; errors name the manifest's line.

    With ``fps`` these are the frames that a video of so many frames per second would show (``mien.video.rates.resample``).
    """

    def __init__(self, clip: Clip, fps: float = 0.0) -> None:
        self.clip, self.fps = clip, fps

    def __enter__(self) -> tuple[Reader, Indices]:
        try:
            self.reader = open_video(self.clip.path)
            inside = clip_frames(self.clip, self.reader.timestamps)
            return self.reader, inside[sampled_frames(self.clip, self.reader.timestamps[inside], self.fps)]
        except VideoError as error:
            raise self.located(error) from error

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.reader.close()
        if isinstance(error, VideoError):
            raise self.located(error) from error

    def located(self, error: VideoError) -> VideoError:
        """The error with the line of the manifest in front."""
        return VideoError(f"line {self.clip.row}: {error}") if self.clip.row else error


def sampled_frames(clip: Clip, times: NDArray[np.float64], fps: float) -> Indices:
    """Which of a clip's frames are taken at ``fps`` steps a second."""
    try:
        return resample(times, fps)
    except ValueError as error:
        raise VideoError(f"{clip.path}: {error}") from error


def decode_clips(
    clips: Sequence[Clip], fps: float = 0.0, unread: Collection[int] = ()
) -> list[tuple[FramesInMemory, Indices] | None]:
    """The frames of all clips as they were decoded, at their own size, and which of them each frame (or step, with
    ``fps``) takes; None for those with the indices ``unread``."""

    def one(index: int) -> tuple[FramesInMemory, Indices] | None:
        if index in unread:
            return None
        with open_clip(clips[index], fps) as (reader, inside):
            frames, places = np.unique(inside, return_inverse=True)
            return FramesInMemory(reader, frames), places.astype(np.int64)

    with ThreadPoolExecutor() as pool:
        return list(progress_bar(pool.map(one, range(len(clips))), "decoding", total=len(clips)))


def read_scaled(reader: Reader, indices: Indices, config: ClipConfig) -> Frames:
    """Frames decoded straight to the size at which the square region to crop is ``config.size``."""
    size = config.size
    if config.crop == "squash":
        return reader.read(indices, (size, size))
    side = VOXCELEB2 if config.crop == "voxceleb2" else 1.0
    scale = size / (side * min(reader.height, reader.width))
    return reader.read(indices, (max(round(reader.height * scale), size), max(round(reader.width * scale), size)))


def central_square(frames: Frames, config: ClipConfig) -> Frames:
    """The square region of scaled frames (T, H, W, 3) that testing sees: the centre, or the preset's place."""
    height, width = frames.shape[1:3]
    top, left = (height - config.size) // 2, (width - config.size) // 2
    if config.crop == "voxceleb2":
        top = 0
    return frames[:, top : top + config.size, left : left + config.size]


def to_tensor(frames: Frames) -> Tensor:
    """uint8 frames (T, H, W, 3) -> uint8 video (3, T, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(3, 0, 1, 2)))


def prepare_worker(_: int) -> None:
    """One thread per decoding process, for more of them only get in each other's way; Ctrl-C is left to the parent, which
    ends the step it is in."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
