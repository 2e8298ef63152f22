"""``python -m mien`` and the ``mien`` command: set what must be set before torch is imported, then hand over."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

# libgomp's threads spin while they wait; beside any other busy process that makes torch on a CPU 5-20 times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def main() -> None:
    """Run the command line; where nobody reads on (``mien ... | head``), end as silently as other commands do."""
    from mien.cli import main as run
    from mien.names import register

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=register())  # names on disk are bytes; what no terminal can show gets a mark
    try:
        try:
            code = run(sys.argv[1:])
        finally:
            sys.stdout.flush()  # here and not when the interpreter ends, where nothing can be caught
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + 13  # what a shell says of a command that SIGPIPE ended
    sys.exit(code)


if __name__ == "__main__":
    main()
