"""A folder of cut faces: which videos belong in it, which are done, and its index.

    manifest.csv      one row per clip; training reads it as it is
    tracks.parquet    one row per followed face and run: source, times, quality, and why it has no clip
    files.csv         one row per video: done, broken or failed, and the reason
    clips/  frames/   a folder of clip files and a table of frames per video
    records/          one file per video that was tried; what a resume goes by
    store.yaml        the settings; another run with other settings is refused

Any number of processes on any number of machines may fill one store, each with its own shard of the videos.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath

import pandas as pd
import pyarrow as pa
import yaml
from pyarrow import parquet

from mien.config import to_tree
from mien.faces.cut import CutConfig, CutTrack, Record, VideoSource, output_paths, read_record
from mien.files import write_whole
from mien.interfaces import Clip
from mien.names import to_text
from mien.video.manifest import read_manifest, write_manifest
from mien.yaml_files import read_yaml

MANIFEST = ("path", "input", "face_id", "track", "t_start", "t_end", "n_frames", "n_valid", "confidence", "sharpness")
"""First columns of the manifest; those of the manifest that was cut follow."""
FILES = ("input", "status", "reason", "frames", "frames_with_face", "duration", "faces", "tracks", "clips")


@dataclass(frozen=True, repr=False)
class FaceStore:
    """A folder of face clips; ``FaceStore(folder)`` also names one of an earlier day."""

    folder: Path

    @property
    def manifest(self) -> pd.DataFrame:
        """A row per clip with the labels of its video, as training reads it; paths are relative to the folder."""
        return pd.read_csv(self.folder / "manifest.csv")

    @property
    def files(self) -> pd.DataFrame:
        """A row per video: how far it could be read, frames, faces, clips."""
        return pd.read_csv(self.folder / "files.csv")

    def __repr__(self) -> str:
        return f"FaceStore({str(self.folder)!r}: {len(self.manifest)} clips of {len(self.files)} videos)"


def list_sources(given: Path, store: Path) -> list[VideoSource]:
    """The videos of a file, folder or manifest; clips that lie in ``store`` itself are none."""
    root = given if given.is_dir() else given.parent
    clips = [c for c in read_manifest(given) if store.resolve() not in c.path.resolve().parents]
    return [source_of(clip, root) for clip in clips]


def source_of(clip: Clip, root: Path) -> VideoSource:
    """A clip as a source; its name is its path below ``root``, so that a corpus may move."""
    try:
        name = clip.path.relative_to(root).as_posix()
    except ValueError:
        name = clip.path.as_posix()
    name = name if name != "." else clip.path.resolve().name
    if clip.start is not None or clip.end is not None:
        name += f"#{clip.start or 0:g}-{'' if clip.end is None else format(clip.end, 'g')}"
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:10]
    stem = re.sub(r"[^\w.-]+", "_", PurePath(name).stem)[:40]
    return VideoSource(to_text(name), f"{stem}-{digest}", clip.path, clip.start, clip.end, dict(clip.columns))


def shard(chosen: Sequence[VideoSource], part: str) -> list[VideoSource]:
    """The i-th of n parts, written ``i/n`` with i from 1."""
    match = re.fullmatch(r"(\d+)/(\d+)", part)
    number, parts = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= parts:
        raise ValueError(f"--shard {part}: write i/n with i from 1 to n, such as 1/4")
    return list(chosen[number - 1 :: parts])


def prepare_store(store: Path, config: CutConfig) -> None:
    """Make the store, or check that it was begun with the same settings. Raises ``ValueError`` with the difference.

    A store in which no video was cut, and none is being cut, takes the new settings.
    """
    tree = store_settings(config)
    path = store / "store.yaml"
    begun = any(next((store / name).glob("*"), None) for name in ("clips", "frames", "partial"))
    if path.is_file() and begun:
        before = read_yaml(path)
        lines = difference(before if isinstance(before, dict) else {}, tree)
        if lines:
            raise ValueError(
                f"{store} was begun with other settings; use another --output or the same:\n" + "\n".join(lines)
            )
    elif not path.is_file() and store.exists() and any(not p.name.startswith(".") for p in store.iterdir()):
        raise ValueError(f"{store}: the folder holds something else; name a new folder with --output")
    else:
        store.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda beside: beside.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8"))


def store_settings(config: CutConfig) -> dict[str, object]:
    """The settings that decide the result; of the model its file's name, not where it lies."""
    tree = to_tree(config)
    model = tree["detector"]["model"]
    tree["detector"]["model"] = PurePath(model).name if model else None
    return tree


