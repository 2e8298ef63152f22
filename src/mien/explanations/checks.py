"""Whether a map can be believed: two checks that a picture which merely looks right does not pass.

Randomised weights must destroy the map (Adebayo et al. 2018): a map that stays is drawn by the video's edges, not by
what the model has learnt. Deleting the patches it names must hurt the answer, and inserting them restore it, sooner than
random regions do (Petsiuk et al. 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from mien.explanations.occlusion import Array, Box, Fill, Grid, Score, fill_clip, mean_over_boxes, score_all
from mien.video.clips import Indices

M = TypeVar("M", bound=nn.Module)


def randomised_copy(model: M, seed: int) -> M:
    """A copy whose weights are shuffled within each tensor: nothing learnt is left, every scale is."""
    copy, chance = deepcopy(model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in copy.parameters():
            order = torch.randperm(weight.numel(), generator=chance).to(weight.device)
            weight.copy_(weight.flatten()[order].view_as(weight))
    return copy


def similarity(one: Array, other: Array) -> float:
    """Spearman rank correlation of two maps in [-1, 1]; 0 where one of them is constant."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    found: Any = spearmanr(one.ravel(), other.ravel())  # scipy does not tell the type of its result
    return float(found.statistic)


@dataclass(frozen=True)
class Curves:
    """What a score does while patches are deleted, or inserted, in the order of a map and in random orders."""

    shares: Array
    """Share of the patches that is deleted or inserted (steps + 1,)."""
    deletion: Array
    """Score by share deleted (steps + 1,); should fall soon."""
    insertion: Array
    """Score by share inserted (steps + 1,); should rise soon."""
    random_deletion: Array
    """The same in random orders (draws, steps + 1)."""
    random_insertion: Array

    def areas(self) -> dict[str, float]:
        """Areas under the curves, those of random orders as mean, and the share of them that the map beats.

        A random order as good as the map counts as half beaten.
        """
        found: dict[str, float] = {}
        for name, curve, others, sign in (
            ("deletion", self.deletion, self.random_deletion, -1),
            ("insertion", self.insertion, self.random_insertion, 1),
        ):
            area, drawn = np.trapezoid(curve, self.shares), np.trapezoid(others, self.shares, axis=1)
            better = sign * (area - drawn)
            found[f"{name}_AUC"] = float(area)
            found[f"{name}_AUC_random"] = float(drawn.mean())
            found[f"{name}_beats_random"] = float(((better > 0) + 0.5 * (better == 0)).mean())
        return found


def removal_curves(
    score: Score,
    video: Tensor,
    importance: Array,
    found: Sequence[Box],
    patch: Grid,
    fill: Fill = "blur",
    steps: int = 16,
    draws: int = 20,
    seed: int = 0,
    batch: int = 32,
) -> Curves:
    """Delete and insert the patches of a clip (3, T, H, W), uint8, by ``importance`` (time, rows, columns).

    Random orders come from random values of the same boxes ``found``, spread like those of an occlusion map, so that
    random regions are as compact as the map's.
    """
    rng = np.random.default_rng(seed)
    grid: Grid = importance.shape  # pyright: ignore[reportAssignmentType]
    maps = [importance, *(mean_over_boxes(rng.normal(size=len(found)), found, grid) for _ in range(draws))]
    hidden, shares = fill_clip(video, fill), np.linspace(0, 1, steps + 1)
    orders = [patch_ranks(one, rng) for one in maps]
    deleted = [partly_replaced(video, hidden, order, share, patch) for order in orders for share in shares]
    inserted = [partly_replaced(hidden, video, order, share, patch) for order in orders for share in shares]
    values = score_all(score, [*deleted, *inserted], batch, "deleting and inserting")
    down, up = values.reshape(2, len(orders), len(shares))
    return Curves(shares, down[0], up[0], down[1:], up[1:])


def patch_ranks(importance: Array, rng: np.random.Generator) -> Indices:
    """Each patch's place (time, rows, columns) when the most important comes first; equals by chance."""
    order = np.lexsort((rng.random(importance.size), -importance.ravel()))
    places = np.empty(importance.size, dtype=np.int64)
    places[order] = np.arange(importance.size)
    return places.reshape(importance.shape)


def partly_replaced(base: Tensor, other: Tensor, places: Indices, share: float, patch: Grid) -> Callable[[], Tensor]:
    """A clip whose first ``share`` of patches by place comes from ``other``; made when it is called for."""

    def make() -> Tensor:
        chosen = torch.from_numpy(places < round(share * places.size))
        for axis, side in enumerate(patch):
            chosen = chosen.repeat_interleave(side, dim=axis)
        return torch.where(chosen, other, base)

    return make
