"""Analyze many videos and sum them up per participant and condition.

mien study recordings.csv --model runs/finetune --participant subject --condition stimulus

The manifest has a column path (and, as you like, start, end in seconds, and any others); a folder of videos will do. Every
video gets a folder as from `mien analyze`; study.csv holds, tidy, a row per video, face and measure, summary.csv a row per
condition and measure, over participants. A video that cannot be read is listed in failures.csv and stops nothing; the same
command goes on where a killed one stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import tyro
from pydantic.dataclasses import dataclass
from tqdm import tqdm

from mien import distributed
from mien.analysis import plots
from mien.analysis.analyzer import Analyzer, load
from mien.analysis.calibration import require_calibration
from mien.analysis.findings import illustrate
from mien.analysis.portraits import Portraits
from mien.analysis.predicting import predict_into
from mien.analysis.sources import open_source
from mien.analysis.study import by_condition, clip_name, condition_plot, tidy
from mien.analysis.timeline import Timeline
from mien.checkpoint import write_whole
from mien.commands.analyze import Shared
from mien.config import STRICT
from mien.interfaces import Clip
from mien.video.manifest import read_manifest, select


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Config(Shared):
    """Options of ``mien study``; those of reading are the same as of ``mien analyze``."""

    videos: tyro.conf.Positional[Path]
    """Manifest (CSV or Parquet with a column path), or folder of videos."""
    output: Path = Path("study")
    """Folder for everything."""
    select: str = ""
    """Rows of the manifest to use, as conditions on columns: 'session=1; group=patient,control'."""
    participant: str = "subject"
    """Column of the manifest that says who is shown; without it every video is a participant."""
    condition: str = "condition"
    """Column of the manifest that says under which condition; without it all have the same."""


def run(config: Config) -> None:
    """Analyze all, then sum up. Raises ``ValueError`` at the end if videos could not be read."""
    clips = select(read_manifest(config.videos), config.select)
    names = clip_name(clips, config.videos)
    done: dict[str, Timeline] = {}
    failures: list[dict[str, str]] = []
    with distributed.session(config.device, config.matmul):
        analyzer = load(config.model, config.device)
        require_calibration(analyzer.calibration, config.coverage)
        for clip, name in zip(tqdm(clips, unit="video", disable=None), names, strict=True):
            try:
                done[name] = analyze_clip(analyzer, clip, config.output / name, config)
            except ValueError as error:
                failures.append({"path": str(clip.path), "reason": str(error)})
            else:
                if done[name].about["stopped"]:
                    failures.append({"path": str(clip.path), "reason": str(done[name].about["stopped"])})
    report(config, [c for c, n in zip(clips, names, strict=True) if n in done], done, failures)


def analyze_clip(analyzer: Analyzer, clip: Clip, folder: Path, config: Config) -> Timeline:
    """One row of the manifest."""
    portraits = Portraits()
    with open_source(clip.path) as whole:
        source = whole.between(clip.start, clip.end)
        timeline = predict_into(
            folder, analyzer, source, config.reading(), config.format, config.overwrite, listen=portraits
        )
        if config.pictures and (config.overwrite or not (folder / "report.html").is_file()):
            illustrate(timeline, source, portraits, folder, config.overlay, True)
    return timeline


def report(config: Config, clips: Sequence[Clip], done: dict[str, Timeline], failures: list[dict[str, str]]) -> None:
    """Write and print what came out."""
    out = config.output
    write_whole(
        out / "failures.csv", lambda p: pd.DataFrame(failures, columns=["path", "reason"]).to_csv(p, index=False)
    )
    for failure in failures:
        print(f"failed: {failure['reason']}", file=sys.stderr)
    if not done:
        raise ValueError(f"none of {len(failures)} videos could be read; {out / 'failures.csv'} says why")
    table = pd.concat(
        [tidy(t, n, c, config.participant, config.condition) for (n, t), c in zip(done.items(), clips, strict=True)],
        ignore_index=True,
    )
    summary = by_condition(table)
    write_whole(out / "study.csv", lambda path: table.to_csv(path, index=False))
    write_whole(out / "summary.csv", lambda path: summary.to_csv(path, index=False))
    plots.save(condition_plot(table), out / "study.png")
    empty = sum(timeline.empty for timeline in done.values())
    print(
        f"{len(done)} videos, {empty} without a face, {len(failures)} with problems; study.csv, summary.csv, study.png in {out}"
    )
    if failures:
        raise ValueError(
            f"{len(failures)} of {len(done) + len(failures)} videos have problems, listed in {out / 'failures.csv'}"
        )