def difference(before: Mapping[str, object], now: Mapping[str, object], prefix: str = "") -> list[str]:
    """Settings that differ, a line each."""
    lines = []
    for key in {**before, **now}:
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += difference(old, new, f"{prefix}{key}.")
        elif old != new:
            lines.append(f"  {prefix}{key}: {old} there, {new} now")
    return lines


def pending(store: Path, chosen: Sequence[VideoSource]) -> list[VideoSource]:
    """Sources without a record, with a record of failure, or whose file has changed since: those are taken out of the
    index, so that none of its rows ever stands for a clip of another file."""
    todo = [s for s in chosen if not is_done(store, s)]
    changed = [record for record in (store / "records" / f"{s.key}.json" for s in todo) if record.is_file()]
    for record in changed:
        record.unlink()
    if changed:
        write_index(store)
    return todo


def remove_partial(store: Path, chosen: Sequence[VideoSource]) -> None:
    """Remove the partial results of sources that no process is cutting now."""
    keys = {source.key for source in chosen}
    for folder in (store / "partial").glob("*"):
        if folder.name.rpartition(".")[0] in keys:
            shutil.rmtree(folder, ignore_errors=True)


def is_done(store: Path, source: VideoSource) -> bool:
    """Whether a source needs no further work."""
    record = read_record(store, source.key)
    if record is None or record.status == "failed" or record.stamp != source.stamp():
        return False
    return record.frames == 0 or output_paths(store, source.key)[1].is_file()


def write_index(store: Path) -> list[Record]:
    """Write the tables of what the store holds by now; returns its records by name."""
    before: list[Path] | None = None
    records: list[Record] = []
    # A shard that ends at the same time may have written its tables between our reading and our writing.
    while before != (before := sorted((store / "records").glob("*.json"))):
        records = write_tables(store, [path.stem for path in before])
    return records


def write_tables(store: Path, keys: Sequence[str]) -> list[Record]:
    """The tables of the records of these keys."""
    records = sorted((r for r in (read_record(store, key) for key in keys) if r), key=lambda r: r.input)
    tracks = [(record, track) for record in records for track in record.tracks]
    rows = [{"input": record.input} | asdict(track) for record, track in tracks]
    # Labels of a video go with every face of it.
    clips = [r.columns | {n: row[n] for n in MANIFEST} for (r, t), row in zip(tracks, rows, strict=True) if t.path]
    extra = sorted({name for row in clips for name in row} - set(MANIFEST))
    files = [file_row(record) for record in records]
    write_whole(store / "files.csv", lambda p: write_manifest(p, files, FILES))
    write_whole(store / "tracks.parquet", lambda p: write_tracks(p, rows))
    write_whole(store / "manifest.csv", lambda p: write_manifest(p, clips, (*MANIFEST, *extra)))
    return records


def file_row(record: Record) -> dict[str, object]:
    """A video as a row."""
    counts = {
        "faces": len({track.face_id for track in record.tracks}),
        "tracks": len(record.tracks),
        "clips": sum(track.path is not None for track in record.tracks),
    }
    return {name: value for name, value in (asdict(record) | counts).items() if name in FILES}


def write_tracks(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """The index of all tracks."""
    kinds = {"int": pa.int32(), "float": pa.float64()}
    fields = [(name, kinds.get(str(kind), pa.string())) for name, kind in CutTrack.__annotations__.items()]
    table = pa.Table.from_pylist(rows, schema=pa.schema([("input", pa.string()), *fields]))
    parquet.write_table(table, path, compression="zstd")
