"""Runs beside published results: tables, where protocols differ, the paired comparison, the radar plot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mien.evaluation import reference
from mien.evaluation.protocol import COMPARED, Protocol, differences, format_value
from mien.evaluation.reference import PERCENT, Published
from mien.evaluation.results import interval_basis
from mien.evaluation.runs import Run, paired_predictions
from mien.evaluation.subgroups import group
from mien.interfaces import Outputs
from mien.reports import plots
from mien.reports.document import Section
from mien.reports.radar import FEWEST, radar
from mien.statistics.intervals import LEVEL, Difference, Interval, mcnemar, p_of_share
from mien.statistics.intervals import differences as differ
from mien.statistics.metrics import Array

TEST_MARK = "†"
"""Stands at every number of a result whose weights were chosen on the test clips."""


@dataclass(frozen=True)
class ComparedLine:
    """A result in the tables."""

    name: str
    about: dict[str, object]
    metrics: Mapping[str, Interval]
    """Bounds are NaN for published results, which have none."""
    notes: tuple[str, ...]
    mark: str = ""
    own: bool = False


def comparison_lines(
    runs: Sequence[Run], corpus: str, labels: str, methods: Sequence[str], draws: int, seed: int
) -> list[ComparedLine]:
    """A line per run, then per published result: with as many classes first, then by the metric that ranks."""
    results = selected_results(runs, corpus, labels, methods) if corpus else []
    lines = [run_line(run, corpus, draws, seed) for run in runs]
    known, count = {metric for result in results for metric in result.metrics}, protocol_of(runs[0]).classes
    leading = next((metric for metric in runs[0].task.ranking if metric in known), "")
    best = sorted(results, key=lambda r: (r.protocol.classes != count, -r.metrics.get(leading, -math.inf)))
    own = {run.name for run in runs}
    beside = [published_line(result, runs) for result in best]
    return lines + [replace(line, name=f"{line.name} (published)") if line.name in own else line for line in beside]


def selected_results(runs: Sequence[Run], corpus: str, labels: str, methods: Sequence[str]) -> list[Published]:
    """The published results that are meant; ``ValueError`` where there is none to set beside the runs."""
    found = reference.published(corpus)
    wanted = labels or (runs[0].protocol and runs[0].protocol.labels) or ""
    tasks = sorted({result.protocol.labels or "" for result in found})
    if wanted and tasks != [""]:
        found = [result for result in found if result.protocol.labels == wanted]
        if not found:
            raise ValueError(
                f"{reference.title(corpus)}: no published results on {wanted!r}; there are {', '.join(tasks)}"
            )
    known = [result.method for result in found]
    if missing := [name for name in methods if name not in known]:
        raise ValueError(
            f"no published result of {missing[0]!r} on {reference.title(corpus)}; there are {', '.join(known)}"
        )
    found = [result for result in found if not methods or result.method in methods]
    kinds = runs[0].task.published
    if not any(name in result.metrics for result in found for name in kinds):
        raise ValueError(
            f"published results on {reference.title(corpus)} have no {', '.join(kinds)}, which the run has"
        )
    return found


def run_line(run: Run, corpus: str, draws: int, seed: int) -> ComparedLine:
    """A run with its intervals and its protocol in words."""
    found = group(run.name, run.predictions, draws, LEVEL, seed)
    notes = [f"{run.name}: {protocol_sentence(run.protocol)}"]
    notes += [f"{run.name}: {interval_basis(run.subjects, draws)}"]
    notes += [f"{run.name}: absent classes: {', '.join(found.absent)}"] if found.absent else []
    own = run.protocol.corpus if run.protocol else None
    if corpus and own and reference.normalized(own) != reference.normalized(reference.corpus_key(corpus)):
        notes.append(f"{run.name}: this run is on {own}, the published results are on {reference.title(corpus)}")
    if run.protocol and run.protocol.clips not in (None, found.clips):
        notes.append(f"{run.name}: its protocol says {run.protocol.clips:,} clips, its predictions are {found.clips:,}")
    test = run.protocol is not None and run.protocol.selection == "best on test"
    return ComparedLine(run.name, {"input": protocol_of(run).modality, "source": "this run"}, found.metrics, tuple(notes),
                TEST_MARK if test else "", own=True)  # fmt: skip


def protocol_sentence(protocol: Protocol | None) -> str:
    """A protocol in words."""
    if protocol is None:
        return "protocol not recorded"
    return "; ".join([f"protocol: {stated_fields(protocol)}", *([protocol.note] if protocol.note else [])])


def stated_fields(protocol: Protocol) -> str:
    """The fields of a protocol that are stated."""
    pairs = [(field, getattr(protocol, field)) for field in COMPARED]
    return ", ".join(f"{field} {format_value(value)}" for field, value in pairs if value is not None)


def protocol_of(run: Run) -> Protocol:
    """What is known of a run's protocol: what it records, and what its predictions show."""
    answers, given = run.predictions, run.protocol or Protocol()
    count = len(answers.names) if run.task.exclusive else None
    return replace(given, modality=given.modality or "video", classes=count, clips=len(answers.targets))


