"""RAVDESS: 1,440 spoken clips of 24 actors, eight expressions; everything is in the file name.

``MM-VV-EE-II-SS-RR-AA`` = modality (01 audio and video, 02 video, 03 audio), vocal channel (01 speech, 02 song),
emotion, intensity, statement, repetition, actor. The published protocols use video-only speech, ``02-01-*``; the copies
with sound, the audio and the songs are left aside. ``fold`` is the six blocks of four actors of MAE-DFER and SVFAP;
``fold5`` the five groups of Luna-Jimenez et al. (doi 10.3390/app12010327).
"""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

from mien.datasets.corpus import Cell, Corpus, Entry, Fault, Listing, Options
from mien.datasets.folds import block_of
from mien.datasets.layout import unknown_layout, walk_clips

EMOTIONS = {
    "01": "neutral", "02": "calm", "03": "happiness", "04": "sadness", "05": "anger", "06": "fear", "07": "disgust",
    "08": "surprise",
}  # fmt: skip
INTENSITIES = {"01": "normal", "02": "strong"}
TWO = ("01", "02")
ACTORS = range(1, 25)
BLOCKS = tuple(range(first, first + 4) for first in range(1, 25, 4))
GROUPS = ((2, 5, 14, 15, 16), (3, 6, 7, 13, 18), (10, 11, 12, 19, 20), (8, 17, 21, 23, 24), (1, 4, 9, 22))
LAYOUT = """
ROOT/                                  the folders of actors may lie deeper
  Actor_01/02-01-01-01-01-01-01.mp4 ...
  ...
  Actor_24/
"""


def list_clips(root: Path, options: Options) -> Listing:
    """The 1,440 clips there should be, each where it lies; what else lies there is counted or listed."""
    listing, found = Listing([]), dict[str, Path]()
    folders = set()
    for path in walk_clips(root):
        if re.fullmatch(r"Actor_\d\d", path.parent.name):
            folders.add(path.parent)
            add_file(path, found, listing)
        else:
            listing.ignored["videos outside the folders of actors"] += 1
    if not folders:
        raise unknown_layout(root, "no folder Actor_01 ... Actor_24 with videos is there", LAYOUT)
    listing.entries = [entry_of(name, found.get(name), root) for name in names()]
    return listing


def names() -> list[str]:
    """All names of video-only speech: neutral has no strong intensity."""
    kinds = [(e, i) for e, i in product(EMOTIONS, INTENSITIES) if (e, i) != ("01", "02")]
    return [f"02-01-{e}-{i}-{s}-{r}-{a:02d}" for a in ACTORS for (e, i), s, r in product(kinds, TWO, TWO)]


def add_file(path: Path, found: dict[str, Path], listing: Listing) -> None:
    """One file: a clip of the corpus, left aside, or a problem."""
    aside, fault = exclusion(path)
    if aside:
        listing.ignored[aside] += 1
    elif fault:
        listing.problems.append((path, fault))
    elif path.stem in found:
        listing.problems.append((path, Fault("duplicate", f"{path}: {found[path.stem]} has the same name")))
    else:
        found[path.stem] = path


def exclusion(path: Path) -> tuple[str, Fault | None]:
    """Why a file is left aside ('' if it is not), and what is wrong with its name."""
    codes = path.stem.split("-")
    if len(codes) != 7 or not all(re.fullmatch(r"\d\d", code) for code in codes):
        return "", Fault("label", f"{path}: the name is not seven numbers MM-VV-EE-II-SS-RR-AA")
    modality, channel, emotion, *_, actor = codes
    if channel == "02":
        return "songs (02 in the second place)", None
    if modality != "02":
        return "copies with sound or sound alone (01 or 03 in the first place)", None
    if path.parent.name != f"Actor_{actor}":
        return "", Fault("label", f"{path}: actor {actor} by its name, but the folder is {path.parent.name}")
    if emotion not in EMOTIONS:
        return "", Fault("label", f"{path}: emotion {emotion} is outside the scale 01 to 08")
    return ("", None) if path.stem in KNOWN else ("", Fault("label", f"{path}: the corpus has no such clip"))


KNOWN = frozenset(names())


def entry_of(name: str, path: Path | None, root: Path) -> Entry:
    """One clip by its name."""
    _, _, emotion, intensity, statement, repetition, actor = name.split("-")
    number = int(actor)
    columns: dict[str, Cell] = {
        "subject": actor,
        "expression": EMOTIONS[emotion],
        "fold": block_of(number, BLOCKS),
        "fold5": block_of(number, GROUPS),
        "intensity": INTENSITIES[intensity],
        "statement": int(statement),
        "repetition": int(repetition),
        "sex": "male" if number % 2 else "female",
    }
    return Entry(path or root / f"Actor_{actor}" / f"{name}.mp4", columns, f"Actor_{actor}")


CORPUS = Corpus(
    name="ravdess",
    title="RAVDESS (speech, video only)",
    task="eight acted expressions in speech",
    labels=("expression",),
    citation="Livingstone and Russo, The Ryerson Audio-Visual Database of Emotional Speech and Song, PLoS ONE 13(5), "
    "e0196391, 2018",
    licence="CC BY-NC-SA 4.0",
    access="https://zenodo.org/record/1188976",
    layout=LAYOUT,
    list_clips=list_clips,
    expected={
        "": 1440,
        "expression=neutral": 96, "expression=calm": 192, "expression=happiness": 192, "expression=sadness": 192,
        "expression=anger": 192, "expression=fear": 192, "expression=disgust": 192, "expression=surprise": 192,
        "fold=1": 240, "fold=2": 240, "fold=3": 240, "fold=4": 240, "fold=5": 240, "fold=6": 240,
        "fold5=1": 300, "fold5=2": 300, "fold5=3": 300, "fold5=4": 300, "fold5=5": 240,
    },
    subjects=24,
)  # fmt: skip
