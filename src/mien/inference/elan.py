"""A timeline as an annotation file of ELAN (.eaf, format 3.0), the program in which observers of behaviour code video.

Tiers of a face: the label with the largest probability, as intervals; of labels that are yes or no a tier each, where yes is
the likelier; of values a tier each, with their mean every second; and where answers are not reliable, the reasons.
"""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np
import pandas as pd

from mien.names import to_text

if TYPE_CHECKING:
    from mien.inference.timeline import Timeline

SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
SCHEMA_ATTRIBUTE = "{http://www.w3.org/2001/XMLSchema-instance}noNamespaceSchemaLocation"
TYPE = "default-lt"
"""The one linguistic type: intervals of their own on the time axis."""

Interval = tuple[int, int, str]
"""Start and end in milliseconds, and what is said."""


def eaf(timeline: Timeline, file: Path, media: Path | None = None) -> bytes:
    """The content of an annotation file at ``file``; ``media`` is the video that it belongs to."""
    root = Element("ANNOTATION_DOCUMENT", AUTHOR="mien", DATE=datetime.now(UTC).isoformat(timespec="seconds"), FORMAT="3.0", VERSION="3.0")  # fmt: skip
    root.set(SCHEMA_ATTRIBUTE, SCHEMA)
    header = SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    if media is not None:
        relative = os.path.relpath(media.resolve(), file.resolve().parent)
        SubElement(
            header, "MEDIA_DESCRIPTOR", MEDIA_URL=media.resolve().as_uri(), RELATIVE_MEDIA_URL=quote(os.fsencode(relative)),
            MIME_TYPE=mimetypes.guess_type(media.name)[0] or "unknown",
        )  # fmt: skip
    found = list(tiers(timeline))
    slots = {
        time: f"ts{i}" for i, time in enumerate(sorted({t for _, _, part in found for i in part for t in i[:2]}), 1)
    }
    order = SubElement(root, "TIME_ORDER")
    for time, slot in slots.items():
        SubElement(order, "TIME_SLOT", TIME_SLOT_ID=slot, TIME_VALUE=str(time))
    count = 0
    for name, face, intervals in found:
        tier = SubElement(root, "TIER", TIER_ID=to_text(name), PARTICIPANT=face, ANNOTATOR="mien", LINGUISTIC_TYPE_REF=TYPE)  # fmt: skip
        for start, end, text in intervals:
            count += 1
            place = {"ANNOTATION_ID": f"a{count}", "TIME_SLOT_REF1": slots[start], "TIME_SLOT_REF2": slots[end]}
            annotation = SubElement(SubElement(tier, "ANNOTATION"), "ALIGNABLE_ANNOTATION", place)
            SubElement(annotation, "ANNOTATION_VALUE").text = to_text(text)
    SubElement(header, "PROPERTY", NAME="lastUsedAnnotationId").text = str(count)
    SubElement(root, "LINGUISTIC_TYPE", LINGUISTIC_TYPE_ID=TYPE, TIME_ALIGNABLE="true", GRAPHIC_REFERENCES="false")
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def tiers(timeline: Timeline) -> Iterator[tuple[str, str, list[Interval]]]:
    """Name, face and intervals of every tier."""
    frames, layout = timeline.frames, timeline.layout
    times = frames.drop_duplicates("frame").set_index("frame")["timestamp"].sort_index()
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.04
    ends = times.shift(-1).fillna(times.max() + step)  # a frame lasts until the next one
    seen = frames[frames["success"] == 1].assign(end=lambda rows: rows["frame"].map(ends))
    for number, rows in seen.groupby("face_id"):
        face = f"face {number}"
        if layout.label:
            yield f"{face} {layout.label}", face, runs(rows, lambda row: row[layout.label])
        elif layout.outputs.bounds:
            for name in layout.names:
                yield f"{face} {name}", face, runs(rows, lambda row, name=name: name if row[name] >= 0.5 else None)
        else:
            for name in layout.names:
                yield f"{face} {name}", face, means(rows, name)
        yield f"{face} not reliable", face, runs(rows, doubts)


def doubts(row: dict[str, Any]) -> str | None:
    """Why a row is not reliable; None where it is, and where nobody can tell."""
    return None if pd.isna(row["reliable"]) or row["reliable"] else str(row["reasons"]).replace("|", ", ")


def runs(rows: pd.DataFrame, say: Callable[[dict[str, Any]], str | None]) -> list[Interval]:
    """Intervals over consecutive frames of which the same is said; none where nothing is."""
    found: list[Interval] = []
    cells = [(row, say(row)) for row in rows.sort_values("frame").to_dict("records")]
    for (_, said), part in groupby(enumerate(cells), lambda item: (item[1][0]["frame"] - item[0], item[1][1])):
        members = [row for _, (row, _) in part]
        if said is not None:
            found += interval(members[0]["timestamp"], members[-1]["end"], said)
    return found


def means(rows: pd.DataFrame, name: str) -> list[Interval]:
    """The mean of a value over every second in which the face was seen."""
    found: list[Interval] = []
    starts, ends = rows["timestamp"].to_numpy(float), rows["end"].to_numpy(float)
    seconds, values = np.floor(starts), rows[name].to_numpy(float)
    for second in np.unique(seconds):
        inside = seconds == second
        end = min(float(ends[inside].max()), float(second) + 1)
        found += interval(float(starts[inside].min()), end, f"{values[inside].mean():+.2f}")
    return found


def interval(start: float, end: float, text: str) -> list[Interval]:
    """An interval in whole milliseconds; none where nothing is left of it."""
    first, last = max(round(1000 * start), 0), round(1000 * end)
    return [(first, last, text)] if last > first else []
