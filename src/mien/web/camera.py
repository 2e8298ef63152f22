"""The camera of the browser, read live: pictures come over a socket, values go back.

A message is 8 bytes, the second at which the page took the picture (little-endian float64, on the page's clock), then the
picture as JPEG. An answer repeats that second, so that the page can tell how late it is. Frames that come faster than they
can be read are dropped and counted by ``mien.inference.live``. One camera at a time.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from io import BytesIO
from queue import SimpleQueue

import numpy as np
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from PIL import Image
from starlette.concurrency import run_in_threadpool

from mien.faces.face import Pixels
from mien.inference.analyzer import Analyzer
from mien.inference.live import LiveConfig, LiveFrame, LiveStatistics, live
from mien.inference.window_prediction import WindowPrediction
from mien.video.stream import Frame
from mien.web.queue import Queue

router = APIRouter()

LARGEST = 4_000_000
"""Bytes of a picture."""
MOST_PIXELS = 3840 * 2160
"""Pixels of a picture."""
CLOCK = struct.Struct("<d")

Inbox = SimpleQueue[bytes | None]


@router.websocket("/api/live")
async def live_camera(socket: WebSocket, model: str | None = None) -> None:
    """Read a camera until the page closes the socket."""
    queue: Queue = socket.app.state.queue
    await socket.accept()
    name = model or next(iter(queue.analyzers))
    if name not in queue.analyzers or socket.app.state.live is not None:
        why = (
            f"no model {name!r} here"
            if name not in queue.analyzers
            else "another window reads a camera; close it first"
        )
        await socket.send_json({"error": why})
        await socket.close(1013)
        return
    inbox: Inbox = SimpleQueue()
    socket.app.state.live = inbox
    try:
        await send_values(socket, queue, queue.analyzers[name], inbox)
    finally:
        inbox.put(None)
        socket.app.state.live = None


async def send_json(socket: WebSocket, what: dict[str, object]) -> bool:
    """Send to the page; false where it is gone, which starlette says by either error."""
    try:
        await socket.send_json(what)
    except (WebSocketDisconnect, RuntimeError):
        return False
    return True


async def send_values(socket: WebSocket, queue: Queue, analyzer: Analyzer, inbox: Inbox) -> None:
    """Send values as they are known, while a task receives pictures into the inbox."""
    statistics = LiveStatistics()
    moments = live(analyzer, pictures(inbox), queue.reading, LiveConfig(), statistics)
    listening = asyncio.create_task(receive_pictures(socket, inbox))
    try:
        while (moment := await run_in_threadpool(next, moments, None)) is not None:
            if not await send_json(socket, frame_message(moment, statistics)):
                break
    except ValueError as error:
        await socket.send_json({"error": str(error)})
        await socket.close(1003)
    finally:
        listening.cancel()
        inbox.put(None)
        await run_in_threadpool(moments.close)  # pyright: ignore[reportAttributeAccessIssue]


async def receive_pictures(socket: WebSocket, inbox: Inbox) -> None:
    """Put messages into the inbox until the page is gone."""
    try:
        while True:
            inbox.put(await socket.receive_bytes())
    except (WebSocketDisconnect, RuntimeError, KeyError):  # KeyError: text, which no page of ours sends
        inbox.put(None)


def pictures(inbox: Inbox) -> Iterator[Frame]:
    """Messages -> frames. Raises ``ValueError`` for what is no picture."""
    index = 0
    while (message := inbox.get()) is not None:
        if not CLOCK.size < len(message) <= LARGEST:
            raise ValueError(f"a message of {len(message)} bytes is no picture with its time")
        yield Frame(index, CLOCK.unpack_from(message)[0], picture_of(message[CLOCK.size :]))
        index += 1


def picture_of(content: bytes) -> Pixels:
    """A JPEG picture; raises ``ValueError`` for what is none, and for one that claims to be huge before it is decoded."""
    try:
        with Image.open(BytesIO(content), formats=["JPEG"]) as picture:
            width, height = picture.size
            if width * height > MOST_PIXELS:
                raise ValueError(f"a picture of {width} x {height} pixels; a camera's has {MOST_PIXELS} at most")
            return np.asarray(picture.convert("RGB"), np.uint8)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("a message holds no JPEG picture, or a damaged one") from error


def doubts(answer: WindowPrediction | None) -> list[str] | None:
    """Why an answer is not reliable; None where nobody can tell, or there is no answer."""
    return None if answer is None or answer.reasons is None else sorted(answer.reasons)


def frame_message(moment: LiveFrame, statistics: LiveStatistics) -> dict[str, object]:
    """One frame for the page; ``values`` only on frames on which the model was asked."""
    frame = moment.faces.frame
    faces = [
        {
            "id": face.id,
            "box": [round(float(v), 1) for v in face.box],
            "confidence": None if np.isnan(face.confidence) else round(float(face.confidence), 3),
            "doubts": doubts(moment.predictions.get(face.id)),
            "values": [round(float(v), 4) for v in moment.predictions[face.id].values]
            if face.id in moment.predictions
            else None,
        }
        for face in moment.faces.faces
    ]
    return {
        "time": frame.time,
        "faces": faces,
        "dropped": moment.dropped,
        "read": statistics.read,
        "lag": round(statistics.lag, 3),
    }
