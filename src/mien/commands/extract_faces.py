"""Find, follow and crop every face of videos into a store that training reads.

mien extract-faces VIDEO|FOLDER|MANIFEST --output faces

writes a clip file per followed face, a table of all frames with their times (also those without a face, with the
reason), an index, and manifest.csv: mien pretrain RECIPE --data.manifest faces/manifest.csv. Run the same command again
to go on after a kill, or to add videos. Videos that cannot be read are listed in files.csv and never stop the others.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field
from pydantic.dataclasses import dataclass

from mien.config import STRICT
from mien.faces.clipfile import ClipFileConfig
from mien.faces.crop import CropConfig
from mien.faces.cut import CutConfig, Record, VideoSource
from mien.faces.detectors import DetectConfig
from mien.faces.follow import FollowConfig
from mien.faces.parallel import cut_locally, cut_on_ray
from mien.faces.store import FaceStore, list_sources, pending, prepare_store, remove_partial, shard, write_index
from mien.files import LOCK
from mien.progress import progress_bar
from mien.video.container import FrameLimit


@dataclass(frozen=True, config=STRICT)
class Config(FrameLimit):
    """Options of ``mien extract-faces``."""

    input: tyro.conf.Positional[Path | None] = None
    """Video, folder of videos (searched below), or manifest (CSV or Parquet with a column path)."""
    output: Path = Path("faces")
    """Folder of the store."""
    detector: DetectConfig = DetectConfig()
    follow: FollowConfig = FollowConfig()
    crop: CropConfig = CropConfig()
    clip: ClipFileConfig = ClipFileConfig()
    workers: Annotated[int, Field(ge=0)] = 0
    """Videos cut at the same time, a core each; 0 is one per core."""
    shard: str = "1/1"
    """The part i/n of the videos (i from 1 to n), for n runs on n machines that share the store."""
    engine: Literal["local", "ray"] = "local"
    """local: processes on this machine; ray: tasks on a Ray cluster whose machines share videos and store."""
    ray_address: str = ""
    """Address of the cluster's head; empty is RAY_ADDRESS or, without that, this machine alone."""


def writes(config: Config) -> Path:
    """The lock of this run's shard of the store: other shards may be cut at the same time."""
    return config.output / f"{LOCK}-{config.shard.replace('/', '-of-')}"


def run(config: Config) -> FaceStore:
    """Cut what is not cut yet and write the index; raises ``ValueError`` at the end if videos could not be read."""
    if config.input is None:
        raise ValueError("which videos? mien extract-faces VIDEO|FOLDER|MANIFEST --output FOLDER")
    if config.ray_address and config.engine != "ray":
        raise ValueError("--ray-address is for --engine ray: add that, or leave the address out")
    if config.workers and config.engine == "ray":
        raise ValueError(
            "--workers counts processes of this machine; with --engine ray the cluster decides: leave it out"
        )
    cut = CutConfig(config.detector.resolved(), config.follow, config.crop, config.clip)
    cut.detector.build()  # a model file that is none is found before the first video
    chosen = shard(list_sources(config.input, config.output), config.shard)
    prepare_store(config.output, cut)
    remove_partial(config.output, chosen)
    jobs = pending(config.output, chosen)
    if len(jobs) < len(chosen):
        print(f"{len(chosen) - len(jobs)} of {len(chosen)} videos are done already")
    began = time.perf_counter()
    work(config, cut, jobs)
    remove_partial(config.output, chosen)  # of processes that died
    keys = {source.key for source in chosen}
    report(config, [record for record in write_index(config.output) if record.key in keys], time.perf_counter() - began)
    return FaceStore(config.output)


def work(config: Config, cut: CutConfig, jobs: Sequence[VideoSource]) -> None:
    """Cut all jobs, with a bar of videos and frames."""
    if config.engine == "ray":
        steps = cut_on_ray(jobs, config.output, cut, config.ray_address)
    else:
        steps = cut_locally(jobs, config.output, cut, config.workers or os.cpu_count() or 1)
    with progress_bar(total=len(jobs), what="faces", unit="video") as bar:
        for frames, done in steps:
            bar.set_postfix(frames=frames, refresh=False)
            bar.update(done is not None)
            bar.refresh()


def report(config: Config, records: Sequence[Record], seconds: float) -> None:
    """What there is now, what could not be read."""
    tracks = [track for record in records for track in record.tracks]
    clips = sum(track.path is not None for track in tracks)
    frames = sum(record.frames for record in records)
    faces = sum(record.frames_with_face for record in records)
    print(
        f"{len(records)} videos, {frames} frames, a face on {faces}; {clips} clips in {config.output} ({seconds:.1f} s)"
    )
    if len(tracks) > clips:
        print(f"{len(tracks) - clips} runs of faces are shorter than {config.clip.shortest} frames and have no clip")
    if not tracks:
        print("no face anywhere: the manifest is empty, the rows of all frames are in frames/")
    bad = [record for record in records if record.status != "done"]
    for record in bad:
        print(f"{record.status}: {record.input}: {record.reason}")
    if bad:
        raise ValueError(f"{len(bad)} of {len(records)} videos have problems (above, and in {config.output}/files.csv)")
