"""Where the time of a stream goes, stage by stage, and running one end of a stream in a thread of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from queue import Empty, Full, Queue
from threading import Event, Thread, local
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")


class Profile:
    """Seconds of work per stage; a stage inside another does not count for the outer one.

    Stages of different threads overlap, so the sum may be more than the time that passed.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.began = perf_counter()
        self.threads = local()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside for ``name``."""
        stack: list[float] = self.threads.__dict__.setdefault("inner", [])
        stack.append(0.0)
        start = perf_counter()
        try:
            yield
        finally:
            took = perf_counter() - start
            self.seconds[name] += took - stack.pop()
            if stack:
                stack[-1] += took

    def each(self, name: str, items: Iterator[T]) -> Iterator[T]:
        """Count the time that ``items`` takes to give each of its items."""
        while True:
            with self.stage(name):
                given = tuple(islice(items, 1))
            if not given:
                return
            yield given[0]

    def rows(self, video: float) -> list[dict[str, object]]:
        """Stage, seconds, share of all work, and how many times faster than ``video`` seconds each would be alone."""
        whole = sum(self.seconds.values()) or 1e-9
        ordered = sorted(self.seconds.items(), key=lambda item: -item[1])
        return [
            {"stage": name, "seconds": took, "share": took / whole, "times real time": video / max(took, 1e-9)}
            for name, took in ordered
        ]

    def lines(self, video: float) -> list[str]:
        """The same for a terminal, with the real-time factor of the whole."""
        passed = perf_counter() - self.began
        table = [
            f"  {r['stage']:<8} {r['seconds']:8.2f} s  {r['share']:6.1%}  {r['times real time']:7.1f}x"
            for r in self.rows(video)
        ]
        return [f"{video:.1f} s of video in {passed:.1f} s: {video / max(passed, 1e-9):.2f} times real time", *table]


def prefetch(items: Iterator[T], size: int) -> Generator[T]:
    """The same items, made by a thread that may be ``size`` of them ahead; its errors are raised here.

    Closing this iterator ends the thread and closes ``items``.
    """
    queue: Queue[tuple[T] | BaseException | None] = Queue(size)
    stop = Event()
    thread = Thread(target=fill, args=(items, queue, stop), daemon=True)
    thread.start()
    try:
        while (given := queue.get()) is not None:
            if isinstance(given, BaseException):
                raise given
            yield given[0]
    finally:
        stop.set()
        with suppress(Empty):
            while True:
                queue.get_nowait()
        thread.join()


def fill(items: Iterator[T], queue: Queue[tuple[T] | BaseException | None], stop: Event) -> None:
    """Put items, each in a tuple, into a queue until they end (None), one raises (the error) or ``stop`` is set."""
    try:
        for item in items:
            if not put(queue, (item,), stop):
                return
        put(queue, None, stop)
    except BaseException as error:
        put(queue, error, stop)
    finally:
        if isinstance(items, Generator):
            items.close()


def put(queue: Queue[T], item: T, stop: Event) -> bool:
    """Wait for room, or for ``stop``."""
    while not stop.is_set():
        try:
            queue.put(item, timeout=0.1)
        except Full:
            continue
        return True
    return False
