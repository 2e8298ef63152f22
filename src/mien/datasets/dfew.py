"""DFEW: 11,697 single-label clips from films, seven expressions, five official rounds of train and test.

Labels are written 1 to 7. Clips are folders of frames (or videos) named by number.
"""

from __future__ import annotations

from pathlib import Path

from mien.datasets.corpus import Corpus, Listing, Options
from mien.datasets.folds import Line, combine, read_lists
from mien.datasets.label_tables import read_table
from mien.datasets.layout import choose_folder, clips_by_name, require

LABELS = {
    "1": "happiness", "2": "sadness", "3": "neutral", "4": "anger", "5": "surprise", "6": "disgust", "7": "fear",
}  # fmt: skip
ROUNDS = ("split1", "split2", "split3", "split4", "split5")
LAYOUT = """
ROOT/
  EmoLabel_DataSplit/
    train(single-labeled)/set_1.csv ... set_5.csv    columns video_name, label
    test(single-labeled)/set_1.csv ... set_5.csv
  Clip/jpg_256/00001/*.jpg ...                       or Clip/clip_224x224/; any other folder with --clips
"""


def list_clips(root: Path, options: Options) -> Listing:
    """The clips of all rounds."""
    tables = require(root / "EmoLabel_DataSplit", root, LAYOUT)
    folder = choose_folder(root, options.clips, ("Clip/jpg_256", "Clip/clip_224x224"), LAYOUT)
    there = {name.zfill(5): path for name, path in clips_by_name(folder).items()}
    lists, absent = read_lists(
        ROUNDS, lambda split, part: tables / f"{part}(single-labeled)/set_{split[-1]}.csv", read_set, root, LAYOUT
    )
    listing = combine(lists, LABELS, lambda clip: there.get(clip, folder / clip), whole=not absent)
    listing.problems += absent
    listing.ignore_unlisted(there.values())
    return listing


def read_set(path: Path) -> list[Line]:
    """One official list."""
    rows = read_table(path, needed=("video_name", "label"))
    source = path.parent.name
    return [Line(row["video_name"].zfill(5), row["label"], f"{source}/{row.source}") for row in rows]


CORPUS = Corpus(
    name="dfew",
    title="DFEW",
    task="seven expressions in film clips",
    labels=("expression",),
    citation="Jiang et al., DFEW: A Large-Scale Database for Recognizing Dynamic Facial Expressions in the Wild, "
    "ACM Multimedia 2020",
    licence="academic research only, by signed agreement; not to be passed on",
    access="https://dfew-dataset.github.io",
    layout=LAYOUT,
    list_clips=list_clips,
    expected={
        "": 11697,
        "expression=happiness": 2445, "expression=sadness": 1894, "expression=neutral": 2669, "expression=anger": 2173,
        "expression=surprise": 1469, "expression=disgust": 145, "expression=fear": 902,
        "split1=train": 9356, "split1=test": 2341, "split2=train": 9356, "split2=test": 2341,
        "split3=train": 9357, "split3=test": 2340, "split4=train": 9358, "split4=test": 2339,
        "split5=train": 9361, "split5=test": 2336,
    },
    takes=("clips",),
)  # fmt: skip
