"""A connection to a Ray cluster, or to one that is started on this machine."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

from emo_rt.errors import InputError, reason
from emo_rt.jobs.parsing import shown

#: The address of a cluster that is started on this machine, and lasts as long as it is used.
LOCAL = "local"
#: The address of the cluster that this machine belongs to.
AUTO_ADDRESS = "auto"
#: Times that work whose process died is given to another one.
RETRIES = 3
#: Seconds in which the head of a cluster takes a connection. Ray itself would try for minutes.
_ANSWERS = 5.0
_CURE = "start one with `ray start --head`, or give `local`"


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """The package `ray`, connected to a cluster while the block lasts.

    Ray's own telemetry stays off, unless the environment turns it on (`RAY_USAGE_STATS_ENABLED=1`).

    Args:
        address: HOST:PORT of a cluster's head, AUTO_ADDRESS, or LOCAL

    Raises:
        InputError: if Ray is not installed, or no cluster answers.
    """
    try:
        import ray
    except ImportError:
        raise InputError('Ray is not installed: pip install "emo-rt[ray]"') from None
    if address not in (LOCAL, AUTO_ADDRESS):
        _check_answers(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    stopping = signal.getsignal(signal.SIGTERM)
    dashboard = False if address == LOCAL else None  # a cluster that runs already has one or not
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, include_dashboard=dashboard)
    except (ConnectionError, OSError, RuntimeError, TimeoutError, ValueError) as error:
        raise InputError(f"no Ray cluster answers at {address} ({reason(error)}); {_CURE}") from None
    with contextlib.suppress(ValueError):  # in another thread than the main one, Ray took no signals either
        signal.signal(signal.SIGTERM, stopping)  # the command answers to it, and not Ray
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raises InputError if nobody listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise InputError(f"--ray {shown(address)}: give HOST:PORT of a cluster's head, {AUTO_ADDRESS} or {LOCAL}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWERS).close()
    except (OSError, UnicodeError) as error:
        raise InputError(f"no Ray cluster answers at {shown(address)} ({reason(error)}); {_CURE}") from None
