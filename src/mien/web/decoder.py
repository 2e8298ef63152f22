"""A video that cannot be trusted, decoded in a process of its own with limits of memory and time.

A file may be made to crash a decoder, or to make it use all memory. What dies then is the process beside the server, and the
job fails with a sentence. ``video_facts`` and ``frames`` give what ``mien.video`` gives, to the byte; this module is also what
the process runs.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import BinaryIO

import numpy as np

from mien.video.decode import VideoError
from mien.video.metadata import claimed_duration, claimed_rate
from mien.video.packet_table import open_container, scan, video_stream
from mien.video.stream import Frame, read_frames

HEAD = struct.Struct("<cqdII")
"""What stands before every record: kind, and of a frame its number, seconds, height and width; else bytes of JSON."""
FRAME, FACTS, FAILED = b"F", b"S", b"E"
HELD = 24
"""Frames that are in memory at once while faces are followed."""


@dataclass(frozen=True)
class DecodingLimits:
    """What decoding one video may take."""

    bytes: int
    """Memory, beyond what Python and its libraries take."""
    seconds: float
    """Processor time for the whole video."""
    patience: float = 60.0
    """Seconds without a frame after which decoding counts as stuck."""

    @property
    def pixels(self) -> int:
        """Pixels of a frame, so that the frames that are held at once fit into the memory."""
        return self.bytes // (3 * HELD)

    def check_pixels(self, path: Path, width: int, height: int) -> None:
        """Raise ``VideoError`` for frames that are too large."""
        if width * height > self.pixels:
            raise VideoError(
                f"{path}: frames of {width} x {height} pixels need more than the {self.bytes / 1e6:g} MB that this server "
                "gives a video; shrink it, or start the server with a larger --max-job-megabytes"
            )


@dataclass(frozen=True)
class VideoFacts:
    """What is known of a video before it is read."""

    seconds: float
    """Length."""
    rate: float | None
    """Frames per second on average, as far as the container says."""


def video_facts(path: Path, allowance: DecodingLimits) -> VideoFacts:
    """Length and rate of a video whose first frame can be decoded. Raises ``VideoError``."""
    with decoder_process("facts", path, allowance) as output:
        for kind, _, body in output:
            if kind == FACTS:
                return VideoFacts(**json.loads(body))
    raise VideoError(f"{path}: no frame can be decoded; replace or remove it")


def frames(path: Path, allowance: DecodingLimits) -> Iterator[Frame]:
    """Every frame of a video in order, as ``read_frames`` gives them. Raises ``VideoError`` where it breaks off."""
    with decoder_process("frames", path, allowance) as output:
        for _, (index, time, height, width), body in output:
            yield Frame(index, time, np.frombuffer(body, np.uint8).reshape(height, width, 3))


Record = tuple[bytes, tuple[int, float, int, int], bytearray]


@contextmanager
def decoder_process(task: str, path: Path, allowance: DecodingLimits) -> Iterator[Iterator[Record]]:
    """The records of a process that works on a task; the process is gone afterwards, whatever happened."""
    order = json.dumps([task, os.fsencode(path).hex(), allowance.bytes, allowance.seconds])
    process = subprocess.Popen(
        [sys.executable, "-m", "mien.web.decoder", order],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    watch = Watchdog(process, allowance.patience)
    try:
        yield records(process, path, allowance, watch)
    finally:
        watch.over.set()
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


class Watchdog:
    """Kills a process that lets its reader wait too long; a reader that is slow itself does not count."""

    def __init__(self, process: subprocess.Popen[bytes], patience: float) -> None:
        self.process, self.patience = process, patience
        self.since: float | None = None
        self.stuck, self.over = False, Event()
        Thread(target=self.work, name="mien-decoder", daemon=True).start()

    def work(self) -> None:
        """Look now and then, until it is over."""
        while not self.over.wait(min(1.0, self.patience / 4)):
            since = self.since
            if since is not None and monotonic() - since > self.patience:
                self.stuck = True
                self.process.kill()
                return


def records(
    process: subprocess.Popen[bytes], path: Path, allowance: DecodingLimits, watch: Watchdog
) -> Iterator[Record]:
    """Records until the process ends well. Raises ``VideoError`` for what it says is wrong, or if it dies."""
    stream = process.stdout
    assert isinstance(stream, FileIO)
    while True:
        watch.since = monotonic()
        head = read_exactly(stream, HEAD.size)
        if head is None:
            break
        kind, index, time, height, width = HEAD.unpack(head)
        if kind == FRAME:
            allowance.check_pixels(path, width, height)
        size = 3 * height * width if kind == FRAME else min(index, 1 << 20)
        body = read_exactly(stream, size)
        watch.since = None
        if body is None:
            break
        if kind == FAILED:
            raise VideoError(json.loads(body)["error"])
        yield kind, (index, time, height, width), body
    watch.since = None
    if watch.stuck:
        raise VideoError(
            f"{path}: no frame in {allowance.patience:g} s: decoding is stuck; convert or replace the video"
        )
    if code := process.wait():
        raise VideoError(
            f"{path}: its decoder died (code {code}): the file is damaged, or needs more than the {allowance.bytes / 1e6:g} MB "
            f"and {allowance.seconds:g} s of processor time that this server gives a video; convert or replace it"
        )


def read_exactly(stream: FileIO, size: int) -> bytearray | None:
    """So many bytes, or None where the stream ends before."""
    body = bytearray(size)
    view, done = memoryview(body), 0
    while done < size:
        if not (count := stream.readinto(view[done:])):
            return None
        done += count
    return body


def limit_resources(memory: int, seconds: float) -> None:
    """Limit what this process takes from now on; systems without such limits (Windows) keep the reader's patience alone."""
    try:
        import resource
    except ImportError:
        return
    taken = 0
    status = Path("/proc/self/statm")
    if status.is_file():
        taken = int(status.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    whole = resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_AS, (taken + memory, whole) if taken else (whole, whole))
    resource.setrlimit(resource.RLIMIT_CPU, (max(1, round(seconds)), whole))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run_task(task: str, path: Path, allowance: DecodingLimits, out: BinaryIO) -> None:
    """Write the frames, or one frame and the facts, into ``out``."""
    with open_container(path) as container:  # what the header says, before memory is spent on a frame
        header = video_stream(container, path).codec_context
        allowance.check_pixels(path, header.width, header.height)
    for frame in read_frames(path):
        height, width = frame.pixels.shape[:2]
        out.write(HEAD.pack(FRAME, frame.index, frame.time, height, width))
        out.write(frame.pixels.data.cast("B"))
        if task == "facts":
            write_json(out, FACTS, vars(read_facts(path)))
            return


def read_facts(path: Path) -> VideoFacts:
    """Length by the header, or by the packets: recordings of browsers do not say how long they are."""
    seconds = claimed_duration(path)
    return VideoFacts(float(scan(path).timestamps[-1]) if seconds is None else seconds, claimed_rate(path))


def write_json(out: BinaryIO, kind: bytes, what: dict[str, object]) -> None:
    """A record of JSON."""
    body = json.dumps(what).encode()
    out.write(HEAD.pack(kind, len(body), 0.0, 0, 0) + body)


def main(order: str) -> None:
    """One task, then the end; errors of the video are records."""
    task, name, memory, seconds = json.loads(order)
    path = Path(os.fsdecode(bytes.fromhex(name)))
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # nothing that a library prints may stand among the records
        limit_resources(memory, seconds)
        try:
            run_task(task, path, DecodingLimits(memory, seconds), out)
        except MemoryError:
            why = f"{path}: needs more than the {memory / 1e6:g} MB that this server gives a video; shrink it"
            write_json(out, FAILED, {"error": why})
        except (ValueError, OSError) as error:
            write_json(out, FAILED, {"error": str(error)})


if __name__ == "__main__":
    main(sys.argv[1])
