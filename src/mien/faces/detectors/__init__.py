"""Face detectors: one file per kind. Adding one is a file and a name in ``DETECTORS``."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from pydantic import Field
from pydantic.dataclasses import dataclass

from mien.config import STRICT
from mien.faces.detectors.blazeface import MediaPipe
from mien.faces.detectors.detector import Detection, Detector
from mien.faces.detectors.haar import Haar
from mien.faces.detectors.retinaface import RetinaFace
from mien.faces.detectors.scrfd import Scrfd
from mien.faces.detectors.yunet import YuNet

DETECTORS: tuple[type[Detector], ...] = (YuNet, Haar, Scrfd, RetinaFace, MediaPipe)
"""``auto`` takes the first whose file is there, or that needs none."""

if TYPE_CHECKING:
    Name = str
else:
    Name = Literal[("auto", *(kind.name for kind in DETECTORS))]


@dataclass(frozen=True, config=STRICT)
class DetectConfig:
    """Which detector, and how closely it looks."""

    name: Name = "auto"
    """auto: by the model file; without one YuNet if its file is found, else Haar."""
    model: Annotated[Path | None, tyro.conf.arg(aliases=["--detector-model"])] = None
    """Model file; left out: looked for in the folder MIEN_MODELS, then in the user's cache."""
    size: Annotated[int, Field(ge=64, le=4096)] = 320
    """Longest side in pixels of the picture searched on most frames; smaller videos are searched as they are."""
    search_size: Annotated[int, Field(ge=64, le=4096)] = 640
    """The same when new and small faces are searched for: at the start of a shot and then at intervals."""
    score: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Score from which a face is believed; left out: the detector's own (0.6; Haar 0.65)."""

    def resolved(self) -> DetectConfig:
        """The same with the detector and its file named, as on this machine; says on stderr, once, if it is no good one."""
        if self.model is not None and not self.model.is_file():
            raise ValueError(f"{self.model}: no such model file; correct --detector-model")
        kind = self.kind()
        if not kind.needs_file and self.model is not None:
            raise ValueError(
                f"the detector {kind.name} reads no file: leave --detector-model out, or --detector.name {kind.name}"
            )
        model = self.model or kind.find()
        if kind.needs_file and model is None:
            get = f" (mien models get {kind.download} fetches one)" if kind.download else ""
            raise ValueError(f"detector {kind.name} needs its model file: --detector-model FILE{get}")
        return replace(self, name=kind.name, model=model)

    def kind(self) -> type[Detector]:
        """The kind of detector that is asked for; ``auto`` goes by the model file, or by what is there."""
        if self.name != "auto":
            return next(kind for kind in DETECTORS if kind.name == self.name)
        if self.model is not None:
            return kind_of(self.model)
        kind = next(kind for kind in DETECTORS if not kind.needs_file or kind.find())
        if kind.notice:
            warn_once(kind.notice)
        return kind

    def build(self) -> Detector:
        """The detector; raises ``ValueError`` naming a file that is missing or wrong or an extra to install."""
        config = self.resolved()
        return config.kind()(config)


def kind_of(model: Path) -> type[Detector]:
    """Which detector a file belongs to, by its name."""
    for kind in DETECTORS:
        if any(sign in model.name.lower() for sign in kind.signs):
            return kind
    names = ", ".join(kind.name for kind in DETECTORS if kind.needs_file)
    raise ValueError(f"{model}: its name does not tell the detector; add --detector.name ({names})")


@cache
def warn_once(message: str) -> None:
    """A line on stderr, once per process."""
    print(message, file=sys.stderr)


__all__ = ["DETECTORS", "DetectConfig", "Detection", "Detector"]
