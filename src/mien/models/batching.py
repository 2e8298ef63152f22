"""Views of many clips through a model, in batches that reach over clips, one clip's outputs at a time.

Batches are always full, whatever the number of views of a clip, and the last clips wait for no one: memory holds the
views of a batch and the outputs of the clips in it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from mien.video.views import View, ViewPlaces, distinct_views

Step = Callable[[Tensor], Tensor]
"""uint8 views (V, 3, T, size, size) -> outputs (V, ...)."""


def forward_views(
    step: Step, items: Iterable[View], batch: int, device: torch.device
) -> Iterator[tuple[ViewPlaces, Tensor]]:
    """Items of a ``ViewDataset`` -> each with its outputs (windows, crops, ...), in the order of its ``layout``."""
    waiting: deque[tuple[View, int]] = deque()
    views: list[Tensor] = []
    outputs: list[Tensor] = []
    for item in items:
        seen = len(views)
        views.extend(distinct_views(item))
        waiting.append((item, len(views) - seen))
        while len(views) >= batch:
            outputs.extend(step(torch.stack(views[:batch]).to(device)))
            del views[:batch]
            yield from finished_items(waiting, outputs)
    if views:
        outputs.extend(step(torch.stack(views).to(device)))
    yield from finished_items(waiting, outputs)


def finished_items(waiting: deque[tuple[View, int]], outputs: list[Tensor]) -> Iterator[tuple[ViewPlaces, Tensor]]:
    """Clips all of whose views have been read."""
    while waiting and len(outputs) >= waiting[0][1]:
        item, count = waiting.popleft()
        whole = torch.stack(outputs[:count]).unflatten(0, (len(item["rows"]), len(item["frames"])))
        del outputs[:count]
        layout = item["layout"]
        # The frames are let go.
        places = ViewPlaces(
            rows=item["rows"], layout=layout, times=item["times"], index=item["index"], variant=item["variant"]
        )
        yield places, whole[layout.to(whole.device)]
