"""One video in, its faces out: a clip file per followed face and the table of frames, in constant memory.

A clip is a run of frames without a hole: it ends where the face is gone or the shot changes, and the same person's next
run is another clip. Everything is written in a folder of its own and moved to its place when whole; the record, which
says that a video is done, comes last. So a kill at any moment leaves nothing half-written that counts.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, field
from dataclasses import dataclass as plain
from pathlib import Path
from typing import Literal
from uuid import uuid4

from pydantic.dataclasses import dataclass

from mien import files
from mien.config import STRICT
from mien.faces.clipfile import ClipFile, ClipFileConfig
from mien.faces.crop import CropConfig, crop
from mien.faces.detectors import DetectConfig
from mien.faces.face import Face, FrameFaces
from mien.faces.follow import FollowConfig, follow
from mien.faces.frame_table import FrameTableWriter, empty_row, face_row
from mien.files import DiskError, on_disk
from mien.video.manifest_table import Cell
from mien.video.packet_table import VideoError
from mien.video.stream import read_frames

Status = Literal["done", "broken", "failed"]
"""done; broken: the file is cut off, damaged or no video (what came before is kept); failed: tried again next time."""


@dataclass(frozen=True, config=STRICT)
class CutConfig:
    """How the faces of a video become clips."""

    detector: DetectConfig = DetectConfig()
    follow: FollowConfig = FollowConfig()
    crop: CropConfig = CropConfig()
    clip: ClipFileConfig = ClipFileConfig()


@plain(frozen=True)
class VideoSource:
    """A video, or a stretch of one, to be cut."""

    name: str
    """As it is called in all tables: its path below the input, and its times if it has any."""
    key: str
    """Its name among the store's files; no two sources share one."""
    path: Path
    start: float | None = None
    end: float | None = None
    """Seconds; None is the whole."""
    columns: dict[str, Cell] = field(default_factory=dict)
    """Columns of the manifest it came from, handed on to the store's manifest."""

    def stamp(self) -> list[int]:
        """Size and time of change: another stamp is another file. Zeros if it is not there."""
        try:
            status = self.path.stat()
        except OSError:
            return [0, 0]
        return [status.st_size, status.st_mtime_ns]


@plain
class CutTrack:
    """One run of one face: a line of the index."""

    track: int
    """Counted from 0 in each video."""
    face_id: int
    shot: int
    path: str | None = None
    """Clip file below the store, or None with a reason."""
    reason: str | None = None
    t_start: float = 0.0
    t_end: float = 0.0
    """Presentation times in the source of the first and last frame, in seconds."""
    first_frame: int = 0
    last_frame: int = 0
    n_frames: int = 0
    n_valid: int = 0
    """Frames on which the face was seen, not bridged."""
    confidence: float = 0.0
    sharpness: float = 0.0
    FaceRectWidth: float = 0.0
    """Means over the frames; the width in pixels of the source."""

    def add(self, frame_faces: FrameFaces, face: Face) -> None:
        """Take the next frame into account."""
        if self.n_frames == 0:
            self.t_start, self.first_frame = frame_faces.frame.time, frame_faces.frame.index
        self.t_end, self.last_frame = frame_faces.frame.time, frame_faces.frame.index
        self.n_frames += 1
        self.n_valid += face.state != "bridged"
        for name, value in (
            ("confidence", face.confidence),
            ("sharpness", face.sharpness),
            ("FaceRectWidth", face.box[2]),
        ):
            mean = getattr(self, name)
            setattr(self, name, mean + (float(value) - mean) / self.n_frames)


@plain
class Record:
    """The result of one source: a line of ``files.csv``, and what a resume goes by."""

    input: str
    key: str
    stamp: list[int]
    columns: dict[str, Cell]
    status: Status = "done"
    reason: str | None = None
    frames: int = 0
    frames_with_face: int = 0
    duration: float = 0.0
    """Seconds from the first to the last frame."""
    tracks: list[CutTrack] = field(default_factory=list)


