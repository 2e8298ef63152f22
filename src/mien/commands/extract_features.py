"""Write the features of a frozen encoder for other tools: one row per window of video, with its times.

mien extract-features --model runs/vjepa --data.manifest clips.csv --views.sliding 16

Any encoder of mien, pre-trained or fine-tuned, and any manifest, folder or single video. OUTPUT/features.parquet holds
path, t_start, t_end and one column per channel; --format npy writes OUTPUT/features.npy (rows, channels) and the times
as OUTPUT/windows.csv. --tokens keeps every token instead of their mean (npy only).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from mien.config import STRICT
from mien.engine import distributed
from mien.features.cache import FeatureConfig, Features, ProbeFeatureConfig
from mien.features.frozen import load_encoder
from mien.files import write_whole
from mien.inference.analyzer import VideoFeatures
from mien.models.card import ModelCard
from mien.modules.pixels import Pixels
from mien.names import write_parquet as to_parquet
from mien.progress import progress_bar
from mien.training.data import DataConfig, load_clips, warn
from mien.video.container import FrameLimit
from mien.video.manifest import write_manifest
from mien.video.views import ViewConfig

Row = tuple[dict[str, object], NDArray[np.float32]]


@dataclass(frozen=True, config=STRICT)
class Config(FrameLimit, distributed.ReaderOptions):
    """Options of ``mien extract-features``."""

    model: Path = Path("runs/pretrain")
    """Folder of a pre-trained, fine-tuned or imported encoder."""
    output: Path = Path("features")
    """Folder for the tables."""
    data: DataConfig = DataConfig()
    format: Literal["parquet", "npy"] = "parquet"
    """parquet holds times and features in one table, npy an array beside a CSV of times."""
    tokens: bool = False
    """Keep every token (rows, tokens, channels) instead of their mean."""
    views: ViewConfig = ViewConfig()
    features: FeatureConfig = FeatureConfig()


def run(config: Config) -> VideoFeatures:
    """Compute what is not kept yet, and write the tables."""
    if config.tokens and config.format != "npy":
        raise ValueError("tokens do not fit a table; add --format npy")
    with distributed.session(config.device, config.matmul) as session:
        source = load_encoder(config.model, session.device)
        clips = load_clips(config.data, config.workers)
        warn(config.data, clips, ModelCard.load(config.model))
        pixels = Pixels(source.pixels).to(session.device)
        kept = ProbeFeatureConfig(**asdict(config.features))
        found = Features(source.encoder, pixels, clips, source.clip, config.views, kept, session.device)
        found.prepare(config.workers)
        rows = rows_of(found, config.tokens)
        if config.format == "npy":
            result = write_npy(rows, config.output, sum(len(found.times(i)) for i in range(len(clips))))
        else:
            result = write_parquet(rows, config.output)
    windows, *numbers = result.values.shape
    print(f"{len(clips)} clips, {windows} windows of {' x '.join(map(str, numbers))} numbers in {config.output}")
    return result


def rows_of(found: Features, tokens: bool) -> Iterator[Row]:
    """Every distinct window of every clip: what is known of it, and its features averaged over the crops."""
    for i, clip in enumerate(progress_bar(found.dataset.clips, "writing", total=len(found.dataset.clips))):
        pairs = zip(found.windows(i), found.times(i).tolist(), strict=True)
        for number, (window, (start, end)) in enumerate(pairs):
            features = window.mean(dim=0) if tokens else window.mean(dim=(0, 1))
            about = {"path": clip.path, "window": number, "t_start": start, "t_end": end}
            yield about | dict(clip.columns), features.numpy()


def write_parquet(rows: Iterator[Row], folder: Path) -> VideoFeatures:
    """One table of times and features."""
    known, features = zip(*rows, strict=True)
    values = np.stack(features)
    channels = pd.DataFrame(values, columns=[f"feature_{i}" for i in range(values.shape[1])])
    windows = pd.DataFrame(known)
    table = pd.concat([windows, channels], axis=1)
    write_whole(folder / "features.parquet", lambda path: to_parquet(table, path))
    return VideoFeatures(windows, values)


def write_npy(rows: Iterator[Row], folder: Path, count: int) -> VideoFeatures:
    """An array of ``count`` rows and a CSV of their times. One row is in memory at a time, also of what is returned."""
    known: list[dict[str, object]] = []
    first, values = next(rows)
    shape = (count, *values.shape)

    def save(path: Path) -> None:
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        for i, (about, row) in enumerate(chain([(first, values)], rows)):
            known.append(about)
            array[i] = row
        array.flush()

    (folder / "windows.csv").unlink(missing_ok=True)  # written last: where it stands, both are of one run
    write_whole(folder / "features.npy", save)
    write_whole(folder / "windows.csv", lambda path: write_manifest(path, known))
    return VideoFeatures(pd.DataFrame(known), np.load(folder / "features.npy", mmap_mode="r"))
