"""The published numbers agree with one another, each with its source and its protocol."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from mien.evaluation import reference
from mien.evaluation.protocol import Protocol, differences, read_protocol, write_protocol
from mien.tasks.labels import CANONICAL


def the(corpus: str, method: str) -> reference.Published:
    return next(result for result in reference.published(corpus) if result.method == method)


def test_the_table_is_in_the_package_and_every_row_is_whole() -> None:
    assert (files("mien.evaluation") / "reference.yaml").is_file()
    found = reference.all_results()
    assert len(found) > 150
    for result in found:
        assert result.metrics, result.method
        assert set(result.sources) - {"folds"} == set(result.metrics)
        assert {m.partition(",")[0] for m in result.sources.values()} <= set(reference.sources()), result.method
        assert all(-1 <= value <= 1 for value in result.metrics.values()), result.method
        assert "mean" not in {name.partition(".")[2] for name in result.metrics}
    keys = [(r.method, tuple(vars(r.protocol).values())) for r in found]
    assert len(set(keys)) == len(keys)


def test_the_numbers_of_the_svfap_paper() -> None:
    best = the("DFEW", "SVFAP-B")
    assert (best.metrics["UAR"], best.metrics["WAR"], best.metrics["recall.disgust"]) == (0.6283, 0.7427, 0.1517)
    assert (best.protocol.clips, best.protocol.pooling, best.sources["WAR"]) == (11697, "pooled", "P")
    assert best.protocol.selection == "last epoch or best on test"
    assert "best epoch on the test" in best.protocol.note
    traits = the("first_impressions", "SVFAP-B").metrics
    assert (traits["CCC"], traits["CCC.extraversion"], traits["1-MAE"]) == (0.6645, 0.7351, 0.9175)


def test_recalls_of_all_classes_average_to_the_uar() -> None:
    complete = [r for r in reference.all_results() if len(recalls(r)) == r.protocol.classes]
    assert len(complete) == 6
    for result in complete:
        assert np.mean(list(recalls(result).values())) == pytest.approx(result.metrics["UAR"], abs=1.5e-4)
        assert set(recalls(result)) <= set(CANONICAL)


def recalls(result: reference.Published) -> dict[str, float]:
    return {name[7:]: value for name, value in result.metrics.items() if name.startswith("recall.")}


def test_folds_average_to_what_is_reported_of_all() -> None:
    with_folds = [r for r in reference.all_results() if r.folds]
    assert [r.method for r in with_folds] == ["SVFAP-B (re-run)", "MAE-DFER", "SVFAP-B (re-run)"]
    for result in with_folds:
        for metric, values in result.folds.items():
            assert len(values) == result.protocol.folds
            assert np.mean(values) == pytest.approx(result.metrics[metric], abs=1.5e-4)


def test_means_over_traits_are_those_of_the_paper_and_others_say_that_they_are_averaged_here() -> None:
    for method in ("SVFAP-B", "SVFAP-S", "VAT"):
        found = the("chalearn", method).metrics
        each = [value for name, value in found.items() if name.startswith("CCC.")]
        assert len(each) == 5
        assert np.mean(each) == pytest.approx(found["CCC"], abs=1e-4)
    werewolf = the("Werewolf-XL", "SVFAP-B")
    assert werewolf.metrics["CCC"] == pytest.approx((0.1896 + 0.6427 + 0.2969) / 3)
    assert werewolf.sources["CCC"] == "P, averaged here"
    assert the("chalearn", "SVFAP-B").sources["CCC"] == "P"


def test_split_names_of_protocols_are_explained() -> None:
    for result in reference.all_results():
        split = result.protocol.split
        assert split is None or split in reference.splits(result.protocol.corpus or ""), (result.method, split)


@pytest.mark.parametrize("name", ["crema_d", "CREMA-D", "cremad", "Crema D"])
def test_corpora_go_by_any_spelling(name: str) -> None:
    assert reference.corpus_key(name) == "crema_d"
    assert reference.title(name) == "CREMA-D"


def test_an_unknown_corpus_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"'nobody'.* dfew, ferv39k"):
        reference.published("nobody")


def test_a_row_with_an_unknown_key_is_an_error() -> None:
    row = {"method": "X", "protocol": "dfew", "WAR": 50.0, "which is odd": None}
    with pytest.raises(ValueError, match="X, dfew: unknown which is odd"):
        reference.result(row)


def test_protocols_differ_field_by_field() -> None:
    ours = Protocol(corpus="crema_d", modality="video", split="actor blocks", folds=5, classes=6, clips=7442,
                    selection="best on validation", pooling="pooled")  # fmt: skip
    assert differences(ours, ours) == []
    theirs = the("crema_d", "V-JEPA-FER").protocol
    assert differences(ours, theirs) == [
        "split: actor blocks here, shuffled actors there",
        "selection: best on validation here, last epoch there",
    ]
    assert differences(ours, the("crema_d", "VO-LSTM").protocol) == [
        "not stated there: split, folds, clips, selection, pooling"
    ]
    assert differences(Protocol(modality="video", clips=28, classes=7), theirs) == [
        "classes: 7 here, 6 there",
        "clips: 28 here, 7,442 there",
        "not recorded here: split, folds, selection, pooling",
    ]


def test_a_protocol_is_written_and_read_back(tmp_path: Path) -> None:
    assert read_protocol(tmp_path) is None
    protocol = Protocol(corpus="dfew", split="official folds", folds=5, selection="best on validation")
    write_protocol(tmp_path, protocol)
    assert read_protocol(tmp_path) == protocol


@pytest.mark.parametrize(
    "text, words",
    [("{", "not valid JSON"), ('{"fold": 5}', "fold: "), ('{"selection": "best"}', "selection: .*given: 'best'")],
)
def test_what_is_no_protocol_is_an_error_that_names_file_and_key(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "protocol.json").write_text(text)
    with pytest.raises(ValueError, match=f"protocol.json: (config: )?{words}"):
        read_protocol(tmp_path)
