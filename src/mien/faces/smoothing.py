"""The final face on one frame, once its neighbours in time are known: smoothed, bridged, measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.faces.face import Face, Pixels
from mien.faces.quality import face_sharpness, pose
from mien.faces.track import Place, Track


def face_at(track: Track, index: int, time: float, pixels: Pixels, smoothing: float, longest: int) -> Face | None:
    """The face of a named track on a frame, or None; gaps of at most ``longest`` frames are bridged."""
    assert track.id is not None
    state = "detected" if index in track.places and track.places[index].detected else "tracked"
    place = smooth(track, index, smoothing) if index in track.places else None
    if place is None:
        place, state = bridge(track, index, time, longest), "bridged"
    if place is None:
        return None
    return Face(
        track.id,
        place.box,
        place.score,
        place.landmarks,
        state,
        face_sharpness(pixels, place.box),
        pose(place.landmarks),
    )


def smooth(track: Track, index: int, smoothing: float) -> Place:
    """A place with box and landmarks from a line through those around it, weighted by nearness in time.

    A line, and as much after as before: steady motion is not delayed or damped, only jitter is.
    """
    here = track.places[index]
    near = [p for p in track.places.values() if abs(p.time - here.time) <= 3 * smoothing]
    if smoothing <= 0 or len(near) < 3 or any((p.landmarks is None) != (here.landmarks is None) for p in near):
        return here
    times = np.array([p.time - here.time for p in near])
    weights = np.exp(-0.5 * (times / smoothing) ** 2) * np.array([1.0 if p.detected else 0.5 for p in near])
    weights /= weights.sum()
    values, centred = np.stack([as_row(p) for p in near]), times - weights @ times
    variance = float(weights @ centred**2)
    slope = (weights * centred) @ values / max(variance, 1e-9)
    return from_row(here, weights @ values - slope * (weights @ times))


def bridge(track: Track, index: int, time: float, longest: int) -> Place | None:
    """A place between the last before a gap and the first after it; None if there are not both or the gap is long."""
    before = max((i for i in track.places if i < index), default=None)
    after = min((i for i in track.places if i > index), default=None)
    if before is None or after is None or after - before - 1 > longest:
        return None
    a, b = track.places[before], track.places[after]
    if (a.landmarks is None) != (b.landmarks is None):
        return None
    share = (time - a.time) / max(b.time - a.time, 1e-9)
    middle = (1 - share) * as_row(a) + share * as_row(b)
    return from_row(Place(time, a.box, a.landmarks, 0.5 * min(a.score, b.score), False), middle)


def as_row(place: Place) -> NDArray[np.float64]:
    """Centre, size and landmarks of a place as one row."""
    x, y, width, height = place.box
    box = [x + width / 2, y + height / 2, width, height]
    return np.array(box if place.landmarks is None else [*box, *place.landmarks.ravel()], np.float64)


def from_row(place: Place, row: NDArray[np.float64]) -> Place:
    """A place with centre, size and landmarks from a row."""
    x, y, width, height = map(float, row[:4])
    landmarks = None if place.landmarks is None else row[4:].reshape(5, 2).astype(np.float32)
    return Place(place.time, (x - width / 2, y - height / 2, width, height), landmarks, place.score, place.detected)
