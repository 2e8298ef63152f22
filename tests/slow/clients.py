"""Attack: many clients of one server at once, for as long as is asked: good videos, broken ones, uploads cut in the middle.

python tests/slow/clients.py --clients 50 --minutes 10
"""

from __future__ import annotations

import argparse
import random
import shutil
import socket
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

import httpx
import numpy as np

from mien.cli import main
from openapi_requests import requests, wrong
from slow.tally import Tally, end, start
from toy_models import pictures, write_model, write_video

PATIENCE = 600.0
"""Seconds in which every job that was taken must be over."""


@dataclass
class Served:
    """A server of one model in a process of its own."""

    folder: Path
    waiting: int = 8
    env: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Served:
        model = write_model(self.folder / "model")
        (self.folder / "tmp").mkdir(exist_ok=True)
        flags = [
            "--model",
            str(model),
            "--port",
            "0",
            "--faces",
            "whole",
            "--matmul",
            "highest",
            "--max-waiting",
            str(self.waiting),
        ]
        self.process = start("serve", *flags, "--device", "cpu", env={"TMPDIR": str(self.folder / "tmp"), **self.env})
        self.said: list[bytes] = []
        first = self.process.stdout.readline() if self.process.stdout else b""
        if b"http://" not in first:
            raise RuntimeError(
                f"the server does not start: {first!r} {self.process.stderr and self.process.stderr.read()!r}"
            )
        self.address = "http://" + first.decode().split("http://")[1].split()[0]
        self.reader = Thread(target=self.read, daemon=True)
        self.reader.start()
        return self

    def read(self) -> None:
        """Keep the pipe of errors empty."""
        for line in self.process.stderr or ():
            self.said.append(line)

    def memory(self) -> float:
        """Megabytes in memory; 0 where the system does not say."""
        status = Path(f"/proc/{self.process.pid}/statm")
        return int(status.read_text().split()[1]) * 4096 / 1e6 if status.is_file() else 0.0

    def __exit__(self, *error: object) -> None:
        end(self.process, 2)
        try:
            self.process.wait(60)
        finally:
            end(self.process)
        self.reader.join(5)


def attack(tally: Tally, until: float, clients: int = 50) -> None:
    """Let ``clients`` use one server until ``until`` (monotonic seconds); counts every upload."""
    folder = Path(tempfile.mkdtemp(prefix="mien-clients-"))
    try:
        with Served(folder) as server:
            before = server.memory()
            known = expected(folder)
            counts: Counter[str] = Counter()
            crowd = [Client(number, server.address, known, until, tally, counts) for number in range(clients)]
            for client in crowd:
                client.start()
            for client in crowd:
                client.join(max(until - time.monotonic(), 0) + PATIENCE)
                if client.is_alive():
                    tally.hang(f"client {client.number} still waits")
                    client.stop.set()
            alive, after = server.process.poll() is None, server.memory()
            if not alive:
                tally.lose(f"the server died with {server.process.poll()}")
        tally.scan(b"".join(server.said).decode(errors="replace"), "mien serve")
        left = [path.name for path in (folder / "tmp").iterdir()]
        if left:
            tally.lose(f"files left behind: {left}")
        told = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
        tally.note = f"{clients} clients at once: {told}; server {before:.0f} MB before, {after:.0f} MB after"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def expected(folder: Path) -> list[tuple[bytes, bytes]]:
    """(video, its frames.csv as `mien analyze` writes it) of four videos."""
    found = []
    for number in range(4):
        video = write_video(folder / "v.mp4", pictures(20 + 10 * number, seed=number))
        flags = [
            "--model",
            str(folder / "model"),
            "--faces",
            "whole",
            "--device",
            "cpu",
            "--matmul",
            "highest",
            "--no-pictures",
        ]
        if main(["analyze", str(video), *flags, "--output", str(folder / f"own{number}")]):
            raise RuntimeError("mien analyze does not read a good video")
        found.append((video.read_bytes(), (folder / f"own{number}" / "frames.csv").read_bytes()))
    return found


