"""The interactive timeline: a plotly figure, and a page of one file that opens anywhere, offline.

In the page a click on the timeline moves the video to that moment, and a line on the timeline follows the video.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mien.faces.face import Pixels
from mien.inference.timeline import Timeline
from mien.reports.curves import Curve, curves, palette, true_runs
from mien.reports.page import Report, data_url
from mien.reports.timeline_overlay import rgb

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SEEK = """
const plot = document.getElementById('timeline'), video = document.querySelector('video.seek');
if (video) {
  plot.on('plotly_click', e => { video.currentTime = Math.max(0, e.points[0].x - START); });
  const follow = () => Plotly.relayout(plot, {'shapes[0].x0': video.currentTime + START, 'shapes[0].x1': video.currentTime + START});
  ['timeupdate', 'seeked'].forEach(name => video.addEventListener(name, follow));
}
"""

FACES = 6
"""Faces in the tables of the page, as many as curves are drawn of."""
NOT_OPTIONS = ("layout", "mien", "model", "weights", "sources", "input", "file", "frames", "windows", "stopped")
"""Entries of analysis.json that are no options."""


def figure(timeline: Timeline) -> Figure:
    """The timeline as a plotly ``Figure``: a row per face; its first shape is the line of the present moment."""
    from plotly.subplots import make_subplots  # takes most of a second to import

    drawn = curves(timeline)
    titles = [c.title for c in drawn] or ["no face on any frame"]
    rows = max(len(drawn), 1)
    kind, each = PANELS[timeline.layout.outputs.curve]
    height = (each * len(timeline.names) + 60 if each else 210) * rows + 130
    page: Figure = make_subplots(rows=rows, shared_xaxes=True, vertical_spacing=40 / height, subplot_titles=titles)
    start, stop = (float(timeline.frames["timestamp"].iloc[place]) for place in (0, -1))
    page.add_shape(type="line", x0=start, x1=start, y0=0, y1=1, yref="paper", line={"color": "#888", "width": 1})
    for row, curve in enumerate(drawn, 1):
        kind(page, curve, palette(timeline.names), row)
        for first, end in true_runs(~curve.seen):
            mark_unseen(page, curve, first, end, row)
        for first, end in true_runs(curve.unreliable):
            mark_unreliable(page, curve, first, end, row)
    if not drawn:
        page.update_yaxes(visible=False)
    page.update_xaxes(title_text="seconds", row=rows)
    page.update_xaxes(range=[start, max(stop, start + 0.04)])
    page.update_annotations(x=0, xanchor="left")
    page.update_layout(height=height, hovermode="x unified", template="plotly_white", margin={"l": 50, "r": 10, "t": 40, "b": 90}, legend={"traceorder": "normal", "orientation": "h", "yref": "container", "y": 0.01})  # fmt: skip
    return page


def stacked(page: Figure, curve: Curve, colours: dict[str, str], row: int) -> None:
    """Probabilities on top of one another; nothing where the face was not seen."""
    from plotly.graph_objects import Scatter

    for name, values in curve.values.items():
        page.add_trace(
            Scatter(
                x=curve.time.round(3),
                y=np.nan_to_num(values).round(4),
                name=name,
                legendgroup=name,
                showlegend=row == 1,
                mode="lines",
                line={"width": 0.4, "color": colours[name]},
                fillcolor=colours[name],
                stackgroup=f"face {curve.face_id}",
                hovertemplate="%{y:.2f}",
            ),
            row=row,
            col=1,
        )
    page.update_yaxes(range=[0, 1.001], title_text="probability", row=row)


def lines(page: Figure, curve: Curve, colours: dict[str, str], row: int) -> None:
    """Values as lines with their bands."""
    from plotly.graph_objects import Scatter

    x = curve.time.round(3)
    for name, values in curve.values.items():
        shade = f"rgba{(*rgb(colours[name]), 0.18)}"
        edge = {
            "x": x,
            "mode": "lines",
            "line": {"width": 0},
            "legendgroup": name,
            "showlegend": False,
            "hoverinfo": "skip",
        }
        page.add_trace(Scatter(y=curve.low[name].round(4), **edge), row=row, col=1)
        page.add_trace(Scatter(y=curve.high[name].round(4), fill="tonexty", fillcolor=shade, **edge), row=row, col=1)
        line = {"width": 2, "color": colours[name]}
        page.add_trace(Scatter(x=x, y=values.round(4), name=name, legendgroup=name, showlegend=row == 1, mode="lines", line=line, hovertemplate="%{y:.2f}"), row=row, col=1)  # fmt: skip


def shaded(page: Figure, curve: Curve, colours: dict[str, str], row: int) -> None:
    """A row per label, as dark as its probability; any number of them can be told apart."""
    from plotly.graph_objects import Heatmap

    names = list(curve.values)
    shades = np.stack([curve.values[name] for name in names]).round(4)
    page.add_trace(
        Heatmap(
            x=curve.time.round(3), y=names, z=shades, zmin=0, zmax=1, colorscale="Blues", showscale=row == 1,
            colorbar={"title": "probability"}, hovertemplate="%{y} %{z:.2f}<extra></extra>",
        ),
        row=row,
        col=1,
    )  # fmt: skip
    page.update_yaxes(autorange="reversed", row=row)


PANELS = {"stacked": (stacked, 0), "lines": (lines, 0), "rows": (shaded, 18)}
"""What ``Outputs.curve`` may name, and how many pixels high each output is there; 0: panels are as high as others."""


def mark_unseen(page: Figure, curve: Curve, first: int, end: int, row: int) -> None:
    """Grey where the face was not seen."""
    half = (curve.time[1] - curve.time[0]) / 2 if len(curve.time) > 1 else 0.02
    page.add_vrect(x0=curve.time[first] - half, x1=curve.time[end - 1] + half, fillcolor="#888", opacity=0.13, line_width=0, row=row, col=1)  # fmt: skip  # pyright: ignore[reportArgumentType]  plotly takes numbers too


def mark_unreliable(page: Figure, curve: Curve, first: int, end: int, row: int) -> None:
    """Red below where an answer is unreliable, as in ``timeline_plot``."""
    half = (curve.time[1] - curve.time[0]) / 2 if len(curve.time) > 1 else 0.02
    ends = {"x0": curve.time[first] - half, "x1": curve.time[end - 1] + half}
    page.add_shape(
        type="line", **ends, y0=0, y1=0, yref="y domain", line={"color": "#c1121f", "width": 6}, row=row, col=1
    )


def write_page(timeline: Timeline, path: Path, video: Path | None = None, mosaic: Pixels | None = None) -> None:
    """The page: how far to rely on it, video (an MP4, embedded), interactive timeline, faces, mosaic; whole or not at all."""
    report = Report(str(timeline.about.get("input", "timeline")))
    judged = timeline.reliability()
    if judged.warns:
        report.warning(f"{judged.sentence()}.", judged.meaning())
    elif judged.sentence():
        report.text(f"{judged.sentence()}.")
    report.text(f"{timeline.sentence()}.")
    if timeline.about.get("stopped"):
        report.warning(f"The video breaks off: {timeline.about['stopped']}")
    if video is not None:
        source = data_url("video/mp4", video.read_bytes())
        report.raw(f'<figure><video class="seek" controls playsinline muted src="{source}"></video></figure>')
    report.heading("Timeline")
    report.text(
        "Click to move the video there; drag to zoom, double-click to see all. Grey: the face was not seen; red below: not reliable."
    )
    start = float(timeline.frames["timestamp"].iloc[0])
    script = SEEK.replace("START", repr(start))
    plot = figure(timeline).to_html(full_html=False, include_plotlyjs="inline", div_id="timeline", post_script=script, config={"responsive": True, "displaylogo": False})  # fmt: skip
    report.raw(f'<div class="wide">{plot}</div>')
    write_faces(report, timeline)
    if mosaic is not None:
        report.figure(mosaic, "What the model was shown; red: not seen on that frame, or a faint detection")
    report.heading("How this was made")
    report.table(provenance_rows(timeline.about), ("what", "value"))
    report.text("analysis.json beside the tables holds the same for programs, with full paths and hashes.")
    report.save(path)


def write_faces(report: Report, timeline: Timeline) -> None:
    """Who was seen for how long, and under it the mean of every output: two narrow tables instead of one that is cut off."""
    report.heading("Faces")
    summary = timeline.summary()
    if summary.empty:
        report.text("No face was seen, so there is nothing to sum up.")
        return
    times = np.unique(timeline.frames["timestamp"].to_numpy(float))
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    chosen = summary.nlargest(FACES, "frames", keep="all").head(FACES).sort_values("face_id").to_dict("records")
    rows = [
        {
            "face": row["face_id"],
            **({"person": row["person"]} if timeline.layout.persons else {}),
            "seen (s)": f"{row['frames'] * step:.1f}",
            "from (s)": f"{row['first']:.1f}",
            "to (s)": f"{row['last']:.1f}",
            "confidence": f"{row['confidence']:.2f}",
            "not reliable": "not known" if pd.isna(row["unreliable"]) else f"{row['unreliable']:.0%}",
        }
        | ({timeline.layout.label: row[timeline.layout.label]} if timeline.layout.label else {})
        for row in chosen
    ]
    report.table(rows)
    means = [
        {"": name} | {f"face {row['face_id']}": f"{row[name]:.2f} ± {row[f'{name}_sd']:.2f}" for row in chosen}
        for name in timeline.names
    ]
    report.table(means)
    left = len(summary) - len(chosen)
    more = f" The {FACES} faces seen longest; the tables hold {left} more." if left else ""
    report.text(f"Mean over the time that a face was seen ± standard deviation over that time.{more}")


def provenance_rows(about: Mapping[str, object]) -> list[dict[str, object]]:
    """What a page tells of how it was made: names instead of this machine's folders, the beginning of long hashes."""
    counts = f"{about.get('frames', '?')} frames, {about.get('windows', '?')} windows"
    rows: list[tuple[str, object]] = [
        ("video", f"{about.get('input', '')} ({counts})"),
        ("model", Path(str(about.get("model", ""))).name),
        ("weights (SHA-256)", str(about.get("weights") or "")[:12]),
        ("mien", about.get("mien", "")),
    ]
    sources = about.get("sources")
    rows += [("began from", source) for source in sources] if isinstance(sources, list) else []
    options = {key: value for key, value in about.items() if key not in NOT_OPTIONS}
    rows += [(f"--{key}", value) for key, value in flattened(options) if value not in (None, "")]
    return [{"what": key, "value": value} for key, value in rows]


def flattened(values: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    """Nested options -> (dotted name, value); a path is its last part."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{before}{key}.")
        else:
            path = Path(value) if isinstance(value, str) else Path()
            yield f"{before}{key}", path.name if path.is_absolute() else value
