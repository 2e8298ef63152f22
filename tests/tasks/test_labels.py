"""Which column holds the classes, by which names; and names that options had once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

import mien
from conftest import ONE_PROCESS, TINY_TPSBT
from mien.cli import main
from mien.interfaces import Clip
from mien.models.card import ModelCard
from mien.tasks.classification import ClassificationConfig
from mien.tasks.labels import label_column
from mien.tasks.regression import RegressionConfig


def rows(**columns: Sequence[str | None]) -> list[Clip]:
    """A clip per place of the columns."""
    cells = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return [Clip(Path(f"{i}.mp4"), columns=row, row=i + 2) for i, row in enumerate(cells)]


def test_the_only_column_that_can_be_meant_is_taken_and_said() -> None:
    clips = rows(emotion=["happy", "Sad", None], subject=["a", "b", "c"], age=["30", "31", "32"], who=["x", "y", "z"])
    config, notes = ClassificationConfig().with_columns(clips)
    assert config.column == "emotion"
    assert notes == [
        "no column 'expression': the classes are taken from 'emotion'",
        "classes of column 'emotion' under the names that mien gives them: Sad -> sadness, happy -> happiness",
    ]
    assert config.names(clips[:2]) == ("happiness", "sadness")
    config, _ = ClassificationConfig().with_columns(
        rows(gesture=["nod", "shake"], subject=["a", "b"], age=["30", "31"])
    )
    assert config.column == "gesture", "the only words that are not whom or when"


def test_a_column_that_is_there_is_never_doubted() -> None:
    clips = rows(expression=["nod", "shake"], emotion=["anger", "fear"])
    assert ClassificationConfig().with_columns(clips) == (ClassificationConfig(), [])
    assert RegressionConfig().with_columns(clips) == (RegressionConfig(), [])


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"acted": ["anger", "fear"], "seen": ["fear", "fear"]}, "acted or seen could be meant"),
        ({"valence": ["0.1", "0.2"], "subject": ["a", "b"]}, "there are valence, subject"),
        ({}, "there are none"),
    ],
)
def test_where_several_or_none_can_be_meant_the_option_is_named(columns: dict[str, list[str]], says: str) -> None:
    clips = rows(**columns) if columns else [Clip(Path("0.mp4"))]
    with pytest.raises(ValueError, match=f"no column 'expression' .*{says}.* --task.column"):
        ClassificationConfig().with_columns(clips)


def test_missing_columns_of_values_and_votes_name_their_option() -> None:
    clips = rows(expression=["anger", "fear"])
    with pytest.raises(ValueError, match=r"no column 'valence'.*--task\.columns"):
        RegressionConfig().targets(clips, ("valence",))
    with pytest.raises(ValueError, match=r"no column 'face_anger'.*--task\.votes"):
        ClassificationConfig(votes="face_").training_targets(clips, ("anger", "fear"))


def test_classes_may_be_named_as_the_manifest_writes_them() -> None:
    clips = rows(expression=["happy", "sad"])
    config = ClassificationConfig(classes=("sad", "happy"))
    assert config.targets(clips, config.names(clips)).tolist() == [1, 0]


def test_a_manifest_of_its_own_words_is_learnt_and_old_names_of_options_go_on_working(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.read_csv(corpus)
    table["path"] = [str(corpus.parent / path) for path in table["path"]]
    table["mood"] = table["expression"].replace({"happiness": "happy", "anger": "Angry"})
    table.drop(columns="expression").to_csv(tmp_path / "clips.csv", index=False)
    command = [
        "finetune", f"--data.manifest={tmp_path / 'clips.csv'}", f"--output={tmp_path / 'run'}", "--train.steps=1",
        "--train.batch=2", *ONE_PROCESS, *TINY_TPSBT,
    ]  # fmt: skip
    assert main([*command, "--task.labels=mood"]) == 0
    printed = capsys.readouterr()
    assert "note: --task.labels is now called --task.column" in printed.err
    assert printed.out.count("Angry -> anger, happy -> happiness") == 1
    card = tmp_path / "run" / "model.json"
    about = json.loads(card.read_text())
    assert about["task"]["column"] == "mood"

    # what an earlier version left behind: a card, an unfinished run's identity, a recipe
    about["task"]["labels"] = about["task"].pop("column")
    card.write_text(json.dumps(about))
    identity = tmp_path / "run" / "identity.yaml"
    assert "\ntask.column:" in identity.read_text()
    identity.write_text(identity.read_text().replace("task.column:", "task.labels:"))
    (tmp_path / "mine.yaml").write_text("task: {name: classification, labels: mood}\n")
    task = ModelCard.load(tmp_path / "run").task
    assert isinstance(task, ClassificationConfig)
    assert task.column == "mood"
    assert "anger" in mien.load(tmp_path / "run").names
    assert main([*command[:1], str(tmp_path / "mine.yaml"), *command[1:]]) == 0
    printed = capsys.readouterr()
    assert "nothing to do" in printed.out
    assert "mine.yaml: task.labels is now called task.column" in printed.err


def test_an_old_name_that_is_another_option_elsewhere_keeps_its_meaning_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["cross-corpus", "--labels=mood", "--model=nowhere"]) == 1
    assert "--labels is now called --column" in capsys.readouterr().err
    assert main(["compare", "nowhere", "--labels=arousal"]) == 1
    assert "now called" not in capsys.readouterr().err


def test_a_column_that_is_named_is_never_replaced_by_a_guess() -> None:
    clips = [Clip(Path("a.mp4"), columns={"mood": "happy"}), Clip(Path("b.mp4"), columns={"mood": "sad"})]
    assert label_column(clips, "expression") == "mood"
    with pytest.raises(ValueError, match=r"no column 'nope'; there are mood\. Name the column .*--task\.column"):
        label_column(clips, "nope")
