"""The server of `mien serve`: the same tables as `mien analyze`, a queue, refusals in words, nothing left behind."""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from PIL import Image

pytest.importorskip("fastapi")

import httpx
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

import mien
from conftest import HERE
from mien.calibration import reliability
from mien.calibration.calibration import Origin
from mien.calibration.calibration import fit as calibrate
from mien.calibration.clip_statistics import size_of
from mien.calibration.density import Density
from mien.cli import main
from mien.commands.serve import short_names
from mien.faces.detectors import DetectConfig
from mien.inference.analyzer import Analyzer
from mien.inference.predict import ReadConfig
from mien.tasks.classification import ClassificationConfig
from mien.video.inspection import digest
from mien.web.app import application
from mien.web.queue import Queue, ServerLimits
from mien.web.uploads import safe_name
from toy_models import EXPRESSIONS, pictures, write_model, write_video

LIMITS = ServerLimits(bytes=3_000_000, seconds=20, waiting=2, keep=3600, isolated=False)
"""The process that decodes is started in tests/web/test_serve_attacks.py."""


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds."""
    return write_video(tmp_path_factory.mktemp("videos") / "clip ü.mp4", pictures(50))


def give(client: TestClient, content: bytes, name: str = "clip.mp4", **query: str):
    return client.post("/api/jobs", params={"name": name, **query}, content=content)


def test_the_tables_are_those_of_mien_analyze(
    client: TestClient, queue: Queue, model: Path, video: Path, tmp_path
) -> None:
    answer = give(client, video.read_bytes(), video.name, wait="true")
    job = answer.json()
    assert (answer.status_code, job["state"]) == (200, "done")
    folder = tmp_path / "analyzed"
    assert main(["analyze", str(video), "--model", str(model), "--output", str(folder), "--faces=whole", "--device=cpu", "--matmul=highest", "--no-pictures"]) == 0  # fmt: skip
    for table in ("frames", "windows"):
        here = client.get(f"/api/jobs/{job['id']}/files/{table}.csv")
        assert here.content == (folder / f"{table}.csv").read_bytes()
        parquet = pd.read_parquet(io.BytesIO(client.get(f"/api/jobs/{job['id']}/files/{table}.parquet").content))
        plain = pd.read_csv(folder / f"{table}.csv")
        pd.testing.assert_frame_equal(parquet.astype(plain.dtypes), plain)
    assert job["result"]["sentence"].startswith(f"{video.name}: 1 face on 50 of 50 frames")


@pytest.mark.media
def test_a_real_face_is_found_and_read_as_by_mien_analyze(analyzer: Analyzer, media: Path, tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    clip, reading = media / "grid" / "lbax4n.mpg", ReadConfig(detector=DetectConfig(name="haar"))
    queue = Queue({"expressions": analyzer}, reading, LIMITS, tmp_path / "server")
    with TestClient(application(queue), base_url=HERE) as client:
        job = give(client, clip.read_bytes(), clip.name, wait="true").json()
        here = client.get(f"/api/jobs/{job['id']}/files/frames.csv").content
    analyzer.predict(clip, tmp_path / "analyzed", detector={"name": "haar"}, progress=False)
    assert here == (tmp_path / "analyzed" / "frames.csv").read_bytes()
    assert job["result"]["faces"]


def test_the_overlay_can_be_read_in_parts_and_the_timeline_is_a_figure(
    client: TestClient, queue: Queue, video: Path
) -> None:
    id = give(client, video.read_bytes(), wait="true").json()["id"]
    part = client.get(f"/api/jobs/{id}/files/overlay.mp4", headers={"Range": "bytes=0-99"})
    assert (part.status_code, len(part.content)) == (206, 100)
    figure = client.get(f"/api/jobs/{id}/timeline").json()
    assert {trace["name"] for trace in figure["data"]} == set(queue.analyzers["expressions"].names)
    assert client.get(f"/api/jobs/{id}/files/report.html").headers["content-disposition"].startswith("attachment")
    assert client.get(f"/api/jobs/{id}/files/model.json").status_code == 422
    assert not list(queue.root.rglob("upload")), "the video itself is gone when it was read"


def audio() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content, code, says",
    [
        (b"no video at all" * 99, 422, "not a video"),
        (b"", 422, "empty"),
        (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", 422, "playlist"),
        (audio(), 422, "no video stream"),
        (bytes(3_000_001), 413, "larger than the 3 MB"),
    ],
    ids=["garbage", "empty", "playlist", "sound", "large"],
)
def test_bad_uploads_are_refused_in_words_and_leave_nothing(
    idle: TestClient, queue: Queue, content, code: int, says: str
) -> None:
    answer = give(idle, content, "my holiday.mp4")
    assert answer.status_code == code
    assert says in answer.json()["detail"]
    assert str(queue.root) not in answer.text
    assert not list(queue.root.iterdir())
    assert not queue.jobs


def test_an_upload_without_announced_size_is_cut_off_at_the_limit(idle: TestClient, queue: Queue) -> None:
    sent = []

    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            sent.append(1)
            yield bytes(100_000)

    assert idle.post("/api/jobs", content=chunks()).status_code == 413
    assert not list(queue.root.iterdir())


def test_long_videos_forms_and_unknown_models_are_refused(
    idle: TestClient, queue: Queue, video: Path, tmp_path: Path
) -> None:
    long = write_video(tmp_path / "long.mp4", pictures(30), np.arange(30.0).tolist())
    assert "longer than the 0.333333 minutes" in give(idle, long.read_bytes()).json()["detail"]
    form = idle.post("/api/jobs", files={"file": video.read_bytes()})
    assert (form.status_code, "--data-binary" in form.text) == (422, True)
    unknown = give(idle, b"", model="other")
    assert (unknown.status_code, "there are expressions" in unknown.text) == (422, True)
    assert not list(queue.root.iterdir())


def test_a_video_without_a_face_says_so(analyzer: Analyzer, tmp_path: Path, video: Path) -> None:
    (tmp_path / "server").mkdir()
    queue = Queue({"expressions": analyzer}, ReadConfig(), LIMITS, tmp_path / "server")
    with TestClient(application(queue), base_url=HERE) as client:
        job = give(client, video.read_bytes(), wait="true").json()
        assert "no face on any of 50 frames" in job["result"]["sentence"]
        assert job["result"]["faces"] == []
        assert client.get(f"/api/jobs/{job['id']}/timeline").status_code == 200


def test_a_video_that_breaks_off_is_read_up_to_there(client: TestClient, video: Path) -> None:
    content = video.read_bytes()
    result = give(client, content[: len(content) * 2 // 3], wait="true").json()["result"]
    assert 0 < result["frames"] < 50
    assert "clip.mp4" in result["stopped"]
    assert "/" not in result["stopped"]


def test_jobs_wait_in_order_and_not_too_many(idle: TestClient, queue: Queue, video: Path) -> None:
    first, second = (give(idle, video.read_bytes()).json() for _ in range(2))
    assert set(first) == set(idle.get(f"/api/jobs/{first['id']}").json())
    assert [(job["state"], job["position"]) for job in (first, second)] == [("waiting", 1), ("waiting", 2)]
    full = give(idle, video.read_bytes())
    assert (full.status_code, "2 videos wait already" in full.text) == (503, True)
    assert idle.get(f"/api/jobs/{first['id']}/files/frames.csv").status_code == 409
    assert idle.delete(f"/api/jobs/{first['id']}").status_code == 204
    assert idle.get(f"/api/jobs/{first['id']}").status_code == 404
    assert idle.get(f"/api/jobs/{second['id']}").json()["position"] == 1
    assert [folder.name for folder in queue.root.iterdir()] == [second["id"]]


def test_a_running_job_can_be_cancelled(client: TestClient, queue: Queue, tmp_path: Path) -> None:
    slow = write_video(tmp_path / "slow.mp4", pictures(480, size=96))
    job = give(client, slow.read_bytes()).json()
    until(lambda: queue.jobs[job["id"]].state == "reading")
    client.delete(f"/api/jobs/{job['id']}")
    until(lambda: job["id"] not in queue.jobs)
    assert not list(queue.root.iterdir())


def until(condition, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_results_are_removed_after_their_time_and_at_the_end(queue: Queue, video: Path) -> None:
    with TestClient(application(queue), base_url=HERE) as client:
        old, new = (give(client, video.read_bytes(), wait="true").json()["id"] for _ in range(2))
        queue.jobs[old].ended -= LIMITS.keep + 1
        queue.expire()
        assert client.get(f"/api/jobs/{old}").status_code == 404
        assert "60 minutes" in client.get(f"/api/jobs/{old}").json()["detail"]
        assert [folder.name for folder in queue.root.iterdir()] == [new]
    assert not queue.root.exists()


def test_one_bad_job_does_not_stop_the_next(client: TestClient, queue: Queue, video: Path) -> None:
    """A file that vanishes while it waits is the nearest thing to a failing disk."""
    slow = give(client, video.read_bytes()).json()["id"]
    bad = give(client, video.read_bytes()).json()["id"]
    queue.jobs[bad].upload.unlink()
    assert give(client, video.read_bytes(), wait="true").json()["state"] == "done"
    failed = client.get(f"/api/jobs/{bad}").json()
    assert failed["state"] == "failed"
    assert failed["message"].startswith("clip.mp4: no such file")
    assert client.get(f"/api/jobs/{slow}").json()["state"] == "done"


def test_other_pages_may_not_use_the_server(idle: TestClient, queue: Queue) -> None:
    assert idle.get("/api/about", headers={"Host": "evil.example"}).status_code == 403
    assert idle.get("/api/about", headers={"Host": "localhost:8000"}).status_code == 200
    assert idle.post("/api/jobs", content=b"", headers={"Origin": "https://evil.example"}).status_code == 403
    assert idle.post("/api/jobs", content=b"", headers={"Origin": HERE}).status_code == 422
    with (
        pytest.raises(WebSocketDisconnect),
        idle.websocket_connect("/api/live", headers={"Origin": "https://evil.example"}),
    ):
        pass
    policy = idle.get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy


def jpeg(frame: np.ndarray, second: float) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="JPEG")
    return struct.pack("<d", second) + buffer.getvalue()


def test_the_camera_is_read_live(client: TestClient) -> None:
    shown = pictures(12)
    with client.websocket_connect("/api/live?model=expressions", headers={"Host": "127.0.0.1:8000"}) as camera:
        for i, frame in enumerate(shown):
            camera.send_bytes(jpeg(frame, 100 + i / 15))
            said = camera.receive_json()
            assert said["time"] == 100 + i / 15
        with client.websocket_connect("/api/live", headers={"Host": "127.0.0.1:8000"}) as second:
            assert "another window" in second.receive_json()["error"]
        camera.send_bytes(jpeg(shown[0], 102))
        face = camera.receive_json()["faces"][0]
        assert sum(face["values"]) == pytest.approx(1, abs=1e-3)
        assert face["doubts"] is None, "of a model that is not calibrated nobody can tell"
        camera.send_bytes(b"12345678 no picture")
        assert "no JPEG" in camera.receive_json()["error"]


def test_names_of_uploads_and_models() -> None:
    assert safe_name("../../etc/pass\nwd") == "passwd"
    assert safe_name("C:\\Users\\me\\Kopie von ü.mp4") == "Kopie von ü.mp4"
    assert safe_name("..") == "video"
    assert len(safe_name("x" * 5000 + ".mp4")) < 140
    assert short_names(["runs/a/finetune", "runs/b/finetune"]) == ["a/finetune", "b/finetune"]
    assert short_names(["runs/a", "runs/b"]) == ["a", "b"]
    with pytest.raises(ValueError, match="twice"):
        short_names(["runs/a", "runs/a/"])


def start(model: Path, folder: Path) -> tuple[subprocess.Popen[str], str]:
    """A real server with its temporary files in ``folder``, and its address."""
    command = [
        sys.executable,
        "-m",
        "mien",
        "serve",
        "--model",
        str(model),
        "--port=0",
        "--faces=whole",
        "--device=cpu",
    ]
    environment = os.environ | {"TMPDIR": str(folder)}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert server.stdout
    line = server.stdout.readline()
    assert "this machine only" in line
    return server, line.split()[2]


@pytest.mark.slow
def test_real_servers_leave_nothing_even_when_killed(model: Path, video: Path, tmp_path: Path) -> None:
    killed, address = start(model, tmp_path)
    assert httpx.post(f"{address}/api/jobs?wait=true", content=video.read_bytes(), timeout=60).json()["state"] == "done"
    killed.kill()
    killed.communicate()
    (abandoned,) = tmp_path.glob("mien-serve-*")
    server, address = start(model, tmp_path)
    assert not abandoned.exists()
    assert httpx.get(f"{address}/openapi.json").json()["paths"]["/api/jobs"]
    httpx.post(f"{address}/api/jobs?name=b.mp4", content=video.read_bytes(), timeout=60)
    server.terminate()
    assert "Traceback" not in server.communicate(timeout=30)[1]
    assert not list(tmp_path.glob("mien-serve-*"))


def test_a_port_that_is_taken_is_named(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert main(["serve", "--model", str(model), f"--port={other.getsockname()[1]}"]) == 1
    assert "choose another --port" in capsys.readouterr().err


def test_a_missing_extra_and_a_bad_model_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--model", str(tmp_path), "--port=0"]) == 1
    assert "no model here" in capsys.readouterr().err
    stale = write_model(tmp_path / "stale")
    (stale / "calibration.yaml").write_text("weights: another\n")
    assert main(["serve", "--model", str(stale), "--port=0"]) == 1, (
        "a broken calibration is refused now, not at a video"
    )
    assert "fitted_on: Field required" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert main(["serve", "--model", str(tmp_path)]) == 1
    assert "pip install -c constraints.txt '.[serve]'" in capsys.readouterr().err


def test_every_model_says_what_it_reads(idle: TestClient, analyzer: Analyzer) -> None:
    about = json.loads(idle.get("/api/about").text)
    assert set(about["models"][0].pop("colours")) == set(analyzer.names)
    assert about["models"][0] | {"window_frames": 0} == {
        "id": "expressions", "kind": "classification", "bounds": [0.0, 1.0], "names": list(analyzer.names), "calibrated": False, "window_frames": 0,
    }  # fmt: skip
    assert (about["max_megabytes"], about["keep_minutes"], about["local"]) == (3, 60, True)


def test_a_calibrated_model_says_what_not_to_rely_on(video: Path, tmp_path: Path) -> None:
    """Limits that no picture keeps: the page hears why, how often, and where on the timeline."""
    folder, rng = write_model(tmp_path / "model"), np.random.default_rng(0)
    outputs = rng.dirichlet(np.ones(7), 200)
    labels = np.array([rng.choice(7, p=p) for p in outputs])
    weights = digest(folder / "weights.safetensors")
    origin: Origin = {"weights": weights, "manifest": "m", "manifest_sha256": "", "select": "", "clips": 200, "subjects": 20, "views": {}}  # fmt: skip
    size = size_of(mien.load(folder, "cpu").task.encoder)
    density = Density(np.zeros(size, np.float32), np.ones(size, np.float32), np.eye(size, dtype=np.float32))
    calibrate(
        ClassificationConfig.outputs,
        outputs,
        labels,
        EXPRESSIONS,
        density,
        reliability.Limits(sharpness=1e9),
        0.8,
        origin,
    ).save(folder)
    (tmp_path / "server").mkdir()
    queue = Queue({"m": mien.load(folder, "cpu")}, ReadConfig(faces="whole"), LIMITS, tmp_path / "server")
    with TestClient(application(queue), base_url=HERE) as client:
        assert client.get("/api/about").json()["models"][0]["calibrated"]
        job = give(client, video.read_bytes(), wait="true").json()
        assert (job["result"]["unreliable"], job["result"]["reasons"]) == (1, {"blur": 1})
        assert (job["result"]["reliability"], job["result"]["warns"]) == ("50 of 50 frames not reliable: blur", True)
        shapes = client.get(f"/api/jobs/{job['id']}/timeline").json()["layout"]["shapes"]
        assert [shape["line"]["color"] for shape in shapes[1:]] == ["#c1121f"]
