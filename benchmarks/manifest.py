"""How long a manifest takes to read, and how much memory: a row per clip with times and three columns.

    python benchmarks/manifest.py [--rows 1000000]

Prints CPU seconds of ``read_manifest`` and the growth of the process at its peak.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from mien.video.manifest import read_manifest


def write(path: Path, rows: int) -> None:
    """A manifest of clips in folders of a thousand."""
    with path.open("w") as file:
        file.write("path,start,end,expression,subject,fold\n")
        for i in range(rows):
            label = ("anger", "joy", "fear")[i % 3]
            file.write(f"videos/{i // 1000:04d}/clip_{i:07d}.mp4,0.0,{2 + i % 7}.5,{label},s{i % 5000:05d},{i % 5}\n")


def peak() -> int:
    """Most memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Write, read, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.csv"
        write(path, rows)
        before, began = peak(), time.process_time()
        clips = read_manifest(path)
        print(f"{len(clips)} rows: {time.process_time() - began:.1f} s of CPU, {peak() - before} MiB more at the peak")


if __name__ == "__main__":
    main()
