"""Ctrl-C and `kill`: a command ends soon, in one line, and what is done of a video stays.

Nothing heavy is imported here: a command is stopped this way from its first moment on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time

TYPE_CHECKING = False  # as type checkers read it, without importing `typing`
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import NoReturn

#: Exit code of a command that was stopped.
STOPPED = 130
#: Seconds after a signal at which a command ends at the latest, whatever its threads still compute.
LATEST = 1.5
#: Seconds that a command which was stopped waits for a thread of its own.
PATIENCE = 0.5
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Process:
    """What is known of this process.

    Attributes:
        own: whether the command is all that it does: then it may be ended at any time
        stopped: whether a signal has come
    """

    own = False
    stopped = False


def own_process() -> None:
    """Says that this process does nothing but one command: from now on a signal ends it, in one line."""
    _Process.own = True
    for number in _heard():
        signal.signal(number, _end)


def _heard() -> list[signal.Signals]:
    """The signals that stop a command: not those that whoever started the process let it ignore."""
    return [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


def owns_process() -> bool:
    """Whether this process does nothing but one command."""
    return _Process.own


def is_stopped() -> bool:
    """Whether a command was stopped by a signal and is about to end."""
    return _Process.stopped


def _end(number: int, frame: FrameType | None) -> None:
    leave("nothing written")


def leave(words: str) -> NoReturn:
    """Ends the process at once, with a line on stderr: threads that still compute are not waited for."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        os.write(2, f"emo_rt: stopped; {words}\n".encode(errors="backslashreplace"))
    os._exit(STOPPED)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Lets Ctrl-C or `kill` interrupt the block once, by a KeyboardInterrupt; what follows is ignored.

    In a process of its own, the command then ends after `LATEST` seconds, also if the interrupt got lost in a library.
    Outside of the main thread, where Python takes no signals, the block just runs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Process.stopped = False
    before = {number: signal.signal(number, _interrupt) for number in _heard()}
    try:
        with _watchdog() if _Process.own else contextlib.nullcontext():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        if not _Process.own:
            _Process.stopped = False


def _interrupt(number: int, frame: FrameType | None) -> None:
    if not _Process.stopped:
        _Process.stopped = True
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
        while os.read(reading, 1)[0] not in _SIGNALS:
            pass
        time.sleep(LATEST)
        if not ended.is_set():
            leave("what is done of the video stays")

    threading.Thread(target=watch, name="watchdog", daemon=True).start()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        if not _Process.stopped:
            ended.set()
            signal.set_wakeup_fd(before)


def _unless_stopped(hook):  # type: ignore[no-untyped-def]
    """A hook for exceptions that nobody catches, which says nothing once the command was stopped."""
    return lambda arguments: None if _Process.stopped else hook(arguments)
