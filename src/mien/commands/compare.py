"""Set runs beside published results and beside one another.

mien compare runs/finetune/evaluation --corpus crema_d

A run is a folder that mien evaluate wrote, or one with the same files: predictions.csv, metrics.json and, where it is
recorded, protocol.json. Prints a table with intervals, the published results of the corpus, and a note wherever
protocols differ; of two or more runs on the same clips also the paired comparison with the first. Writes compare.md,
compare.html and radar.png (recall per class, CCC per target, or F1 per label).
"""

from __future__ import annotations

from pathlib import Path

from pydantic import NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass
from tyro.conf import Positional

from mien.config import STRICT
from mien.evaluation import reference
from mien.evaluation.runs import Run, read_runs
from mien.files import remove_files, write_whole
from mien.reports import comparison
from mien.reports.document import Section, markdown, page
from mien.statistics.intervals import RESAMPLES


@dataclass(frozen=True, config=STRICT)
class Config:
    """Options of ``mien compare``."""

    runs: Positional[tuple[Path, ...]]
    """Folders of evaluated runs."""
    corpus: str = ""
    """Corpus whose published results stand beside the runs; by default that of the first run's protocol."""
    labels: str = ""
    """Task of a corpus that has several: arousal or valence for AVCAffe; by default that of the first run's protocol."""
    methods: tuple[str, ...] = ()
    """Published results to show, by name; by default all of the corpus."""
    output: Path | None = None
    """Folder for the files; by default the folder comparison inside the first run's."""
    draws: PositiveInt = RESAMPLES
    """Bootstrap draws of subjects."""
    seed: NonNegativeInt = 0
    """Seed of the draws."""


def run(config: Config) -> None:
    """Compare, print and save."""
    if not config.runs:
        raise ValueError("no runs; name the folder of an evaluated run: mien compare runs/finetune/evaluation")
    runs = read_runs(config.runs)
    require_one_task(runs)
    folder = config.output or runs[0].folder / "comparison"
    title = "Comparison"
    parts = sections(config, runs, folder)
    text = markdown(title, parts)
    remove_files(folder, ("compare.html", "compare.md"))
    write_whole(folder / "compare.md", lambda path: path.write_text(text, encoding="utf-8"))
    page(title, parts).save(folder / "compare.html")
    print(text)
    print(f"compare.md and compare.html in {folder}")


def require_one_task(runs: list[Run]) -> None:
    """Classes do not compare with values."""
    if len({run.task for run in runs}) > 1:
        said = ", ".join(f"{run.name} holds {run.task.nouns}" for run in runs)
        raise ValueError(f"one table takes one kind of task: {said}")


def sections(config: Config, runs: list[Run], folder: Path) -> list[Section]:
    """All tables, and the radar plot in ``folder``."""
    own = runs[0].protocol.corpus if runs[0].protocol else None
    corpus = config.corpus or (own if own and reference.find_corpus(own) else "")
    lines = comparison.comparison_lines(runs, corpus, config.labels, config.methods, config.draws, config.seed)
    names, task = runs[0].predictions.names, runs[0].task
    metric = task.by_name[0]
    what = f"{metric} per {task.noun}"
    place = reference.title(corpus) if corpus else "Runs"
    picture = comparison.draw_radar(lines, names, metric, f"{place}, {what}", folder / "radar.png")
    heading = what[0].upper() + what[1:]
    found = [
        comparison.overall_section(task, lines, place),
        comparison.section_by_name(lines, names, metric, picture, heading),
    ]
    found += [comparison.pair_section(runs[0], other, config.draws, config.seed) for other in runs[1:]]
    return [*found, legend()] if corpus else [*found, Section("Published results", [none_named()])]


def legend() -> Section:
    """What the marks in the column source mean."""
    return Section("Sources", notes=[f"{mark}: {meaning}" for mark, meaning in reference.sources().items()])


def none_named() -> str:
    """What to do for published results."""
    return f"None shown: no corpus with published results is recorded. Name one with --corpus: {', '.join(reference.tables()['corpora'])}."
