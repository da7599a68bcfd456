"""Work that runs while its last results are being used."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import TypeVar

import numpy as np

from emo_rt.cascade.cascade import Cascade, DenoisedClip

T = TypeVar("T")


def prefetch(items: Iterator[T], size: int = 1) -> Generator[T]:
    """Gives the items of an iterator, in order, made in a thread of their own before they are asked for.

    The thread begins when the first item is asked for. It waits while `size` items are ready and one more is made, so
    that memory stays bounded. An exception of the iterator is raised where its next item would have come; when this
    generator is closed, the iterator is closed in its thread, after the item that it is at.
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
            put(None, error)  # StopIteration, too: the end
        finally:
            if stopped.is_set() and hasattr(items, "close"):
                items.close()

    thread = threading.Thread(target=work, name="ahead", daemon=True)
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
        thread.join()


def decoded_clips(cascade: Cascade, clips: Iterator[DenoisedClip]) -> Generator[tuple[DenoisedClip, np.ndarray]]:
    """Each clip with its frames, RGB uint8 (k, R, R, 3), the same as without overlap.

    The clips, and with them the reading of the voice, come from a thread of their own, their frames from a second one,
    and the caller uses them in its own. A few clips are in memory at most.
    """

    def decoded() -> Iterator[tuple[DenoisedClip, np.ndarray]]:
        with closing(prefetch(clips)) as denoised:
            for clip in denoised:
                yield clip, cascade.decode(clip)

    with closing(prefetch(decoded())) as pairs:
        yield from pairs
