"""Optional parts: what mien prints and documents to install them is what works from its source today."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

from mien.extras import install

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TEXTS = [
    ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("src/mien/recipes/*.yaml")),
    *sorted(ROOT.glob("benchmarks/**/*.py")), *sorted(ROOT.glob("benchmarks/**/*.md")), *sorted(ROOT.glob("src/**/*.py")),
    *sorted(ROOT.glob("src/**/*.js")), *sorted(ROOT.glob("src/**/*.html")),
]  # fmt: skip


def test_nothing_tells_to_install_a_name_that_is_not_published() -> None:
    """``pip install mien`` fails before the first release, and would install what a stranger publishes under it."""
    for path in TEXTS:
        text = path.read_text()
        assert not re.search(r"mien\[\w+\]|pip install ['\"]?mien\b", text), path
        for extras in re.findall(r"pip install -c constraints\.txt '\.\[([^]{}]*)\]'", text):
            assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"]), path


def test_every_message_names_an_extra_that_exists() -> None:
    calls = [
        node.args[0].value
        for path in sorted(ROOT.glob("src/**/*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "install"
        and isinstance(node.args[0], ast.Constant)
    ]  # fmt: skip
    assert len(calls) >= 7
    assert set(calls) <= set(PROJECT["optional-dependencies"])
    assert install("ray").startswith("pip install -c constraints.txt '.[ray]'")


def test_what_faces_writes_with_belongs_to_the_base_and_the_old_extra_still_has_a_name() -> None:
    assert any(name.startswith("pyarrow") for name in PROJECT["dependencies"])
    assert PROJECT["optional-dependencies"]["parquet"] == []
