"""A report is one well-formed HTML file that needs nothing else, whatever it is given."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.reports import plots
from mien.reports.page import HIDE, SHOW, Report, as_png

EVIL = "<script>alert(1)</script> \" onload='x' & $1$"
VOID = {"meta", "img", "link", "br"}


class Page(HTMLParser):
    """Reads a page back: its elements, its text, its references; tags that do not nest are an error."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.said.append((self.open[-1] if self.open else "", data))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def words(self, tag: str) -> list[str]:
        return [text for name, text in self.said if name == tag]


def content(source: str | None, kind: str) -> bytes:
    """What a data URL holds."""
    assert source is not None
    assert source.startswith(f"data:{kind};base64,")
    return base64.b64decode(source.partition(",")[2], validate=True)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"not really a film" * 9)
    return path


def full(clip: Path) -> Report:
    """A page with one of everything, all of it hostile."""
    report = Report(EVIL)
    report.heading(EVIL)
    report.text(EVIL)
    report.table([{EVIL: EVIL, "UAR": 0.5}])
    report.figure(plots.bars({EVIL: 1.0}, EVIL), EVIL)
    report.video(clip, EVIL)
    report.videos({EVIL: clip, "two": clip})
    return report


def test_everything_is_escaped_and_nests(clip: Path) -> None:
    page = Page(full(clip).html())
    assert not page.of("script")
    handlers = {code for _, attributes in page.tags for name, code in attributes.items() if name.startswith("on")}
    assert handlers <= {SHOW, HIDE}, "nothing that was given becomes code"
    for tag in ("title", "h1", "h2", "p", "th", "td"):
        assert page.words(tag)[0] == EVIL
    assert page.words("figcaption") == [EVIL, EVIL, EVIL, "two"]
    assert page.of("img")[0]["alt"] == EVIL


def test_the_page_needs_nothing_else(clip: Path) -> None:
    html = full(clip).html()
    page = Page(html)
    references = [a[key] for _, a in page.tags for key in ("src", "href", "poster", "srcset") if key in a]
    assert references
    assert all(reference and reference.startswith("data:") for reference in references)
    assert not page.of("link")
    assert "http:" not in html
    assert "https:" not in html
    assert "@import" not in html
    assert "url(" not in html
    assert html.startswith("<!doctype html>")
    assert page.of("html") == [{"lang": "en"}]
    assert {"charset": "utf-8"} in page.of("meta")


def test_pictures_decode_to_their_size() -> None:
    report, image = Report("t"), np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    figure, buffer = plots.bars({"a": 0.5}), BytesIO()
    Image.fromarray(image[:10]).save(buffer, format="PNG")
    for picture in (figure, image, buffer.getvalue()):
        report.figure(picture, "caption")
    report.picture(buffer.getvalue())
    images = [Image.open(BytesIO(content(a["src"], "image/png"))) for a in Page(report.html()).of("img")]
    inches = figure.get_size_inches()
    assert [i.size for i in images] == [tuple((inches * plots.DPI).astype(int)), (30, 20), (30, 10), (30, 10)]
    np.testing.assert_array_equal(np.asarray(images[1]), image)


def test_what_is_no_picture_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a PNG"):
        Report("t").figure(b"\xff\xd8 a photograph", "photo")
    with pytest.raises(ValueError, match="uint8"):
        Report("t").figure(np.zeros((4, 4, 3)), "floats")  # type: ignore[arg-type]


def test_videos_are_embedded_whole(clip: Path) -> None:
    report = Report("t")
    report.video(clip, "one")
    poster = as_png(np.zeros((4, 4, 3), np.uint8))
    report.videos({"two": clip}, {"two": poster})
    films = Page(report.html()).of("video")
    assert [content(film["src"], "video/mp4") for film in films] == [clip.read_bytes()] * 2
    assert all({"loop", "muted"} <= set(film) for film in films)
    assert ["controls" in film for film in films] == [True, False], "on small pictures they would cover the face"
    assert content(films[1]["poster"], "image/png") == poster
    assert "autoplay" not in films[1], "the poster stands until somebody plays it"
    assert {"onpointerenter", "onfocus", "ontouchstart", "tabindex"} <= set(films[1]), (
        "controls by mouse, key and finger"
    )


def test_table_columns_keys_and_gaps() -> None:
    report = Report("t")
    report.table([{"a": 0.123456, "b": 7}, {"b": float("nan"), "c": None, "a": "x"}])
    page = Page(report.html())
    assert page.words("th") == ["a", "b", "c"]
    assert page.words("td") == ["0.1235", "7", "x"]
    assert len(page.of("td")) == 6
    chosen = Report("t")
    chosen.table([{"a": 1, "b": 2}], columns=("b",))
    assert Page(chosen.html()).words("th") + Page(chosen.html()).words("td") == ["b", "2"]


def test_an_empty_table_needs_columns() -> None:
    report = Report("t")
    report.table([], columns=("a",))
    assert Page(report.html()).words("th") == ["a"]
    with pytest.raises(ValueError, match="columns"):
        report.table([])


def test_save_is_whole_and_utf8(tmp_path: Path) -> None:
    report = Report("Gefühle 😀")
    report.save(tmp_path / "deep" / "report.html")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["report.html"]
    assert (tmp_path / "deep" / "report.html").read_text(encoding="utf-8") == report.html()
    assert "Gefühle 😀" in report.html()
