"""A model on a corpus with other classes: every handling counts what it says it counts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import recall_score

from conftest import ONE_PROCESS, TINY_TPSBT
from mien import cli
from mien.commands import cross_corpus, synth
from mien.evaluation.cross_corpus import KEPT, MERGED, PREDICTIONS, ROWS, handlings
from mien.statistics import metrics

KNOWN = ("anger", "calm", "neutral")
LABELS = ["anger", "neutral", "neutral", "surprise", "surprise", "anger"]
ANSWERS = ["anger", "calm", "neutral", "calm", "anger", "neutral"]


def shares(answers: list[str]) -> np.ndarray:
    probabilities = np.full((len(answers), len(KNOWN)), 0.2)
    probabilities[np.arange(len(answers)), [KNOWN.index(a) for a in answers]] = 0.6
    return probabilities


def test_each_handling_counts_what_it_says() -> None:
    found = {c.name: c for c in handlings(shares(ANSWERS), KNOWN, LABELS, {"calm": "neutral"})}
    assert {name: c.kept.tolist() for name, c in found.items()} == {
        KEPT: [0, 1, 2, 3, 4, 5], ROWS: [0, 1, 2, 5], MERGED: [0, 1, 2, 3, 4, 5], PREDICTIONS: [0, 2, 5],
    }  # fmt: skip
    score = {name: metrics.classification(c.predicted, c.truth, c.names) for name, c in found.items()}
    assert score[KEPT]["WAR"] == pytest.approx(2 / 6)
    assert score[KEPT]["UAR"] == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert score[ROWS]["WAR"] == pytest.approx(2 / 4)
    assert score[MERGED]["WAR"] == pytest.approx(3 / 6)
    assert score[MERGED]["UAR"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert score[PREDICTIONS]["WAR"] == pytest.approx(2 / 3)
    assert [name for name in found if "optimistic" in name] == [PREDICTIONS]
    assert "surprise: 2 clips are errors" in found[KEPT].note
    assert "calm into neutral" in found[MERGED].note


def test_merging_adds_the_shares_before_the_largest_is_taken() -> None:
    probabilities = np.array([[0.4, 0.3, 0.3]])
    merged = handlings(probabilities, KNOWN, ["neutral"], {"calm": "neutral"})[2]
    assert merged.names[merged.predicted[0]] == "neutral"


def test_equal_classes_make_all_handlings_equal() -> None:
    rng = np.random.default_rng(0)
    probabilities, truth = rng.dirichlet(np.ones(3), 50), rng.integers(3, size=50)
    for crossed in handlings(probabilities, KNOWN, [KNOWN[i] for i in truth], {}):
        assert len(crossed.kept) == 50
        ours = metrics.classification(crossed.predicted, crossed.truth, crossed.names)["UAR"]
        assert ours == pytest.approx(recall_score(truth, probabilities.argmax(1), average="macro"))


def test_a_merge_of_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="contempt"):
        handlings(shares(ANSWERS), KNOWN, LABELS, {"contempt": "disgust"})
    with pytest.raises(ValueError, match="from=into"):
        cross_corpus.pairs(["calm"], "--merge")


def test_trained_on_one_style_marked_on_another(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.read_csv(corpus)
    table["path"] = [str(corpus.parent / p) for p in table["path"]]
    table[table.expression != "surprise"].to_csv(tmp_path / "a.csv", index=False)
    flags = ["--train.steps=2", "--train.batch=4", *TINY_TPSBT, *ONE_PROCESS]
    assert cli.main(["finetune", f"--data.manifest={tmp_path / 'a.csv'}", f"--output={tmp_path / 'm'}", *flags]) == 0
    synth.run(synth.Config(tmp_path / "b", clips=14, subjects=2, folds=2, size=32, frames=16, style="sketch"))
    capsys.readouterr()
    there = [f"--model={tmp_path / 'm'}", f"--data.manifest={tmp_path / 'b' / 'manifest.csv'}", "--workers=0"]
    assert cli.main(["cross-corpus", *there, "--merge", "contempt=disgust"]) == 1
    assert "contempt" in capsys.readouterr().err
    assert cli.main(["cross-corpus", *there, "--merge", "surprise=fear"]) == 0
    printed = capsys.readouterr().out
    rows = json.loads((tmp_path / "m" / "cross" / "cross.json").read_text())
    assert [row["handling"] for row in rows] == [KEPT, ROWS, MERGED, PREDICTIONS]
    assert [row["clips"] for row in rows] == [14, 12, 14, 12]
    assert all(row["handling"] in printed for row in rows)
    page = (tmp_path / "m" / "cross" / "report.html").read_text()
    assert all(row["note"].split(".")[0] in page for row in rows)
    assert len(pd.read_csv(tmp_path / "m" / "cross" / "predictions.csv")) == 14