class Client(Thread):
    """One visitor, who does one thing after another."""

    def __init__(
        self,
        number: int,
        address: str,
        known: list[tuple[bytes, bytes]],
        until: float,
        tally: Tally,
        counts: Counter[str],
    ) -> None:
        super().__init__(daemon=True)
        self.number, self.address, self.known, self.until = number, address, known, until
        self.tally, self.counts, self.random, self.stop = tally, counts, random.Random(number), Event()

    def run(self) -> None:
        """Until the time is over; what fails is told to the tally."""
        first = True
        try:
            with httpx.Client(base_url=self.address, timeout=PATIENCE) as http:
                while first or time.monotonic() < self.until:
                    self.act(
                        http, "video" if first else self.random.choice(("video", "video", "cut", "garbage", "forget"))
                    )
                    first = False
        except Exception as error:
            self.tally.lose(f"client {self.number}: {type(error).__name__}: {error}")

    def act(self, http: httpx.Client, what: str) -> None:
        """One upload of some kind."""
        self.tally.tried += 1
        content, table = self.random.choice(self.known)
        if what == "cut":
            self.cut(content)
        elif what == "garbage":
            answer = http.post("/api/jobs", content=self.random.randbytes(3000))
            if answer.status_code not in (422, 503):
                self.tally.lose(f"garbage: {answer.status_code} {answer.text[:200]}")
            what = "garbage refused"
        else:
            what = self.video(http, content, table, forget=what == "forget")
        self.counts[what] += 1

    def video(self, http: httpx.Client, content: bytes, table: bytes, forget: bool) -> str:
        """Give a video, wait, and compare its table with that of `mien analyze`."""
        answer = http.post("/api/jobs", params={"name": "v.mp4"}, content=content)
        if answer.status_code == 503:
            self.stop.wait(self.random.uniform(0.5, 2))
            return "told to come later"
        if answer.status_code != 202:
            self.tally.lose(f"a good video: {answer.status_code} {answer.text[:200]}")
            return "refused"
        id, began = answer.json()["id"], time.monotonic()
        if forget and http.delete(f"/api/jobs/{id}").status_code == 204:
            return "cancelled"
        while (job := http.get(f"/api/jobs/{id}").json()).get("state") not in ("done", "failed"):
            if self.stop.wait(0.5) or time.monotonic() - began > PATIENCE:
                self.tally.hang(f"job {id}: {job.get('state')}")
                return "hung"
        if job["state"] == "failed":
            self.tally.lose(f"a good video failed: {job['message']}")
        elif http.get(f"/api/jobs/{id}/files/frames.csv").content != table:
            self.tally.lose(f"job {id}: not the table of mien analyze")
        http.delete(f"/api/jobs/{id}")
        return "read"

    def cut(self, content: bytes) -> None:
        """Begin an upload and go away."""
        host, port = self.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as line:
            head = f"POST /api/jobs HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(content)}\r\n\r\n"
            line.sendall(head.encode() + content[: self.random.randrange(len(content))])


def made_up(tally: Tally, count: int) -> None:
    """``count`` requests from the server's own OpenAPI document, with good, broken and empty bodies."""
    folder = Path(tempfile.mkdtemp(prefix="mien-requests-"))
    try:
        with Served(folder) as server, httpx.Client(base_url=server.address, timeout=120) as http:
            video = write_video(folder / "v.mp4", pictures(20)).read_bytes()
            job = http.post("/api/jobs", params={"wait": True}, content=video).json()
            noise = np.random.default_rng(0).bytes(2000)
            bodies = [b"", noise, b"v=0\r\n", video[:700], video[200:], video]
            for made in requests(http.get("/openapi.json").json(), 1, [job["id"]], bodies, count):
                tally.tried += 1
                try:
                    answer = http.request(made.method, made.url, headers=made.headers, content=made.body)
                except httpx.TimeoutException:
                    tally.hang(f"{made.method} {made.url[:200]}")
                    continue
                except httpx.HTTPError as error:  # the server closed the line: it must be alive, and say so
                    if http.get("/api/about").status_code != 200:
                        tally.lose(f"{made.method} {made.url[:200]}: {error!r}")
                    continue
                if found := wrong(made, answer.status_code, answer.content):
                    tally.lose(found)
        tally.scan(b"".join(server.said).decode(errors="replace"), "mien serve")
        tally.note = "from the server's own OpenAPI document; every status must be one that it names"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def full_disk(tally: Tally, folder: Path) -> None:
    """A server whose temporary folder is on a disk of ``folder`` that fills up: every upload is answered, none is kept."""
    with Served(folder) as server, httpx.Client(base_url=server.address, timeout=PATIENCE) as http:
        small = write_video(folder / "model" / "v.mp4", pictures(20)).read_bytes()
        codes: Counter[Any] = Counter()
        kept: list[str] = []
        for size in (0, 20_000_000, 0, 0, 0, 20_000_000, 3_000_000, 0):
            tally.tried += 1
            answer = http.post("/api/jobs", params={"wait": True}, content=small + bytes(size))
            told = answer.json()
            codes[f"{answer.status_code} {told.get('state', '')}".strip()] += 1
            if answer.status_code == 500 or not (told.get("detail") or told.get("state") in ("done", "failed")):
                tally.lose(f"{len(small) + size} bytes: {answer.status_code} {answer.text[:200]}")
            if told.get("state") == "failed" and "error of the program" in told["message"]:
                tally.lose(f"not said to be the disk: {told['message']}")
            kept += [told["id"]] if told.get("state") == "done" else []
        for id in kept:
            http.delete(f"/api/jobs/{id}")
        again = http.post("/api/jobs", params={"wait": True}, content=small).json()
        if again.get("state") != "done":
            tally.lose(f"with room again: {again}")
        if not codes["507"] or not codes["200 failed"] or not kept:
            tally.lose(f"the full disk was not met at an upload and in a job: {dict(codes)}")
    tally.scan(b"".join(server.said).decode(errors="replace"), "mien serve")
    tally.note = f"answers: {dict(codes)}"


def by_hand() -> None:
    """The attack with options."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--clients", type=int, default=50)
    options.add_argument("--minutes", type=float, default=1.0)
    given = options.parse_args()
    with Tally("clients", Path(tempfile.gettempdir()) / "mien-clients.jsonl") as tally:
        attack(tally, time.monotonic() + 60 * given.minutes, given.clients)
    print(tally.row())


if __name__ == "__main__":
    by_hand()
