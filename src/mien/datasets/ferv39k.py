"""FERV39k: 38,935 clips of 22 scenes, seven expressions, one official train and test.

A clip is a folder of face frames ``<scene>/<label>/<number>``; the lists name that folder and the label.
"""

from __future__ import annotations

from pathlib import Path

from mien.datasets.corpus import Corpus, Entry, Fault, Listing, Options
from mien.datasets.folds import Line, combine, read_lists
from mien.datasets.label_tables import read_pairs
from mien.datasets.layout import choose_folder, is_video, require, walk_clips

LABELS = {
    "Happy": "happiness", "Sad": "sadness", "Neutral": "neutral", "Angry": "anger", "Surprise": "surprise",
    "Disgust": "disgust", "Fear": "fear",
}  # fmt: skip
LAYOUT = """
ROOT/
  4_setups/All_scenes/train_All.csv                    lines: <scene>/<label>/<number> <label>
  4_setups/All_scenes/test_All.csv
  2_ClipsforFaceCrop/<scene>/<label>/<number>/*.jpg    any other folder with --clips
"""


def list_clips(root: Path, options: Options) -> Listing:
    """The clips of both lists, with their scene."""
    tables = require(root / "4_setups/All_scenes", root, LAYOUT)
    folder = choose_folder(root, options.clips, ("2_ClipsforFaceCrop",), LAYOUT)
    lists, absent = read_lists(("split",), lambda _, part: tables / f"{part}_All.csv", read_set, root, LAYOUT)
    paths = ((path.with_suffix("") if is_video(path) else path, path) for path in walk_clips(folder))
    there = {name.relative_to(folder).as_posix(): path for name, path in paths}
    listing = combine(lists, LABELS, lambda clip: there.get(clip, folder / clip), whole=not absent)
    listing.entries = [with_scene(entry, folder) for entry in listing.entries]
    listing.problems += absent
    listing.ignore_unlisted(there.values())
    return listing


def read_set(path: Path) -> list[Line]:
    """One official list."""
    return [Line(clip.replace("\\", "/").strip("/"), label, source) for clip, label, source in read_pairs(path)]


def with_scene(entry: Entry, folder: Path) -> Entry:
    """The entry with its scene; a label in its path that is not the list's is a fault."""
    parts = entry.path.relative_to(folder).parts
    written = next((part for part in parts[1:-1] if part in LABELS), None)
    fault = entry.fault
    if fault is None and written and LABELS[written] != entry.columns["expression"]:
        fault = Fault("label", f"{entry.source}: {entry.columns['expression']}, but it lies in a folder {written}")
    return Entry(entry.path, {**entry.columns, "scene": parts[0]}, entry.source, fault)


CORPUS = Corpus(
    name="ferv39k",
    title="FERV39k",
    task="seven expressions in clips of 22 scenes",
    labels=("expression",),
    citation="Wang et al., FERV39k: A Large-Scale Multi-Scene Dataset for Facial Expression Recognition in Videos, "
    "CVPR 2022",
    licence="academic research only, by agreement; not to be passed on",
    access="https://wangyanckxx.github.io/Proj_CVPR2022_FERV39k.html",
    layout=LAYOUT,
    list_clips=list_clips,
    expected={
        "": 38935, "split=train": 31088, "split=test": 7847,
        "split=train; expression=happiness": 5854, "split=train; expression=sadness": 5523,
        "split=train; expression=neutral": 7790, "split=train; expression=anger": 5906,
        "split=train; expression=surprise": 2502, "split=train; expression=disgust": 1833,
        "split=train; expression=fear": 1680,
        "split=test; expression=happiness": 1473, "split=test; expression=sadness": 1393,
        "split=test; expression=neutral": 1958, "split=test; expression=anger": 1487,
        "split=test; expression=surprise": 638, "split=test; expression=disgust": 467,
        "split=test; expression=fear": 431,
    },
    takes=("clips",),
)  # fmt: skip
