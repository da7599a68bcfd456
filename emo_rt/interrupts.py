"""What can be interrupted: Ctrl-C and `kill` end a block once, soon, and what is done of a video stays."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from emo_rt.stopping import NOTHING, SIGNALS, Process, heard_signals, leave

#: Seconds after a signal at which a command ends at the latest, whatever its threads still compute.
LATEST = 1.5


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Lets Ctrl-C or `kill` interrupt the block once, by a KeyboardInterrupt; what follows is ignored.

    In a process of its own, the command then ends after `LATEST` seconds, also if the interrupt got lost in a library.
    Outside of the main thread, where Python takes no signals, the block just runs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    Process.stopped, Process.done = False, NOTHING
    before = {number: signal.signal(number, _interrupt) for number in heard_signals()}
    try:
        with _watchdog() if Process.own else contextlib.nullcontext():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        if not Process.own:
            Process.stopped = False


def _interrupt(number: int, frame: FrameType | None) -> None:
    if not Process.stopped:
        Process.stopped = True
        raise KeyboardInterrupt


@contextlib.contextmanager
def _watchdog() -> Iterator[None]:
    """Ends the process some time after a signal, even while the main thread is in a library and sees none."""
    sys.unraisablehook = _unless_stopped(sys.unraisablehook)
    threading.excepthook = _unless_stopped(threading.excepthook)
    if os.name == "nt":  # signals wake only sockets there
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    ended = threading.Event()

    def watch() -> None:
        while os.read(reading, 1)[0] not in SIGNALS:
            pass
        time.sleep(LATEST)
        if not ended.is_set():
            leave("what is done of the video stays")

    threading.Thread(target=watch, name="watchdog", daemon=True).start()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        if not Process.stopped:
            ended.set()
            signal.set_wakeup_fd(before)


def _unless_stopped(hook):  # type: ignore[no-untyped-def]
    """A hook for exceptions that nobody catches, which says nothing once the command was stopped."""
    return lambda arguments: None if Process.stopped else hook(arguments)
