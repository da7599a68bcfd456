"""A process that does nothing but one command: a signal ends it, in one line.

This is imported before anything else, and imports next to nothing: until then, Ctrl-C is a traceback of Python's.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # as type checkers read it, without importing `typing`
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

#: Exit code of a command that was stopped.
STOPPED = 130
#: What a command has done at its start, and when all that is left is to return.
NOTHING, ENDED = "nothing written", "the command had ended"
#: Seconds that a command which was stopped waits for a thread of its own.
PATIENCE = 0.5
#: The signals that stop a command.
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Process:
    """What is known of this process.

    Attributes:
        own: whether the command is all that it does: then it may be ended at any time
        stopped: whether a signal has come
        done: what the command has done until now, as it is said when a signal ends it
    """

    own = False
    stopped = False
    done = NOTHING


def own_process() -> None:
    """Says that this process does nothing but one command: from now on a signal ends it, in one line."""
    Process.own = True
    for number in heard_signals():
        signal.signal(number, _end)


def heard_signals() -> list[signal.Signals]:
    """`SIGNALS` without those that whoever started the process let it ignore."""
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


def is_stopped() -> bool:
    """Whether a command was stopped by a signal and is about to end."""
    return Process.stopped


def _end(number: int, frame: FrameType | None) -> None:
    leave(Process.done)


def leave(words: str) -> NoReturn:
    """Ends the process at once, with a line on stderr: threads that still compute are not waited for."""
    try:
        sys.stdout.flush()
    finally:  # whatever became of the streams
        try:
            os.write(2, f"emo_rt: stopped; {words}\n".encode(errors="backslashreplace"))
        finally:
            os._exit(STOPPED)
