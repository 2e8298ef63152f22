"""Analyze many videos and sum them up per participant and condition.

mien study recordings.csv --model runs/finetune --participant subject --condition stimulus

The manifest has a column path (and, as you like, start, end in seconds, and any others); a folder of videos will do. Every
video gets a folder as from `mien analyze`; study.csv holds, tidy, a row per video, face and measure, participants.csv a row
per participant, condition and measure, summary.csv a row per condition and measure, over participants. All say how much of
the time the answers are not reliable. A video that cannot be read is listed in failures.csv and stops nothing; the same
command goes on where a killed one stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import tyro
from pydantic.dataclasses import dataclass

from mien.calibration.calibration import require_calibration
from mien.commands.analyze import AnalysisOptions
from mien.config import STRICT
from mien.engine import distributed
from mien.faces.identity import persons
from mien.files import remove_files, write_whole
from mien.inference.analyzer import Analyzer, load
from mien.inference.persons import read_vectors, renumber
from mien.inference.predict import predict_into
from mien.inference.reliability_share import combined
from mien.inference.sources import open_source
from mien.inference.timeline import Timeline
from mien.interfaces import Clip
from mien.names import printable, write_csv
from mien.progress import progress_bar
from mien.reports import plots
from mien.reports.portraits import Portraits
from mien.reports.study import (
    Study,
    condition_means,
    condition_plot,
    folder_names,
    participant_means,
    require_column,
    tidy_rows,
)
from mien.reports.timeline_report import illustrate
from mien.video.manifest import read_manifest, select


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Config(AnalysisOptions):
    """Options of ``mien study``; those of reading are the same as of ``mien analyze``."""

    videos: tyro.conf.Positional[Path]
    """Manifest (CSV or Parquet with a column path), or folder of videos."""
    output: Path = Path("study")
    """Folder for everything."""
    select: str = ""
    """Rows of the manifest to use, as conditions on columns: 'session=1; group=patient,control'."""
    participant: str | None = None
    """Column of the manifest that says who is shown; left out: subject, or where there is no such column every video is
    a participant of its own."""
    condition: str | None = None
    """Column of the manifest that says under which condition; left out: condition, or where there is no such column all
    have the same."""
    reliable_only: bool = False
    """Take means over reliable frames only; needs a model that mien calibrate has calibrated."""


def run(config: Config) -> Study:
    """Analyze all, then sum up. Raises ``ValueError`` at the end if videos could not be read."""
    clips = select(read_manifest(config.videos), config.select)
    who = require_column(clips, config.participant, "participant", "subject")
    what = require_column(clips, config.condition, "condition", "condition")
    names = folder_names(clips, config.videos)
    done: dict[str, Timeline] = {}
    failures: list[dict[str, object]] = []
    with distributed.session(config.device, config.matmul):
        analyzer = load(config.model, config.device)
        require_calibration(analyzer.calibration, config.coverage)
        if config.reliable_only and analyzer.calibration is None:
            raise ValueError(
                f"--reliable-only: {config.model} is not calibrated, so that nobody can tell; mien calibrate first"
            )
        for clip, name in zip(progress_bar(clips, "videos", total=len(clips), unit="video"), names, strict=True):
            try:
                done[name] = analyze_clip(analyzer, clip, config.output / name, config)
            except (ValueError, OSError) as error:
                failures.append({"path": clip.path, "reason": printable(str(error))})
            else:
                if done[name].about["stopped"]:
                    failures.append({"path": clip.path, "reason": printable(str(done[name].about["stopped"]))})
    read = {name: clip for clip, name in zip(clips, names, strict=True) if name in done}
    if config.identity != "none":
        done = with_joined_faces(done, read, config)
    remove_files(config.output, ("study.png", "summary.csv", "participants.csv", "study.csv", "failures.csv"))
    write_failures(config.output, failures, bool(done))
    tables = [tidy_rows(done[n], n, clip, who, what, config.reliable_only) for n, clip in read.items()]
    return report(config, pd.concat(tables, ignore_index=True), done, (who, what), len(failures))


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


def with_joined_faces(done: dict[str, Timeline], clips: dict[str, Clip], config: Config) -> dict[str, Timeline]:
    """The timelines with persons that are numbered over all videos, in their folders too; changed pictures are drawn anew."""
    joined = dict[str, Timeline]()
    found = persons([read_vectors(config.output / name) for name in done], config.threshold)
    for (name, timeline), who in zip(done.items(), found, strict=True):
        folder, joined[name] = config.output / name, timeline
        if not renumber(folder, timeline, who):
            continue
        joined[name] = Timeline.load(folder)
        if config.pictures:
            with open_source(clips[name].path) as whole:
                source = whole.between(clips[name].start, clips[name].end)
                illustrate(joined[name], source, Portraits(), folder, video=False, progress=False)
    return joined


def write_failures(out: Path, failures: list[dict[str, object]], any_read: bool) -> None:
    """List what could not be read; raises ``ValueError`` if that is everything."""
    table = pd.DataFrame(failures, columns=["path", "reason"])
    write_whole(out / "failures.csv", lambda path: write_csv(table, path))
    for failure in failures:
        print(f"failed: {failure['reason']}", file=sys.stderr)
    if not any_read:
        raise ValueError(f"none of {len(failures)} videos could be read; {out / 'failures.csv'} says why")


def report(
    config: Config, table: pd.DataFrame, done: dict[str, Timeline], columns: tuple[str, str], failures: int
) -> Study:
    """Write and print what came out, how far to rely on it first; ``columns`` are participant and condition, or ''."""
    out = config.output
    bounds = next(iter(done.values())).layout.outputs.bounds
    people, summary = participant_means(table), condition_means(table, bounds)
    for name, rows in (("study", table), ("participants", people), ("summary", summary)):
        write_whole(out / f"{name}.csv", lambda path, rows=rows: write_csv(rows, path))
    plots.save(condition_plot(table, columns[1], bounds), out / "study.png")
    print("\n".join(notes(table, people, list(done.values()), columns, config.reliable_only)))
    empty = sum(timeline.empty for timeline in done.values())
    print(
        f"{len(done)} videos, {empty} without a face, {failures} with problems; study.csv, participants.csv, summary.csv, "
        f"study.png in {out}"
    )
    if failures:
        raise ValueError(f"{failures} of {len(done) + failures} videos have problems, listed in {out / 'failures.csv'}")
    return Study(out, table, people, summary, done)


def notes(
    table: pd.DataFrame, people: pd.DataFrame, read: Sequence[Timeline], columns: tuple[str, str], reliable_only: bool
) -> list[str]:
    """What a reader has to know before the numbers."""
    share = combined([timeline.reliability() for timeline in read])
    lines = [share.sentence()] if share.sentence() else []
    alone = set(people.loc[people["only_unreliable"].eq(True), "participant"])
    everyone = set(people["participant"])
    if alone and not reliable_only:
        lines.append(
            f"{len(alone)} of {len(everyone)} participants have means that rest on unreliable frames only, marked "
            "in the column only_unreliable and as red rings; --reliable-only leaves them out"
        )
    if reliable_only:
        left = len(set(table["participant"]) - everyone)
        lines.append(f"means over reliable frames only; {left} participants have none and are left out")
    if not columns[0] and len(read) > 1:
        lines.append(
            "no column subject: every video counts as a participant of its own, so videos of one person are taken as "
            "independent and intervals are too narrow; --participant names the column"
        )
    return lines
