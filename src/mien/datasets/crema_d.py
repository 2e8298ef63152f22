"""CREMA-D: 7,442 acted clips of 91 actors, six expressions, and what people saw in them.

The label is the acted emotion, in the file name: ``<actor>_<sentence>_<emotion>_<intensity>`` with intensity LO, MD, HI
or XX (not asked for). No official folds: ``fold`` is the five blocks of actors that MAE-DFER published, which SVFAP's
paper describes too. Raters' votes on the silent face are soft labels: columns ``face_anger`` ... hold each emotion's
share.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from mien.datasets.corpus import Cell, Corpus, Entry, Fault, Listing, Options
from mien.datasets.folds import block_of
from mien.datasets.label_tables import Row, read_table
from mien.datasets.layout import choose_folder, clips_by_name, require

LABELS = {
    "ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness",
}  # fmt: skip
INTENSITIES = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified"}
VOTES = {name[0]: label for name, label in LABELS.items()}
"""One letter per emotion in the tables of votes."""
BLOCKS = (range(1001, 1019), range(1019, 1037), range(1037, 1055), range(1055, 1073), range(1073, 1092))
DEMOGRAPHICS = ("Age", "Sex", "Race", "Ethnicity")
FACE = 2
"""The tables of votes number their rows 100000 * kind + clip, with kind 1 voice, 2 face, 3 both."""
LAYOUT = """
ROOT/
  SentenceFilenames.csv                   column Filename: all clips
  VideoDemographics.csv                   columns ActorID, Age, Sex, Race, Ethnicity
  processedResults/summaryTable.csv       columns FileName, FaceVote: the emotion most raters saw
  processedResults/tabulatedVotes.csv     if it is there: the number of votes for each emotion
  VideoFlash/1001_DFA_ANG_XX.flv ...      any other folder with --clips
"""

Votes = Mapping[str, Mapping[str, Cell]]
"""Clip -> columns."""


def list_clips(root: Path, options: Options) -> Listing:
    """The clips of ``SentenceFilenames.csv`` with actors, folds and votes."""
    rows = read_table(require(root / "SentenceFilenames.csv", root, LAYOUT), needed=("Filename",))
    folder = choose_folder(root, options.clips, ("VideoFlash",), LAYOUT)
    there, (actors, no_actors), (votes, notes) = clips_by_name(folder), demographics(root), face_votes(root)
    find = {row["Filename"]: there.get(row["Filename"], folder / f"{row['Filename']}.flv") for row in rows}
    entries = [entry_of(row, find[row["Filename"]], actors, votes) for row in rows]
    listing = Listing(entries, notes=[*no_actors, *notes, *agreement(entries)])
    listing.ignore_unlisted(there.values())
    return listing


def entry_of(row: Row, path: Path, actors: Mapping[str, Mapping[str, Cell]], votes: Votes) -> Entry:
    """One clip by its name."""
    name = row["Filename"]
    match = re.fullmatch(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_([A-Z]{2})", name)
    if not match:
        return Entry(
            path, {}, row.source, Fault("label", f"{row.source}: {name!r} is not actor_sentence_emotion_level")
        )
    actor, sentence, emotion, intensity = match.groups()
    fold = block_of(int(actor), BLOCKS)
    columns: dict[str, Cell] = {
        "subject": actor,
        "expression": LABELS.get(emotion),
        "fold": fold,
        "sentence": sentence,
        "intensity": INTENSITIES.get(intensity),
        **actors.get(actor, {}),
        **votes.get(name, {}),
    }
    return Entry(path, columns, row.source, fault_of(row.source, emotion, intensity, actor, fold))


def fault_of(source: str, emotion: str, intensity: str, actor: str, fold: int | None) -> Fault | None:
    """What is impossible in a name."""
    for value, known in ((emotion, LABELS), (intensity, INTENSITIES)):
        if value not in known:
            return Fault("label", f"{source}: {value!r} is none of {', '.join(known)}")
    return None if fold else Fault("fold", f"{source}: actor {actor} is in none of the five blocks 1001 to 1091")


def demographics(root: Path) -> tuple[dict[str, dict[str, Cell]], list[str]]:
    """Actor -> age in years, sex, race, ethnicity; without the table nothing, and a note that says so."""
    path = root / "VideoDemographics.csv"
    if not path.is_file():
        return {}, ["VideoDemographics.csv is not there: no columns age, sex, race, ethnicity"]
    rows = read_table(path, needed=("ActorID", *DEMOGRAPHICS))
    return {row["ActorID"]: {name.lower(): row[name].lower() for name in DEMOGRAPHICS} for row in rows}, []


def face_votes(root: Path) -> tuple[Votes, list[str]]:
    """Columns of the face-only votes per clip, and what they rest on."""
    counted, summary = (root / "processedResults" / f"{name}.csv" for name in ("tabulatedVotes", "summaryTable"))
    if counted.is_file():
        rows = read_table(counted, needed=("", "fileName", *VOTES))
        face = [row for row in rows if row.whole("") // 100000 == FACE]
        return {row["fileName"]: counted_columns(row) for row in face}, ["face votes: counts of tabulatedVotes.csv"]
    if summary.is_file():
        rows = read_table(summary, needed=("FileName", "FaceVote"))
        note = "face votes: summaryTable.csv names winners only, so they share the vote; tabulatedVotes.csv holds all votes"
        return {row["FileName"]: winner_columns(row) for row in rows}, [note]
    return {}, [
        "face votes: neither processedResults/tabulatedVotes.csv nor summaryTable.csv is there, no such columns"
    ]


def counted_columns(row: Row) -> dict[str, Cell]:
    """Shares of all votes; ``face_agreement`` is the winner's share, ``face_raters`` the number of votes."""
    counts = {label: row.whole(letter) for letter, label in VOTES.items()}
    total, most = sum(counts.values()), max(counts.values())
    if not total:
        return {}
    winners = [label for label, count in counts.items() if count == most]
    shares = {f"face_{label}": round(count / total, 6) for label, count in counts.items()}
    return {"face_vote": ":".join(winners), **shares, "face_agreement": round(most / total, 6), "face_raters": total}


