"""A self-contained HTML page: text, tables, pictures and videos in one file that opens anywhere, offline.

report = Report("Evaluation")
report.heading("Held-out subjects")
report.table([{"start": "pre-trained", "UAR": 0.81}, {"start": "from scratch", "UAR": 0.33}])
report.figure(plots.confusion_matrix(counts, names), "Rows are the truth")
report.save(folder / "report.html")
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from mien.files import write_whole
from mien.names import printable
from mien.reports import plots

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1d2127; --soft: #59616b; --line: #d9dde2;
  --alarm: #b3261e; --alarmed: #fdf0ef; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15181c; --ink: #e4e7ea; --soft: #a0a8b1; --line: #363c44; --alarm: #ff8a80; --alarmed: #3a1d1b; }
}
* { box-sizing: border-box }
body { font: 1rem/1.6 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2.5rem auto 4rem; padding: 0 1.1rem; overflow-wrap: break-word }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .6rem }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .8rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line) }
p { max-width: 44rem }
.warning { max-width: none; margin: 1rem 0; padding: .7rem 1rem; border-left: .4rem solid var(--alarm);
  border-radius: 4px; background: var(--alarmed) }
.warning strong { color: var(--alarm) }
figure { margin: 1.2rem 0; break-inside: avoid }
img, video { display: block; max-width: 100%; height: auto; border-radius: 6px }
img { background: #fff } video { min-width: min(20rem, 100%) }
figcaption { color: var(--soft); font-size: .9rem; margin-top: .35rem }
.row { display: grid; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); gap: 1rem;
  margin: 1.2rem 0 }
.row figure { margin: 0 } .row video { width: 100% }
.wide { overflow-x: auto; margin: 1.2rem 0 }
table { border-collapse: collapse; font-size: .95rem; break-inside: avoid }
td, th { padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); text-align: right;
  font-variant-numeric: tabular-nums }
th { font-weight: 600; color: var(--soft); white-space: nowrap }
td:first-child, th:first-child { text-align: left }
td + td, th + th { padding-left: .9rem }
@media print {
  :root { color-scheme: light; --paper: #fff; --ink: #000; --soft: #444; --line: #bbb; }
  body { margin: 0; max-width: none } h2 { break-after: avoid }
}
"""

SHOW, HIDE = "this.controls=true", "if(this.paused)this.controls=false"
HOVER = f'onpointerenter="{SHOW}" onfocus="{SHOW}" ontouchstart="{SHOW}" onpointerleave="{HIDE}" onblur="{HIDE}"'
"""What shows the controls of a video only while somebody is at it."""


class Report:
    """Collects the parts of a page in order; everything given is escaped."""

    def __init__(self, title: str) -> None:
        self.title, self.parts = title, [f"<h1>{escape(title)}</h1>"]

    def heading(self, text: str) -> None:
        """A section."""
        self.parts.append(f"<h2>{escape(text)}</h2>")

    def text(self, text: str) -> None:
        """A paragraph, taken literally: no markup."""
        self.parts.append(f"<p>{escape(text)}</p>")

    def warning(self, text: str, more: str = "") -> None:
        """A paragraph in the colour of a warning, for what a reader must not miss; ``more`` follows in plain weight."""
        self.parts.append(f'<p class="warning" role="alert"><strong>{escape(text)}</strong> {escape(more)}</p>')

    def table(self, rows: Sequence[Mapping[str, object]], columns: Sequence[str] | None = None) -> None:
        """Rows under ``columns``, by default all keys as they first occur; what a row lacks stays empty."""
        names = list(dict.fromkeys(key for row in rows for key in row)) if columns is None else list(columns)
        if not names:
            raise ValueError("a table without rows needs columns")
        head = table_row("th", names)
        body = "\n".join(table_row("td", [format_cell(row.get(name)) for name in names]) for row in rows)
        table = f"<table><thead>{head}</thead><tbody>\n{body}\n</tbody></table>"
        self.parts.append(f'<div class="wide">{table}</div>')

    def raw(self, html: str) -> None:
        """A part that is HTML already, such as an interactive figure."""
        self.parts.append(html)

    def figure(self, content: Figure | bytes | NDArray[np.uint8], caption: str = "") -> None:
        """A matplotlib figure, PNG bytes or an image (H, W, 3), in its own size or as wide as the page."""
        self.picture(as_png(content), caption)

    def picture(self, png: bytes, caption: str = "") -> None:
        """A PNG; other bytes raise ``ValueError``."""
        if not png.startswith(b"\x89PNG\r\n\x1a\n"):
            raise ValueError(f"picture {caption!r} is not a PNG: it starts with {png[:8]!r}")
        image = f'<img alt="{escape(caption)}" src="{data_url("image/png", png)}">'
        self.parts.append(f"<figure>{image}{figcaption(caption)}</figure>")

    def video(self, path: Path, caption: str = "") -> None:
        """An MP4 file, embedded, that plays when asked."""
        self.parts.append(video_figure(path, caption))

    def videos(self, files: Mapping[str, Path], posters: Mapping[str, bytes] | None = None) -> None:
        """MP4 files by caption, side by side. Each shows its poster (PNG) until it is played.

        Controls cover a good part of a small picture: they appear under the pointer, on a touch or by the tab key.
        """
        shown = posters or {}
        figures = "\n".join(video_figure(path, caption, shown.get(caption), True) for caption, path in files.items())
        self.parts.append(f'<div class="row">\n{figures}\n</div>')

    def html(self) -> str:
        """The page."""
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(self.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
            + "\n".join(self.parts)
            + "\n</main>\n</body>\n</html>\n"
        )

    def save(self, path: Path) -> None:
        """Write the page, whole or not at all."""
        write_whole(path, lambda beside: beside.write_text(printable(self.html()), encoding="utf-8"))


def as_png(content: Figure | bytes | NDArray[np.uint8]) -> bytes:
    """A figure or a uint8 image (H, W, 3) or (H, W) as PNG; bytes as they are."""
    if isinstance(content, bytes):
        return content
    if isinstance(content, Figure):
        return plots.png(content)
    if content.dtype != np.uint8:
        raise ValueError(f"images are uint8, this is {content.dtype} {content.shape}")
    buffer = BytesIO()
    Image.fromarray(content).save(buffer, format="PNG")
    return buffer.getvalue()


def video_figure(path: Path, caption: str, poster: bytes | None = None, hover: bool = False) -> str:
    """A video with its caption; ``poster`` (PNG) stands there until it plays, ``hover`` hides the controls until then."""
    source = data_url("video/mp4", path.read_bytes())
    options = "loop muted playsinline" + (f' poster="{data_url("image/png", poster)}"' if poster else "")
    options += f' tabindex="0" aria-label="{escape(caption)}" {HOVER}' if hover else " controls"
    return f'<figure><video {options} src="{source}"></video>{figcaption(caption)}</figure>'


def table_row(cell: str, texts: Sequence[str]) -> str:
    """One row of a table."""
    return "<tr>" + "".join(f"<{cell}>{escape(text)}</{cell}>" for text in texts) + "</tr>"


def format_cell(value: object) -> str:
    """A table cell: fractions to four significant digits, nothing for None and NaN."""
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
        return ""
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)


def data_url(kind: str, content: bytes) -> str:
    """A data URL."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def figcaption(caption: str) -> str:
    """A caption, if there is one."""
    return f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
