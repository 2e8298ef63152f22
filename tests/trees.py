"""Fake trees of the corpora, from the layouts of their releases, with tiny videos of different content."""

from __future__ import annotations

import csv
import functools
import io
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path

import av
import numpy as np
from PIL import Image

from mien.video.inspection import Finding, InspectionRequest, inspect_file

NUMBER = count()


@functools.cache
def tiny(frames: int = 3) -> bytes:
    """An MP4 of 16x16 pixels."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        for value in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 40 * value, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


@functools.cache
def picture() -> bytes:
    """A JPEG of 16x16 pixels."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (90, 60, 30)).save(file, "jpeg")
    return file.getvalue()


def video(path: Path, frames: int = 3) -> Path:
    """A video whose content no other has: a free box with a number stands at its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tiny(frames) + struct.pack(">I4sQ", 16, b"free", next(NUMBER)))
    return path


def frames(folder: Path, number: int = 2, suffix: str = ".jpg") -> Path:
    """A folder of frames whose content no other has."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(1, number + 1):
        (folder / f"{i}{suffix}").write_bytes(picture() + struct.pack(">Q", next(NUMBER)))
    return folder


def table(path: Path, rows: Iterable[Sequence[object]], mark: str = ",") -> Path:
    """A text table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=mark).writerows(rows)
    return path


def lines(path: Path, texts: Iterable[str]) -> Path:
    """A text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


def dfew(root: Path, rounds: Mapping[int, Mapping[str, Sequence[tuple[int, int]]]]) -> Path:
    """DFEW's lists: round -> part -> (number, label)."""
    for number, parts in rounds.items():
        for part, rows in parts.items():
            path = root / f"EmoLabel_DataSplit/{part}(single-labeled)/set_{number}.csv"
            table(path, [("video_name", "label"), *rows])
    (root / "Clip/jpg_256").mkdir(parents=True, exist_ok=True)
    return root


def mafw(root: Path, rounds: Mapping[int, Mapping[str, Sequence[tuple[str, str]]]]) -> Path:
    """MAFW's lists: round -> part -> (file, label)."""
    for number, parts in rounds.items():
        for part, rows in parts.items():
            path = root / f"Train & Test Set/single/no_caption/set_{number}/{part}.txt"
            lines(path, [f"{name} {label}" for name, label in rows])
    (root / "data/frames").mkdir(parents=True, exist_ok=True)
    return root


def crema_d(root: Path, names: Sequence[str], votes: Mapping[str, str] | None = None) -> Path:
    """CREMA-D's tables of these clips, with the winners of the face-only votes."""
    rows = [(i, name) for i, name in enumerate(names, start=1)]
    table(root / "SentenceFilenames.csv", [("Stimulus_Number", "Filename"), *rows])
    actors = sorted({name[:4] for name in names})
    people = [(actor, 30, "Female", "Asian", "Hispanic") for actor in actors]
    table(root / "VideoDemographics.csv", [("ActorID", "Age", "Sex", "Race", "Ethnicity"), *people])
    if votes is not None:
        winners = [(i, name, "N", 50, votes[name], 50, "N", 50) for i, name in rows]
        header = (
            "",
            "FileName",
            "VoiceVote",
            "VoiceLevel",
            "FaceVote",
            "FaceLevel",
            "MultiModalVote",
            "MultiModalLevel",
        )
        table(root / "processedResults/summaryTable.csv", [header, *winners])
    (root / "VideoFlash").mkdir(parents=True, exist_ok=True)
    return root


def empty(path: Path) -> Path:
    """A file without content, for listings that do not look inside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def python2_pickle(values: Mapping[str, Mapping[str, float]]) -> bytes:
    """Nested dicts as Python 2 pickled them (protocol 2): byte strings, floats, memo places."""
    places = count()

    def text(value: str) -> bytes:
        data = value.encode("latin1")
        return b"U" + bytes([len(data)]) + data + b"q" + bytes([next(places) % 256])

    def inner(pairs: Mapping[str, float]) -> bytes:
        return b"}(" + b"".join(text(k) + b"G" + struct.pack(">d", v) for k, v in pairs.items()) + b"u"

    return b"\x80\x02}(" + b"".join(text(k) + inner(v) for k, v in values.items()) + b"u."


def crash(look: InspectionRequest) -> Finding:
    """A decoder that brings its process down on one file."""
    if look.path.stem == "killer":
        os._exit(11)
    return inspect_file(look)
