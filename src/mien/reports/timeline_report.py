"""Everything that a finished analysis leaves for a person: plot, mosaic, overlay video, annotation file, page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from mien.inference.sources import Source
from mien.inference.timeline import Timeline
from mien.reports import plots
from mien.reports.portraits import Portraits, portraits_from_table
from mien.reports.timeline_overlay import overlay
from mien.reports.timeline_page import write_page
from mien.reports.timeline_plots import mosaic, timeline_plot


def illustrate(
    timeline: Timeline, source: Source, portraits: Portraits, folder: Path, video: bool, progress: bool
) -> list[Path]:
    """Write timeline.png, mosaic.png, timeline.eaf, report.html and, if asked for, overlay.mp4; returns what was written.

    ``portraits`` that heard nothing, since the tables were finished before, are made from the tables.
    """
    plots.save(timeline_plot(timeline), folder / "timeline.png")
    sheet = folder / "mosaic.png"
    if portraits.kept or timeline.empty:
        plots.save_png(mosaic(portraits.chosen()), sheet)
    elif not sheet.is_file():  # an analysis that was finished before: nobody listened to it
        plots.save_png(mosaic(portraits_from_table(timeline, source) if source.repeatable else {}), sheet)
    video_file = source.path if source.path is not None and source.path.is_file() else None
    timeline.to_elan(folder / "timeline.eaf", video_file)
    written = [folder / "timeline.png", sheet, folder / "timeline.eaf", folder / "report.html"]
    film = folder / "overlay.mp4"
    if video and source.repeatable:
        overlay(timeline, source, film, progress)
        written.append(film)
    with Image.open(sheet) as picture:
        write_page(
            timeline, folder / "report.html", film if film.is_file() else None, np.asarray(picture.convert("RGB"))
        )
    return written
