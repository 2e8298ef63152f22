"""What hostile or careless visitors send: the server refuses it in words, keeps nothing of it, and goes on."""

from __future__ import annotations

import asyncio
import io
import struct
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from safetensors.numpy import load_file, save_file

from conftest import HERE
from mien.cli import main
from mien.inference.analyzer import Analyzer
from mien.inference.predict import ReadConfig
from mien.video.stream import read_frames
from mien.web import decoder
from mien.web.app import application
from mien.web.camera import picture_of
from mien.web.decoder import DecodingLimits
from mien.web.queue import Queue, ServerLimits
from mien.web.uploads import safe_name
from openapi_requests import requests, wrong
from toy_models import pictures, write_model, write_video

LIMITS = ServerLimits(bytes=3_000_000, seconds=20, waiting=2, keep=3600)
ENOUGH = DecodingLimits(2_000_000_000, 60)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "v.mp4", pictures(30))


def test_decoding_beside_the_server_gives_the_same_tables(
    client: TestClient, analyzer: Analyzer, video: Path, tmp_path: Path
) -> None:
    own = list(read_frames(video))
    beside = list(decoder.frames(video, ENOUGH))
    assert [(f.index, f.time) for f in beside] == [(f.index, f.time) for f in own]
    assert all((a.pixels == b.pixels).all() for a, b in zip(own, beside, strict=True))
    job = client.post("/api/jobs", params={"name": "v.mp4", "wait": True}, content=video.read_bytes()).json()
    analyzer.predict(video, tmp_path / "own", faces="whole")
    given = client.get(f"/api/jobs/{job['id']}/files/frames.csv").content
    assert given == (tmp_path / "own" / "frames.csv").read_bytes()


