"""A run stands beside published results, with a word wherever protocols differ, and beside another run clip by clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien import cli
from mien.evaluation.protocol import Protocol, write_protocol
from mien.evaluation.runs import paired_predictions, read_run
from mien.interfaces import Clip
from mien.reports import evaluation_report
from mien.reports.radar import radar
from mien.tasks.classification import ClassificationConfig
from mien.tasks.regression import RegressionConfig

EXPRESSIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
TRAITS = ("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism")
BLOCKS = Protocol(corpus="crema_d", split="actor blocks", folds=5, selection="last epoch", pooling="pooled")


def clips(count: int, people: int = 12) -> list[Clip]:
    return [Clip(Path(f"{i}.mp4"), columns={"subject": f"s{i % people}"}) for i in range(count)]


def classes(folder: Path, seed: int, right: float, count: int = 120, protocol: Protocol | None = None) -> Path:
    """A marked run that is right in about a share of the clips; the truth is the same for every seed."""
    truth, random = np.arange(count) * 7 % 6, np.random.default_rng(seed)
    said = np.where(random.random(count) < right, truth, random.integers(6, size=count))
    evaluation_report.report(
        ClassificationConfig.outputs, clips(count), np.eye(6)[said] * 0.7 + 0.05, truth, EXPRESSIONS, folder
    )
    if protocol:
        write_protocol(folder, protocol)
    return folder


def values(folder: Path) -> Path:
    random = np.random.default_rng(0)
    truth = random.random((60, 5))
    evaluation_report.report(
        RegressionConfig.outputs, clips(60), truth + random.normal(0, 0.1, (60, 5)), truth, TRAITS, folder
    )
    return folder


def compare(*arguments: object) -> int:
    return cli.main(["compare", *map(str, arguments)])


def line_of(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


def test_published_results_stand_below_the_run_and_notes_say_where_protocols_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = classes(tmp_path / "mine", 0, 0.8, protocol=BLOCKS)
    assert compare(run) == 0
    text = (run / "comparison" / "compare.md").read_text()
    assert text in capsys.readouterr().out
    assert "this run" in line_of(text, "| mine ")
    assert "77.31" in line_of(text, "| SVFAP-B ")
    notes = {line[2:].partition(":")[0]: line for line in text.splitlines() if line.startswith("- ")}
    cited = [number.strip() for number in line_of(text, "| V-JEPA-FER ").split("|")[-2].split(",")]
    said = " ".join(notes[number] for number in cited)
    assert "split: actor blocks here, shuffled actors there" in said
    assert "clips: 120 here, 7,442 there" in said
    assert "anger" in line_of(text, "| anger")
    assert Image.open(run / "comparison" / "radar.png").width > 500
    assert "SVFAP-B" in (run / "comparison" / "compare.html").read_text()


def test_equal_protocols_have_no_word_about_what_is_equal(tmp_path: Path) -> None:
    run = classes(tmp_path / "mine", 0, 0.8, protocol=BLOCKS)
    assert compare(run, "--methods", "MAE-DFER") == 0
    text = (run / "comparison" / "compare.md").read_text()
    assert "split:" not in text
    assert "selection:" not in text
    assert "clips: 120 here, 7,442 there" in text
    assert "SVFAP-B" not in text


def test_a_choice_on_the_test_clips_marks_every_number(tmp_path: Path) -> None:
    flattered = Protocol(corpus="crema_d", selection="best on test")
    run = classes(tmp_path / "mine", 0, 0.8, protocol=flattered)
    assert compare(run, "--methods", "MAE-DFER") == 0
    text = (run / "comparison" / "compare.md").read_text()
    assert line_of(text, "| mine ").count("†") == 2
    assert "†" not in line_of(text, "| MAE-DFER")
    assert "chosen on the test clips" in text


def test_two_runs_are_compared_clip_by_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = classes(tmp_path / "good", 0, 0.9), classes(tmp_path / "bad", 1, 0.4)
    assert compare(good, bad) == 0
    out = capsys.readouterr().out
    one, two = paired_predictions(read_run(good), read_run(bad))
    first, second = one.predicted == one.targets, two.predicted == two.targets
    assert f"McNemar: {(first & ~second).sum()} clips only good has right, {(~first & second).sum()} only bad" in out
    gain = 100 * (first.mean() - second.mean())
    row = next(line for line in out.split("## good minus bad")[1].splitlines() if line.startswith("| WAR"))
    assert f"{gain:.2f} [" in row
    assert "< 0.001" in row or float(row.split("|")[-2]) < 0.05
    assert "no corpus with published results is recorded" in out


def test_pairs_are_found_whatever_the_order_of_rows(tmp_path: Path) -> None:
    run = classes(tmp_path / "run", 0, 0.5)
    other = classes(tmp_path / "other", 0, 0.5)
    header, *rows = (other / "predictions.csv").read_text().splitlines()
    (other / "predictions.csv").write_text("\n".join([header, *reversed(rows)]) + "\n")
    one, two = paired_predictions(read_run(run), read_run(other))
    assert np.array_equal(one.predicted, two.predicted)
    assert np.array_equal(one.targets, two.targets)


def test_runs_on_other_clips_are_not_paired_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(classes(tmp_path / "a", 0, 0.5), classes(tmp_path / "b", 0, 0.5, count=60)) == 0
    assert "Not compared clip by clip: a and b hold 120 and 60 clips, 60 of them in common" in capsys.readouterr().out


def test_traits_stand_beside_published_concordance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = values(tmp_path / "mine")
    assert compare(run, "--corpus", "ChaLearn", "--methods", "SVFAP-B") == 0
    out = capsys.readouterr().out
    assert "0.6645" in line_of(out, "| SVFAP-B")
    assert "0.7351" in line_of(out, "| extraversion")
    assert (run / "comparison" / "radar.png").is_file()


def test_what_cannot_be_compared_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, other = classes(tmp_path / "a", 0, 0.5), values(tmp_path / "b")
    for arguments, words in [
        ([tmp_path], "no predictions.csv here"),
        ([run, other], "a holds classes, b holds targets"),
        ([run, "--corpus", "dfew", "--methods", "nobody"], "no published result of 'nobody' on DFEW"),
        ([run, "--corpus", "nowhere"], "no published results on 'nowhere'"),
        ([run, "--corpus", "chalearn"], "have no UAR"),
    ]:
        assert compare(*arguments) == 1
        assert words in capsys.readouterr().err
    table = run / "predictions.csv"
    table.write_text(table.read_text() + table.read_text().splitlines()[1] + "\n")
    assert compare(run) == 1
    assert "line 122: the same clip as on line 2" in capsys.readouterr().err


def test_a_radar_plot_needs_three_spokes() -> None:
    with pytest.raises(ValueError, match=r"2 spokes \(a, b\)"):
        radar({"x": {"a": 0.1, "b": 0.2}}, ["a", "b"])
