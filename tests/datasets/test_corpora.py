"""Fake trees of every corpus give its counts, labels and folds; every trap of the real ones is stepped into."""

from __future__ import annotations

import re
import shutil
import sys
from collections import Counter
from collections.abc import Mapping
from itertools import accumulate, pairwise
from pathlib import Path

import pytest

import trees
from mien.datasets.corpora import CORPORA, find_corpus
from mien.datasets.corpus import Entry, Listing, Options
from mien.datasets.folds import deal_subjects
from mien.datasets.outcomes import count_clips, outcomes_of
from mien.datasets.report import differs
from mien.tasks.labels import CANONICAL


def listing(name: str, root: Path, **options) -> Listing:
    return find_corpus(name).list_clips(root, Options(**options))


def the(found: Listing, **columns: object) -> Entry:
    """The only entry with these columns."""
    fitting = [e for e in found.entries if all(e.columns.get(k) == v for k, v in columns.items())]
    assert len(fitting) == 1, fitting
    return fitting[0]


def faults(found: Listing) -> list[str]:
    return [e.fault.reason for e in found.entries if e.fault] + [fault.reason for _, fault in found.problems]


def as_published(name: str, found: Listing) -> bool:
    """Whether all published counts, classes and folds are those of the listing."""
    counts = count_clips(find_corpus(name), outcomes_of(found.entries, {}, 1))
    assert not [count for count in counts if differs(count)]
    assert not faults(found)
    return True


def labels_of(name: str) -> list[tuple[int, str]]:
    """(number, label) of as many clips as the corpus has of each class, all classes mixed."""
    wanted = {k.partition("=")[2]: n for k, n in find_corpus(name).expected.items() if k.startswith("expression=")}
    clips = [(i / n, label) for label, n in wanted.items() for i in range(n)]
    return list(enumerate((label for _, label in sorted(clips)), start=1))


def rounds_of(name: str) -> Mapping[int, Mapping[str, list[tuple[int, str]]]]:
    """Five rounds with the published sizes of their tests."""
    clips, corpus = labels_of(name), find_corpus(name)
    ends = [0, *accumulate(corpus.expected[f"split{k}=test"] for k in range(1, 6))]
    return {k: {"train": clips[:a] + clips[b:], "test": clips[a:b]} for k, (a, b) in enumerate(pairwise(ends), start=1)}


DFEW = {"happiness": 1, "sadness": 2, "neutral": 3, "anger": 4, "surprise": 5, "disgust": 6, "fear": 7}


@pytest.mark.parametrize("name", CORPORA)
def test_every_corpus_has_its_facts(name: str) -> None:
    corpus = find_corpus(name)
    assert corpus.name == name
    assert corpus.layout.strip()
    assert name in ("folder", "csv") or (corpus.citation and corpus.licence and corpus.access)
    classes = {k.rpartition("expression=")[2] for k in corpus.expected if "expression=" in k}
    assert classes <= set(CANONICAL)


@pytest.mark.parametrize("name", [n for n in CORPORA if n not in ("csv", "werewolf_xl")])
def test_an_unknown_layout_shows_both_trees(name: str, tmp_path: Path) -> None:
    trees.empty(tmp_path / "somewhere/else.txt")
    with pytest.raises(ValueError, match="expected:") as caught:
        listing(name, tmp_path)
    expected, found = str(caught.value).split("found:")
    assert "ROOT/" in expected
    assert "somewhere/" in found
    assert "else.txt" in found


def test_an_unknown_corpus_lists_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no corpus 'dfevv'; there are dfew, ferv39k"):
        find_corpus("dfevv")


def test_dfew_has_its_published_counts(tmp_path: Path) -> None:
    rounds = {
        k: {part: [(n, DFEW[label]) for n, label in rows] for part, rows in parts.items()}
        for k, parts in rounds_of("dfew").items()
    }
    found = listing("dfew", trees.dfew(tmp_path, rounds))
    assert as_published("dfew", found)
    assert Counter(e.columns["fold"] for e in found.entries) == {1: 2341, 2: 2341, 3: 2340, 4: 2339, 5: 2336}


