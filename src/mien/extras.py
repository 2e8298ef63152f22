"""How the optional parts of mien are installed: the one place that knows, for every message that asks for one."""

from __future__ import annotations


def install(extra: str) -> str:
    """The command that installs an extra of pyproject.toml.

    It is run in the folder of mien's source, since there is no release yet: the name ``mien`` on an index would be
    somebody else's package.
    """
    return f"pip install -c constraints.txt '.[{extra}]' (in the folder of mien's source)"
