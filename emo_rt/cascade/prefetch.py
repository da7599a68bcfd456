"""Prefetch: the next clips are generated in threads while the caller uses the last ones."""

from __future__ import annotations

import atexit
import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import TypeVar

import numpy as np

from emo_rt.cascade.cascade import Cascade, DenoisedClip
from emo_rt.stopping import PATIENCE, is_stopped

T = TypeVar("T")

#: The threads that run, in the order of their start, each with what stops it.
_RUNNING: dict[threading.Thread, threading.Event] = {}
#: Seconds that a program which ends waits for a thread.
AT_EXIT = 30.0


@atexit.register
def _end_threads() -> None:
    """Lets threads end before the interpreter does: one that is in a library would abort the process.

    A thread ends those that it started itself; if they ended first, it would wait for their items in vain.
    """
    for thread, stopped in list(_RUNNING.items()):
        stopped.set()
        if thread.is_alive():
            thread.join(AT_EXIT)


def prefetch(items: Iterator[T], size: int = 1) -> Generator[T]:
    """Runs an iterator in a thread of its own, ahead of the caller, and yields its items in order.

    The thread starts when the first item is asked for. It pauses while `size` items are ready and one more waits for
    its place, so memory stays bounded. An exception of the iterator is raised here in the place of its next item. When
    this generator is closed, the thread finishes the item that it is at and closes the iterator.

    Args:
        items: iterator to run
        size: number of items that are ready at most
    """
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(size)
    stopped = threading.Event()

    def put(item: T | None, error: BaseException | None = None) -> bool:
        while not stopped.is_set():
            try:
                ready.put((item, error), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            while not stopped.is_set() and put(next(items)):
                pass
        except BaseException as error:
            put(None, error)  # also StopIteration, which is the end
        finally:
            if stopped.is_set() and hasattr(items, "close"):
                items.close()

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    _RUNNING[thread] = stopped
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join(PATIENCE if is_stopped() else None)
        if not thread.is_alive():
            _RUNNING.pop(thread, None)


def decoded_clips(cascade: Cascade, clips: Iterator[DenoisedClip]) -> Generator[tuple[DenoisedClip, np.ndarray]]:
    """Decodes clips while the next ones are denoised; the frames are the same as without prefetch.

    One thread reads the voice and denoises, a second one decodes, and the caller uses the frames in its own. A few
    clips are in memory at most.

    Args:
        cascade: cascade that decodes
        clips: denoised clips of that cascade

    Yields:
        each clip with its frames, RGB uint8 (k, R, R, 3)
    """

    def decoded() -> Iterator[tuple[DenoisedClip, np.ndarray]]:
        with closing(prefetch(clips)) as denoised:
            for clip in denoised:
                yield clip, cascade.decode(clip)

    with closing(prefetch(decoded())) as pairs:
        yield from pairs
