"""Tilted heads: the five points of a face turned by a known angle, as it is followed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mien.faces.crop import CropConfig, crop_transform
from mien.faces.detectors import Detection
from mien.faces.face import Face
from mien.faces.follow import FollowConfig, follow
from mien.faces.level import Level
from mien.video.stream import Frame
from scenes import yunet


def turned(path: Path, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """A still, at most 480 pixels long, turned clockwise about its middle in a square; and the matrix (2, 3)."""
    picture = np.asarray(Image.open(path).convert("RGB"))
    scale = 480 / max(picture.shape[:2])
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = picture.shape[:2]
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[cos, -sin], [sin, cos]])
    matrix = np.concatenate([turn, (320 - turn @ (width / 2, height / 2))[:, None]], axis=1)
    return cv2.warpAffine(picture, matrix, (640, 640), borderMode=cv2.BORDER_REPLICATE), matrix


def followed(media: Path, pixels: np.ndarray) -> list[Face]:
    """The face of each of four equal frames."""
    frames = [Frame(index, index / 25, pixels) for index in range(4)]
    sightings = list(follow(frames, yunet(media), FollowConfig()))
    assert [len(sighting.faces) for sighting in sightings] == [1] * 4
    return [sighting.faces[0] for sighting in sightings]


@pytest.mark.media
@pytest.mark.parametrize("still, angle", [("fr_obama.jpg", -40), ("fr_obama.jpg", 35), ("faceapi_sad.jpg", 60)])
def test_the_roll_of_a_tilted_head_is_found_and_its_eyes_are_level_in_the_crop(
    media: Path, still: str, angle: float
) -> None:
    straight, at = turned(media / "stills" / still, 0)
    tilted, to = turned(media / "stills" / still, angle)
    upright = followed(media, straight)[0]
    assert upright.landmarks is not None
    assert upright.pose is not None
    move = to @ np.linalg.inv(np.vstack([at, [0, 0, 1]]))
    truth = upright.landmarks @ move[:, :2].T + move[:, 2]
    for face in followed(media, tilted):
        assert face.landmarks is not None
        assert face.pose is not None
        assert face.pose[2] - upright.pose[2] == pytest.approx(angle, abs=9)
        matrix = crop_transform(face.box, face.landmarks, CropConfig())
        right, left = truth[:2] @ matrix[:, :2].T
        assert abs(np.degrees(np.arctan2(left[1] - right[1], left[0] - right[0]))) < 9
        assert np.linalg.norm(face.landmarks - truth, axis=1).mean() < 0.25 * np.linalg.norm(truth[1] - truth[0])


def test_between_second_looks_points_keep_their_places_in_the_box() -> None:
    points = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)
    face = Detection((100.0, 50.0, 40.0, 60.0), 0.4, np.zeros((5, 2), np.float32))
    shifted = np.array([0.1, 0.0, 0.8, 1.0])
    upright = Level(np.radians(5.0), points, shifted).apply(face)
    assert upright.box == face.box
    assert upright.landmarks is not None
    np.testing.assert_allclose(upright.landmarks, points * (40, 60) + (100, 50), rtol=1e-6)
    assert Level(np.radians(-40.0), points, shifted).apply(face).box == pytest.approx((104, 50, 32, 60))
