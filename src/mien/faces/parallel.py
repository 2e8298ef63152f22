"""Many videos at once: one process each on this machine, or one task each on a Ray cluster.

A process per video, because a decoder that crashes on one file, or memory that runs out, must not end the others.
Processes are forked from a server that has imported everything, which takes milliseconds, and end with their parent.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing import connection, get_all_start_methods, get_context
from multiprocessing.queues import SimpleQueue
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import cv2

from mien.extras import install
from mien.faces.cut import CutConfig, Record, VideoSource, cut, write_record
from mien.files import DiskError
from mien.video.container import limit_pixels, pixel_limit
from mien.video.inspection import prepare_process

POLL_SECONDS = 1.0
"""Seconds between two reports of the number of frames."""


def cut_locally(
    jobs: Sequence[VideoSource], store: Path, config: CutConfig, workers: int
) -> Iterator[tuple[int, VideoSource | None]]:
    """Cut all jobs, ``workers`` at a time; yields (frames done so far, a source that was just finished or None)."""
    context = get_context("forkserver") if "forkserver" in get_all_start_methods() else get_context("spawn")
    context.set_forkserver_preload(["mien.faces.parallel"])
    frames, disk_errors = context.Value("q", 0), context.SimpleQueue()
    waiting, running = deque(jobs), {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.popleft()
                process = context.Process(
                    target=cut_in_process, args=(job, store, config, frames, disk_errors, pixel_limit()), daemon=True
                )
                process.start()
                running[process.sentinel] = (process, job)
            ended = connection.wait(list(running), POLL_SECONDS)
            yield frames.value, None
            for sentinel in ended:
                process, job = running.pop(sentinel)
                process.join()
                if not disk_errors.empty():
                    raise DiskError(disk_errors.get())
                if process.exitcode:
                    crashed = process.exitcode < 0
                    code = (
                        f"signal {-process.exitcode} (a crash, or no memory left)"
                        if crashed
                        else f"exit code {process.exitcode}"
                    )
                    record_failure(store, job, f"its process ended with {code}")
                yield frames.value, job
    finally:
        for process, _ in running.values():
            process.kill()


def cut_in_process(
    job: VideoSource,
    store: Path,
    config: CutConfig,
    frames: Synchronized[int],
    disk_errors: SimpleQueue[str],
    pixels: int,
) -> None:
    """Cut one video in a process of its own; ``disk_errors`` gets the reason if the store cannot be written."""
    prepare_process()
    cv2.setNumThreads(1)

    def count() -> None:
        with frames.get_lock():
            frames.value += 1

    try:
        with limit_pixels(pixels):
            cut(job, store, config, count)
    except DiskError as error:
        disk_errors.put(str(error))


def record_failure(store: Path, job: VideoSource, reason: str) -> None:
    """Write the record of a source whose process did not."""
    write_record(store, Record(job.name, job.key, job.stamp(), job.columns, "failed", reason))


def cut_on_ray(
    jobs: Sequence[VideoSource], store: Path, config: CutConfig, address: str
) -> Iterator[tuple[int, VideoSource | None]]:
    """The same on a Ray cluster whose machines share ``store`` and the videos; tasks of a dead machine start again.

    ``address`` is a cluster's; empty is RAY_ADDRESS or, without that, a cluster of this machine alone.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no network unless asked for
    try:
        import ray
        from ray.exceptions import RayError
    except ImportError as error:
        raise ValueError(f"--engine ray needs the extra ray: {install('ray')}") from error
    if not ray.is_initialized():
        ray.init(address=address or None, log_to_driver=False, configure_logging=False)
    task = ray.remote(num_cpus=1, max_retries=5)(cut_in_task)
    waiting, running, frames = deque(jobs), {}, 0
    while waiting or running:
        room = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
        while waiting and len(running) < room:
            job = waiting.popleft()
            running[task.remote(job, store.resolve(), config, pixel_limit())] = job
        ended, _ = ray.wait(list(running), timeout=POLL_SECONDS)
        for reference in ended:
            job = running.pop(reference)
            try:
                frames += ray.get(reference)
            except RayError as error:
                if isinstance(cause := getattr(error, "cause", None), DiskError):
                    raise DiskError(str(cause)) from error
                record_failure(store, job, f"on Ray: {str(error).strip().splitlines()[0]}")
            yield frames, job
        if not ended:
            yield frames, None


def cut_in_task(job: VideoSource, store: Path, config: CutConfig, pixels: int) -> int:
    """Cut one video in a Ray task; returns its number of frames."""
    cv2.setNumThreads(1)
    with limit_pixels(pixels):
        return cut(job, store, config).frames
