"""Assignment of detections to the tracks of a shot, and of new tracks to people seen before (Hungarian method)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from mien.faces.appearance import Descriptor, least_dissimilarity
from mien.faces.detectors import Detection
from mien.faces.face import Box
from mien.faces.track import Track, box_distance, moved_box

SAME_PERSON = 0.12
"""Dissimilarity below which two faces are one person wherever they stand: below every pair of different people measured."""
SAME_PERSON_NEARBY = 0.18
"""The same for a face that also stands about where that person was last."""
OTHER_PERSON = 0.35
"""Dissimilarity from which a detection is not given to a track although it stands in the right place."""
UNKNOWN = 0.25
"""What counts as dissimilarity where a track was never seen alone: more than the same person, less than another."""
IMPOSSIBLE = 1e6
DESCRIPTORS, MEMORY = 16, 256
"""Descriptors kept of a person, and people kept: beyond that, those seen longest ago are forgotten."""

Costs = NDArray[np.float64]
"""(rows, columns), ``IMPOSSIBLE`` where a pair is impossible."""


def match(
    tracks: Sequence[Track],
    found: Sequence[Detection],
    time: float,
    describe: Callable[[Detection], Descriptor],
    sudden: bool,
) -> list[tuple[Track, Detection]]:
    """Pairs of least total cost. ``describe`` is asked only where place alone does not tell, or after a ``sudden``
    change of the picture."""
    cost = distances(tracks, found, time)
    reach = cost < IMPOSSIBLE
    for row, track in enumerate(tracks):
        columns = np.flatnonzero(reach[row]).tolist()
        rivals = len(columns) > 1 or any(reach[:, column].sum() > 1 for column in columns)
        if rivals or (track.descriptors and (sudden or time - track.last.time > 0.15)):
            for column in columns:
                difference = (
                    least_dissimilarity([describe(found[column])], track.descriptors) if track.descriptors else UNKNOWN
                )
                cost[row, column] = IMPOSSIBLE if difference > OTHER_PERSON else cost[row, column] + 5 * difference
    return [(tracks[row], found[column]) for row, column in assign(cost)]


def distances(tracks: Sequence[Track], found: Sequence[Detection], time: float) -> Costs:
    """How far each detection is from where each track is expected (tracks, detections)."""
    table = np.full((len(tracks), len(found)), IMPOSSIBLE)
    for row, track in enumerate(tracks):
        expected = track.expected(time)
        reach = min(1.2, 0.6 + 1.5 * (time - track.last.time))
        for column, face in enumerate(found):
            distance = box_distance(expected, face.box)
            table[row, column] = distance if distance < reach else IMPOSSIBLE
    return table


def assign(cost: Costs) -> list[tuple[int, int]]:
    """Possible pairs (row, column) of least total cost."""
    rows, columns = linear_sum_assignment(cost)
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if cost[r, c] < IMPOSSIBLE]


@dataclass(eq=False)
class Person:
    """A person seen in this video: what they look like and where they were last."""

    descriptors: deque[Descriptor] = field(default_factory=lambda: deque(maxlen=DESCRIPTORS))
    box: Box = (0.0, 0.0, 0.0, 0.0)
    speed: tuple[float, float] = (0.0, 0.0)
    time: float = 0.0
    """Where, how fast and when last seen with nobody in the way; pixels and seconds."""


class People:
    """Everybody seen in this video, to know them again."""

    def __init__(self, returns: bool) -> None:
        self.returns = returns
        self.known: dict[int, Person] = {}
        self.next = 0

    def assign_ids(self, tracks: Sequence[Track], busy: Collection[int]) -> None:
        """Give each new track the id of a person who is known and not ``busy`` where that is sure, else the next id."""
        absent = [id for id in self.known if id not in busy] if self.returns else []
        cost = np.array([[person_cost(track, self.known[id]) for id in absent] for track in tracks]).reshape(
            len(tracks), -1
        )
        for row, column in assign(cost):
            others = np.delete(cost[row], column)
            if cost[row, column] < others.min(initial=IMPOSSIBLE) - 0.02:
                tracks[row].id = absent[column]
        for track in tracks:
            if track.id is None:
                track.id, self.next = self.next, self.next + 1
            for seen in track.descriptors:
                self.remember(track, seen)

    def remember(self, track: Track, seen: Descriptor | None) -> None:
        """Keep where a named track is, if nobody is in the way, and, if given, what it looks like now."""
        if track.id is None:
            return
        person = self.known.setdefault(track.id, Person())
        if track.isolated:
            person.box, person.speed, person.time = track.last_detection.box, track.speed, track.last_detection.time
        if seen is not None:
            person.descriptors.append(seen)
        if len(self.known) > MEMORY:
            del self.known[min(self.known, key=lambda id: self.known[id].time)]


def person_cost(track: Track, person: Person) -> float:
    """Dissimilarity of a new track and a person; ``IMPOSSIBLE`` if they are not surely the same."""
    difference = least_dissimilarity(track.descriptors, person.descriptors)
    first = track.places[min(track.places)]
    away = first.time - person.time
    near = (
        away < 2
        and min(box_distance(first.box, moved_box(person.box, person.speed, t)) for t in (0, away / 2, away)) < 0.8
    )
    return difference if difference < (SAME_PERSON_NEARBY if near else SAME_PERSON) else IMPOSSIBLE