def test_a_decoder_that_dies_or_hangs_fails_its_video_and_nothing_else(
    client: TestClient, queue: Queue, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "decoder"
    script.write_text("#!/bin/sh\nkill -SEGV $$\n")
    script.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setattr(decoder, "sys", SimpleNamespace(executable=str(script)))
        answer = client.post("/api/jobs", content=video.read_bytes())
        assert answer.status_code == 422
        assert "its decoder died" in answer.json()["detail"]
        script.write_text("#!/bin/sh\nexec sleep 1000\n")
        with pytest.raises(ValueError, match=r"no frame in 0\.2 s: decoding is stuck"):
            next(decoder.frames(video, DecodingLimits(2_000_000_000, 60, patience=0.2)))
    assert not list(queue.root.iterdir())
    assert client.post("/api/jobs?wait=true", content=video.read_bytes()).json()["state"] == "done"


def test_memory_of_a_video_is_limited(tmp_path: Path) -> None:
    large = write_video(tmp_path / "large.mp4", np.zeros((2, 1200, 1600, 3), np.uint8))
    with pytest.raises(ValueError, match=r"frames of 1600 x 1200 pixels .* larger --max-job-megabytes"):
        decoder.video_facts(large, DecodingLimits(100_000_000, 60))
    assert decoder.video_facts(large, DecodingLimits(200_000_000, 60)).rate is not None


def test_places_in_the_queue_are_counted_before_the_body_is_read(queue: Queue, video: Path) -> None:
    """30 uploads at once, whose bodies end only when 28 have been answered."""

    async def attack() -> list[int]:
        full, told = asyncio.Event(), []

        async def body() -> AsyncIterator[bytes]:
            yield video.read_bytes()[:100]
            await full.wait()
            yield video.read_bytes()[100:]

        async def one(client: httpx.AsyncClient) -> None:
            told.append((await client.post("/api/jobs", content=body())).status_code)
            if len(told) == 30 - LIMITS.waiting:
                full.set()

        async with httpx.AsyncClient(transport=httpx.ASGITransport(application(queue)), base_url=HERE) as client:
            await asyncio.wait_for(asyncio.gather(*(one(client) for _ in range(30))), 60)
        return told

    told = asyncio.run(attack())
    assert (told.count(202), told.count(503)) == (LIMITS.waiting, 28)
    assert len(list(queue.root.iterdir())) == LIMITS.waiting
    assert queue.coming == 0


@pytest.mark.parametrize(
    "name", ["\u6f22" * 90 + ".mp4", "\U0001f600" * 300 + ".mkv", "x" * 300, "a." + "\u00fc" * 300, "\ud800.mp4"]
)
def test_names_are_cut_by_their_bytes(name: str) -> None:
    kept = safe_name(name)
    assert 0 < len(kept.encode()) <= 140
    assert not kept.startswith(".")


def test_a_long_name_of_many_bytes_is_no_error(idle: TestClient, video: Path) -> None:
    answer = idle.post("/api/jobs", params={"name": "\u6f22" * 90 + ".mp4"}, content=video.read_bytes())
    assert answer.status_code == 202
    assert answer.json()["name"].endswith(".mp4")


@pytest.mark.parametrize(
    "header", [{"Host": "["}, {"Host": "[::1"}, {"Origin": "http://["}, {"Host": "127.0.0.1:99999999"}]
)
def test_malformed_hosts_are_refused(idle: TestClient, header: dict[str, str]) -> None:
    assert idle.post("/api/jobs", headers=header, content=b"").status_code in (403, 422)


def test_a_cut_upload_is_no_error_of_the_program(queue: Queue) -> None:
    parts: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"x" * 99, "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    headers = [(b"host", b"127.0.0.1:8000"), (b"content-length", b"1000")]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": "/api/jobs",
             "raw_path": b"/api/jobs", "query_string": b"", "root_path": "", "scheme": "http", "headers": headers,
             "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000)}  # fmt: skip
    asyncio.run(application(queue)(scope, receive, send))  # type: ignore[arg-type]
    assert not list(queue.root.iterdir())
    assert queue.coming == 0


def test_a_camera_picture_that_claims_to_be_huge_is_refused_before_it_is_decoded(client: TestClient) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(buffer, format="JPEG")
    bomb = bytearray(buffer.getvalue())
    place = bomb.index(b"\xff\xc0") + 5
    for side in (65500, 20000):
        bomb[place : place + 4] = struct.pack(">HH", side, side)
        with client.websocket_connect("/api/live", headers={"Host": "127.0.0.1:8000"}) as camera:
            camera.send_bytes(struct.pack("<d", 1.0) + bytes(bomb))
            assert "picture" in camera.receive_json()["error"]
    with pytest.raises(ValueError, match="no JPEG"):
        picture_of(buffer.getvalue()[:100])
    assert picture_of(buffer.getvalue()).shape == (16, 16, 3)


def test_a_model_of_nan_names_no_emotion(video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_model(tmp_path / "model")
    weights = {name: np.full_like(value, np.nan) for name, value in load_file(folder / "weights.safetensors").items()}
    save_file(weights, folder / "weights.safetensors")
    flags = ["--model", str(folder), "--device", "cpu", "--faces", "whole"]
    assert main(["analyze", str(video), *flags, "--output", str(tmp_path / "out")]) == 1
    assert "NaN" in capsys.readouterr().err
    assert not (tmp_path / "out" / "frames.csv").exists()


def test_every_answer_to_made_up_requests_is_one_that_the_document_names(
    analyzer: Analyzer, video: Path, tmp_path: Path
) -> None:
    limits = replace(LIMITS, isolated=False, waiting=50)
    queue = Queue({"expressions": analyzer}, ReadConfig(faces="whole"), limits, tmp_path)
    with TestClient(application(queue), base_url=HERE, raise_server_exceptions=True) as client:
        job = client.post("/api/jobs?wait=true", content=video.read_bytes()).json()
        document = client.get("/openapi.json").json()
        bodies = [b"", b"\x00" * 100, b"#EXTM3U", video.read_bytes()[:500], video.read_bytes()[300:]]
        for made in requests(document, 0, [job["id"]], bodies, 150):
            answer = client.request(made.method, made.url, headers=made.headers, content=made.body)
            assert not wrong(made, answer.status_code, answer.content)
            if made.method == "DELETE" and answer.status_code == 204:
                job["id"] = "gone"
        assert client.get("/api/about").status_code == 200
