"""A wheel holds all that the package needs, and works with what the base install brings, without any extra."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COMMANDS = (["--help"], ["models"], ["recipes"], ["demo", "--help"], ["analyze", "--help-all"], ["export", "--help"])
BLOCK = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import mien
from mien.cli import main
assert mien.__file__.startswith(sys.argv[2]), mien.__file__
raise SystemExit(main(sys.argv[3:]))
"""
"""Run a command where packages cannot be imported, as if they were not installed."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked."""
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        str(made),
        str(source),
    ]
    subprocess.run(build, check=True)
    (file,) = made.glob("*.whl")
    ZipFile(file).extractall(made / "unpacked")
    return made / "unpacked"


def base_install() -> set[str]:
    """Names of the packages that the base install brings, with what they need in turn."""
    found: set[str] = set()
    waiting = ["mien"]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found.add(name)
        try:
            needed = [Requirement(line) for line in requires(name) or []]
        except PackageNotFoundError:
            continue
        waiting += [one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    here = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src" / "mien").rglob("*") if path.is_file()}
    there = {str(path.relative_to(wheel)) for path in (wheel / "mien").rglob("*") if path.is_file()}
    assert {name for name in here if "__pycache__" not in name} == there


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_it_works_with_the_base_install_alone(wheel: Path, arguments: list[str]) -> None:
    base = base_install()
    absent = [
        module
        for module, owners in packages_distributions().items()
        if module != "mien" and not any(re.sub(r"[-_.]+", "-", owner).lower() in base for owner in owners)
    ]
    assert {"onnxruntime", "fastapi", "huggingface_hub", "ray"} & set(absent)
    done = subprocess.run(
        [sys.executable, "-c", BLOCK, ",".join(absent), str(wheel), *arguments], env={"PYTHONPATH": str(wheel), "PATH": ""},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
