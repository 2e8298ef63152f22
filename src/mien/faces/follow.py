"""Follow every face of a video: frames in, one ``FrameFaces`` per frame out, a fixed number of frames later.

On each frame: number the shot; detect, if it is due; match detections to the tracks of this shot; carry the rest by
image motion. What is sent out is decided ``lookahead`` frames later, when it is known whether a new face was believed,
whether a lost one came back, and where the neighbours of a box lie: so flicker, gaps and jitter are mended without lag.
Time and memory per frame do not grow with the length of the video.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass as plain
from dataclasses import replace
from itertools import pairwise
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mien.config import STRICT
from mien.faces.appearance import Descriptor, describe
from mien.faces.detectors import Detection, Detector
from mien.faces.face import FrameFaces
from mien.faces.level import EVERY, level
from mien.faces.matching import People, match
from mien.faces.motion import carry, correlation, template
from mien.faces.shots import Shots
from mien.faces.smoothing import face_at
from mien.faces.track import Place, Track, boxes_touch, centre_of, covered_share, is_isolated, without_duplicates
from mien.video.stream import Frame

LIKE, ALIKE = 0.3, 0.5
"""Correlation with its last detection that a carried face must keep: where the detector did not run, where it missed."""
KEPT = 12
"""Released frames whose places are kept, for speed and for smoothing."""
DESCRIBE_EVERY = 8
"""Detections of a track from one descriptor to the next."""


@dataclass(frozen=True, config=STRICT)
class FollowConfig:
    """How faces are followed from frame to frame."""

    every: Annotated[int, Field(ge=1, le=30)] = 1
    """The detector runs on every n-th frame; faces are carried by image motion in between."""
    search: Annotated[float, Field(gt=0)] = 0.5
    """Seconds between thorough searches for small and new faces."""
    patience: Annotated[float, Field(ge=0)] = 0.5
    """Seconds without a detection after which a track ends; what comes later is a new track, perhaps of the same id."""
    lookahead: Annotated[int, Field(ge=1, le=120)] = 16
    """Frames held back; shorter gaps are bridged. Costs memory: one picture each."""
    confirm: Annotated[int, Field(ge=1)] | None = None
    """Detections after which a face is believed; left out: the detector's own (3; Haar 6)."""
    smoothing: Annotated[float, Field(ge=0)] = 0.04
    """Standard deviation in seconds of the window in which boxes and landmarks are smoothed; 0 leaves them as found."""
    returns: bool = True
    """Whether a face that left gets its id again when its appearance is sure."""


@plain(eq=False)
class PendingFrame:
    """A frame in the window, whose faces are not final yet."""

    frame: Frame
    shot: int
    searched: bool
    """Whether the detector ran."""
    doubtful: bool = False
    """Whether it found something that began no track or a track that may not be believed."""


def follow(frames: Iterable[Frame], detector: Detector, config: FollowConfig) -> Iterator[FrameFaces]:
    """The faces of each frame, in order. An error of ``frames`` is raised after the faces of the frames before it."""
    follower = Follower(detector, config)
    broken: Exception | None = None
    source = iter(frames)
    while True:
        try:
            frame = next(source, None)
        except (ValueError, OSError) as error:
            frame, broken = None, error
        if frame is None:
            break
        follower.add(frame)
        if len(follower.window) > config.lookahead:
            yield follower.release()
    follower.end_tracks()
    while follower.window:
        yield follower.release()
    if broken is not None:
        raise broken


