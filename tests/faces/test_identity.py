"""Vectors of faces as SFace's owner computes them, and faces joined into persons by made vectors."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.faces.crop import TEMPLATE
from mien.faces.face import Face, FrameFaces
from mien.faces.identity import SFACE, FaceVectors, Gallery, Recogniser, Vector, aligned, join, persons, unit
from mien.video.stream import Frame
from toy_models import recognition_network

LANDMARKS = np.array([[120, 80], [160, 88], [138, 105], [118, 125], [152, 131]], np.float32)
"""A tilted face."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / SFACE
    path.write_bytes(recognition_network())
    return path


def vector(degrees: float) -> Vector:
    """Cosines of such vectors are those of differences of angles."""
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], np.float32)


def face(number: int, box: tuple[float, float, float, float] = (100, 60, 80, 90), sharpness: float = 100.0) -> Face:
    return Face(number, box, 0.9, LANDMARKS, "detected", sharpness, (0.0, 0.0, 0.0))


def test_landmarks_come_to_lie_on_the_template_as_least_squares_has_it() -> None:
    """Scale, turn and shift by a solver that knows nothing of faces: (x, y) -> (a x - b y + c, b x + a y + d)."""
    rows = [row for x, y in LANDMARKS for row in ([x, -y, 1, 0], [y, x, 0, 1])]
    a, b, c, d = np.linalg.lstsq(np.array(rows, float), TEMPLATE.ravel(), rcond=None)[0]
    marks = np.zeros((200, 300, 3), np.uint8)
    for x, y in LANDMARKS.round().astype(int):
        cv2.circle(marks, (int(x), int(y)), 4, (255, 255, 255), -1)
    expected = cv2.warpAffine(marks, np.array([[a, -b, c], [b, a, d]]), (112, 112))
    found = aligned(marks, LANDMARKS)
    centres = [np.argwhere(picture[..., 0] > 127).mean(0) for picture in (found, expected)]
    assert np.abs(centres[0] - centres[1]).max() < 0.1
    assert np.abs(found.astype(int) - expected).mean() < 0.01


def test_pictures_and_vectors_equal_the_owners_own_computation(file: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    frame = np.asarray(cv2.resize(colours, (300, 200), interpolation=cv2.INTER_CUBIC), np.uint8)
    owner, row = cv2.FaceRecognizerSF.create(str(file), ""), np.zeros((1, 15), np.float32)
    row[0, 4:14] = LANDMARKS.ravel()
    theirs = owner.alignCrop(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), row)
    ours = aligned(frame, LANDMARKS)
    assert np.abs(ours.astype(int) - cv2.cvtColor(theirs, cv2.COLOR_BGR2RGB)).max() <= 2
    np.testing.assert_allclose(Recogniser(file).vector(ours), unit(owner.feature(theirs)[0]), atol=1e-3)


def test_a_file_that_is_missing_or_no_network_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_MODELS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ValueError, match="mien models get sface"):
        Recogniser.find()
    (tmp_path / SFACE).write_bytes(b"no network")
    with pytest.raises(ValueError, match="not the network of SFace"):
        Recogniser(Recogniser.find())


def test_the_best_picture_of_each_half_second_counts_and_hidden_faces_do_not(file: Path) -> None:
    gallery, draw = Gallery(Recogniser(file)), np.random.default_rng(0)
    for i in range(30):  # a second and a half at 20 frames per second
        frame = Frame(i, i / 20, draw.integers(0, 255, (200, 300, 3), dtype=np.uint8))
        found = (face(0, sharpness=5.0 + i), face(1, (110, 65, 80, 90))) if i < 10 else (face(0, sharpness=5.0 + i),)
        gallery.add(FrameFaces(frame, found, 0, None))
    found = gallery.finish()
    assert (found.faces, found.together) == ((0, 1), {(0, 1)})
    assert [round(100 * value / (80 / 112)) for value, _ in gallery.kept[0]] == [34, 24], "half hidden in the first"
    assert set(found.vectors) == {0}
    np.testing.assert_allclose(np.linalg.norm(found.vectors[0]), 1, atol=1e-6)
    again = FaceVectors.from_json(json.loads(json.dumps(found.to_json())))
    assert (again.faces, again.together) == (found.faces, found.together)
    np.testing.assert_array_equal(again.vectors[0], found.vectors[0])


def test_faces_above_the_threshold_are_joined_by_the_mean_over_pairs() -> None:
    chain = [vector(0), vector(40), vector(80)]  # neighbours are alike, the ends are not: their mean over pairs decides
    assert join(chain, (), 0.7) == [0, 0, 1]
    assert join(chain, (), 0.4) == [0, 0, 0]
    assert join([vector(0), vector(90), vector(5)], (), 0.363) == [0, 1, 0]
    assert join([vector(0), None, vector(0), None], (), 0.363) == [0, 1, 0, 2], "without a vector: alone"
    assert join([], (), 0.363) == []


def test_faces_on_one_frame_are_never_one_person() -> None:
    same = [vector(0), vector(1), vector(3)]
    assert join(same, [(0, 1)], 0.363) == [0, 1, 1]
    assert join(same, [(0, 1), (1, 2)], 0.363) == [0, 1, 0]
    assert join(same, [(0, 1), (1, 2), (0, 2)], 0.363) == [0, 1, 2]


def test_what_is_joined_inherits_what_its_parts_may_not_join() -> None:
    assert join([vector(0), vector(1), vector(3)], [(0, 2)], 0.363) == [0, 0, 1]


def test_persons_are_numbered_over_videos_in_order_of_appearance() -> None:
    one = FaceVectors((0, 1, 4), {0: vector(0), 1: vector(90), 4: vector(2)}, frozenset({(0, 1)}))
    two = FaceVectors((0, 2), {0: vector(91), 2: vector(180)}, frozenset({(0, 2)}))
    assert persons([one, two], 0.363) == [{0: 0, 1: 1, 4: 0}, {0: 1, 2: 2}]
    assert persons([two], 0.363) == [{0: 0, 2: 1}], "alone, a video counts from 0"
