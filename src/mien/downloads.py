"""Files of others: found on this machine, or fetched into the user's cache, verified, whole or not at all.

mien carries no weights. ``find`` looks in the folder ``MIEN_MODELS`` and then in the user's cache. ``fetch`` downloads from
the first address that answers; a transfer that is cut goes on where it stopped, in the same command and in the next one.
What came is compared with what the owner published (SHA-256, or the id that git has for the content). Where nobody
publishes anything, the hash of the first download is kept, and later ones must equal it.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mien.files import locked, on_disk, publish, write_whole
from mien.progress import progress_bar

CHUNK = 1 << 16
TIMEOUT = 30
"""Seconds without a byte after which a transfer counts as cut."""
TRIES = 5
"""Times that a cut transfer is gone on with at once, if each brought something."""
FIRST_HASHES = "first_downloads.json"
"""File of the cache that keeps the SHA-256 of first downloads by address."""


@dataclass(frozen=True)
class RemoteFile:
    """One published file."""

    file: str
    """Name, here and there."""
    urls: tuple[str, ...]
    """Addresses, tried in order."""
    sha256: str = ""
    git_blob: str = ""
    """Id of the content in git (SHA-1 over ``blob SIZE\\0`` and the content), where no SHA-256 was published."""
    size: int = 0
    """Bytes; 0 where they were not published."""

    @property
    def key(self) -> str:
        """What its first hash is kept under."""
        return self.urls[0] if self.urls else self.file

    def published(self) -> str:
        """What the owner, or somebody else, says that the file is; empty where nobody does."""
        return self.sha256 or self.git_blob


class Cut(OSError):
    """A transfer that ended before its announced length."""


def cache() -> Path:
    """The user's folder for model files: where the platform keeps caches, in ``mien/models``."""
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "mien" / "models"


def folders() -> list[Path]:
    """Where model files are looked for, in order. Raises ``ValueError`` if ``MIEN_MODELS`` names no folder."""
    named = os.environ.get("MIEN_MODELS")
    if named and not Path(named).is_dir():
        raise ValueError(f"MIEN_MODELS={named}: no such folder; correct it or unset it")
    return [*([Path(named)] if named else []), cache()]


def find(name: str) -> Path | None:
    """A file, or the folder of a model, by its name, or None."""
    return next((folder / name for folder in folders() if (folder / name).exists()), None)


def fetch(
    remote: RemoteFile, folder: Path | None = None, url: str = "", source: Path | None = None
) -> tuple[Path, str]:
    """A published file in ``folder`` (the user's cache), and a sentence on how it was verified.

    It is taken from ``source``, a file that was fetched by hand, or else from ``url``, or else from its own addresses, unless
    it is there already. Raises ``OSError`` if nothing comes (no network, proxy, no such page, cut off) and ``ValueError`` if
    what comes is another file. What a cut transfer brought is kept, and the same call goes on from it.
    """
    target = (folder or cache()) / remote.file
    with locked(target.with_name(f".{target.name}.lock")):
        if target.is_file() and matches(target, remote):
            return target, verified(target, remote)
        part = target.with_name(f".{target.name}.part")
        if source is not None:
            if not source.is_file():
                raise ValueError(f"{source}: no such file; --from names a file that was fetched by hand")
            with on_disk(part, part.parent):
                shutil.copyfile(source, part)
        else:
            download(remote, (url,) if url else remote.urls, part)
        if not matches(part, remote):
            found, size = sha256(part), part.stat().st_size
            forget(part)
            came = source or url or remote.key
            raise ValueError(
                f"{came}: not the published {target.name}: SHA-256 {found} ({size} bytes), expected "
                f"{expected(remote)}. A proxy's page or another version? Nothing was kept"
            )
        how = verified(part, remote)
        publish(part, target)
        forget(part)
    return target, how


def matches(path: Path, remote: RemoteFile) -> bool:
    """Whether a file is the published one, or, where nothing is published, the one that came first."""
    if remote.sha256:
        return sha256(path) == remote.sha256
    if remote.git_blob:
        return git_blob(path) == remote.git_blob
    first = first_hashes().get(remote.key)
    return first in (None, sha256(path))


def verified(path: Path, remote: RemoteFile) -> str:
    """How a file that matches was verified."""
    if remote.published():
        return "SHA-256 as published" if remote.sha256 else "git's id of the content as published"
    if remote.key in first_hashes():
        return "SHA-256 as at its first download; its owner publishes none"
    return f"its owner publishes no hash: SHA-256 {sha256(path)} is kept, and later downloads must equal it"


