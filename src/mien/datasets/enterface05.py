"""eNTERFACE'05: 1,287 acted clips of 43 subjects, six expressions, five sentences each.

The folder tells subject and expression, not the file name: the files of subject 11 are called ``s12_*``. Subject 6 has
no cut clips and is in no fold; subject 23 has no happiness in sentences 1 to 3. ``fold`` is the five blocks of subjects
of MAE-DFER.
"""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

from mien.datasets.corpus import Cell, Corpus, Entry, Fault, Listing, Options
from mien.datasets.folds import block_of
from mien.datasets.layout import unknown_layout, walk_clips

EXPRESSIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
BLOCKS = (range(1, 11), range(11, 20), range(20, 29), range(29, 38), range(38, 45))
NEVER_CUT = 6
"""The subject whose recording was never cut into clips."""
NEVER_MADE = {(23, "happiness", 1), (23, "happiness", 2), (23, "happiness", 3)}
LAYOUT = """
ROOT/                                           the folders of subjects may lie deeper
  subject 1/anger/sentence 1/s1_an_1.avi        or subject_1, sentence_1
  subject 1/anger/s1_an_2.avi                   without a sentence's folder the name ends with its number
  ...
  subject 44/
"""

Key = tuple[int, str, int]
"""Subject, expression, sentence."""


def list_clips(root: Path, options: Options) -> Listing:
    """The 1,287 clips there should be, each where it lies; what else lies there is counted or listed."""
    listing, found = Listing([]), dict[Key, Path]()
    subjects = 0
    for path in walk_clips(root):
        parts = path.relative_to(root).parts
        at = next((i for i, part in enumerate(parts[:-1]) if number_of("subject", part) is not None), None)
        if at is None:
            listing.ignored["videos outside the folders of subjects"] += 1
        else:
            subjects += 1
            add_file(path, parts[at:], found, listing)
    if not subjects:
        raise unknown_layout(root, "no folder 'subject 1' ... 'subject 44' with videos is there", LAYOUT)
    listing.entries = [entry_of(key, found.get(key), root) for key in keys()]
    named = [(key[0], re.match(r"s_?(\d+)_", path.name, re.IGNORECASE)) for key, path in found.items()]
    renamed = sum(match is not None and int(match[1]) != subject for subject, match in named)
    listing.notes.append(f"{renamed} files are named after another subject than their folder's; the folder counts")
    return listing


def keys() -> list[Key]:
    """All clips of the corpus."""
    subjects = (n for block in BLOCKS for n in block if n != NEVER_CUT)
    return [key for key in product(subjects, EXPRESSIONS, range(1, 6)) if key not in NEVER_MADE]


def number_of(word: str, folder: str) -> int | None:
    """The number in ``subject 12`` or ``sentence_3``."""
    match = re.fullmatch(rf"{word}[ _-]?(\d+)", folder.strip(), re.IGNORECASE)
    return int(match[1]) if match else None


def add_file(path: Path, parts: tuple[str, ...], found: dict[Key, Path], listing: Listing) -> None:
    """One file below a subject's folder: a clip of the corpus, left aside, or a problem."""
    subject = number_of("subject", parts[0]) or 0
    if subject == NEVER_CUT:
        listing.ignored["recordings of subject 6, which is in no fold"] += 1
        return
    expression = parts[1].strip().lower() if len(parts) > 2 else ""
    key = (subject, expression, sentence_of(path, parts))
    if expression not in EXPRESSIONS:
        fault = Fault("label", f"{path}: folder {expression!r} is none of {', '.join(EXPRESSIONS)}")
    elif key not in KNOWN:
        fault = Fault("label", f"{path}: the corpus has no subject {subject}, {expression}, sentence {key[2]}")
    elif key in found:
        fault = Fault("duplicate", f"{path}: {found[key]} is the same subject, expression and sentence")
    else:
        found[key] = path
        return
    listing.problems.append((path, fault))


def sentence_of(path: Path, parts: tuple[str, ...]) -> int:
    """The sentence by its folder, else by the last number of the file name; 0 if neither tells."""
    by_folder = number_of("sentence", parts[2]) if len(parts) > 3 else None
    match = re.search(r"(\d+)$", path.stem)
    return by_folder if by_folder is not None else int(match[1]) if match else 0


KNOWN = frozenset(keys())


def entry_of(key: Key, path: Path | None, root: Path) -> Entry:
    """One clip by what it is."""
    subject, expression, sentence = key
    folder = f"subject {subject}/{expression}/sentence {sentence}"
    columns: dict[str, Cell] = {
        "subject": str(subject),
        "expression": expression,
        "fold": block_of(subject, BLOCKS),
        "sentence": sentence,
    }
    return Entry(path or root / folder / f"s{subject}_{expression[:2]}_{sentence}.avi", columns, folder)


CORPUS = Corpus(
    name="enterface05",
    title="eNTERFACE'05",
    task="six acted expressions",
    labels=("expression",),
    citation="Martin, Kotsia, Macq and Pitas, The eNTERFACE'05 Audio-Visual Emotion Database, ICDE Workshops 2006",
    licence="not stated with the files; made for research",
    access="http://www.enterface.net/enterface05",
    layout=LAYOUT,
    list_clips=list_clips,
    expected={
        "": 1287,
        "expression=anger": 215, "expression=disgust": 215, "expression=fear": 215, "expression=happiness": 212,
        "expression=sadness": 215, "expression=surprise": 215,
        "fold=1": 270, "fold=2": 270, "fold=3": 267, "fold=4": 270, "fold=5": 210,
    },
    subjects=43,
)  # fmt: skip