def test_mafw_has_its_published_counts_below_folders_with_spaces(tmp_path: Path) -> None:
    rounds = {
        k: {part: [(f"{n:05d}.mp4", label) for n, label in rows] for part, rows in parts.items()}
        for k, parts in rounds_of("mafw").items()
    }
    found = listing("mafw", trees.mafw(tmp_path, rounds))
    assert (tmp_path / "Train & Test Set").is_dir()
    assert as_published("mafw", found)


def two_rounds(label: int = 3) -> dict[int, dict[str, list[tuple[int, int]]]]:
    return {1: {"train": [(1, 1), (2, 4)], "test": [(3, label)]}, 2: {"train": [(2, 4), (3, 3)], "test": [(1, 1)]}}


def test_dfew_lists_that_are_absent_are_named_and_the_others_used(tmp_path: Path) -> None:
    found = listing("dfew", trees.dfew(tmp_path, two_rounds()))
    assert len(found.problems) == 6
    assert {fault.kind for _, fault in found.problems} == {"fold"}
    assert any("test(single-labeled)/set_4.csv" in reason for reason in faults(found))
    assert found.entries[2].columns == {"expression": "neutral", "split1": "test", "split2": "train"}
    (tmp_path / "EmoLabel_DataSplit/train(single-labeled)/set_2.csv").unlink()
    assert list(listing("dfew", tmp_path).entries[0].columns) == ["expression", "split1"]


def test_dfew_labels_outside_the_scale_and_contradictions_name_file_row_and_value(tmp_path: Path) -> None:
    found = listing("dfew", trees.dfew(tmp_path, two_rounds(label=8)))
    reason = found.entries[2].fault
    assert reason is not None
    assert reason.kind == "label"
    assert "test(single-labeled)/set_1.csv line 2: label '8' is none of 1, 2" in reason.reason
    found = listing("dfew", trees.dfew(tmp_path, two_rounds(label=2)))
    assert "label '3', but '2' in test(single-labeled)/set_1.csv line 2" in faults(found)[0]


def test_dfew_clips_in_both_parts_in_none_or_twice(tmp_path: Path) -> None:
    rounds = {
        1: {"train": [(1, 1), (2, 2), (2, 2)], "test": [(1, 1)]},
        2: {"train": [(2, 2)], "test": [(3, 3), (1, 1)]},
    }
    found = listing("dfew", trees.dfew(tmp_path, rounds))
    said = "\n".join(faults(found))
    assert "clip 00001 is in train and test of split1" in said
    assert "clip 00003 is in neither train nor test of split1" in said
    assert "set_1.csv line 4: the same clip as train(single-labeled)/set_1.csv line 3; it counts once" in said
    assert [e.path.name for e in found.entries if not e.fault] == ["00002"]


def test_dfew_clips_may_be_frames_or_videos_and_their_folder_must_be_clear(tmp_path: Path) -> None:
    root = trees.dfew(tmp_path, two_rounds())
    first, second = trees.frames(root / "Clip/jpg_256/00001"), trees.empty(root / "Clip/jpg_256/2.MP4")
    trees.empty(root / "Clip/jpg_256/00009.mp4")
    found = listing("dfew", root)
    assert [e.path for e in found.entries] == [first, second, root / "Clip/jpg_256/00003"]
    assert found.ignored["clips that no list names"] == 1
    (root / "Clip/clip_224x224").mkdir()
    with pytest.raises(
        ValueError, match="several forms: choose one with --clips Clip/jpg_256 or --clips Clip/clip_224"
    ):
        listing("dfew", root)
    assert listing("dfew", root, clips="Clip/clip_224x224").entries[0].path.parent.name == "clip_224x224"
    trees.empty(root / "Clip/jpg_256/00001.avi")
    with pytest.raises(ValueError, match="two clips are called 00001"):
        listing("dfew", root, clips="Clip/jpg_256")


FERV = {"happiness": "Happy", "sadness": "Sad", "neutral": "Neutral", "anger": "Angry", "surprise": "Surprise"}
FERV |= {"disgust": "Disgust", "fear": "Fear"}


