"""What runs for hours.

python tests/slow/hours.py analyze --hours 1 [--video FILE] [--plot docs/memory.png] [--page docs/reliability.md]
python tests/slow/hours.py kills --hours 3 [--seed 1] [--page docs/reliability.md]

``analyze`` reads as many hours of video as asked for (a drawn clip, or FILE with its faces found, over and over);
``kills`` kills every command that writes at random moments for so long. Both print a row of the table, put it into the
page if one is named, and end with an error if anything was lost.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from slow import kills, long_video
from slow.tally import Tally, insert, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attack", choices=["analyze", "kills"])
    parser.add_argument("--hours", type=float, required=True)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hours-") as name:
        folder = Path(name)
        rows = folder / "rows.jsonl"
        try:
            with Tally(f"{options.attack}, {options.hours:g} hours", rows) as tally:
                if options.attack == "kills":
                    kills.attack(tally, time.monotonic() + 3600 * options.hours, seed=options.seed)
                else:
                    memory = long_video.attack(tally, 3600 * options.hours, folder, options.video)
                    if options.plot:
                        long_video.plot(memory, options.plot)
        finally:
            text = table([json.loads(line) for line in rows.read_text().splitlines()], " ".join(["python", *sys.argv]))
            print(text)
            if options.page:
                insert(options.page, f"hours of {options.attack}", text)


if __name__ == "__main__":
    main()
