"""Read a video: who shows what, when, how sure. Tables, pictures and a page.

mien analyze VIDEO --model runs/finetune

VIDEO is a file, a folder of frames, or a camera's number (0), which is read live until Ctrl-C. The folder --output holds
frames.csv (a row per frame and face), windows.csv, timeline.png, mosaic.png, timeline.eaf (for ELAN), overlay.mp4 and
report.html; docs/analyze.md explains every column. A job that is killed goes on when the same command is given again, with the same tables. In Python:
mien.load("runs/finetune").predict("video.mp4").frames
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import tyro
from pydantic.dataclasses import dataclass

from mien.calibration.calibration import require_calibration
from mien.config import STRICT, changed
from mien.engine import distributed
from mien.files import LOCK
from mien.inference.analyzer import Analyzer, load
from mien.inference.journal import Journal
from mien.inference.live import LiveConfig, LiveStatistics, live
from mien.inference.predict import ReadConfig, predict_into
from mien.inference.profiling import Profile
from mien.inference.reliability_share import UNCALIBRATED
from mien.inference.sources import Source, camera, open_source
from mien.inference.tables import reliability_cells, row_of
from mien.inference.timeline import Timeline
from mien.inference.window_prediction import Floats
from mien.names import folder_name
from mien.reports.portraits import Portraits
from mien.reports.timeline_report import illustrate
from mien.video.container import FrameLimit
from mien.video.decode import VIDEOS, ends_in
from mien.video.stream import Frame


@dataclass(frozen=True, config=STRICT, kw_only=True)
class AnalysisOptions(ReadConfig, FrameLimit, distributed.DeviceOptions):
    """What ``mien analyze`` and ``mien study`` have in common."""

    model: str = "runs/finetune"
    """Folder of a fine-tuned run, or hf://owner/name."""
    format: Literal["csv", "parquet"] = "csv"
    """Format of the tables."""
    pictures: bool = True
    """Write timeline.png, mosaic.png, timeline.eaf (for ELAN) and report.html, and overlay.mp4 as below; without it tables
    alone."""
    overlay: bool = True
    """Write overlay.mp4, the video with boxes and bars, and put it into the page; decodes the video once more."""
    overwrite: bool = False
    """Replace what another analysis left in the folder."""


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Config(AnalysisOptions):
    """Options of ``mien analyze``; those of reading are also keywords of ``Analyzer.predict``."""

    video: tyro.conf.Positional[str]
    """Video file, folder of frames, or number of a camera."""
    output: Path | None = None
    """Folder for everything; by default analysis/NAME, for a camera none."""
    live: LiveConfig = LiveConfig()
    profile: bool = False
    """Print where the time went."""


def writes(config: Config) -> Path | None:
    """The lock of the folder that is written; none for a camera without one."""
    if config.output is None and config.video.isdigit() and not Path(config.video).exists():
        return None
    return folder_of(config) / LOCK


def folder_of(config: Config) -> Path:
    """Where the tables of a video go."""
    return config.output or Path("analysis") / folder_name(Path(config.video).stem)


def run(config: Config) -> Timeline | LiveStatistics:
    """Analyze and say what came out. Raises ``ValueError`` when a video breaks off, after everything before is written."""
    with distributed.session(config.device, config.matmul):
        analyzer = load(config.model, config.device)
        require_calibration(analyzer.calibration, config.coverage)
        if config.video.isdigit() and not Path(config.video).exists():
            refuse_unread(config)
            return watch_live(analyzer, camera(int(config.video)), config)
        if given := changed(config.live, "live"):
            raise ValueError(f"{', '.join(given)}: for a camera, and {config.video} is a video; leave it out")
        path = Path(config.video)
        if path.is_dir() and any(ends_in(f.name, VIDEOS) for f in path.iterdir()):
            raise ValueError(f"{path} is a folder of videos: mien study {path} --model {config.model} reads them all")
        folder = folder_of(config)
        with open_source(path) as source:
            timeline = analyze(analyzer, source, folder, config)
    if timeline.about["stopped"]:
        raise ValueError(f"{timeline.about['stopped']}. What could be read is in {folder}")
    return timeline


def refuse_unread(config: Config) -> None:
    """Options that a camera does not honour: it writes one table, live.csv, on the clock of its own frames."""
    unread = ("format", "overwrite", "profile", "offset", "sync_mark", "hop", "batch", "max_pixels",
              "identity", "same_person")  # fmt: skip
    if given := [flag for flag in changed(config) if flag.lstrip("-") in unread]:
        raise ValueError(f"{', '.join(given)}: for videos, not for a camera; leave it out")


def analyze(analyzer: Analyzer, source: Source, folder: Path, config: Config) -> Timeline:
    """One video into one folder."""
    portraits, profile = Portraits(), Profile()
    timeline = predict_into(
        folder, analyzer, source, config.reading(), config.format, config.overwrite, profile=profile, listen=portraits
    )
    if reliability := timeline.reliability().sentence():
        print(reliability)
    print(timeline.sentence())
    if config.profile:
        print("\n".join(profile.lines(float(timeline.frames["timestamp"].iloc[-1]))))
    if config.pictures:
        written = illustrate(timeline, source, portraits, folder, config.overlay, progress=True)
        print("; ".join(str(path) for path in written), file=sys.stderr)
    print(f"tables in {folder}")
    return timeline


LIVE = ("frame", "timestamp", "face_id", "latency", "dropped", "reliable", "reasons")
"""First columns of live.csv; the model's outputs follow."""


def watch_live(analyzer: Analyzer, frames: Iterable[Frame], config: Config) -> LiveStatistics:
    """Print what a camera shows, a line per face and reading, and append it to live.csv in --output."""
    tally, names = LiveStatistics(), analyzer.names
    if analyzer.calibration is None:
        print(UNCALIBRATED)
    journal = Journal(config.output / "live.csv", (*LIVE, *names)) if config.output else None
    try:
        for moment in live(analyzer, frames, config.reading(), config.live, tally):
            time, late = moment.faces.frame.time, round(moment.latency, 4)
            for face, answer in moment.predictions.items():
                doubts = f"not reliable: {', '.join(answer.reasons)}  " if answer.reasons else ""
                print(
                    f"{time:8.2f} s  face {face}  {doubts}{shown(analyzer, answer.values)}  {1000 * late:.0f} ms late"
                )
                if journal:
                    values = [round(float(v), 6) for v in answer.values]
                    trusted = row_of(reliability_cells(answer.reasons), ("reliable", "reasons"))
                    journal.append([[moment.number, round(time, 6), face, late, moment.dropped, *trusted, *values]])
    except KeyboardInterrupt:
        print()
    print(tally.sentence())
    if journal:
        journal.finish(analyzer.layout())
    return tally


def shown(analyzer: Analyzer, values: Floats) -> str:
    """The largest class with its probability, or all values."""
    if analyzer.outputs.exclusive:
        best = int(values.argmax())
        return f"{analyzer.names[best]:<12} {values[best]:.2f}"
    form = ".2f" if analyzer.outputs.bounds else "+.2f"
    return "  ".join(f"{name} {value:{form}}" for name, value in zip(analyzer.names, values, strict=True))
