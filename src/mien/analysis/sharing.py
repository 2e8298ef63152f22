"""Reading many clips on several processes: each clip is read on one of them and counts once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mien.analysis.analyzer import Analyzer
from mien.distributed import Session, gather
from mien.interfaces import Clip
from mien.video.views import ViewConfig


def score_shared(
    analyzer: Analyzer, clips: Sequence[Clip], views: ViewConfig, workers: int, session: Session
) -> NDArray[np.float64]:
    """Outputs (clips, names), on every rank: rank r reads clips r, r + world, ...; whatever their number, none twice."""
    mine = range(session.rank, len(clips), session.world)
    outputs = analyzer.score_clips([clips[i] for i in mine], views, workers, progress=session.first).mean
    found = dict(gather(list(zip(mine, outputs, strict=True)), session))
    return np.stack([found[i] for i in range(len(clips))])
