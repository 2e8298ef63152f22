"""Check a corpus and write its manifest: labels by name, official folds, every clip decoded and accounted for.

``mien prepare`` names the corpora there are.

``mien prepare dfew`` says what DFEW is, where to ask for it, and what its tree looks like.

``mien prepare dfew /data/dfew --output data/dfew`` does it.

OUTPUT/manifest.csv holds the usable clips, problems.csv every other one with its reason, report.json the counts. A run
that was killed goes on from OUTPUT/checked.jsonl. The exit code is 1 when something is wrong that --allow does not name.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass
from tyro.conf import Positional

from mien import __version__
from mien.config import STRICT, to_tree
from mien.datasets.corpora import CORPORA, find_corpus
from mien.datasets.corpus import Cell, Corpus, Kind, Listing, Options
from mien.datasets.folds import deal_subjects
from mien.datasets.layout import indent
from mien.datasets.outcomes import count_clips, mark_duplicates, outcomes_of
from mien.datasets.report import PROBLEM_COLUMNS, CorpusReport, as_text, as_tree, manifest_rows, problem_rows
from mien.files import LOCK, write_whole
from mien.names import to_cell
from mien.progress import progress_bar
from mien.video.container import FrameLimit
from mien.video.inspection import Finding, InspectionJournal, inspect_files


@dataclass(frozen=True, config=STRICT)
class Config(FrameLimit):
    """Options of ``mien prepare``."""

    name: Positional[str] = ""
    """The corpus; without it, all there are."""
    root: Positional[Path | None] = None
    """Folder that holds the corpus; without it, what the corpus is and what its tree looks like."""
    output: Path | None = None
    """Folder for manifest.csv, problems.csv, report.json and the journal of the files already checked."""
    clips: str = ""
    """Folder of the clips inside ROOT, for corpora that come in several forms (frames, crops, videos)."""
    labels: Path | None = None
    """Table of clips and labels, for werewolf_xl and csv."""
    path_column: str = "path"
    """Column of that table that names the clip, for csv."""
    scale: tuple[float, float] | None = None
    """Lowest and highest value of a label, for werewolf_xl."""
    min_frames: PositiveInt = 2
    """Clips with fewer frames are too short."""
    decode: bool = True
    """Decode every frame of every clip; without it only the packets are read."""
    workers: NonNegativeInt = 0
    """Processes that decode; 0 is one per core. 1 decodes in this process, which a file that crashes the decoder ends."""
    allow: tuple[Kind | Literal["counts"], ...] = ()
    """Kinds of problems that are no failure: missing, broken, short, label, duplicate, fold, and counts (the tables differ
    from the published counts). Such clips are left out and listed all the same."""
    keep_duplicates: bool = False
    """Leave clips of equal content in the manifest, as published protocols do; they are listed all the same."""
    folds: NonNegativeInt = 0
    """Deal the persons to this many folds by the seed, in a column seeded_fold; 0 is none."""
    seed: NonNegativeInt = 0
    """Another seed deals the persons otherwise."""

    def __post_init__(self) -> None:
        if self.min_frames < 1 or self.workers < 0 or self.folds < 0 or self.seed < 0:
            raise ValueError("min_frames must be at least 1; workers, folds and seed at least 0")
        if self.seed and not self.folds:
            raise ValueError("--seed deals persons to --folds, and there are none: give their number, or leave it out")


def run(config: Config) -> None:
    """Prepare a corpus, or say what there is. ``ValueError`` where something is wrong that is not allowed."""
    if not config.name:
        print("\n".join(f"{name:<18} {what}" for name, what in CORPORA.items()))
        return
    corpus = find_corpus(config.name)
    if config.root is None:
        print(about(corpus))
        return
    root, output = whole_path(config.root), refuse_others(config.output)
    listing = list_clips(corpus, root, config)
    output.mkdir(parents=True, exist_ok=True)
    findings = inspect_clips(corpus, root, output, listing, config)
    account = settle_all(corpus, root, listing, findings, config)
    write(account, output, config)
    print(as_text(account))
    print(f"{output}: manifest.csv, problems.csv, report.json")
    refuse(account, output, config)


def about(corpus: Corpus) -> str:
    """What a corpus is and what its tree looks like."""
    facts = {
        "title": corpus.title,
        "for": corpus.task,
        "labels": ", ".join(corpus.labels),
        "clips": corpus.expected.get(""),
        "subjects": corpus.subjects,
        "cite": corpus.citation,
        "licence": corpus.licence,
        "ask at": corpus.access,
    }
    lines = [f"{name:<9} {value}" for name, value in facts.items() if value]
    return "\n".join([*lines, corpus.layout.rstrip()])


def whole_path(path: Path) -> Path:
    """A path from the root of the disk, links left as they are."""
    return Path(os.path.abspath(path.expanduser()))


def refuse_others(output: Path | None) -> Path:
    """The output folder, if it is empty, not there yet, or holds an earlier run of this command."""
    if output is None:
        raise ValueError("give --output, the folder for the manifest and the report")
    folder = whole_path(output)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; name a folder for the manifest and the report")
    if (
        folder.is_dir()
        and any(path.name != LOCK for path in folder.iterdir())
        and not (folder / "checked.jsonl").is_file()
    ):
        raise ValueError(f"{folder} is not empty and holds no prepared corpus; choose another --output")
    return folder


def list_clips(corpus: Corpus, root: Path, config: Config) -> Listing:
    """The corpus's listing, with persons dealt to folds if asked; refuses options that it would not use."""
    options = Options(config.clips, config.labels, config.path_column, config.scale)
    for name, value in asdict(options).items():
        if value != getattr(Options(), name) and name not in corpus.takes:
            raise ValueError(f"{corpus.name} takes no --{name.replace('_', '-')}")
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; ROOT is the folder that holds this tree:\n{indent(corpus.layout)}")
    listing = corpus.list_clips(root, options)
    if config.folds:
        add_folds(listing, config)
    return listing


