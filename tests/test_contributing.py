"""CONTRIBUTING.md followed to the letter: its blocks are added to a copy of the package, and its commands run there."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from conftest import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
GROWN = re.compile(r"(?P<imports>from .*\n\n)?(?P<before>(?:.|\n)*)…(?P<added>[ |,]*\w+|\n.*)(?P<end>(?:.|\n)*)")
"""A list with a name more; … is what is there."""
DRAWN = "mien synth drawn"
"""The first command, whose corpus is taken from the other tests."""


def blocks(language: str) -> list[str]:
    """The blocks of code below the headline on adding things, in order."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT[TEXT.index("## Adding a thing") :], re.DOTALL)


def commands() -> list[list[str]]:
    """All commands of the page as words, but the one that draws."""
    lines = "\n".join(blocks("sh")).replace("\\\n", " ").splitlines()
    assert any(line.startswith(DRAWN) for line in lines)
    return [shlex.split(line) for line in lines if line and not line.startswith(DRAWN)]


def apply(block: str, root: Path) -> None:
    """A block of Python in the file that its first line names: a new one, or a list that grows by a name."""
    first, body = block.split("\n", 1)
    file = root / first.removeprefix("# ")
    if (grown := GROWN.fullmatch(body)) is None:
        assert not file.exists(), file
        file.write_text(body, encoding="utf-8")
        return
    text = file.read_text(encoding="utf-8")
    start = text.index(grown["before"].rstrip())
    end = text.index(grown["end"], start)
    file.write_text(
        text[:start] + (grown["imports"] or "") + text[start:end] + grown["added"] + text[end:], encoding="utf-8"
    )


@pytest.fixture
def place(tmp_path: Path, corpus: Path) -> Path:
    """A folder with a copy of the package that holds all additions, drawn clips and a small corpus of named files."""
    shutil.copytree(ROOT / "src" / "mien", tmp_path / "src" / "mien")
    for block in blocks("python"):
        apply(block, tmp_path)
    (tmp_path / "drawn").symlink_to(corpus.parent)
    stems = tmp_path / "my-stems"
    stems.mkdir()
    clips = sorted(corpus.parent.rglob("*.mp4"))
    for name, clip in zip(("anna-happy-1", "bert-sad-1", "bert-calm-2"), clips[:3], strict=True):
        shutil.copy(clip, stems / f"{name}.mp4")
    return tmp_path


@pytest.fixture
def grown(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[list[str]], int]]:
    """The command line of the copy, which for a while is what ``mien`` is; libraries are not imported anew."""
    monkeypatch.syspath_prepend(str(place / "src"))
    monkeypatch.chdir(place)
    for name in ours():
        monkeypatch.delitem(sys.modules, name)
    yield import_module("mien.cli").main
    for name in ours():
        del sys.modules[name]


def ours() -> list[str]:
    """The modules of mien that are imported."""
    return [name for name in sys.modules if name.split(".")[0] == "mien"]


def test_things_are_added_by_the_letter(grown: Callable[[list[str]], int], place: Path) -> None:
    for words in commands():
        assert grown(words[1:]) == 0, words
    cards = [json.loads((place / "runs" / run / "model.json").read_text()) for run in ("mixer", "colours", "robust")]
    assert [card[part]["name"] for card, part in zip(cards, ("encoder", "objective", "task"), strict=True)] == [
        "mixer", "colours", "robust",
    ]  # fmt: skip
    assert json.loads((place / "runs/robust/evaluation/metrics.json").read_text())["task"] == "robust"
    rows = list(csv.DictReader((place / "data/stems/manifest.csv").open()))
    assert [(row["subject"], row["expression"]) for row in rows] == [("anna", "happiness"), ("bert", "sadness")]
    assert "bert-calm-2.mp4: label 'calm'" in (place / "data/stems/problems.csv").read_text()
    assert (place / "looked/anna-happy-1.png").is_file()


PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/**/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """But for those to the reference, which is made when the site is built, and that checks them."""
    links = re.findall(r"\]\((?!reference/)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_the_index_of_benchmarks_names_every_script_and_result() -> None:
    folder = ROOT / "benchmarks"
    index = (folder / "README.md").read_text(encoding="utf-8")
    there = {*folder.glob("*.py"), *folder.glob("results/*.md")}
    assert {file for file in there if f"`{file.name}`" in index or f"results/{file.name})" in index} == there


def test_files_for_forges_and_for_citation_are_valid_yaml() -> None:
    trees = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in (ROOT / ".github").rglob("*.yml")]
    assert all(isinstance(tree, dict) for tree in trees)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert len(citation["references"]) == 2
