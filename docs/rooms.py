"""Draws ``rooms.svg``: the rooms of the package and which imports which, read from the import statements.

    python docs/rooms.py

A row holds rooms that need nothing of their own row; every arrow points down. An arrow is left out where a longer way
says the same. The places from left to right, colours and words are below; a new room needs a line here.
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from test_architecture import NOUNS, ROOMS, files, imports  # noqa: E402

WIDTH, HEIGHT, STEP = 132, 44, 84
"""Of a box, and from row to row, in pixels."""


class Place(NamedTuple):
    """Where a room is drawn: the middle of its box in steps of 150 pixels, its colour, and a few words on it."""

    x: float
    column: str
    words: str


COLOURS = {
    "model": ("#dbe7fb", "tensors in, tensors out"),
    "engine": ("#fbe3d0", "runs any objective"),
    "data": ("#d8f0dd", "files in, clips out"),
    "both": ("#f0e6f8", "where they meet"),
    "user": ("#f6f2cf", "what users call"),
}
PLACES = {
    "modules": Place(2.2, "model", "layers, masks, heads"),
    "statistics": Place(4.1, "model", "metrics, intervals"),
    "video": Place(6.0, "data", "frames, clips, splits"),
    "engine": Place(0.6, "engine", "loop, checkpoints"),
    "objectives": Place(1.8, "model", "learning without labels"),
    "encoders": Place(3.0, "model", "TPSBT, ViT, V-JEPA"),
    "tasks": Place(4.1, "model", "learning from labels"),
    "faces": Place(6.6, "data", "find, follow, crop"),
    "datasets": Place(7.8, "data", "a file per corpus"),
    "models": Place(2.4, "both", "from folder to model"),
    "calibration": Place(4.5, "both", "what answers are worth"),
    "evaluation": Place(5.5, "both", "metrics of a run"),
    "features": Place(1.2, "both", "frozen, and probes"),
    "inference": Place(3.4, "both", "reads whole videos"),
    "reports": Place(4.3, "both", "figures and pages"),
    "training": Place(2.6, "both", "clips to a run"),
    "explanations": Place(4.3, "both", "when and where"),
    "web": Place(6.0, "both", "mien serve"),
    "commands": Place(4.7, "user", "one file per command"),
    "api": Place(4.7, "user", "mien.finetune(...)"),
    "cli": Place(4.7, "user", "mien finetune ..."),
}
BY_NAME = {"api": {"commands"}, "cli": {"commands"}}
"""What is imported by a name that is not written in the file, drawn as a dashed arrow."""


def arrows() -> dict[str, set[str]]:
    """Room -> rooms that its files import, at any depth, without those that another of them leads to."""
    graph = {
        room: set().union(*map(imports, files(room))) - NOUNS - {room} | BY_NAME.get(room, set()) for room in ROOMS
    }

    def below(room: str) -> set[str]:
        return graph[room].union(*map(below, graph[room]))

    return {room: {to for to in named if not any(to in below(by) for by in named)} for room, named in graph.items()}


def picture() -> str:
    """The drawing, as the text of an SVG file."""
    graph = arrows()

    def row(room: str) -> int:
        return 1 + max(map(row, graph[room]), default=-1)

    rows = {room: row(room) for room in graph}
    top = max(rows.values())
    corner = {room: (150 * place.x - WIDTH / 2, 20 + STEP * (top - rows[room])) for room, place in PLACES.items()}
    width, height = round(max(x for x, _ in corner.values()) + WIDTH + 24), 20 + STEP * top + HEIGHT + 60
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="Helvetica, Arial, sans-serif" text-anchor="middle">',
        "<title>The rooms of mien: an arrow leads from a room to one that it imports</title>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#667"/></marker></defs>',
        f'<rect width="{width}" height="{height}" rx="8" fill="#fff"/>',
    ]
    users = {room: {by for by in graph if room in graph[by]} for room in graph}
    for room, named in graph.items():
        for to in sorted(named):
            x, y = port(room, to, graph[room], corner), corner[room][1] + HEIGHT
            end_x, end_y = port(to, room, users[to], corner), corner[to][1]
            bend = min(max((end_y - y) / 2, 24), 90)
            dashed = ' stroke-dasharray="5 4"' if to in BY_NAME.get(room, set()) else ""
            lines.append(
                f'<path d="M{x:.0f} {y}C{x:.0f} {y + bend:.0f} {end_x:.0f} {end_y - bend:.0f} {end_x:.0f} {end_y}" '
                f'fill="none" stroke="#667" stroke-width="1.3" marker-end="url(#head)"{dashed}/>'
            )
    for room, place in PLACES.items():
        x, y = corner[room]
        lines += [
            f'<rect x="{x:.0f}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="7" fill="{COLOURS[place.column][0]}" '
            'stroke="#667"/>',
            f'<text x="{x + WIDTH / 2:.0f}" y="{y + 19}" font-size="15" font-weight="bold" fill="#112">{room}</text>',
            f'<text x="{x + WIDTH / 2:.0f}" y="{y + 35}" font-size="11" fill="#445">{escape(place.words)}</text>',
        ]
    for number, (column, (colour, words)) in enumerate(COLOURS.items()):
        x, y = 24 + number * (width - 40) / len(COLOURS), height - 34
        name = {"both": "above the columns", "user": "at the top"}.get(column, f"{column} column")
        lines += [
            f'<rect x="{x:.0f}" y="{y}" width="16" height="16" rx="3" fill="{colour}" stroke="#667"/>',
            f'<text x="{x + 24:.0f}" y="{y + 13}" font-size="12" text-anchor="start" fill="#112">{name}: {words}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


def port(room: str, other: str, others: set[str], corner: dict[str, tuple[float, int]]) -> float:
    """Where an arrow to or from ``other`` touches the box of ``room``: side by side, in the order of the other ends."""
    order = sorted(others, key=lambda name: (corner[name][0], name))
    return corner[room][0] + WIDTH * (order.index(other) + 1) / (len(order) + 1)


if __name__ == "__main__":
    Path(__file__).with_name("rooms.svg").write_text(picture())
