"""Plots show what they are given, all of it, and leave matplotlib's global state alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from mien.reports import plots
from mien.statistics import metrics

ODD = ("<script>", "$a$b$c", "with_underscore", "plain")


def texts(figure: Figure) -> list[str]:
    """All that is written inside the axes."""
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def odd_curves() -> Figure:
    return plots.curves({name: (range(40), np.sin(range(40))) for name in ODD}, "step", "loss", "$50 of $x")


FIGURES: dict[str, Callable[[], Figure]] = {
    "confusion": lambda: plots.confusion_matrix(np.arange(16).reshape(4, 4), ODD, "$t$"),
    "two classes": lambda: plots.confusion_matrix(np.eye(2, dtype=int), ODD[:2]),
    "twelve classes": lambda: plots.confusion_matrix(np.eye(12, dtype=int), [f"name {i}" for i in range(12)]),
    "curves": odd_curves,
    "one point": lambda: plots.curves({"a": ([1], [2.0])}, "step", "loss"),
    "no point": lambda: plots.curves({"a": ([], [])}, "step", "loss"),
    "scatter": lambda: plots.scatter(np.random.default_rng(0).random((9, 4)), np.zeros((9, 4)), ODD),
    "big five": lambda: plots.scatter(np.eye(6)[:, :5], np.eye(6)[:, :5], list("ocean")),
    "bars": lambda: plots.bars(dict(zip(ODD, (0.5, -0.3, 0.0, 1.0), strict=True)), "scores", "$"),
    "comparison": lambda: plots.comparison({"UAR": {"a": 0.9, "$b$": 0.2}, "$WAR$": {"a": 0.8}}, "t", 1 / 7),
}


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES.keys())
def test_every_figure_saves_as_a_whole_png(draw: Callable[[], Figure], tmp_path: Path) -> None:
    figure = draw()
    plots.save(figure, tmp_path / "deep" / "plot.png")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["plot.png"]
    width, height = figure.get_size_inches() * plots.DPI
    assert Image.open(tmp_path / "deep" / "plot.png").size == (int(width), int(height))


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES.keys())
def test_nothing_is_cut_off_at_the_edge(draw: Callable[[], Figure]) -> None:
    """The outermost pixels are paper."""
    image = np.asarray(Image.open(BytesIO(plots.png(draw()))).convert("RGB"))
    for edge in (image[:2], image[-2:], image[:, :2], image[:, -2:]):
        assert (edge == 255).all()


def test_pyplot_is_not_loaded() -> None:
    draw = "import sys, mien.reports.plots as p; p.png(p.bars({}))"
    code = f"{draw}; sys.exit('matplotlib.pyplot' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_confusion_cells_and_recalls() -> None:
    figure = plots.confusion_matrix([[3, 1, 0], [0, 0, 0], [0, 0, 5]], ("a", "b", "c"))
    assert texts(figure)[:3] == ["75%\n3", "25%\n1", "0%\n0"]
    edge = figure.axes[0].child_axes[0]
    assert [label.get_text() for label in edge.get_yticklabels()] == ["75%", "absent", "100%"]
    with pytest.raises(ValueError, match="3 names"):
        plots.confusion_matrix(np.eye(2), ("a", "b", "c"))


def test_every_series_is_drawn_however_many() -> None:
    figure = plots.curves({f"run {i}": ([0, 1], [i, i]) for i in range(10)}, "step", "loss")
    lines = [line for line in figure.axes[0].lines if str(line.get_label()).startswith("run")]
    assert len(lines) == 10
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 10
    bars = plots.comparison({"UAR": {f"run {i}": 0.1 * i for i in range(9)}})
    assert len(bars.axes[0].patches) == 9


def test_running_mean_and_gaps() -> None:
    np.testing.assert_allclose(plots.running_mean(np.array([1.0, 3, 5, 7]), 2), [1, 2, 4, 6])
    figure = plots.curves({"a": ([0, 1, 2], [1.0, np.nan, 3.0])}, "step", "loss", smooth=2)
    np.testing.assert_allclose(np.asarray(figure.axes[0].lines[1].get_ydata(), dtype=float), [1, 2])


def test_scatter_titles_hold_the_pooled_ccc() -> None:
    random = np.random.default_rng(0)
    targets = random.random((50, 2))
    predictions = targets + 0.1 * random.standard_normal((50, 2))
    figure = plots.scatter(predictions, targets, ("valence", "arousal"))
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    found = metrics.regression(predictions, targets, ("valence", "arousal"))
    assert titles == [f"{n}\nCCC {found[f'CCC.{n}']:.3f}" for n in ("valence", "arousal")]


def test_bar_labels_stand_outside_the_bars() -> None:
    figure = plots.bars({"up": 0.5, "down": -0.5})
    figure.draw_without_rendering()
    up, down = (text.get_window_extent() for text in figure.axes[0].texts)
    bars = [patch.get_window_extent() for patch in figure.axes[0].patches]
    assert up.x0 > bars[0].x1
    assert down.x1 < bars[1].x0


def test_reconstruction_grid_lays_out_clips_rows_and_every_second_frame() -> None:
    video = np.broadcast_to(np.linspace(0, 1, 16).reshape(1, 1, 16, 1, 1), (2, 3, 16, 72, 72))
    image = plots.reconstruction_grid({"original": video, "masked": 0 * video, "reconstructed": video})
    left = image.shape[1] - 8 * 74
    assert image.dtype == np.uint8
    assert image.shape == (6 * 74 + 6, left + 8 * 74, 3)  # 2 clips x 3 rows; a wider gap between the clips
    middles = left + 36 + 74 * np.arange(8)
    np.testing.assert_array_equal(image[36, middles, 0], np.round(np.arange(0, 16, 2) / 15 * 255))
    assert (image[74 + 36, middles] == 0).all()
    assert (image[:72, :left] < 255).any()  # a label


def test_reconstruction_grid_takes_every_layout_of_one_clip() -> None:
    clip = np.random.default_rng(0).random((3, 8, 72, 72))
    grids = [plots.reconstruction_grid({"a": c}) for c in (clip, clip[None], clip.transpose(1, 2, 3, 0))]
    assert all(np.array_equal(grids[0], grid) for grid in grids)


def test_overshoot_is_cut_off_and_does_not_wrap() -> None:
    video = np.full((1, 3, 2, 72, 72), 1.2)
    video[:, :, 1] = -0.2
    image = plots.reconstruction_grid({"": video})
    assert image[36, -74 - 36, 0] == 255
    assert image[36, -36, 0] == 0


def test_rows_of_unlike_shape_are_an_error() -> None:
    with pytest.raises(ValueError, match="one shape"):
        plots.reconstruction_grid({"a": np.zeros((1, 3, 2, 8, 8)), "b": np.zeros((1, 3, 4, 8, 8))})
    with pytest.raises(ValueError, match="are not"):
        plots.reconstruction_grid({"a": np.zeros((8, 8))})


def test_save_png_keeps_every_pixel(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    plots.save_png(image, tmp_path / "image.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "image.png")), image)
