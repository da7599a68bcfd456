"""Work that runs while its last results are being used."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T], size: int = 1) -> Generator[T]:
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