def test_ferv39k_has_its_published_counts(tmp_path: Path) -> None:
    for part in ("train", "test"):
        wanted = {c.rpartition("=")[2]: n for c, n in find_corpus("ferv39k").expected.items() if f"{part}; " in c}
        rows = [f"{part}/{FERV[label]}/{i:04d} {FERV[label]}" for label, n in wanted.items() for i in range(n)]
        trees.lines(tmp_path / f"4_setups/All_scenes/{part}_All.csv", rows)
    (tmp_path / "2_ClipsforFaceCrop").mkdir()
    assert as_published("ferv39k", listing("ferv39k", tmp_path))


def test_ferv39k_scenes_with_spaces_and_labels_that_contradict_their_folder(tmp_path: Path) -> None:
    trees.lines(tmp_path / "4_setups/All_scenes/train_All.csv", ["Daily Life/Sad/0001 Sad", "War/Happy/0000 Angry"])
    trees.lines(tmp_path / "4_setups/All_scenes/test_All.csv", ["War/Fear/0000 Furious"])
    frames = trees.frames(tmp_path / "2_ClipsforFaceCrop/Daily Life/Sad/0001")
    found = listing("ferv39k", tmp_path)
    entry = the(found, scene="Daily Life")
    assert (entry.path, entry.columns["expression"], entry.columns["split"]) == (frames, "sadness", "train")
    assert "test_All.csv line 1: label 'Furious' is none of Happy" in faults(found)[0]
    assert "train_All.csv line 2: anger, but it lies in a folder Happy" in faults(found)[1]


def test_mafw_frames_are_found_by_the_stem_and_odd_lines_are_errors(tmp_path: Path) -> None:
    rounds = {1: {"train": [("00001.mp4", "helplessness")], "test": [("00002.mp4", "contempt")]}}
    root = trees.mafw(tmp_path, rounds)
    path = trees.frames(root / "data/frames/00001", suffix=".png")
    found = listing("mafw", root)
    assert the(found, expression="helplessness").path == path
    assert "set_2/train.txt: not there, so there is no column split2" in faults(found)[0]
    trees.lines(root / "Train & Test Set/single/no_caption/set_1/train.txt", ["00001.mp4 anger", "00002.mp4"])
    with pytest.raises(ValueError, match=r"train.txt line 2: '00002.mp4' is not a name and a label"):
        listing("mafw", root)


def test_crema_d_reads_names_actors_and_intensities(tmp_path: Path) -> None:
    names = ["1001_IEO_NEU_XX", "1018_IEO_HAP_LO", "1019_DFA_ANG_XX", "1091_IEO_SAD_HI", "1072_IEO_FEA_MD"]
    root = trees.crema_d(tmp_path, names)
    path = trees.empty(root / "VideoFlash/1018_IEO_HAP_LO.FLV")
    found = listing("crema_d", root)
    assert [e.columns["fold"] for e in found.entries] == [1, 1, 2, 5, 4]
    assert [e.columns["intensity"] for e in found.entries] == ["unspecified", "low", "unspecified", "high", "medium"]
    happy = the(found, expression="happiness")
    assert happy.path == path
    assert (happy.columns["subject"], happy.columns["age"], happy.columns["sex"]) == ("1018", "30", "female")
    assert "no such columns" in found.notes[0]


def test_crema_d_names_that_cannot_be(tmp_path: Path) -> None:
    found = listing("crema_d", trees.crema_d(tmp_path, ["1001_IEO_JOY_XX", "1001_IEO_SAD_X", "1092_IEO_SAD_XX"]))
    said = faults(found)
    assert "SentenceFilenames.csv line 2: 'JOY' is none of ANG, DIS" in said[0]
    assert "line 3: '1001_IEO_SAD_X' is not actor_sentence_emotion_level" in said[1]
    assert "actor 1092 is in none of the five blocks" in said[2]


