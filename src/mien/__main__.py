"""``python -m mien`` and the ``mien`` command: set what must be set before torch is imported, then hand over."""

from __future__ import annotations

import os
import sys

# libgomp's threads spin while they wait; beside any other busy process that makes torch on a CPU 5-20 times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def main() -> None:
    """Run the command line."""
    from mien.cli import main as run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
