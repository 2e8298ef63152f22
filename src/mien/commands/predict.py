"""Read the scores of one video by label name.

mien predict VIDEO --model runs/finetune

VIDEO is a file or a folder of frames, cropped to one face as the training clips were. --json prints for programs. Of a
model that `mien calibrate` has calibrated the probabilities are calibrated ones, with a prediction set (values: an
interval) and what speaks against relying on them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import tyro
from pydantic.dataclasses import dataclass

from mien import distributed
from mien.analysis import trust
from mien.analysis.analyzer import Analyzer, load
from mien.analysis.calibration import Calibration, require_calibration
from mien.analysis.pooling import pool_clips
from mien.analysis.reliability_share import UNCALIBRATED
from mien.config import STRICT
from mien.interfaces import Clip
from mien.tasks.classification import ClassificationConfig
from mien.video.views import ViewConfig


@dataclass(frozen=True, config=STRICT)
class Config:
    """Options of ``mien predict``."""

    video: tyro.conf.Positional[Path]
    """Video file or folder of frames."""
    model: Path = Path("runs/finetune")
    """Folder of a fine-tuned run."""
    coverage: float | None = None
    """Share of the truth that sets and intervals shall hold, in (0, 1); by default what the model was calibrated for."""
    views: ViewConfig = ViewConfig()
    json: bool = False
    """Print one JSON object instead of a table."""
    device: str = "auto"
    """auto, cpu, cuda, ..."""
    matmul: distributed.MatmulPrecision = "medium"
    """Precision of fp32 matrix products."""


def run(config: Config) -> None:
    """Predict and print."""
    with distributed.session(config.device, config.matmul):
        analyzer, calibration = load(config.model, config.device), Calibration.load(config.model)
        require_calibration(calibration, config.coverage)
        if calibration is None:
            scores, more = analyzer.scores(config.video, config.views), {"reliable": None, "reasons": None}
        else:
            scores, more = calibrated(analyzer, calibration, config)
        for line in [] if calibration is None else trust.other_views(calibration, analyzer.suited(config.views)):
            print(line, file=sys.stderr)
    if config.json:
        print(json.dumps({"path": str(config.video), **scores, **more}))
        return
    ranked = isinstance(analyzer.config, ClassificationConfig)
    print(config.video)
    print(f"  {reliability(more)}")
    for name, value in sorted(scores.items(), key=lambda item: -item[1]) if ranked else scores.items():
        bar = "#" * round(30 * value) if ranked else ""
        between = more.get("intervals", {}).get(name)
        beside = f"{between[0]:.4f} to {between[1]:.4f}" if between else bar
        print(f"  {name:<20} {value:7.4f} {beside}")
    for line in remarks(more):
        print(line)


def calibrated(analyzer: Analyzer, calibration: Calibration, config: Config) -> tuple[dict[str, float], dict[str, Any]]:
    """Calibrated scores by name; set or intervals, coverage, and whether to rely on it."""
    read = pool_clips(analyzer, [Clip(config.video)], config.views)
    found, names = calibration.apply(read.outputs, config.coverage), analyzer.names
    doubts = trust.doubts(calibration, read)[0]
    more: dict[str, Any] = {"coverage": config.coverage or calibration.facts.coverage}
    if found.sets is not None:
        more["set"] = [name for name, inside in zip(names, found.sets[0], strict=True) if inside]
    if found.lower is not None and found.upper is not None:
        ends = zip(found.lower[0].tolist(), found.upper[0].tolist(), strict=True)
        more["intervals"] = dict(zip(names, ends, strict=True))
    scores = dict(zip(names, found.values[0].tolist(), strict=True))
    return scores, more | {"reliable": not doubts, "reasons": doubts}


def remarks(more: dict[str, Any]) -> list[str]:
    """What a person is told below the scores."""
    if "coverage" not in more:
        return []
    share = f"{more['coverage']:.0%}"
    lines = [f"  intervals hold the truth of {share} of such clips"] if "intervals" in more else []
    if "set" in more:
        lines = [f"  {share} set: {', '.join(more['set']) or 'empty, no label is plausible'}"]
    return lines


def reliability(more: dict[str, Any]) -> str:
    """Whether to rely on the scores, which stands before them."""
    if more["reliable"] is None:
        return UNCALIBRATED
    return "reliable" if more["reliable"] else f"not reliable: {', '.join(more['reasons'])}"
