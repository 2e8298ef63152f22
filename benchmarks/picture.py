"""Draws ``docs/results.svg``, the README's picture of results, from the tables in ``results/``.

    python benchmarks/picture.py

Every row of the two tables of accuracy is drawn, what beats mien's models like what they beat.
"""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

ROOT = Path(__file__).parent.parent
OURS, OTHER = "#3f51b5", "#a3541c"
CHANCE = 100 / 7
"""Per cent, of seven expressions."""
Row = dict[str, str]


def table(file: str, *header: str) -> list[Row]:
    """The rows of the table in ``results/`` whose header begins so."""
    lines = [cells(line) for line in (ROOT / "benchmarks" / "results" / file).read_text().splitlines()]
    starts = [number for number, line in enumerate(lines) if line[: len(header)] == [*header]]
    if not starts:
        raise ValueError(f"benchmarks/results/{file} has no table | {' | '.join(header)} |")
    found = []
    for line in lines[starts[0] + 2 :]:
        if len(line) < 2:
            break
        found.append(dict(zip(lines[starts[0]], line, strict=True)))
    return found


def cells(line: str) -> list[str]:
    """The cells of a line of Markdown; of a line that is in no table, none."""
    return [cell.strip() for cell in line.strip()[1:-1].split("|")] if line.startswith("|") else []


def numbers(cell: str) -> list[float]:
    """The numbers of a cell, in order."""
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", cell)]


def demo(axes: Axes) -> None:
    """Runs of ``mien demo``: today's with its interval over people, those of earlier versions pale."""
    names = {"from scratch": OTHER, "pre-trained": OURS}
    *earlier, today = table("learning.md", "commit")
    for height, (name, colour) in enumerate(names.items()):
        axes.plot([numbers(row[name])[0] for row in earlier], [height] * len(earlier), "o", color=colour, alpha=0.3)
        value, low, high = numbers(today[name])
        axes.errorbar(value, height, xerr=[[value - low], [high - value]], fmt="o", color=colour, capsize=3)
    axes.set_yticks(range(len(names)), list(names))
    axes.set_title("Does pre-training help?", loc="left", fontweight="bold")
    axes.set_xlabel(
        "UAR, %: mien demo, 700 labels. Today's run with\n95 % interval, pale: earlier versions, seeds 0 and 1"
    )


def probes(axes: Axes) -> None:
    """Probes over frozen encoders: a dot and its deviation over seeds of the probe for each seed of the encoder."""
    groups: dict[str, list[list[float]]] = {}
    encoder = objective = ""
    for row in table("vjepa.md", "encoder", "objective"):
        encoder = row["encoder"] if row["encoder"] not in ("", "the same") else encoder
        objective = row["objective"] or objective
        model, way = re.split(",| ViT| [(]", encoder)[0].replace("`", ""), re.split(",| on ", objective)[0]
        groups.setdefault(f"{model}: {way}", []).append(
            numbers(row["mean UAR ± deviation"]) or numbers(row["best: UAR"])
        )
    for height, (name, values) in enumerate(reversed(groups.items())):
        colour = OTHER if "random" in name or "pixels" in name else OURS
        for number, value in enumerate(values):
            place = height + 0.22 * (number - (len(values) - 1) / 2)
            axes.errorbar(value[0], place, xerr=value[1] if len(value) > 1 else 0, fmt="o", color=colour, capsize=2)
    axes.set_yticks(range(len(groups)), [*reversed(groups)])
    axes.set_title("What are frozen features worth?", loc="left", fontweight="bold")
    axes.set_xlabel("UAR, %: frozen encoders, drawn faces. A dot is the mean\nof 3 probes, its line their deviation")


def speed(axes: Axes) -> None:
    """How many times faster than the plain way."""
    steps = {row[""]: numbers(row["plain / fp32"])[0] for row in table("tpsbt.md", "", "plain fp32, s")}
    original = {
        row["read from"]: row["store is faster by"] for row in table("loader.md", "read from", "clips/s of CPU time")
    }
    kept = table("vjepa.md", "probes", "kept, s")[0]
    ratios = {
        "clips from the face store\nagainst original videos": numbers(original["original, PyAV"])[0],
        "probe on kept features\nagainst encoding anew": numbers(kept["ratio"])[0],
        "TPSBT inference\nagainst plain eager code": steps["inference"],
        "TPSBT fine-tuning step": steps["fine-tuning step"],
        "TPSBT pre-training step": steps["pre-training step (90 % hidden)"],
    }
    bars = axes.barh([*reversed(ratios)], [*reversed(ratios.values())], color=OURS, height=0.55)
    axes.bar_label(bars, fmt="%.1fx", padding=3)
    axes.axvline(1, color="#888", linewidth=0.8, linestyle=":")
    axes.set_xlim(0, 12.5)
    axes.set_title("How much faster?", loc="left", fontweight="bold")
    axes.set_xlabel("times, one CPU, fp32")


def main() -> None:
    """Draw the three side by side."""
    plt.rcParams.update({"svg.hashsalt": "mien", "font.size": 9, "axes.titlesize": 11, "svg.fonttype": "none"})
    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "font.family": "sans-serif"})
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(14, 3.6), width_ratios=(0.8, 1, 0.8), layout="constrained"
    )
    demo(left)
    probes(middle)
    speed(right)
    for axes in (left, middle):
        axes.axvline(CHANCE, color="#888", linewidth=0.8, linestyle=":")
        axes.set_xlim(10, 75)
        axes.annotate(
            "chance",
            (CHANCE, 0.02),
            xycoords=("data", "axes fraction"),
            fontsize=8,
            color="#666",
            rotation=90,
            ha="right",
        )
    left.set_ylim(-0.6, 1.6)
    figure.savefig(
        ROOT / "docs" / "results.svg", metadata={"Date": None}, facecolor="white", bbox_inches="tight", pad_inches=0.15
    )


if __name__ == "__main__":
    main()
