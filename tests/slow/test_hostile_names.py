"""Attack: files with hostile names, through every command that reads videos; each must stand in its tables under its name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from mien.names import from_text, read_csv
from mien.video.manifest import read_manifest, write_manifest
from slow.conftest import Tallying
from slow.tally import Tally
from toy_models import pictures, write_model, write_video

SIGNS = [bytes([code]) for code in range(1, 256) if code != ord("/")]
"""Every byte that a name may hold."""
WORDS = [
    b"-x", b"--help", b"-", b"=1+1", b"+1", b"@SUM(A1)", b"=cmd|' /C calc'!A0", b"'=x", b"2024-01-01T12:30:05", b"http:x",
    b"file:x", b"concat:a|b", b"pipe:0", b"data:,x", b"%d", b"%03d", b"*", b"?", b"[a]", b"$(reboot)", b"`id`", b"; ls", b"&&",
    b"<b>x</b>", b"</script><script>alert(1)</script>", b"&amp;", b'"', b"'", b"\\", b"\\xe9", b"\\x5c", b"\\n", b"..", b"...",
    b" ", b"  a  ", b"a.mp4", b"con", b"nul", b"a\nb", b"a\r\nb", b"a\tb", b"\x1b[31mred", b"#1-2", b"~", b"a,b", b"a;b", b"a|b",
    b"\xff\xfe", b"\xed\xa0\x80", b"\xc3", b"caf\xe9", "café".encode(), "cafe\u0301".encode(), "\u202e4pm".encode(),
    "שלום".encode(), "مرحبا".encode(), "日本語".encode(), "😀👩‍👩‍👧".encode(), "\u200b".encode(), "\u2028".encode(), "\ufeff".encode(),
    "1²1".encode(), "٣".encode(), b"x" * 251, "é".encode() * 125, "日".encode() * 83, b"\xe9" * 251, b"=" * 251,
]  # fmt: skip
PLACES = [b"http:/127.0.0.1:9/x.mp4", b"rtsp:/x/y.mp4", b"caf\xe9/\xe9.mp4", b"=d/-x.mp4", b"a\nb/c\nd.mp4"]
"""Paths below folders with hostile names of their own."""


def write_all(folder: Path, film: bytes) -> list[str]:
    """Films under every name; those that the file system refuses are left out."""
    names = dict.fromkeys([*(sign + b"s.mp4" for sign in SIGNS), *(word + b".mp4" for word in WORDS), *PLACES])
    written = []
    for raw in names:
        path = folder / os.fsdecode(raw)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(film)
        except (OSError, ValueError):
            continue
        written.append(os.fsdecode(raw))
    return written


def expect(attack: Tally, what: str, found: set[str], wanted: set[str]) -> None:
    """Names that are lost, or that nobody gave."""
    for name in sorted(wanted ^ found, key=os.fsencode):
        attack.lose(f"{what}: {name!a} {'is lost' if name in wanted else 'is none of the names'}")


@pytest.mark.slow
def test_hostile_names(tally: Tallying, tmp_path: Path) -> None:
    folder, model = tmp_path / "v", write_model(tmp_path / "model")
    folder.mkdir()
    film = write_video(tmp_path / "film.mp4", pictures(8)).read_bytes()
    names = write_all(folder, film)
    quick = ["--model", str(model), "--faces=whole", "--device=cpu"]
    data = ["--model", str(model), "--device=cpu", "--workers=0"]
    with tally("files with hostile names") as attack:
        attack.note = f"{len(names)} names: every byte, not UTF-8, line breaks, formulas, protocols, 255 bytes"
        wanted = set(names)

        listed = tmp_path / "all.csv"
        out = tmp_path / "store"
        done = attack.mien("extract-faces", str(folder), "--output", str(out), "--detector.name=haar", timeout=900)
        attack.tried += len(names) - 1
        if done.code != 0:
            attack.lose(f"faces: exit code {done.code}: {done.err[-300:]}")
        expect(attack, "faces", {from_text(name) for name in read_csv(out / "files.csv")["input"]}, wanted)
        tables = {from_text(str(pd.read_parquet(file)["input"][0])) for file in (out / "frames").glob("*.parquet")}
        expect(attack, "faces, frames/", tables, wanted)

        root = tmp_path / "classes"
        root.mkdir()
        os.rename(folder, root / "joy")
        out = tmp_path / "prepared"
        done = attack.mien("prepare", "folder", str(root), "--output", str(out), "--keep_duplicates", timeout=600)
        attack.tried += len(names) - 1
        if done.code != 0:
            attack.lose(f"prepare: exit code {done.code}: {done.err[-300:]}")
        clips = read_manifest(out / "manifest.csv")
        expect(attack, "prepare", {str(clip.path.relative_to(root / "joy")) for clip in clips}, wanted)
        os.rename(root / "joy", folder)

        write_manifest(listed, [{"path": folder / name} for name in names])
        out = tmp_path / "features"
        done = attack.mien("extract-features", *data, "--data.manifest", str(listed), "--output", str(out), timeout=600)
        attack.tried += len(names) - 1
        if done.code != 0:
            attack.lose(f"features: exit code {done.code}: {done.err[-300:]}")
        found = {str(Path(from_text(p)).relative_to(folder)) for p in pd.read_parquet(out / "features.parquet")["path"]}
        expect(attack, "features", found, wanted)

        few = [*(os.fsdecode(word + b".mp4") for word in WORDS), *map(os.fsdecode, PLACES)]
        some = [name for name in few if name in wanted]
        write_manifest(listed, [{"path": folder / name} for name in some])
        out = tmp_path / "study"
        study = ["study", str(listed), *quick, "--output", str(out), "--no-pictures", "--no-overlay"]
        done = attack.mien(*study, timeout=600)
        attack.tried += len(some) - 1
        if done.code != 0:
            attack.lose(f"study: exit code {done.code}: {done.err[-300:]}")
        inputs = [from_text(str(read_csv(file)["input"].iloc[0])) for file in out.glob("*/frames.csv")]
        if sorted(inputs, key=os.fsencode) != sorted((Path(name).name for name in some), key=os.fsencode):
            attack.lose(f"study: {len(inputs)} tables for {len(some)} videos, or other names")

        for name in (*map(os.fsdecode, PLACES[2:]), os.fsdecode(b"\xe9" * 251 + b".mp4"), "...mp4", "a\nb.mp4"):
            done = attack.mien("predict", str(folder / name), *quick, "--json", timeout=120)
            if done.code != 0:
                attack.lose(f"predict {name!a}: exit code {done.code}: {done.err[-300:]}")
            elif from_text(json.loads(done.out)["path"]) != str(folder / name):
                attack.lose(f"predict {name!a}: another path")
        for name in (
            "-x.mp4",
            "2024-01-01T12:30:05.mp4",
            "http:/127.0.0.1:9/x.mp4",
            "...mp4",
            os.fsdecode(b"caf\xe9.mp4"),
        ):
            arguments = ["analyze", f"./{name}", *quick, "--no-pictures", "--no-overlay"]
            done = attack.mien(*arguments, timeout=120, cwd=folder)
            if done.code != 0:
                attack.lose(f"analyze {name!a}: exit code {done.code}: {done.err[-300:]}")
        made = {file.parent.parent for file in folder.rglob("analysis.json")}
        if made != {folder / "analysis"}:
            attack.lose(f"analyze: wrote into {sorted(map(ascii, made))}")