def keep_hash(path: Path, remote: RemoteFile) -> None:
    """Keep the hash of a file that nobody publishes, now that it turned out to be what its name says."""
    if not remote.published() and (known := first_hashes()).get(remote.key) is None:
        text = json.dumps(known | {remote.key: sha256(path)}, indent=2) + "\n"
        write_whole(cache() / FIRST_HASHES, lambda file: file.write_text(text))


def expected(remote: RemoteFile) -> str:
    """What a file should have been, for a message."""
    size = f" ({remote.size} bytes)" if remote.size else ""
    if remote.git_blob and not remote.sha256:
        return f"git's id {remote.git_blob}{size}"
    return (remote.sha256 or f"that of the first download, {first_hashes()[remote.key]}") + size


def first_hashes() -> dict[str, str]:
    """SHA-256 by address of the files that nobody publishes a hash of."""
    file = cache() / FIRST_HASHES
    try:
        return json.loads(file.read_text()) if file.is_file() else {}
    except ValueError as error:
        raise ValueError(f"{file}: not valid JSON ({error}); remove it to trust the next downloads afresh") from error


def download(remote: RemoteFile, urls: tuple[str, ...], part: Path) -> None:
    """Write the first address that answers into ``part``, going on from what is there of it."""
    for number, url in enumerate(urls):
        try:
            transfer(url, part, remote)
            return
        except OSError as error:
            if isinstance(error, Cut) or number == len(urls) - 1:
                raise
            print(f"note: {error}. Trying {urls[number + 1]}", file=sys.stderr)


def transfer(url: str, part: Path, remote: RemoteFile) -> None:
    """One address, gone on with as long as each try brings something."""
    for left in reversed(range(TRIES)):
        before = part.stat().st_size if part.is_file() else 0
        try:
            answer(url, part, remote)
            return
        except Cut:
            if not left or part.stat().st_size <= before:
                raise


def answer(url: str, part: Path, remote: RemoteFile) -> None:
    """One request. Raises ``OSError`` that names the address and the way out, ``Cut`` where going on may help."""
    by_hand = f"Or fetch {Path(remote.file).name} in another way and give it with --from FILE, or its folder as MIEN_MODELS=FOLDER"
    note, done = part.with_name(part.name + ".json"), part.stat().st_size if part.is_file() else 0
    origin = json.loads(note.read_text()) if note.is_file() and done else {}
    same = {"If-Range": origin["tag"]} if origin.get("tag") else {} if remote.published() else None
    headers = {"Range": f"bytes={done}-", **same} if done and origin.get("url") == url and same is not None else {}
    try:
        # A new opener each time: the shared one keeps the proxies of its first use.
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.build_opener().open(request, timeout=TIMEOUT) as reply:
            strong = [tag for tag in reply.headers.get_all("ETag", []) if not tag.startswith("W/")]
            tag = (*strong, reply.headers.get("Last-Modified", ""))[0]
            more = reply.status == 206 and reply.headers.get("Content-Range", "").startswith(f"bytes {done}-")
            length = reply.headers.get("Content-Length")
            total = int(length) + (done if more else 0) if length else None
            with on_disk(part, part.parent):
                part.parent.mkdir(parents=True, exist_ok=True)
                with part.open("ab" if more else "wb") as file:
                    write_whole(note, lambda path: path.write_text(json.dumps({"url": url, "tag": tag})))
                    copy(reply, file, done if more else 0, total, Path(remote.file).name)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # what is kept is longer than the file
            forget(part)
        proxy = " (from the proxy)" if error.code == 407 else ""
        raise OSError(
            f"{url}: answered {error.code} {error.reason}{proxy}. Try again or give --url. {by_hand}"
        ) from error
    except urllib.error.URLError as error:
        raise OSError(f"{url}: cannot be reached: {error.reason}. Check network and proxy. {by_hand}") from error
    except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise Cut(
            f"{url}: the transfer was cut off ({type(error).__name__}). Run the command again: it goes on. {by_hand}"
        ) from error
    except ValueError as error:
        raise ValueError(f"{url}: not an address ({error}); it begins with https://") from error


def copy(reply: http.client.HTTPResponse, file: IO[bytes], done: int, total: int | None, label: str) -> None:
    """Copy a response; raises ``http.client.IncompleteRead`` if it ends before its announced length."""
    with progress_bar(initial=done, total=total, what=label, unit="B", unit_scale=True) as bar:
        while block := reply.read(CHUNK):
            done += file.write(block)
            bar.update(len(block))
    if total is not None and done < total:
        raise http.client.IncompleteRead(b"", total - done)


def forget(part: Path) -> None:
    """Remove what a transfer left."""
    for file in (part, part.with_name(part.name + ".json")):
        file.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_blob(path: Path) -> str:
    """The id that git has for a file of this content."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()
