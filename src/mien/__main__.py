"""``python -m mien`` and the ``mien`` command: set what must be set before torch is imported, then hand over."""

from __future__ import annotations

import os
import sys

# libgomp's threads spin while they wait; beside any other busy process that makes torch on a CPU 5-20 times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def main() -> None:
    """Run the command line; where nobody reads on (``mien ... | head``), end as silently as other commands do."""
    from mien.cli import main as run

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
