"""What each reader of videos says of one file; they must agree."""

from __future__ import annotations

import signal
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mien.interfaces import Clip
from mien.video.decode import open_video
from mien.video.inspection import InspectionRequest, inspect_file
from mien.video.manifest import Problem, check_one
from mien.video.packet_table import VideoError
from mien.video.stream import read_frames

PATIENCE = 20
"""Seconds after which a small file has hung a reader."""


@dataclass
class Verdict:
    """What was said of a file, and what is wrong with that."""

    path: str
    sound: bool = False
    words: dict[str, str] = field(default_factory=dict)
    """What each reader said; '' for a sound file."""
    lost: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    unnoticed: bool = False
    """Damage that no decoder notices, but frames after a seek differ from those without."""
    traces: list[str] = field(default_factory=list)


UNNOTICED = "frames after a seek are others than without"


def training_scan(path: Path) -> str:
    found = check_one(Clip(path), decode=False)
    return found.message if isinstance(found, Problem) else ""


def training_scan_decoding(path: Path) -> str:
    found = check_one(Clip(path), decode=True)
    return found.message if isinstance(found, Problem) else ""


def prepare(path: Path) -> str:
    return inspect_file(InspectionRequest(path, decode=True)).damage


def stream(path: Path) -> str:
    try:
        for _ in read_frames(path):
            pass
    except VideoError as error:
        return str(error)
    return ""


def by_index(path: Path) -> str:
    """As training reads: the last frames first, then all, which must be those of the stream."""
    try:
        with open_video(path) as video:
            late = video.read(range(len(video) // 2, len(video)))
            everything = video.read(range(len(video)))
    except VideoError as error:
        return str(error)
    if not np.array_equal(everything[len(everything) // 2 :], late):
        return f"{path}: {UNNOTICED}"
    try:
        streamed = [frame.pixels for frame in read_frames(path)]
    except VideoError:
        return ""
    if len(streamed) != len(everything) or any((a != b).any() for a, b in zip(streamed, everything, strict=True)):
        return f"{path}: frames by index are others than those of the stream"
    return ""


READERS = (training_scan, training_scan_decoding, prepare, stream, by_index)


def judge_all(path: Path) -> Verdict:
    """All readers' words, and where they disagree."""
    verdict = Verdict(str(path))
    for reader in READERS:
        signal.signal(signal.SIGALRM, expired)
        signal.alarm(PATIENCE)
        try:
            verdict.words[reader.__name__] = reader(path)
        except TimeoutError:
            verdict.hung.append(f"{path.name}: {reader.__name__}")
        except Exception:
            verdict.traces.append(f"{path.name}: {reader.__name__}: {traceback.format_exc()}")
        finally:
            signal.alarm(0)
    if len(verdict.words) == len(READERS):
        verdict.sound = not any(verdict.words.values())
        verdict.unnoticed = UNNOTICED in verdict.words["by_index"] and not verdict.words["stream"]
        verdict.lost = disagreements(path, verdict.words)
    return verdict


def expired(number: int, frame: object) -> None:
    raise TimeoutError


def disagreements(path: Path, words: dict[str, str]) -> list[str]:
    """Where one reader takes for whole what another one calls broken."""
    full = {name: bool(words[name]) for name in ("training_scan_decoding", "prepare", "stream")}
    broken = any(full.values())
    wrong = []
    if broken != all(full.values()):
        wrong.append("full decoding")
    if words["training_scan"] and not broken:
        wrong.append("the packets are broken, decoding is not")
    if words["by_index"] and not broken and UNNOTICED not in words["by_index"]:
        wrong.append("reading by index fails on a sound file")
    if any(word and path.name not in word for word in words.values()):
        wrong.append("the file is not named")
    return [f"{path.name}: {what}: {words}" for what in wrong]
