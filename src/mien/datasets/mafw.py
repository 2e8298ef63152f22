"""MAFW: 9,172 single-label clips, eleven expressions, five official rounds of train and test.

The folder of the lists is called ``Train & Test Set``, with its spaces. Clips are folders of frames, named as the files
of the lists without their suffix.
"""

from __future__ import annotations

from pathlib import Path

from mien.datasets.corpus import Corpus, Listing, Options
from mien.datasets.folds import Line, combine, read_lists
from mien.datasets.label_tables import read_pairs
from mien.datasets.layout import choose_folder, clips_by_name, require

NAMES = (
    "anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "contempt", "anxiety", "helplessness",
    "disappointment",
)  # fmt: skip
LABELS = {name: name for name in NAMES}
ROUNDS = ("split1", "split2", "split3", "split4", "split5")
LAYOUT = """
ROOT/
  Train & Test Set/single/no_caption/set_1/train.txt    lines: <clip file> <label>
  Train & Test Set/single/no_caption/set_1/test.txt     ... to set_5
  data/frames/<clip>/*.png                              any other folder with --clips
"""


def list_clips(root: Path, options: Options) -> Listing:
    """The clips of all rounds."""
    tables = require(root / "Train & Test Set/single/no_caption", root, LAYOUT)
    folder = choose_folder(root, options.clips, ("data/frames",), LAYOUT)
    there = clips_by_name(folder)
    lists, absent = read_lists(
        ROUNDS, lambda split, part: tables / f"set_{split[-1]}" / f"{part}.txt", read_set, root, LAYOUT
    )
    listing = combine(lists, LABELS, lambda clip: there.get(clip, folder / clip), whole=not absent)
    listing.problems += absent
    listing.ignore_unlisted(there.values())
    return listing


def read_set(path: Path) -> list[Line]:
    """One official list."""
    source = path.parent.name
    return [Line(Path(clip).stem, label, f"{source}/{where}") for clip, label, where in read_pairs(path)]


CORPUS = Corpus(
    name="mafw",
    title="MAFW",
    task="eleven expressions in film and television clips",
    labels=("expression",),
    citation="Liu et al., MAFW: A Large-scale, Multi-modal, Compound Affective Database for Dynamic Facial Expression "
    "Recognition in the Wild, ACM Multimedia 2022",
    licence="non-commercial research only, by signed agreement; not to be passed on",
    access="https://mafw-database.github.io/MAFW",
    layout=LAYOUT,
    list_clips=list_clips,
    expected={
        "": 9172,
        "expression=anger": 1390, "expression=disgust": 639, "expression=fear": 625, "expression=happiness": 1242,
        "expression=neutral": 1138, "expression=sadness": 1470, "expression=surprise": 1072,
        "expression=contempt": 236, "expression=anxiety": 916, "expression=helplessness": 262,
        "expression=disappointment": 182,
        "split1=train": 7333, "split1=test": 1839, "split2=train": 7335, "split2=test": 1837,
        "split3=train": 7339, "split3=test": 1833, "split4=train": 7340, "split4=test": 1832,
        "split5=train": 7341, "split5=test": 1831,
    },
    takes=("clips",),
)  # fmt: skip
