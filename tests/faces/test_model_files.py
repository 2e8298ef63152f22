"""Model files are fetched whole and checked, or not at all: against a server on this machine that misbehaves."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mien.cli import main
from mien.faces.detectors import registry

BODY = bytes(range(256)) * 1024


class Pages(BaseHTTPRequestHandler):
    """/good sends the file, /other another, /cut stops half way, as a proxy it asks for a password, else 404."""

    def do_GET(self) -> None:
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "/good")
            self.end_headers()
            return
        if self.path.startswith("http"):  # what a client sends that takes this for its proxy
            self.send_error(407)
            return
        if self.path not in ("/good", "/other", "/cut"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        body = b"<html>please log in</html>".ljust(len(BODY)) if self.path == "/other" else BODY
        self.wfile.write(body[: len(body) // 2] if self.path == "/cut" else body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A model named ``toy`` and an empty cache folder to put it into."""
    published = registry.ModelFile(
        "toy.onnx", "http://127.0.0.1:9/toy", hashlib.sha256(BODY).hexdigest(), len(BODY), "MIT", "toy"
    )
    monkeypatch.setitem(registry.MODELS, "toy", published)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MIEN_MODELS", raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return registry.cache_folder()


def test_a_fetched_file_is_whole_checked_and_found(server: str, toy: Path) -> None:
    path = registry.fetch("toy", f"{server}/redirect")
    assert path.read_bytes() == BODY
    assert registry.find("toy") == path
    assert list(toy.iterdir()) == [path]


def test_what_is_there_already_is_not_fetched_again_and_what_is_damaged_is(server: str, toy: Path) -> None:
    path = registry.fetch("toy", f"{server}/good")
    assert registry.fetch("toy", "http://127.0.0.1:9/nobody") == path
    path.write_bytes(BODY[:1000])
    assert registry.fetch("toy", f"{server}/good").read_bytes() == BODY


@pytest.mark.parametrize(
    "page, error, words",
    [
        ("/other", ValueError, "SHA-256"),
        ("/cut", OSError, "cut off"),
        ("/missing", OSError, "404"),
    ],
)
def test_nothing_is_kept_of_a_failed_transfer(server: str, toy: Path, page: str, error: type, words: str) -> None:
    with pytest.raises(error, match=words) as raised:
        registry.fetch("toy", server + page)
    assert server + page in str(raised.value)
    assert list(toy.iterdir()) == []


def test_a_failed_transfer_leaves_the_file_before_as_it_was(server: str, toy: Path) -> None:
    toy.mkdir(parents=True)
    (toy / "toy.onnx").write_bytes(b"mine")
    with pytest.raises(ValueError, match="not the published"):
        registry.fetch("toy", f"{server}/other")
    assert (toy / "toy.onnx").read_bytes() == b"mine"


def test_without_network_the_way_out_is_named(toy: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/toy"
    with pytest.raises(OSError, match=r"cannot be reached.*--detector-model FILE.*MIEN_MODELS"):
        registry.fetch("toy", url)


def test_a_proxy_that_is_down_or_refuses_is_named(server: str, toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(OSError, match="Check network and proxy"):
        registry.fetch("toy", "http://models.invalid/toy")
    monkeypatch.setenv("http_proxy", server)
    with pytest.raises(OSError, match=r"answered 407 .*\(from the proxy\)"):
        registry.fetch("toy", "http://models.invalid/toy")


def test_the_named_folder_comes_before_the_cache(
    server: str, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = registry.fetch("toy", f"{server}/good")
    mine = tmp_path / "mine"
    mine.mkdir()
    monkeypatch.setenv("MIEN_MODELS", str(mine))
    assert registry.find("toy") == cached
    (mine / "toy.onnx").write_bytes(BODY)
    assert registry.find("toy") == mine / "toy.onnx"
    monkeypatch.setenv("MIEN_MODELS", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="MIEN_MODELS"):
        registry.find("toy")


def test_the_command_gets_and_lists(server: str, toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert "mien models get toy" in capsys.readouterr().out
    assert main(["models", "get", "toy", "--url", f"{server}/good"]) == 0
    assert str(toy / "toy.onnx") in capsys.readouterr().out
    assert main(["models", "get", "nobody"]) == 1
    assert "there are yunet" in capsys.readouterr().err


def test_the_published_detector_is_the_one_that_was_measured(media: Path) -> None:
    path = media.parent / "models" / registry.MODELS["yunet"].file
    if not path.is_file():
        pytest.skip("no YuNet file beside the media")
    assert registry.digest(path) == registry.MODELS["yunet"].sha256
    assert path.stat().st_size == registry.MODELS["yunet"].size
