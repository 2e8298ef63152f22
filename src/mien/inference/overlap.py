"""Many overlapping windows -> one value per frame, in order, as soon as no later window can change it.

A frame's value is the mean over all windows that cover it. Inside a run that mean stands symmetrically about the frame:
it is smoothed, not late. Near the ends of a run fewer windows cover a frame and their centres lie to one side; ``lag`` says
by how many seconds (positive: the value describes a moment before the frame).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mien.inference.windows import FaceCrop, FrameEvent, Window


@dataclass(frozen=True, eq=False)
class FrameEstimate:
    """The averaged outputs of one face on one frame."""

    appearance: FaceCrop
    mean: NDArray[np.float64]
    """Outputs (names,)."""
    deviation: NDArray[np.float64]
    """Standard deviation over the windows (names,); 0 where only one covers the frame."""
    lag: float
    """Seconds from the mean centre of the windows to the frame."""
    windows: int
    """Windows that cover the frame."""
    reasons: frozenset[str] | None = None
    """Why a window that covers the frame was found unreliable; empty if none was, None without a calibration."""


@dataclass(eq=False)
class RunSums:
    """Sums over the windows of one run, for the frames not given out yet."""

    names: int
    base: int = 0
    """Place in the run of the first row kept."""
    length: int = 0
    ended: bool = False
    open: int = 0
    """The first place that a later window may cover."""
    waiting: list[int] = field(default_factory=list)
    """Places of the windows that have no outputs yet."""
    rows: list[NDArray[np.float64]] = field(default_factory=list)
    """Per frame: count, sum of centres, sums of outputs, sums of squares."""
    reasons: list[frozenset[str] | None] = field(default_factory=list)

    def add_frame(self) -> int:
        """One more frame; returns its place in the run."""
        self.rows.append(np.zeros(2 + 2 * self.names))
        self.reasons.append(None)
        self.length += 1
        return self.length - 1

    def add_window(self, window: Window, outputs: NDArray[np.float64], reasons: Iterable[str] | None) -> None:
        """Add a window's outputs over the frames that it covers."""
        self.waiting.remove(window.place)
        centre = (window.crops[0].time + window.crops[-1].time) / 2
        term = np.concatenate([[1.0, centre], outputs, outputs**2])
        for place in range(window.place - self.base, window.place - self.base + len(window.crops)):
            self.rows[place] += term
            if reasons is not None:
                self.reasons[place] = (self.reasons[place] or frozenset()) | frozenset(reasons)

    @property
    def final_before(self) -> int:
        """Frames before this place get no more windows."""
        return min([*self.waiting, self.length if self.ended else self.open])

    def pop_estimate(self, place: int, appearance: FaceCrop) -> FrameEstimate:
        """Give out the row of a settled frame; rows leave in order."""
        assert place == self.base
        row, reasons = self.rows.pop(0), self.reasons.pop(0)
        self.base += 1
        count, names = row[0], self.names
        mean = row[2 : 2 + names] / count
        deviation = np.sqrt(np.maximum(row[2 + names :] / count - mean**2, 0.0))
        deviation = deviation if count > 1 else np.zeros(names)
        return FrameEstimate(appearance, mean, deviation, appearance.time - row[1] / count, int(count), reasons)


@dataclass(eq=False)
class OverlapAverage:
    """Takes frames and scored windows, gives frames back in order with averaged outputs."""

    names: int
    runs: dict[int, RunSums] = field(default_factory=dict)
    queue: deque[tuple[FrameEvent, list[tuple[int, int, FaceCrop]]]] = field(default_factory=deque)
    """Frames not given out yet, with (run, place in the run, appearance) of their faces."""

    def add_frame(self, event: FrameEvent) -> None:
        """A frame, in order; the windows that it completes wait for ``add``."""
        for number in event.ended:
            self.runs[number].ended = True
        places = []
        for number, appearance in event.faces:
            run = self.runs.setdefault(number, RunSums(self.names))
            places.append((number, run.add_frame(), appearance))
            run.open = event.open[number]
        for window in event.windows:
            self.runs[window.run].waiting.append(window.place)
        if event.frame >= 0:
            self.queue.append((event, places))

    def add_window(self, window: Window, outputs: NDArray[np.float64], reasons: Iterable[str] | None = None) -> None:
        """Add the outputs (names,) of the model for a window."""
        self.runs[window.run].add_window(window, outputs, reasons)

    def final_frames(self) -> Iterator[tuple[FrameEvent, list[FrameEstimate]]]:
        """Frames that no later window can change."""
        while self.queue and all(place < self.runs[number].final_before for number, place, _ in self.queue[0][1]):
            event, places = self.queue.popleft()
            yield event, [self.runs[number].pop_estimate(place, appearance) for number, place, appearance in places]
            for number, _, _ in places:
                run = self.runs[number]
                if run.ended and not run.waiting and run.base == run.length:
                    del self.runs[number]
