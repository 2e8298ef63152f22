"""Frames per second: sampling by time, and which rates a model and a manifest know.

A clip rule counts frames, as published, or, with ``clip.fps``, steps of 1 / fps seconds: then every video is read as if
it had that many frames per second, whatever its own and however they vary.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.interfaces import Clip

Rates = Mapping[str, int]
"""Frames per second, to the nearest half ("12.5", "30"), and how many clips have so many."""

NOISE = 1e-6
"""Seconds, or shares of a step, that rounded times may be off."""
ALIKE = 1.1
"""Rates that differ by no more than this factor count as the same: 24 and 25, not 25 and 30."""
SPARSEST = 1000
"""Steps per frame beyond which times cannot be meant."""


def nearest_step(seconds: float, fps: float) -> int:
    """The step nearest to a frame ``seconds`` after the first one; of two equally near ones the earlier."""
    return math.ceil(seconds * fps - 0.5 - NOISE)


def nearest_frames(times: ArrayLike, wanted: ArrayLike) -> NDArray[np.int64]:
    """Indices of the frames whose rising times (N,) are nearest to ``wanted`` (K,); of two equally near ones the earlier."""
    times, wanted = np.asarray(times, dtype=np.float64), np.asarray(wanted, dtype=np.float64)
    after = np.searchsorted(times, wanted).clip(max=len(times) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(times[after] - wanted < wanted - times[before] - NOISE, after, before).astype(np.int64)


def resample(times: NDArray[np.float64], fps: float) -> NDArray[np.int64]:
    """Indices (K,) of the frames that a video of ``fps`` frames per second would show, from rising times (N,) in seconds.

    Step k takes the frame nearest to ``times[0] + k / fps``; the last step is the one nearest to the last frame. 0 takes
    every frame. Raises ``ValueError`` for times so far apart that they must be wrong.
    """
    if not fps:
        return np.arange(len(times))
    last = nearest_step(float(times[-1] - times[0]), fps)
    if last > SPARSEST * len(times):
        raise ValueError(
            f"{len(times)} frames in {times[-1] - times[0]:.0f} s cannot be sampled {fps:g} times a second; mend its times"
        )
    return nearest_frames(times, times[0] + np.arange(last + 1) / fps)


def rate_of(times: NDArray[np.float64]) -> float | None:
    """Frames per second on average, from rising times (N,) in seconds; None for fewer than two frames."""
    return (len(times) - 1) / float(times[-1] - times[0]) if len(times) > 1 else None


def rate_name(rate: float) -> str:
    """A rate to the nearest half, as a name."""
    return f"{max(round(2 * rate) / 2, 0.5):g}"


def count_rates(clips: Iterable[Clip]) -> dict[str, int]:
    """How many clips have how many frames per second, slowest first; clips whose rate is not known are left out."""
    return ordered(Counter(rate_name(clip.rate) for clip in clips if clip.rate is not None))


def ordered(rates: Rates) -> dict[str, int]:
    """Slowest first."""
    return {rate: rates[rate] for rate in sorted(rates, key=float)}


def rate_warnings(rates: Rates, fps: float, stride: int, trained: Rates | None) -> list[str]:
    """Warnings about videos with these rates under a clip rule that counts frames; nothing with ``fps``.

    ``trained`` are the rates that a model's training saw, None where that is not known or nothing was trained yet.
    """
    if fps or not rates:
        return []
    found, slow, fast = [], min(rates, key=float), max(rates, key=float)
    if float(fast) > ALIKE * float(slow):
        found.append(
            f"frame rates differ: {format_rates(rates)}. Frames are counted, so a step of {stride} frames lasts "
            f"{stride / float(slow):.2f} s to {stride / float(fast):.2f} s; models trained with --clip.fps read by seconds"
        )
    known = list(map(float, trained or {}))
    other = {r: n for r, n in rates.items() if all(max(float(r), k) > ALIKE * min(float(r), k) for k in known)}
    if trained and other:
        found.append(
            f"frame rates that training did not see: {format_rates(other)}, trained on {format_rates(trained)}. Frames are counted, so the "
            "model sees these faster or slower than what it learnt from; models trained with --clip.fps read by seconds"
        )
    return found


def format_rates(rates: Rates) -> str:
    """Rates with their counts, for messages."""
    counts = (f"{count} clip{'s' * (count != 1)} of {rate} fps" for rate, count in ordered(rates).items())
    return ", ".join(counts)
