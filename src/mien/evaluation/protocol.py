"""How a result came about: which clips, which folds, which epoch. Two numbers compare only where this is the same.

``protocol.json`` beside predictions.csv and metrics.json holds one ``Protocol``; every key may be missing or null, which
means "not recorded". The published results in reference.yaml carry the same fields.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from mien.config import STRICT, explain
from mien.files import write_whole

FILE = "protocol.json"


@dataclass(frozen=True, config=STRICT)
class Protocol:
    """The protocol of one result."""

    corpus: str | None = None
    """Name of the corpus, as ``mien prepare`` and reference.yaml have it: crema_d, dfew, ..."""
    labels: str | None = None
    """What is predicted, for corpora with several tasks: arousal or valence for AVCAffe."""
    modality: str | None = None
    """video, audio, audio + video, video + text, ..."""
    split: str | None = None
    """Scheme of the split by name; reference.yaml lists the names under ``splits``."""
    folds: int | None = None
    """Number of test folds; 1 is one test set."""
    classes: int | None = None
    """Number of classes; none for values."""
    clips: int | None = None
    """Test clips over all folds."""
    unit: Literal["clip", "video"] | None = "clip"
    """What is evaluated: each clip, or each video by the mean over its clips."""
    selection: Literal["last epoch", "best on validation", "best on test", "last epoch or best on test"] | None = None
    """How the weights that are evaluated were chosen; a choice on the test clips marks every number it touches."""
    pooling: Literal["pooled", "fold mean", "one test set"] | None = None
    """Metrics over the predictions of all folds, the mean of the folds' metrics, or there is one test set."""
    note: str = ""
    """Anything else that a reader has to know."""


COMPARED = ("modality", "split", "folds", "classes", "clips", "unit", "selection", "pooling")
"""Fields that must agree for two results to compare; corpus and labels choose what is compared at all."""


def read_protocol(folder: Path) -> Protocol | None:
    """The protocol of a run's folder, None where none is recorded; ``ValueError`` for a file that holds no protocol."""
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        return TypeAdapter(Protocol).validate_python(json.loads(file.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise ValueError(f"{file}: {explain(error)}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: not valid JSON: {error}") from error


def write_protocol(folder: Path, protocol: Protocol) -> None:
    """Write ``protocol.json``, whole or not at all."""
    tree = TypeAdapter(Protocol).dump_python(protocol, mode="json")
    write_whole(folder / FILE, lambda path: path.write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8"))


def differences(here: Protocol, there: Protocol) -> list[str]:
    """A sentence per field in which a run and a published result differ, and one for what either does not state."""
    found, unstated, unrecorded = [], [], []
    for field in COMPARED:
        ours, theirs = getattr(here, field), getattr(there, field)
        if ours is None or theirs is None:
            unstated += [field] if ours is not None else []
            unrecorded += [field] if theirs is not None else []
        elif ours != theirs:
            found.append(f"{field}: {format_value(ours)} here, {format_value(theirs)} there")
    found += [f"not stated there: {', '.join(unstated)}"] if unstated else []
    found += [f"not recorded here: {', '.join(unrecorded)}"] if unrecorded else []
    return found


def format_value(value: str | int) -> str:
    """A field as a person writes it."""
    return f"{value:,}" if isinstance(value, int) else value