def published_line(result: Published, runs: Sequence[Run]) -> ComparedLine:
    """A published result and where its protocol differs from those of the runs."""
    each = [protocol_differences(run, result) for run in runs]
    differing = [
        text if all(text in other for other in each) else f"{run.name}: {text}"
        for run, one in zip(runs, each, strict=True)
        for text in one
    ]
    notes = dict.fromkeys([*differing, *filter(None, (result.protocol.note, result.note))])
    sources = ", ".join(dict.fromkeys(mark for name, mark in result.sources.items() if "." not in name))
    about = {"year": result.year, "input": result.protocol.modality, "model": result.model, "source": sources}
    name = f"{result.method} ({result.protocol.labels})" if result.protocol.labels else result.method
    metrics = {metric: Interval(value, math.nan, math.nan) for metric, value in result.metrics.items()}
    return ComparedLine(
        name, about, metrics, tuple(notes), TEST_MARK if result.protocol.selection == "best on test" else ""
    )


def protocol_differences(run: Run, result: Published) -> list[str]:
    """Where a run and a published result differ in protocol and names; splits that differ are explained."""
    there, ours, theirs = result.protocol, set(run.predictions.names), names_in(result)
    found = differences(protocol_of(run), there)
    if theirs and theirs != ours:
        alone = [f"only {where}: {', '.join(sorted(names))}" for where, names in (("here", ours - theirs), ("there", theirs - ours)) if names]  # fmt: skip
        found.append(f"{run.task.nouns} {'; '.join(alone)}")
    if run.protocol is None:
        found = [text for text in found if not text.startswith(("not recorded", "not stated"))]
        return [*found, f"protocol not recorded here; there: {stated_fields(there)}"]
    meaning = reference.splits(there.corpus or "").get(there.split or "")
    return found + [f"{there.split}: {meaning}"] * bool(meaning and run.protocol.split not in (None, there.split))


def names_in(result: Published) -> set[str]:
    """The names of the targets or, where the recall of all is published, of the classes."""
    found = {name.partition(".")[2] for name in result.metrics if "." in name}
    return found if result.protocol.classes in (None, len(found)) else set()


def overall_section(task: Outputs, lines: Sequence[ComparedLine], heading: str) -> Section:
    """The first table: a result per row, its notes by number."""
    published = {name for line in lines if not line.own for name in line.metrics}
    kinds = [name for name in task.published if name in {*task.published[:2]} | published]
    numbers = {note: i for i, note in enumerate(dict.fromkeys(n for line in lines for n in line.notes), start=1)}
    rows = [
        {"result": line.name, **{column: line.about.get(column) or "" for column in ("year", "input", "model")}}
        | {kind: metric_cell(line, kind) for kind in kinds}
        | {"source": line.about["source"], "notes": ", ".join(map(str, sorted(numbers[note] for note in line.notes)))}
        for line in lines
    ]
    unit = "in percent" if task.percent else "as plain numbers"
    sentences = [
        f"{', '.join(kinds)} {unit}, for runs with {100 * LEVEL:.0f} % intervals.",
        'In the notes, "here" is the run and "there" the published result.',
    ]
    sentences += [f"{TEST_MARK}: chosen on the test clips, which flatters the number."] * any(
        line.mark for line in lines
    )
    return Section(heading, sentences, rows, notes=[f"{number}: {note}" for note, number in numbers.items()])