class Cutter:
    """Takes the frames of one video and writes its clips and rows below ``folder``."""

    def __init__(self, source: VideoSource, folder: Path, config: CutConfig) -> None:
        self.source, self.folder, self.config = source, folder, config
        self.record = Record(source.name, source.key, source.stamp(), source.columns)
        self.open: dict[int, tuple[CutTrack, ClipFile]] = {}
        (folder / "clips").mkdir(parents=True)
        self.rows = FrameTableWriter(folder / "frames.parquet")
        self.first: float | None = None

    def add(self, frame_faces: FrameFaces) -> None:
        """The next frame."""
        here = {face.id for face in frame_faces.faces}
        for face_id, (track, _) in list(self.open.items()):
            if face_id not in here or track.shot != frame_faces.shot:
                self.end_track(face_id)
        for face in frame_faces.faces:
            track, clip = self.open[face.id] if face.id in self.open else self.start_track(face.id, frame_faces.shot)
            self.rows.write(face_row(self.source.name, frame_faces, face, track.track, track.n_frames))
            clip.write(crop(frame_faces.frame.pixels, face, self.config.crop), frame_faces.frame.time)
            track.add(frame_faces, face)
        if not frame_faces.faces:
            self.rows.write(empty_row(self.source.name, frame_faces))
        self.first = frame_faces.frame.time if self.first is None else self.first
        self.record.frames += 1
        self.record.frames_with_face += bool(frame_faces.faces)
        self.record.duration = frame_faces.frame.time - self.first

    def start_track(self, face_id: int, shot: int) -> tuple[CutTrack, ClipFile]:
        """Begin a track with its clip file."""
        track = CutTrack(len(self.record.tracks), face_id, shot)
        name = f"face{face_id:03d}-{track.track:04d}{self.config.clip.suffix}"
        track.path = f"clips/{self.source.key}/{name}"
        clip = ClipFile(self.folder / "clips" / name, self.config.crop.size, self.config.clip)
        self.record.tracks.append(track)
        self.open[face_id] = (track, clip)
        return track, clip

    def end_track(self, face_id: int) -> None:
        """Finish a track; a short one leaves no clip."""
        track, clip = self.open.pop(face_id)
        clip.close()
        if track.n_frames < self.config.clip.shortest:
            clip.path.unlink()
            track.path, track.reason = None, f"shorter than {self.config.clip.shortest} frames"

    def close(self) -> None:
        """Finish all files."""
        for face_id in list(self.open):
            self.end_track(face_id)
        self.rows.close()


def cut(source: VideoSource, store: Path, config: CutConfig, progress: Callable[[], object] = lambda: None) -> Record:
    """Find, follow and crop the faces of one source into ``store``; ``progress`` is called after every frame.

    Never raises for a bad file: the record that is left says what happened. Raises ``DiskError`` where ``store`` cannot be
    written, which is no fault of the source.
    """
    # A name of its own: a machine that was given up but still works must not write into the folder of its successor.
    folder = store / "partial" / f"{source.key}.{uuid4().hex[:12]}"
    try:
        with on_disk(store, store):
            cutter = Cutter(source, folder, config)
            try:
                frames = read_frames(source.path, source.start, source.end)
                for frame_faces in follow(frames, config.detector.build(), config.follow):
                    cutter.add(frame_faces)
                    progress()
            except VideoError as error:  # what came before the break is kept
                cutter.record.status, cutter.record.reason = "broken", str(error)
            cutter.close()
            record = cutter.record
            publish_result(cutter, store)
    except DiskError:
        raise
    except Exception as error:  # whatever one file does, the others go on
        record = Record(
            source.name, source.key, source.stamp(), source.columns, "failed", f"{type(error).__name__}: {error}"
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    write_record(store, record)
    return record


def publish_result(cutter: Cutter, store: Path) -> None:
    """Move finished files to their place."""
    clips, frames = output_paths(store, cutter.source.key)
    shutil.rmtree(clips, ignore_errors=True)
    for target in (clips, frames):
        target.parent.mkdir(parents=True, exist_ok=True)
    if any(track.path for track in cutter.record.tracks):
        files.publish(cutter.folder / "clips", clips)
    files.publish(cutter.folder / "frames.parquet", frames)


def output_paths(store: Path, key: str) -> tuple[Path, Path]:
    """Where a source's clips and its table of frames stand."""
    return store / "clips" / key, store / "frames" / f"{key}.parquet"


def write_record(store: Path, record: Record) -> None:
    """Write a record, whole or not at all."""
    text = json.dumps(asdict(record))
    files.write_whole(store / "records" / f"{record.key}.json", lambda path: path.write_text(text, encoding="utf-8"))


def read_record(store: Path, key: str) -> Record | None:
    """The record of a source, if it was tried."""
    path = store / "records" / f"{key}.json"
    if not path.is_file():
        return None
    tree = json.loads(path.read_text(encoding="utf-8"))
    return Record(**tree | {"tracks": [CutTrack(**track) for track in tree["tracks"]]})
