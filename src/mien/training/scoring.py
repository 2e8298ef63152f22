"""A model over labelled clips on all ranks, and what its numbers are of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mien.engine.distributed import Session
from mien.evaluation.results import SUBJECT
from mien.evaluation.subgroups import is_blank
from mien.inference.analyzer import Analyzer, Scores
from mien.interfaces import Clip
from mien.model_files import weights_file
from mien.training.data import DataConfig
from mien.video.inspection import digest
from mien.video.views import ViewConfig


def score(
    analyzer: Analyzer, clips: Sequence[Clip], views: ViewConfig, workers: int, session: Session, measure: bool = False
) -> Scores:
    """The outputs of a model for clips, on every rank; each clip is read by one of them."""
    found = analyzer.score_clips(session.share(clips), views, workers, session.first, measure)
    parts = (found.mean, found.votes, found.features, found.sharpness)
    return Scores(*(session.gather(part, len(clips)) for part in parts))


def origin(model: Path, data: DataConfig, clips: Sequence[Clip], rows: str = "") -> dict[str, object]:
    """What was evaluated on what, for ``notes`` of a report; ``rows`` are conditions beside those of ``data``."""
    weights = weights_file(model)
    found: dict[str, object] = {"model": shown(model)}
    if weights.is_file():
        found["weights (SHA-256)"] = digest(weights)[:12]
    found["manifest"] = shown(Path(data.manifest))
    found |= {"rows": "; ".join(filter(None, (data.select, rows))) or "all", "clips": len(clips)}
    if people := {str(cell).strip() for clip in clips if not is_blank(cell := clip.columns.get(SUBJECT))}:
        found["subjects"] = len(people)
    return {"evaluated": found}


def shown(path: Path) -> str:
    """A path for a page: from here, or its last two parts where it lies elsewhere."""
    here = Path.cwd()
    whole = path.resolve()
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else "/".join(whole.parts[-2:])
