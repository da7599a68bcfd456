"""What a command says on stdout and stderr, whatever became of them: closed, full, or read by nobody any more."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, TextIO

from emo_rt.errors import EmoError, InputError, printable
from emo_rt.interrupts import interruptible
from emo_rt.stopping import ENDED, STOPPED, Process


class CommandParser(argparse.ArgumentParser):
    """A parser of a command line whose errors are ones that a user can cause, in one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def run_command(
    parser: CommandParser, action: Callable[[argparse.Namespace], None], arguments: Sequence[str] | None
) -> int:
    """Runs a short command.

    Args:
        parser: parser of its words
        action: what the command does with them
        arguments: words after the command; None for the process's own

    Returns:
        The exit code: 0, 2 for what the user can put right, 130 if it was stopped.
    """
    with lasting_stderr():
        try:
            with interruptible():
                action(parser.parse_args(arguments))
                Process.done = ENDED
        except EmoError as error:
            say(f"emo_rt: error: {error}")
            return 2
        except KeyboardInterrupt:
            say("emo_rt: stopped")
            return STOPPED
    return 0


def open_missing_streams() -> None:
    """Puts the null device in the place of standard streams that are closed, for a process of its own.

    Otherwise the next file that is opened takes their number, and messages of libraries are written into it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the smallest free number, which is this one
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False, errors="backslashreplace")  # noqa: SIM115


@contextlib.contextmanager
def lasting_stderr() -> Iterator[None]:
    """Lets everything in the block write to stderr without an error, also where it is full or closed."""
    before = sys.stderr
    if before is not None:
        sys.stderr = _Lasting(before)
    try:
        yield
    finally:
        sys.stderr = before


class _Lasting:
    """A text stream that drops what cannot be written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            _silence(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            _silence(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def say(line: str, stream: TextIO | None = None) -> None:
    """Writes a line to a stream, or to stderr if that is closed, full, or read by nobody any more.

    Args:
        line: text without an end of line; control characters in it are escaped
        stream: where to write; None for stderr
    """
    for each in (stream, sys.stderr):
        if each is None:
            continue
        try:
            encoding = each.encoding or "utf-8"
            each.write(printable(line).encode(encoding, "backslashreplace").decode(encoding) + "\n")
            each.flush()
            return
        except (OSError, ValueError):
            _silence(each)


def _silence(stream: TextIO) -> None:
    """Makes a stream drop what it holds and gets: Python would end with an error when it cannot be written."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
