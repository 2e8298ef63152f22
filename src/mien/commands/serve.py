"""A page in the browser that reads videos and the camera: overlay and timeline side by side, tables to take away.

mien serve --model runs/finetune

Open the address that it prints. Nothing leaves this machine; videos and results are removed --keep-minutes after a job and
when the server ends. The page's REST interface gives the same tables as `mien analyze`; docs/serve.md shows it.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from mien.calibration.calibration import require_calibration
from mien.config import STRICT
from mien.engine import distributed
from mien.extras import install
from mien.inference.analyzer import Analyzer, load
from mien.inference.predict import ReadConfig
from mien.video.container import FrameLimit

NEEDS = ("fastapi", "uvicorn", "websockets")


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Config(ReadConfig, FrameLimit, distributed.DeviceOptions):
    """Options of ``mien serve``; those of reading are the same as of ``mien analyze``."""

    model: tuple[str, ...] = ("runs/finetune",)
    """Folders of fine-tuned runs, or hf://owner/name, among which the page lets one choose."""
    host: str = "127.0.0.1"
    """Address to listen at; 127.0.0.1 is this machine only, 0.0.0.0 lets everyone in who reaches it: there is no login."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port to listen at; 0 takes a free one."""
    max_megabytes: PositiveFloat = 2000
    """Largest upload in megabytes."""
    max_minutes: PositiveFloat = 60
    """Longest video in minutes."""
    max_waiting: PositiveInt = 20
    """Videos that may wait in the queue; one is read at a time."""
    max_job_megabytes: Annotated[float, Field(ge=100)] = 2000
    """Memory in megabytes that decoding one video may take, which also limits how large its frames may be."""
    isolated: bool = True
    """Decode videos in a process of their own, which may die without taking the server along; --no-isolated saves its
    start for videos that you trust."""
    keep_minutes: PositiveFloat = 60
    """Minutes from the end of a job to the removal of its results; the video itself goes at once."""

    def reading(self) -> ReadConfig:
        """The options that decide the tables."""
        return ReadConfig(**{name: getattr(self, name) for name in ReadConfig.__dataclass_fields__})


def run(config: Config) -> None:
    """Serve until Ctrl-C. Raises ``ValueError`` for a missing extra, a model that does not load, a port that is taken."""
    if missing := [name for name in NEEDS if find_spec(name) is None]:
        raise ValueError(f"the page needs {', '.join(missing)}, of the extra serve: {install('serve')}")
    import uvicorn

    from mien.web.app import application
    from mien.web.folders import temporary_folder
    from mien.web.guard import is_local
    from mien.web.queue import Queue, ServerLimits

    logging.basicConfig(level=logging.WARNING)
    limits = ServerLimits(
        bytes=round(config.max_megabytes * 1e6),
        seconds=60 * config.max_minutes,
        waiting=config.max_waiting,
        keep=60 * config.keep_minutes,
        memory=round(config.max_job_megabytes * 1e6),
        isolated=config.isolated,
    )
    reading = config.reading().resolved()
    with (
        distributed.session(config.device, config.matmul),
        listening(config.host, config.port) as door,
        temporary_folder() as root,
    ):
        analyzers = load_all(config, reading)
        local = is_local(config.host)
        app = application(Queue(analyzers, reading, limits, root), local)
        print(welcome(door, local, config), flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3))
        server.run(sockets=[door])


def load_all(config: Config, reading: ReadConfig) -> dict[str, Analyzer]:
    """The models by name. Crops that do not suit one and calibrations of other weights are refused now, not at a video."""
    analyzers = {}
    for name, model in zip(short_names(config.model), config.model, strict=True):
        analyzers[name] = analyzer = load(model, config.device)
        reading.cropper(analyzer)
        require_calibration(analyzer.calibration, reading.coverage)
    return analyzers


def short_names(models: Sequence[str]) -> list[str]:
    """The ends of paths, as long as it takes to tell them apart; twice the same model is an error."""
    parts = [Path(model).parts for model in models]
    if len(set(parts)) < len(parts):
        raise ValueError(f"--model names a model twice: {' '.join(models)}")
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-count:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return list(models)


def listening(host: str, port: int) -> socket.socket:
    """A bound socket; says what to do where that fails."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ValueError(
            f"cannot listen at {host}:{port} ({error.strerror or error}); choose another --port or --host"
        ) from error


def welcome(door: socket.socket, local: bool, config: Config) -> str:
    """Where the page is, and who can see it."""
    host, port = door.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    who = "this machine only" if local else "EVERYONE who reaches this machine: there is no login"
    return (
        f"mien serve: http://{shown}:{port}  ({who}; results are removed after {config.keep_minutes:g} minutes and at the "
        "end; Ctrl-C ends)"
    )
