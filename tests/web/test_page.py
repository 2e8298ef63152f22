"""The page of `mien serve`, used in a real headless Chromium as a person uses it: with mouse, keys and camera."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("playwright")

from playwright.sync_api import sync_playwright

from toy_models import pictures, values, write_model, write_video

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
FAKE_CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
SLOW = 60_000
"""Milliseconds that a busy machine may take for a step."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server with two models."""
    folder = tmp_path_factory.mktemp("models")
    models = [write_model(folder / "expressions"), write_model(folder / "circumplex", values("valence", "arousal"))]
    command = [
        sys.executable,
        "-m",
        "mien",
        "serve",
        "--port=0",
        "--faces=whole",
        "--device=cpu",
        "--model",
        *map(str, models),
    ]
    environment = os.environ | {"TMPDIR": str(folder)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout
        yield server.stdout.readline().split()[2]
        server.terminate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, with a camera that shows a drawn picture."""
    with sync_playwright() as play:
        sandbox = [] if os.geteuid() else ["--no-sandbox"]
        browser = play.chromium.launch(executable_path=CHROMIUM, args=[*FAKE_CAMERA, *sandbox])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page; nothing may be asked from elsewhere, and nothing may go wrong in its scripts."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(SLOW)
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.goto(address)
    page.wait_for_selector("#model option", state="attached")
    yield page
    page.close()
    assert not [url for url in asked if not url.startswith((address, "blob:", "data:"))]
    assert not [text for text in wrong if "status of 422" not in text]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds."""
    return write_video(tmp_path_factory.mktemp("videos") / "clip.mp4", pictures(100, size=96))


def wait(page: Any, condition: str) -> None:
    """Until a condition holds in the page; ``wait_for_function`` needs eval, which the page's policy forbids."""
    end = time.monotonic() + SLOW / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(50)


def analyzed(page: Any, *files: Path) -> None:
    """Give files and wait for the first result."""
    page.set_input_files("#file", [str(file) for file in files])
    page.wait_for_selector("#result:not([hidden]) #timeline .main-svg")
    wait(page, "document.getElementById('video').readyState >= 1")


def moment(page: Any) -> float:
    """Second at which the video stands."""
    return page.evaluate("document.getElementById('video').currentTime")


def line(page: Any) -> float:
    """Second at which the line of the timeline stands."""
    return page.evaluate("document.getElementById('timeline').layout.shapes[0].x0")


def test_a_video_is_dropped_read_clicked_and_taken_away(page: Any, video: Path, tmp_path: Path) -> None:
    analyzed(page, video)
    assert "1 face on 100 of 100 frames" in page.inner_text("#sentence")
    assert "not calibrated" in page.inner_text("#reliability")
    assert (
        page.evaluate("getComputedStyle(document.querySelector('#reliability')).backgroundColor")
        == "rgb(253, 240, 239)"
    )
    area = page.locator("#timeline .nsewdrag").first.bounding_box()
    page.mouse.click(area["x"] + 0.75 * area["width"], area["y"] + 0.4 * area["height"])
    wait(page, "document.getElementById('video').currentTime > 2")
    assert moment(page) == pytest.approx(3.0, abs=0.15)
    wait(page, "document.getElementById('timeline').layout.shapes[0].x0 > 2")
    assert line(page) == pytest.approx(moment(page), abs=0.1)
    page.focus("#timeline")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    wait(page, "Math.abs(document.getElementById('video').currentTime - 1) < 0.05")
    assert page.get_attribute("#timeline", "aria-valuenow") is not None
    page.evaluate("document.getElementById('video').play()")
    wait(page, "document.getElementById('timeline').layout.shapes[0].x0 > 1.8")
    with page.expect_download() as download:
        page.click("text=Frames (CSV)")
    assert download.value.suggested_filename == "clip_frames.csv"
    download.value.save_as(tmp_path / "frames.csv")
    table = pd.read_csv(tmp_path / "frames.csv")
    assert len(table) == 100
    assert set(table["input"]) == {"clip.mp4"}


def test_two_models_read_one_after_another(page: Any, video: Path) -> None:
    page.select_option("#model", "circumplex")
    assert "valence, arousal" in page.inner_text("#about-model")
    page.set_input_files("#file", str(video))
    page.select_option("#model", "expressions")
    page.set_input_files("#file", str(video))
    wait(page, "document.querySelectorAll('#list .done').length === 2")
    assert page.locator("#list .name small").all_inner_texts() == ["circumplex", "expressions"]
    page.wait_for_selector("#timeline .main-svg")
    assert "valence" in page.inner_text("#faces")
    page.locator("#list button", has_text="Show").nth(1).click()
    wait(page, "document.getElementById('faces').innerText.includes('happiness')")
    page.reload()
    wait(page, "document.querySelectorAll('#list .done').length === 2")
    page.locator("#list button", has_text="Remove").first.click()
    wait(page, "document.querySelectorAll('#list .done').length === 1")


def test_what_is_no_video_is_refused_in_words(page: Any, tmp_path: Path) -> None:
    garbage = tmp_path / "holiday.mp4"
    garbage.write_bytes(b"this is no video" * 1000)
    page.set_input_files("#file", str(garbage))
    page.wait_for_selector("#list .failed")
    says = page.inner_text("#list .failed")
    assert says.startswith("failed: not a video")
    assert "/" not in says


@pytest.mark.parametrize("width", [390, 700, 1400])
def test_the_layout_fits_the_window(page: Any, video: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    analyzed(page, video)
    page.click("#open-camera")
    page.wait_for_selector("#camera:not([hidden])")
    page.click("summary")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    film, plot = (page.locator(name).bounding_box() for name in ("#film", "#curves"))
    assert (plot["x"] >= film["x"] + film["width"]) == (width > 900), "beside it where there is room, else below"


def test_everything_is_reached_by_keys(page: Any, video: Path) -> None:
    analyzed(page, video)
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.innerText"))
    for wanted in (
        "file",
        "model",
        "open-camera",
        "Show",
        "Remove",
        "video",
        "timeline",
        "Frames (CSV)",
        "What the numbers mean",
    ):
        assert wanted in reached, wanted


def test_the_camera_is_recorded_and_read_live(page: Any) -> None:
    page.click("#open-camera")
    page.click("#live")
    wait(page, "/Values \\d+ ms after the picture/.test(document.getElementById('camera-counts').innerText)")
    assert page.locator("#values .bars span").count() == 2 * 7
    page.click("#live")
    wait(page, "document.getElementById('live').innerText === 'Read live'")
    page.click("#record")
    page.wait_for_timeout(2500)
    page.click("#record")
    page.wait_for_selector("#list .done, #list .failed")
    assert re.search(r"1 face on \d+ of \d+ frames", page.inner_text("#list .says"))
    assert re.fullmatch(r"camera-\d{8}-\d{6}\.(webm|mp4)", page.inner_text("#title"))
    page.click("#close-camera")
    assert page.is_hidden("#camera")


def test_the_interface_explains_itself_offline(page: Any, address: str) -> None:
    page.goto(f"{address}/docs")
    page.wait_for_selector("text=POST /api/jobs")
    assert "JobStatus" in page.inner_text("main")