class AppearanceCache:
    """Descriptors of the detections of one frame, each made at most once."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.descriptors: dict[int, Descriptor] = {}

    def __call__(self, face: Detection) -> Descriptor:
        if id(face) not in self.descriptors:
            self.descriptors[id(face)] = describe(self.frame.pixels, face.box, face.landmarks)
        return self.descriptors[id(face)]


class Follower:
    """Tracks, shots and people between frames."""

    def __init__(self, detector: Detector, config: FollowConfig) -> None:
        self.detector, self.config = detector, config
        self.confirm = config.confirm or detector.confirm
        self.window: deque[PendingFrame] = deque()
        self.tracks: list[Track] = []
        """All that live or have a place in the window."""
        self.shots, self.people = Shots(), People(config.returns)
        self.ran, self.searched, self.turned = -np.inf, -np.inf, -np.inf
        """Index of the frame on which the detector ran last, time of the last thorough search and of the last that took
        heads tilted to either side into account."""
        self.shown = -np.inf
        """Time of the last frame that was released with a face."""

    @property
    def live(self) -> list[Track]:
        """Tracks that may go on."""
        return [track for track in self.tracks if not track.ended]

    def add(self, frame: Frame) -> None:
        """Take one more frame into the window."""
        shot, first, sudden = self.shots.number(frame.pixels)
        if first:
            self.end_tracks()
        due = first or frame.index - self.ran >= self.config.every
        pending = PendingFrame(frame, shot, due)
        self.window.append(pending)
        if due:
            self.detect(pending, first, sudden)
        for track in self.live:
            if frame.index not in track.places:
                self.carry_track(track, pending)
            track.ended = frame.time - track.last_detection.time > self.config.patience

    def end_tracks(self) -> None:
        """End all tracks. In a shot too short for more, a face that was seen on every frame is believed."""
        for track in self.live:
            track.ended = True
            if track.opening and track.hits == track.runs:
                track.hits = max(track.hits, self.confirm)

    def detect(self, pending: PendingFrame, first: bool, sudden: bool) -> None:
        """Run the detector and give each detection to a track, old or new."""
        frame, detector = pending.frame, self.detector
        thorough = first or frame.time - self.searched >= self.config.search or self.has_small_face(frame)
        self.ran, self.searched = frame.index, frame.time if thorough else self.searched
        tilted = first or frame.time - self.turned >= self.config.search
        self.turned = frame.time if tilted else self.turned
        found = without_duplicates(detector.detect(frame.pixels, thorough))
        strong = [face for face in found if face.score >= detector.strong]
        describe_face = AppearanceCache(frame)
        pairs = match(self.live, strong, frame.time, describe_face, sudden)
        left = [track for track in self.live if all(track is not other for other, _ in pairs)]
        pairs += match(left, [f for f in found if f.score < detector.strong], frame.time, describe_face, sudden)
        for track in self.live:
            track.runs += 1
        for track, face in pairs:
            self.update_track(track, face, pending, is_isolated(face, found), tilted)
        taken = [face for _, face in pairs]
        new = [f for f in found if all(f is not t and covered_share(f.box, t.box) < 0.6 for t in taken)]
        pending.doubtful = bool(new)
        for face in sorted((f for f in new if f.score >= detector.strong), key=lambda f: f.box[0]):
            self.start_track(face, pending, first, describe_face(face) if is_isolated(face, found) else None, tilted)

    def start_track(
        self, face: Detection, pending: PendingFrame, opening: bool, seen: Descriptor | None, tilted: bool
    ) -> None:
        """A new track."""
        frame = pending.frame
        upright = level(frame.pixels, face, self.detector, 0.0, tilted)
        face = face if upright is None else upright.apply(face)
        place = Place(frame.time, face.box, face.landmarks, face.score, True)
        track = Track({frame.index: place}, template(frame.pixels, face.box), opening, upright, frame.index)
        if seen is not None:
            track.descriptors.append(seen)
        self.tracks.append(track)
        if self.confirm == 1:
            self.extend_back(track)

    def has_small_face(self, frame: Frame) -> bool:
        """Whether a face is followed that the quick search would miss."""
        scale = min(1.0, self.detector.size / max(frame.pixels.shape[:2]))
        return any(track.last.box[2] * scale < self.detector.smallest for track in self.live)

    def update_track(self, track: Track, found: Detection, pending: PendingFrame, free: bool, tilted: bool) -> None:
        """Add a detection to its track, and now and then its descriptor, while no other face touches it."""
        frame = pending.frame
        if tilted or frame.index - track.levelled >= EVERY:
            turn = 0.0 if track.level is None else track.level.turn
            track.level = level(frame.pixels, found, self.detector, turn, tilted) or track.level
            track.levelled = frame.index
        face = found if track.level is None else track.level.apply(found)
        strong = face.score >= self.detector.strong
        place = Place(frame.time, face.box, face.landmarks, face.score, True)
        track.add_detection(frame.index, place, strong, free, template(frame.pixels, face.box))
        described = strong and free and (track.hits <= 9 or track.hits % DESCRIBE_EVERY == 0)
        if described:
            # As detected: what a face is compared with before it is known whose tilt it has.
            track.descriptors.append(describe(frame.pixels, found.box, found.landmarks))
        self.people.remember(track, track.descriptors[-1] if described else None)
        if strong and track.hits == self.confirm:
            self.extend_back(track)

    def carry_track(self, track: Track, pending: PendingFrame) -> None:
        """Move a track by image motion from the frame before, unless another face is in the way."""
        index = pending.frame.index
        before = track.places.get(index - 1)
        if before is None or len(self.window) < 2:
            return
        move = carry(self.window[-2].frame.pixels, pending.frame.pixels, before.box)
        place = None if move is None else self.plausible(track, before.moved(move, pending.frame.time), pending)
        if place is not None:
            track.places[index] = place

    def extend_back(self, track: Track) -> None:
        """Carry a newly believed track back over the frames before its first detection."""
        first = min(track.places)
        pendings = [m for m in self.window if m.frame.index <= first and m.shot == self.window[-1].shot]
        for later, earlier in pairwise(reversed(pendings)):
            place = track.places[later.frame.index]
            move = carry(later.frame.pixels, earlier.frame.pixels, place.box)
            moved = None if move is None else self.plausible(track, place.moved(move, earlier.frame.time), earlier)
            if moved is None or abs(track.last_detection.time - moved.time) > 2 * self.config.patience:
                return
            track.places[earlier.frame.index] = moved

    def plausible(self, track: Track, place: Place, pending: PendingFrame) -> Place | None:
        """A carried place with its score lowered by what has changed; None if it is no longer like the face."""
        like = correlation(track.template, template(pending.frame.pixels, place.box))
        x, y = centre_of(place.box)
        height, width = pending.frame.pixels.shape[:2]
        inside = 0 <= x < width and 0 <= y < height
        others = [
            t.places[pending.frame.index] for t in self.tracks if t is not track and pending.frame.index in t.places
        ]
        # A face that is missed beside another is hidden by it, and motion would follow the other.
        free = not any(
            boxes_touch(place.box, o.box) if pending.searched else covered_share(place.box, o.box) > 0.3 for o in others
        )
        if like < (ALIKE if pending.searched else LIKE) or not inside or not free:
            return None
        return replace(place, score=track.last_detection.score * like)

    def release(self) -> FrameFaces:
        """The oldest frame of the window with its final faces."""
        pending = self.window.popleft()
        index, time = pending.frame.index, pending.frame.time
        believed = [t for t in self.tracks if t.hits >= self.confirm and min(t.places, default=index + 1) <= index]
        new = [t for t in believed if t.id is None]
        if new:
            begin = min(min(t.places) for t in new)
            self.people.assign_ids(new, {t.id for t in self.tracks if t.id is not None and max(t.places) >= begin})
        faces = [
            face_at(t, index, time, pending.frame.pixels, self.config.smoothing, self.config.lookahead)
            for t in believed
        ]
        shown = tuple(sorted((f for f in faces if f is not None), key=lambda f: f.id))
        reason = None if shown else self.reason(pending)
        self.shown = time if shown else self.shown
        self.forget(index)
        return FrameFaces(pending.frame, shown, pending.shot, reason)

    def forget(self, index: int) -> None:
        """Drop places that no later frame needs, and tracks without any; a live one keeps its last."""
        for track in self.tracks:
            keep = index - KEPT
            if min(track.places) < keep:
                last = max(track.places)
                track.places = {i: p for i, p in track.places.items() if i >= keep or i == last}
        self.tracks = [t for t in self.tracks if not t.ended or max(t.places) > index]

    def reason(self, pending: PendingFrame) -> str:
        """Why a frame has no face, in a few words."""
        if float(pending.frame.pixels[::8, ::8].std()) < 4:
            return "blank picture"
        if pending.frame.time - self.shown < 1:
            return "face out of sight"
        if pending.doubtful:
            return "only doubtful detections"
        return "no face found" if pending.searched else "no face found on the frames searched before and after"