def test_crema_d_face_votes_are_soft_labels(tmp_path: Path) -> None:
    names = ["1001_IEO_NEU_XX", "1001_IEO_HAP_XX"]
    root = trees.crema_d(tmp_path, names, votes={names[0]: "N", names[1]: "H:N"})
    found = listing("crema_d", root)
    tied = the(found, expression="happiness").columns
    assert (tied["face_happiness"], tied["face_neutral"], tied["face_anger"]) == (0.5, 0.5, 0)
    assert tied["face_vote"] == "happiness:neutral"
    assert "face_agreement" not in tied
    assert "wins alone in 1 of 2 clips (50.00%) and ties with others in 1 (50.00%)" in found.notes[1]

    header = ("", "A", "D", "F", "H", "N", "S", "fileName", "numResponses", "agreement", "emoVote")
    voice, face = (100001, 9, 0, 0, 0, 1, 0, names[0], 10, 0.9, "A"), (200001, 1, 0, 0, 2, 7, 0, names[0], 10, 0.7, "N")
    trees.table(root / "processedResults/tabulatedVotes.csv", [header, voice, face])
    found = listing("crema_d", root)
    counted = the(found, expression="neutral").columns
    assert [counted[f"face_{name}"] for name in ("anger", "happiness", "neutral", "fear")] == [0.1, 0.2, 0.7, 0]
    assert (counted["face_vote"], counted["face_agreement"], counted["face_raters"]) == ("neutral", 0.7, 10)
    assert "face_vote" not in the(found, expression="happiness").columns


def test_crema_d_real_tables_give_the_published_counts(media: Path, tmp_path: Path) -> None:
    places = {"SentenceFilenames": "", "VideoDemographics": "", "summaryTable": "processedResults"}
    for name, folder in places.items():
        (tmp_path / folder).mkdir(exist_ok=True)
        shutil.copy(media / f"annotations/crema_d__{name}.csv", tmp_path / folder / f"{name}.csv")
    (tmp_path / "VideoFlash").mkdir()
    found = listing("crema_d", tmp_path)
    assert as_published("crema_d", found)
    assert len(found.entries) == 7442
    assert len({e.columns["subject"] for e in found.entries}) == 91
    assert Counter(e.columns["fold"] for e in found.entries) == {1: 1463, 2: 1470, 3: 1476, 4: 1476, 5: 1557}
    assert Counter(e.columns["intensity"] for e in found.entries)["unspecified"] == 6077
    for entry in found.entries:
        assert sum(float(str(entry.columns[f"face_{n}"])) for n in CANONICAL[:6]) == pytest.approx(1, abs=1e-5)


def ravdess_names() -> list[str]:
    """Speech by the rules of its publication."""
    kinds = [("01", "01")] + [(f"{e:02d}", i) for e in range(2, 9) for i in ("01", "02")]
    return [
        f"{e}-{i}-{s}-{r}-{a:02d}" for a in range(1, 25) for e, i in kinds for s in ("01", "02") for r in ("01", "02")
    ]


def test_ravdess_has_its_published_counts_and_leaves_songs_and_sound_aside(tmp_path: Path) -> None:
    for name in ravdess_names():
        trees.empty(tmp_path / f"Actor_{name[-2:]}/02-01-{name}.mp4")
    for prefix in ("01-01", "01-02", "02-02"):
        trees.empty(tmp_path / f"Actor_01/{prefix}-03-01-01-01-01.mp4")
    found = listing("ravdess", tmp_path)
    assert as_published("ravdess", found)
    assert all(entry.path.is_file() for entry in found.entries)
    assert sorted(found.ignored.values()) == [1, 2]
    assert found.ignored["songs (02 in the second place)"] == 2
    fold5 = {e.columns["subject"]: e.columns["fold5"] for e in found.entries}
    assert [fold5[a] for a in ("02", "16", "03", "20", "24", "22")] == [1, 1, 2, 3, 4, 5]


def test_ravdess_accounts_for_absent_and_impossible_clips(tmp_path: Path) -> None:
    path = trees.empty(tmp_path / "deeper/Actor_02/02-01-08-02-01-01-02.MP4")
    trees.empty(tmp_path / "Actor_02/02-01-09-01-01-01-02.mp4")
    trees.empty(tmp_path / "Actor_02/02-01-01-02-01-01-02.mp4")
    trees.empty(tmp_path / "Actor_02/02-01-03-01-01-01-05.mp4")
    trees.empty(tmp_path / "Actor_02/holiday.mp4")
    found = listing("ravdess", tmp_path)
    entry = the(found, subject="02", expression="surprise", intensity="strong", statement=1, repetition=1)
    assert (entry.path, entry.columns["sex"], entry.columns["fold"]) == (path, "female", 1)
    assert len(found.entries) == 1440
    said = "\n".join(faults(found))
    for words in (
        "emotion 09 is outside the scale 01 to 08",
        "has no such clip",
        "actor 05 by its name",
        "seven numbers",
    ):
        assert words in said


