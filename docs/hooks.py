"""What mkdocs calls while it builds the site: pages that lie outside ``docs/``, and a page of reference per room.

Texts stay where a reader of the repository looks for them, and their links are written for that place; on the site they
are turned to the pages there. What has no page (a script, the licence) is named and not linked, for there is no forge.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "mien"
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.md"))
ELSEWHERE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "results/index.md",
} | {f"benchmarks/results/{path.name}": f"results/{path.name}" for path in RESULTS}
"""File of the repository -> page of the site."""
LINK = re.compile(r"(\[[^\]]*\])\(([^)\s#]+)(#[^)\s]*)?\)")
PUBLIC = """# What `import mien` gives

::: mien
    options: {show_submodules: false}
"""
FIRST = ["interfaces", "config"]
"""Files at the top of the package that have a page of their own."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the parts of the navigation that follow from folders."""
    parts = {name: pages for entry in config.nav or [] for name, pages in entry.items()}
    parts["Results"] += ["results/index.md", *(f"results/{path.name}" for path in RESULTS)]
    parts["Reference"] += ["reference/index.md", *(f"reference/{name}.md" for name in FIRST + rooms())]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside ``docs/`` and those of the reference."""
    texts = {page: (ROOT / path).read_text() for path, page in ELSEWHERE.items()}
    texts["reference/index.md"] = PUBLIC
    texts |= {f"reference/{name}.md": f"# mien.{name}\n\n::: mien.{name}\n" for name in FIRST + rooms()}
    for page, text in texts.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository to pages of the site."""
    sources = {page: path for path, page in ELSEWHERE.items()}
    here = page.file.src_uri
    folder = posixpath.dirname(sources.get(here, f"docs/{here}"))

    def turned(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        if ":" in target:
            return link[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        uri = "index.md" if path in ("README.md", "docs") else ELSEWHERE.get(path, path.removeprefix("docs/"))
        if files.get_file_from_path(uri) is None:
            return text[1:-1] if (ROOT / path).exists() else link[0]
        return f"{text}({posixpath.relpath(uri, posixpath.dirname(here))}{anchor})"

    return LINK.sub(turned, markdown)


def rooms() -> list[str]:
    """Names of the rooms."""
    return sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
