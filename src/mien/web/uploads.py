"""Uploads: straight to disk within limits, inspected before they wait, refused in words that their owner understands."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import HTTPException
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from mien.video.stream import read_frames
from mien.web.decoder import VideoFacts, read_facts, video_facts
from mien.web.queue import ServerLimits, WebJob

PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<?xml", b"v=0")
"""How files begin that are not videos but tell FFmpeg to open other files."""
LONGEST_NAME = 120
"""Bytes of the name that an upload gets on disk; file systems take 255, and results add an ending."""


async def receive(job: WebJob, content: AsyncIterator[bytes], limits: ServerLimits, announced: int) -> None:
    """Write an upload and inspect it; leaves nothing behind when it is refused or breaks off.

    Raises ``HTTPException``: 400 for what broke off, 413 for too large, 422 for what is no readable video or too long, 507 for a full disk.
    """
    try:
        check_size(announced, limits)
        job.upload.parent.mkdir(parents=True)
        await write(job.upload, content, limits)
        job.facts = await run_in_threadpool(probe, job.upload, limits)
    except BaseException as error:
        shutil.rmtree(job.folder, ignore_errors=True)
        if isinstance(error, ClientDisconnect):
            raise HTTPException(400, "the upload broke off") from error
        if isinstance(error, ValueError):
            raise HTTPException(422, job.without_folders(error)) from error
        if isinstance(error, OSError):
            raise HTTPException(507, f"the upload cannot be stored: {error.strerror}") from error
        raise


async def write(path: Path, content: AsyncIterator[bytes], limits: ServerLimits) -> None:
    """Chunks into a file, as long as there are not too many."""
    size = 0
    with path.open("wb") as file:
        async for chunk in content:
            size += len(chunk)
            check_size(size, limits)
            file.write(chunk)


def check_size(size: int, limits: ServerLimits) -> None:
    """Refuse what is too large, at the latest when so much of it has come."""
    if size > limits.bytes:
        raise HTTPException(
            413,
            f"larger than the {limits.bytes / 1e6:g} MB that this server takes; cut or compress the video, or start the "
            "server with a larger --max-megabytes",
        )


def probe(path: Path, limits: ServerLimits) -> VideoFacts:
    """Decode one frame and tell length and rate; raises ``ValueError`` for what cannot be analyzed."""
    with path.open("rb") as file:
        if file.read(16).lstrip().startswith(PLAYLISTS):
            raise ValueError(f"{path}: a playlist or text, not a video; upload the video itself")
    if limits.isolated:
        facts = video_facts(path, limits.decoding)
    else:
        next(read_frames(path))
        facts = read_facts(path)
    limits.check_length(facts.seconds)
    return facts


def safe_name(name: str) -> str:
    """A file name without folders and control characters, of bounded length."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(c for c in base if c.isprintable() and c not in '<>:"|?*').strip(". ")
    stem, dot, suffix = kept.rpartition(".")
    if not stem:
        return truncate(kept, LONGEST_NAME) or "video"
    return f"{truncate(stem, LONGEST_NAME)}{dot}{truncate(suffix, 12)}"


def truncate(text: str, count: int) -> str:
    """The beginning of a text, at most so many bytes of UTF-8, without half a character."""
    return text.encode("utf-8", "ignore")[:count].decode("utf-8", "ignore")