def test_enterface05_has_its_published_counts_and_the_folder_is_the_subject(tmp_path: Path) -> None:
    for subject in range(1, 45):
        for emotion in ("anger", "disgust", "fear", "happiness", "sadness", "surprise"):
            for sentence in range(1, 6):
                if ((subject, emotion) == (23, "happiness") and sentence < 4) or subject == 6:
                    continue
                name = f"s{12 if subject == 11 else subject}_{emotion[:2]}_{sentence}.avi"
                trees.empty(tmp_path / f"subject {subject}/{emotion}/sentence {sentence}/{name}")
    trees.empty(tmp_path / "subject 6/subject 6.avi")
    found = listing("enterface05", tmp_path)
    assert as_published("enterface05", found)
    assert all(entry.path.is_file() for entry in found.entries)
    eleven = the(found, subject="11", expression="fear", sentence=2)
    assert eleven.path.name == "s12_fe_2.avi"
    assert eleven.columns["fold"] == 2
    assert found.notes == ["30 files are named after another subject than their folder's; the folder counts"]
    assert found.ignored == {"recordings of subject 6, which is in no fold": 1}


def test_enterface05_without_sentence_folders_and_in_capitals(tmp_path: Path) -> None:
    trees.empty(tmp_path / "subject_23/Happiness/s23_ha_4.AVI")
    trees.empty(tmp_path / "subject_23/happiness/sentence_5/s23_ha_5.avi")
    trees.empty(tmp_path / "subject_23/boredom/sentence_1/s23_bo_1.avi")
    trees.empty(tmp_path / "subject_23/anger/sentence_7/s23_an_7.avi")
    trees.empty(tmp_path / "extra/readme.avi")
    found = listing("enterface05", tmp_path)
    assert the(found, subject="23", expression="happiness", sentence=4).path.is_file()
    assert sum(entry.path.is_file() for entry in found.entries) == 2
    assert "folder 'boredom' is none of" in faults(found)[1]
    assert "no subject 23, anger, sentence 7" in faults(found)[0]
    assert found.ignored == {"videos outside the folders of subjects": 1}


def test_werewolf_xl_takes_a_table_with_named_columns(tmp_path: Path) -> None:
    header = ("VideoName", "Mean_P_1_2_3_4", "Mean_A_1_2", "Mean_D_1_2_4")
    rows = [("01_01_128", 0.25, 1.5, -0.5), ("07_12_3", 0, 0, 0), ("30_02_44", 0, 2.5, 0), ("31_02_44", 0, 0, 0)]
    labels = trees.table(tmp_path / "labels.csv", [header, *rows])
    frames = trees.frames(tmp_path / "clips/01_01_128_aligned")
    found = listing("werewolf_xl", tmp_path, labels=labels)
    first = found.entries[0]
    assert first.path == frames
    assert first.columns == {
        "subject": "01_01", "session": "01", "fold": 1, "valence": 0.25, "arousal": 1.5, "dominance": -0.5,
    }  # fmt: skip
    assert [e.columns["fold"] for e in found.entries] == [1, 2, 5, None]
    assert "labels.csv line 4: Mean_A_1_2 2.5 is outside the scale from -2 to 2" in faults(found)[0]
    assert "session 31 is in none of the five blocks" in faults(found)[1]
    assert listing("werewolf_xl", tmp_path, labels=labels, scale=(-3.0, 3.0)).entries[2].fault is None
    with pytest.raises(ValueError, match="needs --labels"):
        listing("werewolf_xl", tmp_path)
    with pytest.raises(ValueError, match="needs the columns VideoName"):
        listing("werewolf_xl", tmp_path, labels=trees.table(tmp_path / "l.csv", [("name", "x"), ("01_01_1", 1)]))


