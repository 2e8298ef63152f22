"""How many rows of a table of frames are not reliable, and why: what a reader has to meet before any value.

share = share_of(timeline.frames)
share.sentence()   # "472 of 472 frames not reliable: unfamiliar"
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mien.inference.tables import SEPARATOR

UNCALIBRATED = (
    "not calibrated: which answers to rely on is not known, and probabilities may be too sure; mien calibrate tells"
)
MEANING = {
    "blur": "blurred",
    "small": "too small",
    "pose": "turned away",
    "unfamiliar": "unlike the faces that the model was calibrated on",
}
"""What the reasons mean, in words."""


@dataclass(frozen=True)
class ReliabilityShare:
    """Counts over rows with a face."""

    rows: int
    """Rows that show a face."""
    judged: int
    """Of these, rows that say whether they are reliable: none without a calibration."""
    unreliable: int
    reasons: dict[str, int] = field(default_factory=dict)
    """Rows by reason, the most frequent first; a row may have several."""
    faces: int = 1

    @property
    def known(self) -> bool:
        """Whether there was a calibration that judged; true where there was nothing to judge."""
        return self.judged > 0 or self.rows == 0

    @property
    def share(self) -> float | None:
        """Unreliable rows in [0, 1] of those judged; None where nothing was judged."""
        return self.unreliable / self.judged if self.judged else None

    @property
    def warns(self) -> bool:
        """Whether a reader has to be warned: of unreliable rows, or because nobody can tell."""
        return self.unreliable > 0 or not self.known

    def sentence(self) -> str:
        """One line for a person; nothing where there is no face to judge."""
        if not self.rows:
            return ""
        if not self.judged:
            return UNCALIBRATED
        of = "" if self.faces == 1 else f" of {self.faces} faces"
        counted = [name if count == self.unreliable else f"{name} ({count})" for name, count in self.reasons.items()]
        why = f": {', '.join(counted)}" if counted else ""
        return f"{self.unreliable} of {self.judged} frames{of} not reliable{why}"

    def meaning(self) -> str:
        """What the reasons mean and what follows, for pages."""
        words = "; ".join(f"{name}: {MEANING[name]}" for name in self.reasons if name in MEANING)
        return f"Values of such frames say little ({words})." if self.unreliable else ""


def share_of(frames: Any) -> ReliabilityShare:
    """What the columns ``success``, ``reliable`` and ``reasons`` of a table of frames (``pandas.DataFrame``) say."""
    seen = frames[frames["success"] == 1]
    judged = seen[seen["reliable"].notna()]
    doubted = judged[~judged["reliable"].astype(bool)]
    each = doubted["reasons"].dropna().str.split(SEPARATOR).explode()
    counts = {str(name): int(count) for name, count in each.value_counts().items()}
    return ReliabilityShare(len(seen), len(judged), len(doubted), counts, int(seen["face_id"].nunique()))


def combined(shares: list[ReliabilityShare]) -> ReliabilityShare:
    """The counts of many videos."""
    reasons: dict[str, int] = {}
    for share in shares:
        for name, count in share.reasons.items():
            reasons[name] = reasons.get(name, 0) + count
    ranked = dict(sorted(reasons.items(), key=lambda item: -item[1]))
    return ReliabilityShare(
        rows=sum(share.rows for share in shares),
        judged=sum(share.judged for share in shares),
        unreliable=sum(share.unreliable for share in shares),
        reasons=ranked,
        faces=sum(share.faces for share in shares),
    )
