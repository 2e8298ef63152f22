"""Timelines as annotation files of ELAN: what format 3.0 asks of them, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlparse
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import pandas as pd
import pytest

from mien.inference.tables import Layout
from mien.inference.timeline import Timeline

ORDER = ("HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE")
"""Elements of a document, in the order that the format gives them."""


def timeline(kind: str, names: Sequence[str], label: str, rows: Sequence[Mapping[str, object]]) -> Timeline:
    """A timeline of a face at 25 frames per second; a row tells what differs from a seen, reliable frame."""
    layout = Layout(names, kind, label)
    usual = {"input": "a.mp4", "face_id": 0, "success": 1, "reliable": True, "reasons": ""}
    table = pd.DataFrame(
        [usual | {"frame": i, "timestamp": i / 25} | dict(row) for i, row in enumerate(rows)], columns=list(layout.frames)
    )  # fmt: skip
    return Timeline(table, pd.DataFrame(columns=list(layout.windows)), layout, {"input": "a.mp4"})


def written(
    found: Timeline, folder: Path, media: Path | None = None
) -> tuple[Element, dict[str, list[tuple[int, int, str]]]]:
    """The document, which is checked, and the intervals of each tier."""
    found.to_elan(folder / "timeline.eaf", media)
    root = ElementTree.parse(folder / "timeline.eaf").getroot()
    assert root.tag == "ANNOTATION_DOCUMENT"
    assert root.get("FORMAT") == root.get("VERSION") == "3.0"
    assert {"AUTHOR", "DATE"} <= set(root.keys())
    places = [ORDER.index(child.tag) for child in root]
    assert places == sorted(places)
    slots = {slot.get("TIME_SLOT_ID"): int(slot.get("TIME_VALUE", "")) for slot in root.iter("TIME_SLOT")}
    assert list(slots.values()) == sorted(set(slots.values()))
    assert min(slots.values(), default=0) >= 0
    ids = [a.get("ANNOTATION_ID") for a in root.iter("ALIGNABLE_ANNOTATION")]
    assert len(set(ids)) == len(ids)
    types = {kind.get("LINGUISTIC_TYPE_ID"): kind.get("TIME_ALIGNABLE") for kind in root.iter("LINGUISTIC_TYPE")}
    tiers = {}
    for tier in root.iter("TIER"):
        assert types[tier.get("LINGUISTIC_TYPE_REF")] == "true"
        said = []
        for one in tier.iter("ALIGNABLE_ANNOTATION"):
            said.append((slots[one.get("TIME_SLOT_REF1")], slots[one.get("TIME_SLOT_REF2")], one.findtext("ANNOTATION_VALUE") or ""))  # fmt: skip
        assert all(start < end for start, end, _ in said)
        assert all(first[1] <= second[0] for first, second in pairwise(said)), "no overlap"
        name = tier.get("TIER_ID") or ""
        assert name not in tiers
        tiers[name] = said
    return root, tiers


def test_labels_are_intervals_and_what_is_not_reliable_says_why(tmp_path: Path) -> None:
    doubted = {"reliable": False, "reasons": "blur|pose"}
    rows = (
        [{"emotion": "anger"}] * 3 + [{"emotion": "fear"} | doubted] * 2 + [{"success": 0}] + [{"emotion": "fear"}] * 2
    )
    _, tiers = written(timeline("classification", ["anger", "fear"], "emotion", rows), tmp_path)
    assert tiers == {
        "face 0 emotion": [(0, 120, "anger"), (120, 200, "fear"), (240, 320, "fear")],
        "face 0 not reliable": [(120, 200, "blur, pose")],
    }


def test_yes_and_no_and_values_have_a_tier_each(tmp_path: Path) -> None:
    rows = [{"smile": 0.9, "frown": 0.2}, {"smile": 0.4, "frown": 0.2}]
    _, tiers = written(timeline("multilabel", ["smile", "frown"], "", rows), tmp_path)
    assert tiers == {"face 0 smile": [(0, 40, "smile")], "face 0 frown": [], "face 0 not reliable": []}
    rows = [{"valence": 0.5, "reliable": pd.NA}] * 25 + [{"valence": -0.25, "reliable": pd.NA}] * 5
    _, tiers = written(timeline("regression", ["valence"], "", rows), tmp_path)
    assert tiers == {"face 0 valence": [(0, 1000, "+0.50"), (1000, 1200, "-0.25")], "face 0 not reliable": []}


def test_the_video_is_named_by_address_and_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    media = tmp_path / "é & b.mp4"
    media.touch()
    root, _ = written(timeline("classification", ["a<", "b\x01"], "x", [{"x": "b\x01"}]), tmp_path / "out", media)
    (named,) = root.iter("MEDIA_DESCRIPTOR")
    assert named.get("MIME_TYPE") == "video/mp4"
    assert Path(unquote(urlparse(named.get("MEDIA_URL", "")).path)) == media
    assert tmp_path / "out" / unquote(named.get("RELATIVE_MEDIA_URL", "")) == tmp_path / "out" / ".." / media.name
    assert "b\\x01" in [value.text for value in root.iter("ANNOTATION_VALUE")]


@pytest.mark.parametrize("times", [[0.0, 0.0002, 0.0004], [-0.1, 0.0, 0.1]])
def test_times_that_are_close_or_before_0_give_no_empty_interval(tmp_path: Path, times: list[float]) -> None:
    rows = [{"emotion": name, "timestamp": time} for name, time in zip(("a", "b", "a"), times, strict=True)]
    _, tiers = written(timeline("classification", ["a", "b"], "emotion", rows), tmp_path)
    assert all(start < end for start, end, _ in tiers["face 0 emotion"])


def test_no_face_gives_no_tier(tmp_path: Path) -> None:
    _, tiers = written(timeline("classification", ["a"], "emotion", [{"success": 0, "face_id": np.nan}] * 3), tmp_path)
    assert tiers == {}
