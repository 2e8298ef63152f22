"""A self-contained HTML page: text, tables, pictures and videos in one file that opens anywhere, offline."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from mien.checkpoint import write_whole

STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.9rem; margin-bottom: .2rem } h2 { margin-top: 2.4rem; border-bottom: 1px solid var(--line) }
figure { margin: 1.2rem 0 } img, video { max-width: 100%; height: auto; background: #fff; border-radius: 6px }
figcaption { opacity: .75; font-size: .92rem } .row { display: flex; flex-wrap: wrap; gap: 1rem }
.row figure { margin: 0; flex: 1 1 8rem; max-width: 12rem } .row video, .row img { width: 100% }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .35rem .8rem; border-bottom: 1px solid var(--line) }
td { font-variant-numeric: tabular-nums; text-align: right } td:first-child, th { text-align: left }
"""


class Report:
    """Collects the parts of a page in order; everything given is escaped."""

    def __init__(self, title: str) -> None:
        self.title, self.parts = title, [f"<h1>{escape(title)}</h1>"]

    def heading(self, text: str) -> None:
        """A section."""
        self.parts.append(f"<h2>{escape(text)}</h2>")

    def text(self, text: str) -> None:
        """A paragraph."""
        self.parts.append(f"<p>{escape(text)}</p>")

    def table(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Rows with the same keys; the keys head the columns."""
        head = "".join(f"<th>{escape(str(name))}</th>" for name in rows[0])
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row.values()) + "</tr>" for row in rows
        )
        self.parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")

    def picture(self, png: bytes, caption: str = "") -> None:
        """A PNG."""
        alt = escape(caption, quote=True)
        self.parts.append(f'<figure><img alt="{alt}" src="{data("image/png", png)}">{captioned(caption)}</figure>')

    def videos(self, files: Mapping[str, Path]) -> None:
        """MP4 files side by side, each under its caption."""
        figures = "".join(
            f'<figure><video src="{data("video/mp4", path.read_bytes())}" autoplay loop muted playsinline controls>'
            f"</video>{captioned(caption)}</figure>"
            for caption, path in files.items()
        )
        self.parts.append(f'<div class="row">{figures}</div>')

    def html(self) -> str:
        """The page."""
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(self.title)}</title><style>{STYLE}</style></head>\n<body>\n"
            + "\n".join(self.parts)
            + "\n</body></html>\n"
        )

    def save(self, path: Path) -> None:
        """Write the page, whole or not at all."""
        write_whole(path, lambda beside: beside.write_text(self.html(), encoding="utf-8"))


def data(kind: str, content: bytes) -> str:
    """A data URL."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def captioned(caption: str) -> str:
    """A caption, if there is one."""
    return f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
