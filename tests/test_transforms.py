"""Augmentation: the same for all frames, drawn from the generator alone, exact where it can be."""

from __future__ import annotations

import numpy as np
import pytest

from mien.video.transforms import COLOUR, GEOMETRY, AugmentConfig, augment, crops, recolour


def frames(still: bool = False, size: int = 40) -> np.ndarray:
    rng = np.random.default_rng(0)
    clip = rng.integers(0, 256, (1 if still else 4, size, size, 3), dtype=np.uint8)
    return np.repeat(clip, 4, axis=0) if still else clip


EVERYTHING = AugmentConfig(scales=(), flip=0.5, operations=6, jitter=0.4, erase=0.0)


def test_nothing_changes_nothing() -> None:
    clip = frames()
    np.testing.assert_array_equal(augment(clip, AugmentConfig.none(), 40, np.random.default_rng(0)), clip)


def test_same_draw_same_clip() -> None:
    one, two = (augment(frames(), EVERYTHING, 32, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert one.shape == (4, 32, 32, 3)
    assert one.dtype == np.uint8
    assert (one != augment(frames(), EVERYTHING, 32, np.random.default_rng(6))).any()


@pytest.mark.parametrize("seed", range(20))
def test_all_frames_change_alike(seed: int) -> None:
    out = augment(frames(still=True), EVERYTHING, 32, np.random.default_rng(seed))
    assert (out == out[0]).all()


def test_flip_mirrors() -> None:
    config = AugmentConfig(scales=(), area=(1.0, 1.0), ratio=(1.0, 1.0), flip=1.0)
    clip = frames()
    np.testing.assert_array_equal(augment(clip, config, 40, np.random.default_rng(0)), clip[:, :, ::-1])


def test_erasing_takes_the_same_box_of_all_frames() -> None:
    config = AugmentConfig(scales=(), area=(1.0, 1.0), ratio=(1.0, 1.0), erase=1.0)
    clip = np.zeros((4, 40, 40, 3), np.uint8)
    changed = (augment(clip, config, 40, np.random.default_rng(1)) > 0).any(axis=-1)
    boxes = {tuple(np.argwhere(frame).min(0)) + tuple(np.argwhere(frame).max(0)) for frame in changed}
    assert len(boxes) == 1
    assert 0.01 < changed.mean() < 0.4


def test_multiscale_crop_of_the_whole_is_the_whole() -> None:
    config = AugmentConfig(scales=(1.0,))
    clip = frames()
    np.testing.assert_array_equal(augment(clip, config, 40, np.random.default_rng(0)), clip)


@pytest.mark.parametrize("name", [n for n in COLOUR if n not in ("autocontrast", "equalize", "posterize", "solarize")])
def test_zero_strength_changes_no_colour(name: str) -> None:
    clip = frames()
    out = recolour(clip, [(name, 0.0)], 0.0, np.random.default_rng(0))
    assert np.abs(out.astype(int) - clip).max() <= 1


@pytest.mark.parametrize("name", COLOUR)
def test_every_colour_operation_does_something(name: str) -> None:
    dark = (frames() // 3).astype(np.uint8)
    assert (recolour(dark, [(name, 0.7)], 0.0, np.random.default_rng(0)) != dark).any()


@pytest.mark.parametrize("name", GEOMETRY)
def test_no_strength_is_the_identity_map(name: str) -> None:
    np.testing.assert_allclose(GEOMETRY[name](0.0), np.eye(3), atol=1e-12)


def test_equalize_spreads_values_evenly() -> None:
    dark = (frames(size=80) // 4).astype(np.uint8)
    out = recolour(dark, [("equalize", 1.0)], 0.0, np.random.default_rng(0))
    assert out.max() == 255
    assert abs(float(out.mean()) - 128) < 8


def test_crops_cover_the_longer_side_once() -> None:
    wide = np.zeros((2, 32, 64, 3), np.uint8)
    wide[:, :, :, 0] = np.arange(64)
    assert [int(c[0, 0, 0, 0]) for c in crops(wide, 32, 3)] == [0, 16, 32]
    assert [int(c[0, 0, 0, 0]) for c in crops(wide, 32, 1)] == [16]
    assert len(crops(frames(size=32), 32, 3)) == 1
