"""Maps laid over the face: as a video with its own times, and as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib import colormaps

from mien.explanations.face_windows import FaceWindows
from mien.explanations.occlusion import Array
from mien.faces.face import Pixels
from mien.files import write_whole
from mien.video.clips import Indices
from mien.video.writer import VideoWriter

SIDE = 320
"""Side of an overlay in pixels."""
STRIP = 64
"""Height of the curve below it."""


@dataclass(frozen=True)
class MapWindow:
    """One window of a video and its map."""

    frames: Indices
    """Numbers of its frames in the video (T,), rising."""
    map: Array
    """Map (time, rows, columns)."""

    def at(self, frame: int) -> Array | None:
        """The map (rows, columns) at a frame of the video, between slots interpolated; None outside the window."""
        if not self.frames[0] <= frame <= self.frames[-1]:
            return None
        numbers, first = np.unique(self.frames, return_index=True)
        per_slot = len(self.frames) / len(self.map)
        place = np.clip((np.interp(frame, numbers, first) + 0.5) / per_slot - 0.5, 0, len(self.map) - 1)
        low = int(place)
        high = min(low + 1, len(self.map) - 1)
        return self.map[low] + (place - low) * (self.map[high] - self.map[low])


def colour_limits(windows: Sequence[MapWindow], signed: bool) -> tuple[float, float]:
    """Values at the ends of the colours: around 0 for signed maps, otherwise from the least to the most, without outliers."""
    values = np.concatenate([window.map.ravel() for window in windows])
    if signed:
        most = float(np.quantile(np.abs(values), 0.98)) or 1.0
        return -most, most
    low, high = np.quantile(values, [0.02, 0.98])
    return float(low), float(high if high > low else low + 1)


def map_over_frame(frame: Pixels, values: Array, ends: tuple[float, float], signed: bool) -> Pixels:
    """A frame (H, W, 3), uint8, under a map (rows, columns): signed maps red for and blue against, others dark to bright.

    What says little stays as it is: the opacity grows with the distance from 0, or from the lower end.
    """
    height, width = frame.shape[:2]
    smooth = cv2.resize(values.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    place = np.clip((smooth - ends[0]) / (ends[1] - ends[0]), 0, 1)
    colour = colormaps["RdBu_r" if signed else "inferno"](place)[..., :3] * 255
    opacity = (np.abs(2 * place - 1) if signed else place)[..., None] * 0.65
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, axis=2)
    return ((1 - opacity) * (0.3 * frame + 0.7 * grey) + opacity * colour).round().astype(np.uint8)


def write_video(stretch: FaceWindows, windows: Sequence[MapWindow], path: Path, title: str, signed: bool) -> None:
    """The windows as the model sees them, under their maps, with a curve over time below; H.264, true times from 0."""
    ends = colour_limits(windows, signed)

    def write(beside: Path) -> None:
        with VideoWriter(beside) as video:
            for number, time, frame in stretch.pictures(SIDE):
                video.write(overlay_frame(frame, number, windows, ends, title, signed), time)

    write_whole(path, write)


def overlay_frame(
    frame: Pixels, number: int, windows: Sequence[MapWindow], ends: tuple[float, float], title: str, signed: bool
) -> Pixels:
    """A frame under its map, its title, and the curve with a mark at this frame (SIDE + STRIP, SIDE, 3)."""
    maps = [found for window in windows if (found := window.at(number)) is not None]
    picture = map_over_frame(frame, np.mean(maps, axis=0), ends, signed) if maps else frame.copy()
    text = (title, (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45)
    cv2.putText(picture, *text, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(picture, *text, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate([picture, curve_strip(number, windows, signed)])


def curve_strip(number: int, windows: Sequence[MapWindow], signed: bool) -> Pixels:
    """A curve over time with a mark at a frame (STRIP, SIDE, 3): the mean of signed maps, the peak of amounts.

    The mean of an attention map is the same at all times; its peak tells how much one site stands out.
    """
    curves = [w.map.mean(axis=(1, 2)) if signed else w.map.max(axis=(1, 2)) for w in windows]
    picture = np.full((STRIP, SIDE, 3), 255, np.uint8)
    first, last = min(w.frames[0] for w in windows), max(w.frames[-1] for w in windows)
    values = np.concatenate(curves)
    low, high = min(values.min(), 0.0), max(values.max(), 1e-9)

    def place(frame: float, value: float) -> tuple[int, int]:
        x = 6 + (SIDE - 12) * (frame - first) / max(last - first, 1)
        return round(x), round(STRIP - 6 - (STRIP - 12) * (value - low) / (high - low))

    cv2.line(picture, place(first, 0.0), place(last, 0.0), (190, 190, 190), 1)
    for window, curve in zip(windows, curves, strict=True):
        slots = np.array_split(window.frames, len(curve))
        line = [place(slot.mean(), value) for slot, value in zip(slots, curve, strict=True)]
        cv2.polylines(picture, [np.array(line, np.int32)], False, (0, 114, 178), 2, cv2.LINE_AA)
    if first <= number <= last:
        cv2.line(picture, (place(number, 0)[0], 2), (place(number, 0)[0], STRIP - 2), (213, 94, 0), 1)
    return picture


def picture_rows(
    stretch: FaceWindows, windows: Sequence[MapWindow], signed: bool, most: int = 8
) -> tuple[Pixels, Pixels]:
    """Frames of the windows (N, SIDE / 2, SIDE / 2, 3), at most so many, and the same under their maps; uint8."""
    numbers = np.unique(np.concatenate([window.frames for window in windows]))
    chosen = numbers[np.unique(np.linspace(0, len(numbers) - 1, most).round().astype(int))].tolist()
    frames = np.stack([picture for _, _, picture in stretch.pictures(SIDE // 2, chosen)])
    ends = colour_limits(windows, signed)
    maps = [np.mean([m for w in windows if (m := w.at(n)) is not None], axis=0) for n in chosen]
    return frames, np.stack(
        [map_over_frame(frame, values, ends, signed) for frame, values in zip(frames, maps, strict=True)]
    )