def winner_columns(row: Row) -> dict[str, Cell]:
    """Equal shares for the winners; how many agreed with them is not known."""
    letters = row["FaceVote"].split(":")
    unknown = [letter for letter in letters if letter not in VOTES]
    if unknown:
        raise ValueError(f"{row.source}: FaceVote {row['FaceVote']!r} holds {unknown[0]!r}, none of {', '.join(VOTES)}")
    shares = {f"face_{label}": round((letter in letters) / len(letters), 6) for letter, label in VOTES.items()}
    return {"face_vote": ":".join(VOTES[letter] for letter in letters), **shares}


def agreement(entries: list[Entry]) -> list[str]:
    """A note on how often raters of the silent face saw what was acted."""
    rated = [
        (str(e.columns["expression"]), str(e.columns["face_vote"]).split(":"))
        for e in entries
        if e.columns.get("face_vote")
    ]
    if not rated:
        return []
    alone = sum(winners == [acted] for acted, winners in rated)
    tied = sum(acted in winners and len(winners) > 1 for acted, winners in rated)
    return [
        f"face votes: the acted emotion wins alone in {alone} of {len(rated)} clips ({alone / len(rated):.2%}) and "
        f"ties with others in {tied} ({tied / len(rated):.2%})"
    ]


CORPUS = Corpus(
    name="crema_d",
    title="CREMA-D",
    task="six acted expressions, with raters' votes as soft labels",
    labels=("expression",),
    citation="Cao et al., CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset, IEEE Transactions on Affective "
    "Computing 5(4), 2014",
    licence="Open Database License 1.0 (contents: Database Contents License 1.0)",
    access="https://github.com/CheyneyComputerScience/CREMA-D (the videos need Git LFS)",
    layout=LAYOUT,
    list_clips=list_clips,
    expected={
        "": 7442,
        "expression=anger": 1271, "expression=disgust": 1271, "expression=fear": 1271, "expression=happiness": 1271,
        "expression=neutral": 1087, "expression=sadness": 1271,
        "fold=1": 1463, "fold=2": 1470, "fold=3": 1476, "fold=4": 1476, "fold=5": 1557,
    },
    subjects=91,
    takes=("clips",),
)  # fmt: skip