def test_avcaffe_takes_labels_from_the_task_and_splits_by_person(tmp_path: Path) -> None:
    arousal = ["participant task score", "aiim001_task_1, Excited", "aiim002_task_2, Sleepy", "aiim003_task_1, Dull"]
    trees.lines(tmp_path / "ground_truths/arousal.txt", arousal)
    trees.lines(tmp_path / "ground_truths/valence.txt", ["aiim001_task_1, Pleased"])
    trees.lines(tmp_path / "ground_truths/effort.txt", ["aiim001_task_1, 21", "aiim104_task_3, 22"])
    for clip in ("aiim001/task_1/a.avi", "aiim001/task_1/b.AVI", "aiim002/task_2/c.avi", "aiim104/task_3/d.avi"):
        trees.empty(tmp_path / "videos/shorter_segments" / clip)
    found = listing("avcaffe", tmp_path)
    first = found.entries[0].columns
    assert (first["arousal"], first["valence"], first["effort"]) == ("excited", "pleased", 21)
    assert (first["video"], first["split"], first["mental_demand"]) == ("aiim001_task_1", "test", None)
    assert [e.columns["split"] for e in found.entries] == ["test", "test", "test", "train", "train"]
    assert "arousal.txt line 3: arousal 'Sleepy' is none of Excited, Wide-awake" in faults(found)[0]
    assert "effort.txt line 2: effort 22 is outside the scale from 0 to 21" in faults(found)[1]
    assert found.entries[4].path == tmp_path / "videos/shorter_segments/aiim003/task_1"
    assert found.ignored == {"lines without a comma in arousal.txt": 1}


def test_first_impressions_reads_the_pickles_of_python_2(tmp_path: Path) -> None:
    names = ("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism", "interview")
    for file, clip in (("training", "-J4GQm9j0JZ0.003.mp4"), ("validation", "b.000.mp4"), ("test", "c.mp4")):
        values = {name: {clip: 0.1 * i} for i, name in enumerate(names)}
        (tmp_path / f"annotation_{file}.pkl").write_bytes(trees.python2_pickle(values))
    path = trees.empty(tmp_path / "train/80_01/-J4GQm9j0JZ0.003.MP4")
    found = listing("first_impressions", tmp_path)
    first = the(found, split="train")
    assert (first.path, first.columns["video"]) == (path, "-J4GQm9j0JZ0")
    assert [first.columns[name] for name in names] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert [e.columns["split"] for e in found.entries] == ["train", "val", "test"]


def test_first_impressions_with_faults(tmp_path: Path) -> None:
    names = ("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism")
    values = {name: {"a.mp4": 0.5, "b.mp4": 0.5} for name in names}
    values["openness"] = {"a.mp4": 1.5}
    (tmp_path / "annotation_training.pkl").write_bytes(trees.python2_pickle(values))
    found = listing("first_impressions", tmp_path)
    assert "annotation_training.pkl a.mp4: openness 1.5 is outside the scale from 0 to 1" in faults(found)[0]
    assert "annotation_training.pkl b.mp4: openness None is not a number" in faults(found)[1]
    assert "annotation_test.pkl: not there, so there are no clips of split test" in faults(found)[3]
    del values["neuroticism"]
    (tmp_path / "annotation_test.pkl").write_bytes(trees.python2_pickle(values))
    with pytest.raises(ValueError, match=r"annotation_test.pkl: no values for neuroticism"):
        listing("first_impressions", tmp_path)


def test_a_clip_of_two_first_impressions_parts_is_in_neither(tmp_path: Path) -> None:
    names = ("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism")
    for part in ("training", "test", "validation"):
        values = {name: {"a.mp4": 0.5} for name in names}
        (tmp_path / f"annotation_{part}.pkl").write_bytes(trees.python2_pickle(values))
    assert all("in two parts" in reason for reason in faults(listing("first_impressions", tmp_path)))


