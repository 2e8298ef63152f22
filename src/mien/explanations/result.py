"""An explanation as a value, and its files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from mien.explanations import drawing, map_overlay
from mien.explanations.checks import Curves
from mien.explanations.explanation import Maps
from mien.explanations.face_windows import FaceWindows, WindowClips
from mien.faces.face import Pixels
from mien.files import remove_files, write_whole
from mien.names import to_text
from mien.reports import plots


class About(TypedDict):
    """What is explained."""

    target: str
    """Name of the output, or reconstruction."""
    unit: str
    """Of what the maps hold."""
    face: int
    windows: int
    """Windows of the face in all."""
    answer: NotRequired[float]
    """The output over all frames of the face."""
    explained: NotRequired[list[float]]
    """The output in each window that is explained."""


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """When and where a model looks in windows of a video."""

    path: Path
    """The video."""
    stretch: FaceWindows
    windows: WindowClips
    about: About
    maps: dict[str, Maps] = field(default_factory=dict)
    """Maps of every window, by method."""
    moments: Maps = field(default_factory=list)
    """Of every window, what the answer loses when a time slot is hidden."""
    regions: Maps = field(default_factory=list)
    """Of every window, what the answer loses when a site is hidden."""
    survival: dict[str, list[float]] = field(default_factory=dict)
    """Rank correlation with the maps of each randomised model, by method."""
    curves: dict[str, list[Curves]] = field(default_factory=dict)
    """Deletion and insertion of each window, by method."""

    @property
    def checks(self) -> dict[str, dict[str, float | list[float]]]:
        """What each method's maps did in the checks, means over the windows; empty where none were asked for."""
        result: dict[str, dict[str, float | list[float]]] = {}
        for method, survival in self.survival.items():
            areas = [one.areas() for one in self.curves.get(method, [])]
            means = {name: float(np.mean([area[name] for area in areas])) for name in (areas[0] if areas else {})}
            result[method] = {"randomised_rank_correlation": survival, **means}
        return result

    def __repr__(self) -> str:
        answer = f" {self.about['answer']:.3f}" if "answer" in self.about else ""
        what = f"face {self.about['face']}, {self.about['target']}{answer}"
        explained = f"{len(self.stretch.windows)} of {self.about['windows']} windows explained"
        lines = [f"{self.path}: {what}; {explained}"]
        if "explained" in self.about:
            lines[0] += ", of which the model says " + ", ".join(f"{value:.3f}" for value in self.about["explained"])
        for method, check in self.checks.items():
            left = float(np.mean(check["randomised_rank_correlation"]))
            lines.append(f"  {method}: randomised weights leave a rank correlation of {left:+.2f} (0: nothing)")
            for what in ("deletion", "insertion"):
                if f"{what}_AUC" in check:
                    area, chance, beaten = (check[f"{what}_{end}"] for end in ("AUC", "AUC_random", "beats_random"))
                    lines.append(
                        f"    {what} AUC {area:.3f}, random regions {chance:.3f}; better than {beaten:.0%} of them"
                    )
        return "\n".join(lines)

    def write(self, folder: Path) -> None:
        """Videos, pictures, maps.npz and, last, explanation.json."""
        films = [f"{method}.mp4" for method in ("occlusion", "attention", "reconstruction")]
        remove_files(folder, ["explanation.json", "maps.npz", "maps.png", "when.png", "where.png", "check.png", *films])
        folder.mkdir(parents=True, exist_ok=True)
        rows: dict[str, Pixels] = {}
        for method, maps in self.maps.items():
            pairs, signed = zip(self.windows.frames, maps, strict=True), method == "occlusion"
            shown = [map_overlay.MapWindow(frames, one) for frames, one in pairs]
            title = f"{method}: {self.about['target']}"
            map_overlay.write_video(self.stretch, shown, folder / f"{method}.mp4", title, signed)
            rows["video"], rows[method] = map_overlay.picture_rows(self.stretch, shown, signed)
        plots.save_png(plots.mosaic([(name, frames / 255) for name, frames in rows.items()]), folder / "maps.png")
        if self.moments:
            plots.save(drawing.temporal_figure(self.windows.times, self.moments, self.about), folder / "when.png")
            plots.save(drawing.spatial_figure(self.windows.clips, self.regions, self.about), folder / "where.png")
        if self.curves:
            plots.save(drawing.removal_figure(self.curves, self.about["target"]), folder / "check.png")
        arrays = {name: np.stack(maps) for name, maps in self.maps.items()}
        arrays |= {"times": self.windows.times, "frames": self.windows.frames}
        arrays |= {"when": np.stack(self.moments), "where": np.stack(self.regions)} if self.moments else {}
        write_whole(folder / "maps.npz", lambda path: save_arrays(path, arrays))
        saved = {"video": to_text(self.path), **self.about, "checks": self.checks}
        write_whole(folder / "explanation.json", lambda path: path.write_text(json.dumps(saved, indent=2) + "\n"))


def save_arrays(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Arrays by name as .npz, under exactly this path."""
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]
