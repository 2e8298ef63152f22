"""mien learns what faces do from unlabelled video and reads affect in any video.

``mien.load(folder)`` gives an ``Analyzer`` for exported weights. Importing this package does nothing else and is cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.inference.analyzer import Analyzer, load
    from mien.inference.timeline import Timeline

__all__ = ["Analyzer", "Timeline", "__version__", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in ("Analyzer", "load"):
        from mien.inference import analyzer

        return getattr(analyzer, name)
    if name == "Timeline":
        from mien.inference.timeline import Timeline

        return Timeline
    raise AttributeError(f"module 'mien' has no attribute {name!r}")
