"""Public models are fetched whole and verified, or not at all, from a server on this machine that misbehaves."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import pytest
import torch

import mien
from mien import downloads
from mien.cli import main
from mien.downloads import RemoteFile
from mien.models import registry
from mien.models.registry import PublicFile, PublicModel
from toy_models import expression_network

BODY = bytes(range(256)) * 1024
HASH = hashlib.sha256(BODY).hexdigest()
PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


class Pages(BaseHTTPRequestHandler):
    """/good sends the file, /other another, /cut the next third of it, /stop ever less; as a proxy it asks for a password."""

    asked: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "/good")
            self.end_headers()
            return
        if self.path.startswith("http"):  # what a client sends that takes this for its proxy
            self.send_error(407)
            return
        name = self.path.rpartition("/")[2]
        if name not in ("good", "other", "cut", "stop"):
            self.send_error(404)
            return
        self.asked.append(self.headers.get("Range"))
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        body = (b"<html>please log in</html>".ljust(len(BODY)) if name == "other" else BODY)[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        sent = {"cut": len(BODY) // 3 + 1, "stop": 0 if start else 1000}.get(name, len(body))
        self.wfile.write(body[:sent])

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, and no proxy."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("MIEN_MODELS", *PROXIES):
        monkeypatch.delenv(name, raising=False)
    Pages.asked.clear()
    return downloads.cache()


def toy(*urls: str, sha256: str = HASH) -> RemoteFile:
    return RemoteFile("toy.onnx", urls, sha256)


def offer(monkeypatch: pytest.MonkeyPatch, name: str, url: str, **fields: object) -> None:
    """Put a model into the registry."""
    usual = {"kind": "toy", "becomes": "file", "licence": "MIT", "commercial": True, "source": "made here"}
    file = PublicFile(f"{name}.onnx", (url,), **fields.pop("published", {"sha256": HASH}))  # pyright: ignore
    monkeypatch.setitem(registry.models(), name, PublicModel(files=(file,), **usual | fields))  # pyright: ignore


def kept(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir())


def test_a_fetched_file_is_whole_verified_and_found(server: str, cache: Path) -> None:
    path, how = downloads.fetch(toy(f"{server}/redirect"))
    assert path.read_bytes() == BODY
    assert "as published" in how
    assert downloads.find("toy.onnx") == path
    assert kept(cache) == ["toy.onnx"]


def test_what_is_there_is_not_fetched_again_and_what_is_damaged_is(server: str) -> None:
    path, _ = downloads.fetch(toy(f"{server}/good"))
    assert downloads.fetch(toy("http://127.0.0.1:9/nobody"))[0] == path
    path.write_bytes(BODY[:1000])
    assert downloads.fetch(toy(f"{server}/good"))[0].read_bytes() == BODY


@pytest.mark.parametrize(
    "page, error, words", [("/other", ValueError, "SHA-256"), ("/missing", OSError, r"404.*--from FILE.*MIEN_MODELS")]
)
def test_nothing_is_kept_of_another_file(server: str, cache: Path, page: str, error: type, words: str) -> None:
    cache.mkdir(parents=True)
    (cache / "toy.onnx").write_bytes(b"mine")
    with pytest.raises(error, match=words) as raised:
        downloads.fetch(toy(server + page))
    assert server + page in str(raised.value)
    assert kept(cache) == ["toy.onnx"]
    assert (cache / "toy.onnx").read_bytes() == b"mine"


def test_a_cut_transfer_goes_on_at_once(server: str) -> None:
    assert downloads.fetch(toy(f"{server}/cut"))[0].read_bytes() == BODY
    third = len(BODY) // 3 + 1
    assert Pages.asked == [None, f"bytes={third}-", f"bytes={2 * third}-"]


def test_a_transfer_that_stays_cut_goes_on_in_the_next_command(
    server: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OSError, match=r"cut off.*Run the command again: it goes on"):
        downloads.fetch(toy(f"{server}/stop"))
    part = cache / ".toy.onnx.part"
    assert part.stat().st_size == 1000
    monkeypatch.setattr(Pages, "path", "/good", raising=False)
    note = json.loads((cache / ".toy.onnx.part.json").read_text())
    (cache / ".toy.onnx.part.json").write_text(json.dumps(note | {"url": f"{server}/good"}))
    assert downloads.fetch(toy(f"{server}/good"))[0].read_bytes() == BODY
    assert Pages.asked[-1] == "bytes=1000-"
    assert kept(cache) == ["toy.onnx"]


def test_the_next_address_is_tried(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert downloads.fetch(toy(f"{server}/missing", f"{server}/good"))[0].read_bytes() == BODY
    assert f"Trying {server}/good" in capsys.readouterr().err


def test_gits_id_verifies_where_no_hash_is_published(server: str) -> None:
    blob = hashlib.sha1(f"blob {len(BODY)}\0".encode() + BODY).hexdigest()
    assert "git's id" in downloads.fetch(RemoteFile("toy.onnx", (f"{server}/good",), git_blob=blob))[1]
    with pytest.raises(ValueError, match=f"expected git's id {blob}"):
        downloads.fetch(RemoteFile("again.onnx", (f"{server}/other",), git_blob=blob))


def test_without_any_hash_the_first_download_is_what_later_ones_must_equal(server: str, tmp_path: Path) -> None:
    file = RemoteFile("toy.pt", (f"{server}/good",))
    path, how = downloads.fetch(file)
    assert "publishes no hash" in how
    downloads.keep_hash(path, file)
    path.unlink()
    with pytest.raises(ValueError, match="that of the first download"):
        downloads.fetch(file, url=f"{server}/other")
    assert "as at its first download" in downloads.fetch(file)[1]


def test_without_network_the_way_out_is_named() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/toy"
    with pytest.raises(OSError, match=r"cannot be reached.*--from FILE.*MIEN_MODELS"):
        downloads.fetch(toy(url))


def test_a_proxy_that_is_down_or_refuses_is_named(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(OSError, match="Check network and proxy"):
        downloads.fetch(toy("http://models.invalid/toy"))
    monkeypatch.setenv("http_proxy", server)
    with pytest.raises(OSError, match=r"answered 407 .*\(from the proxy\)"):
        downloads.fetch(toy("http://models.invalid/toy"))


def test_the_named_folder_comes_before_the_cache(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached, _ = downloads.fetch(toy(f"{server}/good"))
    mine = tmp_path / "mine"
    mine.mkdir()
    monkeypatch.setenv("MIEN_MODELS", str(mine))
    assert downloads.find("toy.onnx") == cached
    (mine / "toy.onnx").write_bytes(BODY)
    assert downloads.find("toy.onnx") == mine / "toy.onnx"
    monkeypatch.setenv("MIEN_MODELS", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="MIEN_MODELS"):
        downloads.find("toy.onnx")


def test_the_command_gets_and_lists(
    server: str, cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, "toy", f"{server}/good")
    assert main(["models"]) == 0
    assert "mien models get toy" in capsys.readouterr().out
    assert main(["models", "get", "toy"]) == 0
    assert str(cache / "toy.onnx") in capsys.readouterr().out
    assert main(["models", "get", "nobody"]) == 1
    assert "there are yunet" in capsys.readouterr().err


def test_a_licence_without_commercial_use_is_accepted_once(
    server: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, "closed", f"{server}/good", commercial=False, licence="CC BY-NC 4.0")
    assert main(["models", "get", "closed"]) == 1
    assert "--accept-licence" in capsys.readouterr().err
    assert Pages.asked == []
    assert main(["models", "get", "closed", "--accept-licence"]) == 0
    assert main(["models", "get", "closed"]) == 0


def test_a_frame_model_is_got_by_hand_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = expression_network()
    (tmp_path / "toy.onnx").write_bytes(content)
    card = registry.known("fer-opencv").card
    published = {"sha256": hashlib.sha256(content).hexdigest()}
    offer(monkeypatch, "toy-fer", "http://127.0.0.1:9/x", becomes="frame", card=card, published=published)
    assert main(["models", "get", "toy-fer", "--from", str(tmp_path / "toy.onnx")]) == 0
    analyzer = mien.load("toy-fer", device="cpu")
    assert analyzer.names == ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    assert analyzer.card.provenance()["sources"] == ["toy-fer (MIT)"]
    pictures = torch.randint(0, 256, (2, 3, 1, 112, 112), dtype=torch.uint8)
    expected = torch.from_numpy(by_hand(content, pictures[:, :, 0].numpy())).softmax(1)
    torch.testing.assert_close(analyzer.task.predict({"video": pictures}), expected, rtol=1e-5, atol=1e-5)


def by_hand(content: bytes, pictures: np.ndarray) -> np.ndarray:
    """Scores (B, 7) as the owner of ``fer-opencv`` computes them, with the reference implementation of ONNX."""
    from onnx.reference import ReferenceEvaluator

    network = ReferenceEvaluator(onnx.load_from_string(content))
    normal = ((pictures / 255 - 0.5) / 0.5).astype(np.float32)
    given = [network.run(None, {"data": one[None]}) for one in normal]
    return np.concatenate([np.asarray(scores) for (scores,) in given])


def test_every_entry_of_the_registry_is_complete() -> None:
    for name, model in registry.models().items():
        assert (model.becomes == "frame") == (model.card is not None), name
        assert all(file.urls or model.hub or model.by_hand for file in model.files), name
        assert model.commercial != ("NC" in model.licence.split("(")[0]), name


def test_the_published_detector_is_the_one_that_was_measured(media: Path) -> None:
    published = registry.known("yunet").files[0]
    path = media.parent / "models" / published.file
    if not path.is_file():
        pytest.skip("no YuNet file beside the media")
    assert downloads.sha256(path) == published.sha256
    assert path.stat().st_size == published.size