def metric_cell(line: ComparedLine, metric: str) -> str:
    """A metric of a line as text, empty where it has none."""
    interval = line.metrics.get(metric)
    return format_metric(metric, interval) + line.mark if interval and math.isfinite(interval.value) else ""


def format_metric(metric: str, interval: Interval) -> str:
    """A metric as papers print it: percent with two digits, others with four; and its bounds."""
    percent = metric.partition(".")[0] in PERCENT
    low, middle, high = (
        f"{100 * v:.2f}" if percent else f"{v:.4f}" for v in (interval.low, interval.value, interval.high)
    )
    return f"{middle} [{low}, {high}]" if math.isfinite(interval.low) else middle


def section_by_name(
    lines: Sequence[ComparedLine], names: Sequence[str], metric: str, picture: Path | None, heading: str
) -> Section:
    """The second table: a class or target per row, the results that have them in columns, and the radar plot."""
    with_parts = [line for line in lines if any(f"{metric}.{name}" in line.metrics for name in names)]
    rows = [{"": name} | {line.name: metric_cell(line, f"{metric}.{name}") for line in with_parts} for name in names]
    few = [] if picture else [f"No radar plot: it takes at least {FEWEST} of them."]
    return Section(heading, few, rows, picture, heading)


def draw_radar(lines: Sequence[ComparedLine], names: Sequence[str], metric: str, title: str, path: Path) -> Path | None:
    """Write the radar plot of all runs and of the published results that are complete; None for too few spokes."""
    if len(names) < FEWEST:
        return None
    results = {line.name: {n: line.metrics[f"{metric}.{n}"].value for n in names if f"{metric}.{n}" in line.metrics}
               for line in lines}  # fmt: skip
    own = [line.name for line in lines if line.own]
    full = {name: values for name, values in results.items() if name in own or len(values) == len(names)}
    plots.save(radar(full, names, title, metric in PERCENT, own), path)
    return path


def pair_section(first: Run, second: Run, draws: int, seed: int) -> Section:
    """Two runs on the same clips: the difference in every metric, and McNemar's test of classes."""
    heading = f"{first.name} minus {second.name}"
    try:
        one, two = paired_predictions(first, second)
        found = differ(one, two, draws, LEVEL, seed)
    except ValueError as error:
        return Section(heading, [f"Not compared clip by clip: {error}."])
    earned = {*first.task.metrics, *first.task.by_name}
    rows = [
        {"metric": name, "difference": format_metric(name, d), "p": format_p(d)}
        for name, d in found.items()
        if name.partition(".")[0] in earned
    ]
    least = p_of_share(1 / (draws + 1), one.subject_count)
    sentences = [
        f"Both evaluated on the same draws; {interval_basis(first.subjects if any(first.subjects) else second.subjects, draws)}.",
        f"The smallest p that so many draws can show is {least:.2g}.",
    ]
    right, other = one.correct(), two.correct()
    if right is not None and other is not None:
        sentences.append(mcnemar_sentence(right, other, first, second))
    return Section(heading, sentences, rows)


def mcnemar_sentence(one: Array, two: Array, first: Run, second: Run) -> str:
    """McNemar's test in a sentence."""
    test = mcnemar(one, two)
    kind = "exact" if test.exact else "chi-square with continuity correction"
    return (
        f"McNemar: {test.first_only} clips only {first.name} has right, {test.second_only} only {second.name}; "
        f"p = {test.p:.3g} ({kind}), as if clips of a subject were independent."
    )


def format_p(apart: Difference) -> str:
    """A p as text; NaN where nothing can differ."""
    return "" if math.isnan(apart.p) else f"{apart.p:.3f}" if apart.p >= 0.001 else "< 0.001"
