"""The file in the user's cache that measured costs are kept in. It is checked when it is read, and never trusted."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from emo_rt.atomic import atomic_write

#: Seconds that nothing which is measured takes.
TOO_LONG = 86_400.0
#: Seconds to wait for another process that measures, and for one that writes. Each is done before, unless it hangs.
WHILE_MEASURING, WHILE_WRITING = 300.0, 10.0


def cache_file() -> Path:
    """The file that costs are kept in."""
    return Path(platformdirs.user_cache_dir("emo-rt", appauthor=False)) / "costs.json"


def kept_or_measured(
    key: str, names: Collection[str], measure: Callable[[], tuple[Mapping[str, float], bool]]
) -> dict[str, float]:
    """The costs in the cache, or those measured now.

    One process measures at a time: side by side, each would find the machine slow. The others wait, and take what was
    measured.

    Args:
        key: all that the costs depend on
        names: names of the costs
        measure: function that measures them: seconds by name, and whether they are worth keeping

    Returns:
        seconds by name
    """
    if (known := _read().get(key)) and set(known) == set(names):
        return known
    with _alone("measuring", WHILE_MEASURING):
        if (known := _read().get(key)) and set(known) == set(names):
            return known
        measured, keep = measure()
        if keep:
            _keep(key, measured)
        return dict(measured)


def _keep(key: str, costs: Mapping[str, float]) -> None:
    """Puts costs into the cache; does nothing if there can be no cache."""
    path = cache_file()
    with contextlib.suppress(OSError), _alone("writing", WHILE_WRITING):
        path.parent.mkdir(parents=True, exist_ok=True)
        known = {**_read(), key: costs}
        with atomic_write(Path(os.path.realpath(path))) as file:
            file.write(json.dumps(known, indent=1).encode())


@contextlib.contextmanager
def _alone(what: str, patience: float) -> Iterator[None]:
    """Runs the block while no other process runs one of this name, or after `patience` seconds all the same.

    Where files cannot be locked, it runs at once.
    """
    path = cache_file().with_name(f"{what}.lock")
    lock = FileLock(path)
    with contextlib.suppress(OSError, NotImplementedError, Timeout):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=patience)
    try:
        yield
    finally:
        lock.release()


def _read() -> dict[str, dict[str, float]]:
    """All costs in the cache that can be ones, seconds by key and name."""
    try:
        found = json.loads(cache_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: costs for key, costs in found.items() if _are_costs(costs)}


def _are_costs(value: object) -> bool:
    """Whether a value of the cache is what costs can be: seconds by name, none below 0, and not all of them 0."""
    if not isinstance(value, dict) or not any(value.values()):
        return False
    return all(type(seconds) in (int, float) and 0 <= seconds < TOO_LONG for seconds in value.values())
