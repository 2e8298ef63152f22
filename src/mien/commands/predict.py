"""Read the scores of one video by label name.

mien predict VIDEO --model runs/finetune

VIDEO is a file or a folder of frames, cropped to one face as the training clips were. --json prints for programs.
"""

from __future__ import annotations

import json
from pathlib import Path

import tyro
from pydantic.dataclasses import dataclass

from mien import distributed
from mien.analysis.analyzer import load
from mien.config import STRICT
from mien.tasks.classification import ClassificationConfig
from mien.video.views import ViewConfig


@dataclass(frozen=True, config=STRICT)
class Config:
    """Options of ``mien predict``."""

    video: tyro.conf.Positional[Path]
    """Video file or folder of frames."""
    model: Path = Path("runs/finetune")
    """Folder of a fine-tuned run."""
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
        analyzer = load(config.model, config.device)
        scores = analyzer.scores(config.video, config.views)
    if config.json:
        print(json.dumps({"path": str(config.video), **scores}))
        return
    ranked = isinstance(analyzer.config, ClassificationConfig)
    print(config.video)
    for name, value in sorted(scores.items(), key=lambda item: -item[1]) if ranked else scores.items():
        bar = "#" * round(30 * value) if ranked else ""
        print(f"  {name:<20} {value:7.4f} {bar}")