def add_folds(listing: Listing, config: Config) -> None:
    """Write the column ``seeded_fold``: no person is in two folds."""
    persons = {str(e.columns["subject"]) for e in listing.entries if e.columns.get("subject") is not None}
    if not persons:
        raise ValueError(f"{config.name} has no column subject, so its clips cannot be dealt to folds by person")
    dealt = deal_subjects(persons, config.folds, config.seed)
    listing.entries = [
        replace(e, columns={**e.columns, "seeded_fold": dealt.get(str(e.columns.get("subject")))})
        for e in listing.entries
    ]


def inspect_clips(corpus: Corpus, root: Path, output: Path, listing: Listing, config: Config) -> dict[Path, Finding]:
    """Look at every listed clip that is there and whose rows are sound."""
    paths = [entry.path for entry in listing.entries if entry.fault is None and entry.path.exists()]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = config.workers or max(cores, 2)  # one alone is this process, which a file may bring down
    journal = InspectionJournal(output / "checked.jsonl", f"{corpus.name} in {root}")
    try:
        with progress_bar(total=len(set(paths)), what="checking clips") as bar:
            return inspect_files(paths, journal, workers, config.decode, bar.update)
    finally:
        journal.close()


def settle_all(
    corpus: Corpus, root: Path, listing: Listing, findings: Mapping[Path, Finding], config: Config
) -> CorpusReport:
    """What became of every clip."""
    outcomes = outcomes_of(listing.entries, findings, config.min_frames)
    marked, duplicates = mark_duplicates(outcomes, corpus.labels)
    if config.keep_duplicates:
        listing.problems += duplicates
    else:
        outcomes = marked
    return CorpusReport(corpus, root, listing, outcomes, count_clips(corpus, outcomes))


def write(account: CorpusReport, output: Path, config: Config) -> None:
    """Write manifest, problems and report, each whole or not at all."""
    (output / "report.json").unlink(missing_ok=True)  # written last: where it stands, all three are of one run
    write_table(output / "manifest.csv", *manifest_rows(account, output))
    write_table(output / "problems.csv", PROBLEM_COLUMNS, problem_rows(account))
    asked = {name: value for name, value in to_tree(config).items() if name not in ("output", "workers", "max_pixels")}
    report = {"mien": __version__, **as_tree(account), "not_allowed": failures(account, config), "options": asked}
    write_whole(output / "report.json", lambda path: path.write_text(json.dumps(report, indent=2) + "\n"))


def write_table(path: Path, header: Sequence[str], rows: Iterable[Mapping[str, Cell]]) -> None:
    """A CSV table; None is an empty cell."""

    def fill(place: Path) -> None:
        with place.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, header, restval="", lineterminator="\n")
            table.writerow({name: to_cell(name) for name in header})
            table.writerows({name: to_cell(value) for name, value in row.items()} for row in rows)

    write_whole(path, fill)


def failures(account: CorpusReport, config: Config) -> dict[str, int]:
    """Problems that are not allowed."""
    return account.failures({*config.allow, *(["duplicate"] if config.keep_duplicates else [])})


def refuse(account: CorpusReport, output: Path, config: Config) -> None:
    """Fail where something is wrong that is not allowed, and where no clip is left."""
    if found := failures(account, config):
        counts = ", ".join(f"{kind} {number}" for kind, number in found.items())
        raise ValueError(
            f"the corpus is not whole: {counts}. {output / 'problems.csv'} lists the clips; put them right and run this "
            f"again, or accept them with --allow {' '.join(found)}"
        )
    if not account.usable:
        raise ValueError(f"no clip is usable; see {output / 'problems.csv'}")