def test_voxceleb2_takes_whatever_lies_in_its_folders(tmp_path: Path) -> None:
    path = trees.empty(tmp_path / "dev/mp4/id00012/21Uxsk56VDQ/00001.mp4")
    trees.empty(tmp_path / "dev/mp4/readme.mp4")
    found = listing("voxceleb2", tmp_path)
    assert [(e.path, e.columns) for e in found.entries] == [(path, {"subject": "id00012", "video": "21Uxsk56VDQ"})]
    assert found.ignored == {"videos that are not in <identity>/<film>/": 1}


def test_a_folder_of_classes_with_and_without_parts(tmp_path: Path) -> None:
    for name in ("happy/a.mp4", "happy/deep/b.MOV", "sad/c.gif", "loose.mp4"):
        trees.empty(tmp_path / "flat" / name)
    trees.frames(tmp_path / "flat/sad/frames")
    found = listing("folder", tmp_path / "flat")
    assert [e.columns["expression"] for e in found.entries] == ["happy", "happy", "sad", "sad"]
    assert found.ignored == {"clips outside the folders of classes": 1}
    for name in ("train/happy/a.mp4", "validation/sad/c.mp4"):
        trees.empty(tmp_path / "parts" / name)
    found = listing("folder", tmp_path / "parts")
    assert [e.columns for e in found.entries] == [
        {"expression": "happy", "split": "train"},
        {"expression": "sad", "split": "val"},
    ]


def test_any_table(tmp_path: Path) -> None:
    rows = [("file", "start", "end", "who"), ("a.mp4", "0.5", "", "7"), ("b.mp4", "2", "1", "8"), ("", "", "", "9")]
    labels = trees.table(tmp_path / "clips.tsv", rows, mark="\t")
    found = listing("csv", tmp_path, labels=labels, path_column="file")
    assert found.entries[0].columns == {"start": 0.5, "end": None, "who": "7"}
    assert faults(found) == ["clips.tsv line 3: end 1.0 is not after start 2.0", "clips.tsv line 4: no path"]
    with pytest.raises(ValueError, match="no column path; the columns are file, start, end, who"):
        listing("csv", tmp_path, labels=labels)
    with pytest.raises(ValueError, match=r"clips.tsv line 2: 1 cells under 4 columns"):
        listing("csv", tmp_path, labels=trees.lines(labels, ["path\ta\tb\tc", "x"]))


def test_excel_tables_without_openpyxl_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ValueError, match=r"'\.\[xlsx\]'.*; or save the sheet as CSV"):
        listing("csv", tmp_path, labels=trees.empty(tmp_path / "clips.xlsx"))


def test_excel_tables(tmp_path: Path) -> None:
    book = pytest.importorskip("openpyxl").Workbook()
    for row in (("path", "subject"), ("a.mp4", "007"), ("b.mp4", 8)):
        book.active.append(row)
    book.save(tmp_path / "clips.xlsx")
    found = listing("csv", tmp_path, labels=tmp_path / "clips.xlsx")
    assert [e.columns["subject"] for e in found.entries] == ["007", "8"]
    (tmp_path / "clips.xlsx").write_bytes(b"no zip")
    with pytest.raises(ValueError, match="not a readable Excel file"):
        listing("csv", tmp_path, labels=tmp_path / "clips.xlsx")


def test_dealing_persons_to_folds_is_a_function_of_the_seed() -> None:
    persons = [f"p{i}" for i in range(11)]
    dealt = deal_subjects(persons, 3, seed=5)
    assert dealt == deal_subjects(reversed(persons), 3, seed=5)
    assert dealt != deal_subjects(persons, 3, seed=6)
    assert sorted(Counter(dealt.values()).values()) == [3, 4, 4]
    with pytest.raises(ValueError, match="between 2 and the number of subjects"):
        deal_subjects(persons, 12, seed=0)


def test_the_page_of_corpora_says_what_the_code_says() -> None:
    page = (Path(__file__).parents[2] / "docs/corpora.md").read_text()
    for name in CORPORA:
        corpus = find_corpus(name)
        line = next(text for text in page.splitlines() if text.startswith(f"| `{name}` |") and text.count("|") == 5)
        assert corpus.licence in line
        assert re.findall(r"^https?://[^\s,]+", corpus.access) == re.findall(r"\]\((.*?)\)", line), name
        assert f"{corpus.expected.get('', '')}" in line.replace(",", ""), name
