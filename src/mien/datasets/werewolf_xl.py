"""Werewolf-XL: 14,457 clips of speakers in games, with valence (pleasure), arousal and dominance as numbers.

Clips are called ``<session>_<player>_<number>``. The label files have no single public layout, so they are an argument:
a table with the clip's name (``VideoName`` or ``clip``) and any of valence or pleasure, arousal, dominance; the names
``Mean_P_...``, ``Mean_A_...``, ``Mean_D_...`` of the authors' baseline are known too. Values are means of raters on
-2 to 2, as the published values suggest; --scale says otherwise. ``fold`` is SVFAP's five blocks of six sessions. A
person may play in several sessions, so these folds are independent of the session, not of the person.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mien.datasets.corpus import Cell, Corpus, Entry, Fault, Listing, Options, number_in
from mien.datasets.folds import block_of
from mien.datasets.label_tables import Row, read_table
from mien.datasets.layout import all_clips_by_name, require

CLIP_COLUMNS = ("VideoName", "clip")
TARGETS = {
    "valence": re.compile(r"valence|pleasure|mean_p_.*", re.IGNORECASE),
    "arousal": re.compile(r"arousal|mean_a_.*", re.IGNORECASE),
    "dominance": re.compile(r"dominance|mean_d_.*", re.IGNORECASE),
}
SCALE = (-2.0, 2.0)
BLOCKS = tuple(range(first, first + 6) for first in range(1, 31, 6))
LAYOUT = """
ROOT/                          clips at any depth; another folder with --clips
  01_01_128.mp4 ...            or folders of frames 01_01_128/ or 01_01_128_aligned/
--labels TABLE                 CSV or XLSX: VideoName, and any of valence (or pleasure), arousal, dominance
"""


def list_clips(root: Path, options: Options) -> Listing:
    """The clips of the table of labels."""
    if options.labels is None:
        raise ValueError(f"werewolf_xl needs --labels, a table of clips and values. Expected:\n{LAYOUT.strip()}")
    rows = read_table(options.labels)
    header = list(rows[0].cells) if rows else []
    name_column, targets = columns_of(options.labels, header)
    folder = require(root / options.clips, root, LAYOUT)
    there = {name.removesuffix("_aligned"): path for name, path in all_clips_by_name(folder).items()}
    listing = Listing([entry_of(row, row[name_column], targets, there, folder, options) for row in rows])
    listing.ignore_unlisted(there.values())
    listing.notes.append("folds are independent of the session; a person may play in several sessions")
    return listing


def columns_of(path: Path, header: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The column of clip names, and the column of each target that there is."""
    name = next((column for column in CLIP_COLUMNS if column in header), None)
    targets: dict[str, str] = {}
    for target, pattern in TARGETS.items():
        fitting = [column for column in header if pattern.fullmatch(column)]
        if len(fitting) > 1:
            raise ValueError(f"{path}: the columns {', '.join(fitting)} are all {target}; keep one of them")
        if fitting:
            targets[target] = fitting[0]
    if name is None or not targets:
        needed = "VideoName (or clip), and any of valence, pleasure, arousal, dominance, Mean_P_, Mean_A_, Mean_D_"
        raise ValueError(f"{path}: needs the columns {needed}; it has {', '.join(header) or 'none'}")
    return name, targets


def entry_of(
    row: Row, name: str, targets: Mapping[str, str], there: Mapping[str, Path], folder: Path, options: Options
) -> Entry:
    """One clip by its name and values."""
    path = there.get(name, folder / f"{name}.mp4")
    match = re.fullmatch(r"(\d\d)_(\d\d)_(\d+)", name)
    if not match:
        return Entry(path, {}, row.source, Fault("label", f"{row.source}: {name!r} is not session_player_number"))
    session, player, _ = match.groups()
    values, faults = values_of(row, targets, options.scale or SCALE)
    fold = block_of(int(session), BLOCKS)
    if fold is None:
        faults.append(Fault("fold", f"{row.source}: session {session} is in none of the five blocks 01 to 30"))
    columns: dict[str, Cell] = {"subject": f"{session}_{player}", "session": session, "fold": fold, **values}
    return Entry(path, columns, row.source, faults[0] if faults else None)


def values_of(
    row: Row, targets: Mapping[str, str], scale: tuple[float, float]
) -> tuple[dict[str, float | None], list[Fault]]:
    """The values of a row and what is wrong with them."""
    checked = {target: number_in(row.source, column, row[column], *scale) for target, column in targets.items()}
    return {target: value for target, (value, _) in checked.items()}, [fault for _, fault in checked.values() if fault]


CORPUS = Corpus(
    name="werewolf_xl",
    title="Werewolf-XL (speakers)",
    task="valence, arousal and dominance in group games",
    labels=("valence", "arousal", "dominance"),
    citation="Zhang et al., WEREWOLF-XL: A Database for Identifying Spontaneous Affect in Large Competitive Group "
    "Interactions, IEEE Transactions on Affective Computing, 2021",
    licence="not stated in public; ask the authors",
    access="https://github.com/Xinda-Wu/Werewolf-XL-Baseline, or the authors",
    layout=LAYOUT,
    list_clips=list_clips,
    expected={"": 14457, "fold=1": 3346, "fold=2": 2747, "fold=3": 3066, "fold=4": 3527, "fold=5": 1771},
    takes=("clips", "labels", "scale"),
)
