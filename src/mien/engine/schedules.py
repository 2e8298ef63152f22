"""Learning rate, weight decay and momentum as functions of progress: no state, so a resumed run needs none.

All take ``step`` counted from 0 and a total number of steps, and return a number in the units of their arguments.
"""

from __future__ import annotations

import math


def cosine(base: float, final: float, step: float, steps: float) -> float:
    """Half a cosine from ``base`` at step 0 towards ``final`` at ``steps``; constant beyond."""
    progress = min(step / steps, 1.0) if steps > 0 else 1.0
    return final + 0.5 * (base - final) * (1.0 + math.cos(math.pi * progress))


def warmup_cosine(base: float, final: float, step: int, steps: float, warmup: int, start: float = 1e-6) -> float:
    """Linear from ``start`` to ``base`` over ``warmup`` steps (both ends included), then cosine to ``final``.

    Reproduces the schedule of SVFAP and VideoMAE value for value.
    """
    if step < warmup:
        return start + (base - start) * step / max(warmup - 1, 1)
    return cosine(base, final, step - warmup, steps - warmup)


def ramp_cosine(base: float, final: float, step: int, steps: float, warmup: int, start: float) -> float:
    """Linear from ``start`` to ``base`` over ``warmup`` steps, then cosine to ``final``; step 0 is one step up the ramp.

    Reproduces the schedule of V-JEPA value for value; without warm-up, also that of its weight decay.
    """
    done = step + 1
    if done <= warmup:
        return start + (base - start) * done / warmup
    return cosine(base, final, done - warmup, steps - warmup)
