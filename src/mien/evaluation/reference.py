"""Published results with their protocols, read from reference.yaml, and which of them belong to a corpus."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from mien.config import build
from mien.evaluation.protocol import Protocol

PERCENT = ("WAR", "UAR", "F1_macro", "F1_weighted", "recall", "F1", "AUC", "accuracy")
"""Metrics that papers print in percent; here, as everywhere in mien, they are shares."""

METRICS = (*PERCENT, "PCC", "CCC", "1-MAE")
"""All metrics in the file; recall by class, others by target or label, with ``mean`` where the source prints it."""

AVERAGED = "averaged here"
"""Added to the mark of a mean over targets that the source does not print."""

Row = Mapping[str, Any]
"""A result as the file has it: some of ``KEYS``, each with text, a number, or numbers by class, target or fold."""

KEYS = {"method", "year", "protocol", "modality", "model", "source", "marks", "note", "folds", *METRICS}


@dataclass(frozen=True)
class Published:
    """One result of one method on one corpus."""

    method: str
    year: int | None
    model: str
    """Backbone, parameters (M) and multiply-adds per clip (G), as far as known."""
    protocol: Protocol
    metrics: dict[str, float]
    """By the names and in the units of ``mien.statistics.metrics``; parts as ``recall.anger`` and ``CCC.valence``."""
    folds: dict[str, tuple[float, ...]]
    """Metrics per fold, where they are published."""
    sources: dict[str, str]
    """Where the number comes from, by metric, a key of ``sources()``; "folds" for those of the folds."""
    note: str


def published(corpus: str) -> list[Published]:
    """All results on a corpus, in the order of the file; ``ValueError`` for a name that is in no way known."""
    key = corpus_key(corpus)
    return [result for result in all_results() if result.protocol.corpus == key]


def corpus_key(name: str) -> str:
    """The key of a corpus, whatever the case and the hyphens: CREMA-D is crema_d."""
    if key := find_corpus(name):
        return key
    raise ValueError(f"no published results on {name!r}; there are some on {', '.join(tables()['corpora'])}")


def find_corpus(name: str) -> str | None:
    """The key of a corpus, None where no results on it are published."""
    for key, about in tables()["corpora"].items():
        if normalized(name) in {normalized(other) for other in (key, about["title"], *about.get("also", ()))}:
            return key
    return None


def normalized(name: str) -> str:
    """A name's letters and digits."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def title(corpus: str) -> str:
    """How a corpus writes itself."""
    return tables()["corpora"][corpus_key(corpus)]["title"]


def sources() -> dict[str, str]:
    """What the marks of sources mean."""
    return dict(tables()["marks"])


def splits(corpus: str) -> dict[str, str]:
    """Names of the ways to split a corpus, and what they are."""
    return dict(tables()["splits"].get(corpus_key(corpus), {}))


@cache
def tables() -> dict[str, Any]:
    """The file as it is."""
    return yaml.safe_load((files("mien.evaluation") / "reference.yaml").read_text(encoding="utf-8"))


@cache
def all_results() -> tuple[Published, ...]:
    """Every result of the file."""
    return tuple(result(row) for row in tables()["results"])


def result(row: Row) -> Published:
    """One row of the file; a key that it cannot have (a note with a comma needs quotes) is an error."""
    if odd := set(row) - KEYS:
        raise ValueError(f"reference.yaml, {row['method']}, {row['protocol']}: unknown {', '.join(sorted(odd))}")
    found = {name: value for metric in METRICS if metric in row for name, value in metric_values(metric, row[metric])}
    folds = {metric: tuple(as_share(metric, v) for v in values) for metric, values in row.get("folds", {}).items()}
    return Published(
        method=row["method"],
        year=row.get("year"),
        model=row.get("model", ""),
        protocol=protocol(row["protocol"], row.get("modality", "video")),
        metrics={name: as_share(name.partition(".")[0], value) for name, value in found.items()},
        folds=folds,
        sources={name: source_of(row, name) for name in (*found, *(["folds"] if folds else []))},
        note=tables()["notes"].get(row.get("note"), row.get("note", "")),
    )


def source_of(row: Row, name: str) -> str:
    """Where a number of a row comes from."""
    special = row.get("marks", {})
    source = special.get(name, special.get(name.partition(".")[0], row.get("source", "O")))
    given = row.get(name)
    return f"{source}, {AVERAGED}" if isinstance(given, Mapping) and name in METRICS and "mean" not in given else source


def metric_values(metric: str, value: float | Mapping[str, float]) -> list[tuple[str, float]]:
    """A number, or numbers by class or target -> (name, number); the mean of complete targets is added.

    A complete set of targets has the mean that its paper prints or, where it prints none, the mean of its numbers.
    """
    if not isinstance(value, Mapping):
        return [(metric, value)]
    each = {f"{metric}.{name}": number for name, number in value.items() if name != "mean"}
    if metric == "recall":
        return list(each.items())
    return [(metric, value.get("mean", sum(each.values()) / max(len(each), 1))), *each.items()]


def as_share(metric: str, value: float) -> float:
    """Percent as a share."""
    return round(value / 100, 6) if metric in PERCENT else value


def protocol(name: str, modality: str) -> Protocol:
    """A protocol of the file, with its note written out."""
    about = build(Protocol, tables()["protocols"][name])
    return replace(about, modality=modality, note=tables()["notes"].get(about.note, about.note))
