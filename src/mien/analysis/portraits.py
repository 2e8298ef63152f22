"""A few pictures of every face, evenly over its time, gathered in one pass and bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

from mien.analysis.streaming import Progress
from mien.faces.face import Pixels

KEEP = 12
"""Pictures of a face that are shown."""
FAINT = 0.6
"""Confidence below which a face is doubtful."""


@dataclass(frozen=True, eq=False)
class Portrait:
    """One face at one moment, as the model saw it."""

    time: float
    confidence: float
    """NaN where it is not known."""
    doubtful: bool
    """Not seen on this frame (bridged), or found with little confidence."""
    picture: Pixels


class Portraits:
    """Keeps every n-th picture of each face, doubling n whenever there are too many. Is a listener of a stream."""

    def __init__(self, faces: int = 12) -> None:
        self.faces = faces
        self.kept: dict[int, list[Portrait]] = {}
        self.every: dict[int, int] = {}
        self.count: dict[int, int] = {}

    def __call__(self, event: Progress) -> None:
        """Look at what has become final."""
        for _, faces in event.frames:
            for dense in faces:
                seen = dense.appearance
                number = self.count.get(seen.face.id, 0)
                self.count[seen.face.id] = number + 1
                if number % self.every.setdefault(seen.face.id, 1) == 0:
                    doubtful = not seen.valid or seen.face.confidence < FAINT
                    self.add(seen.face.id, Portrait(seen.time, seen.face.confidence, doubtful, seen.picture))

    def add(self, face: int, portrait: Portrait) -> None:
        """Keep one; of too many every second goes. With too many faces the one seen shortest goes."""
        kept = self.kept.setdefault(face, [])
        kept.append(portrait)
        if len(kept) >= 2 * KEEP:
            self.kept[face], self.every[face] = kept[::2], 2 * self.every[face]
        if len(self.kept) > 2 * self.faces:
            del self.kept[min((f for f in self.kept if f != face), key=lambda f: self.count[f])]

    def chosen(self) -> dict[int, list[Portrait]]:
        """The faces seen longest with their pictures, at most ``KEEP`` each."""
        longest = sorted(self.kept, key=lambda face: -self.count[face])[: self.faces]
        return {face: even(self.kept[face]) for face in sorted(longest)}


def even(items: list[Portrait]) -> list[Portrait]:
    """At most ``KEEP`` of them, evenly spread."""
    if len(items) <= KEEP:
        return items
    return [items[round(i * (len(items) - 1) / (KEEP - 1))] for i in range(KEEP)]
