"""mien learns what faces do from unlabelled video and reads affect in any video.

Each command is a function of its name, with its options as keywords: ``mien.finetune("svfap_finetune", data={...})``, and
``mien.load(folder)`` gives an ``Analyzer`` for trained weights (docs/python.md). Importing this package does nothing else
and is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.api import (
        analyze,
        calibrate,
        cross_validate,
        evaluate,
        explain,
        extract_faces,
        extract_features,
        finetune,
        pretrain,
        probe,
        study,
    )  # fmt: skip
    from mien.inference.analyzer import Analyzer, load
    from mien.inference.timeline import Timeline

__all__ = [
    "Analyzer", "Timeline", "__version__", "analyze", "calibrate", "cross_validate", "evaluate", "explain",
    "extract_faces", "extract_features", "finetune", "load", "pretrain", "probe", "study",
]  # fmt: skip
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'mien' has no attribute {name!r}")
    module = {"Analyzer": "inference.analyzer", "load": "inference.analyzer", "Timeline": "inference.timeline"}
    return getattr(import_module(f"mien.{module.get(name, 'api')}"), name)


def __dir__() -> list[str]:
    return __all__
