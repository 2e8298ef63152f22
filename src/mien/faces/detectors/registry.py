"""Model files of others that mien can use: named here with licence and hash, found on this machine, fetched on request.

mien carries no weights. ``find`` looks for a file by name: first in the folder ``MIEN_MODELS``, then in the user's
cache. ``fetch`` downloads an official file, checks its SHA-256 and moves it into the cache whole or not at all.
"""

from __future__ import annotations

import http.client
import os
import secrets
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.files import publish
from mien.progress import progress_bar
from mien.video.inspection import digest

CHUNK = 1 << 16
TIMEOUT = 30
"""Seconds without a byte after which a transfer counts as cut."""


@dataclass(frozen=True)
class ModelFile:
    """One published file."""

    file: str
    url: str
    sha256: str
    size: int
    """Bytes."""
    licence: str
    what: str


MODELS = {
    "yunet": ModelFile(
        file="face_detection_yunet_2023mar.onnx",
        url="https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/face_detection_yunet_2023mar.onnx",
        sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        size=232589,
        licence="MIT",
        what="YuNet face detector (box and 5 landmarks), OpenCV Zoo",
    )
}


def model_file(name: str) -> ModelFile:
    """A model by name; raises ``ValueError`` that lists the names there are."""
    if name not in MODELS:
        raise ValueError(f"no model {name!r}; there are {', '.join(MODELS)}")
    return MODELS[name]


def cache_folder() -> Path:
    """The user's folder for model files: where the platform keeps caches, in ``mien/models``."""
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "mien" / "models"


def search_folders() -> list[Path]:
    """Where model files are looked for, in order. Raises ``ValueError`` if ``MIEN_MODELS`` names no folder."""
    named = os.environ.get("MIEN_MODELS")
    if named and not Path(named).is_dir():
        raise ValueError(f"MIEN_MODELS={named}: no such folder; correct it or unset it")
    return [*([Path(named)] if named else []), cache_folder()]


def find(name: str) -> Path | None:
    """The file of a named model on this machine, or None."""
    paths = [folder / model_file(name).file for folder in search_folders()]
    return next((path for path in paths if path.is_file()), None)


def fetch(name: str, url: str | None = None, folder: Path | None = None) -> Path:
    """Download a named model into ``folder`` (the user's cache) unless it is there whole already; returns its path.

    Raises ``OSError`` if nothing comes (no network, proxy, no such page, cut off) and ``ValueError`` if what comes is
    another file; neither leaves anything behind.
    """
    model = model_file(name)
    target = (folder or cache_folder()) / model.file
    if target.is_file() and digest(target) == model.sha256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{model.file}.{secrets.token_hex(4)}")
    try:
        with part.open("xb") as file:
            download(url or model.url, file, model)
        check_hash(part, model, url or model.url)
        publish(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target


def download(url: str, part: Any, model: ModelFile) -> None:
    """Write what ``url`` answers into an open file. Raises ``OSError`` that names the address and the way out."""
    by_hand = f"Or fetch the file in another way and name it: --detector-model FILE, or its folder: MIEN_MODELS=FOLDER ({model.file})"
    try:
        # A new opener each time: the shared one keeps the proxies of its first use.
        with urllib.request.build_opener().open(url, timeout=TIMEOUT) as answer:
            length = answer.headers.get("Content-Length")
            copy_response(answer, part, int(length) if length else None, model.file)
    except urllib.error.HTTPError as error:
        proxy = " (from the proxy)" if error.code == 407 else ""
        raise OSError(
            f"{url}: answered {error.code} {error.reason}{proxy}. Try again or give --url. {by_hand}"
        ) from error
    except urllib.error.URLError as error:
        raise OSError(f"{url}: cannot be reached: {error.reason}. Check network and proxy. {by_hand}") from error
    except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise OSError(
            f"{url}: the transfer was cut off ({type(error).__name__}). Run the command again. {by_hand}"
        ) from error
    except ValueError as error:
        raise ValueError(f"{url}: not an address ({error}); it begins with https://") from error


def copy_response(answer: Any, part: Any, length: int | None, label: str) -> None:
    """Copy a response; raises ``http.client.IncompleteRead`` if it ends before its announced length."""
    done = 0
    with progress_bar(total=length, what=label, unit="B", unit_scale=True) as bar:
        while block := answer.read(CHUNK):
            done += part.write(block)
            bar.update(len(block))
    if length is not None and done < length:
        raise http.client.IncompleteRead(b"", length - done)


def check_hash(path: Path, model: ModelFile, url: str) -> None:
    """Raise ``ValueError`` unless a file is the published one."""
    found = digest(path)
    if found != model.sha256:
        raise ValueError(
            f"{url}: not the published {model.file}: SHA-256 {found} ({path.stat().st_size} bytes), expected "
            f"{model.sha256} ({model.size} bytes). A proxy's page or another version? Nothing was kept"
        )
