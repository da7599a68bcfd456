"""The queue of videos in a SQLite file: what was asked for is done, also if the process is killed meanwhile."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_rt.errors import InputError, reason

QUEUED, RUNNING, COMPLETED, FAILED, WITHDRAWN = "queued", "in_progress", "completed", "failed", "withdrawn"
#: Number of times in a row that a video may end the process without a new clip.
MOST_ATTEMPTS = 3
#: Version of the table, in the file.
_VERSION = 1
_TABLE = """
CREATE TABLE videos (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    created_at REAL NOT NULL,
    started_at REAL,
    completed_at REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    client TEXT NOT NULL,
    facts TEXT NOT NULL,
    error TEXT
);
CREATE INDEX by_status ON videos (status, number);
"""


@dataclass(frozen=True)
class VideoRow:
    """A video as the queue knows it.

    Attributes:
        number: its place in the order of all videos
        id: its id
        status: QUEUED, RUNNING, COMPLETED, FAILED or WITHDRAWN
        created_at: when it was asked for, Unix seconds
        started_at: when it was begun for the first time; None if it waits
        completed_at: when it was completed or failed; None before
        attempts: number of times in a row that it was begun and got no further
        client: address that asked for it
        facts: JSON object of what was asked for
        error: why it failed
    """

    number: int
    id: str
    status: str
    created_at: float
    started_at: float | None
    completed_at: float | None
    attempts: int
    client: str
    facts: dict[str, Any]
    error: str | None


def _row(values: Sequence[Any]) -> VideoRow:
    """The video in a row of the table."""
    named = dict(zip(VideoRow.__annotations__, values, strict=True))
    return VideoRow(**{**named, "facts": json.loads(named["facts"])})


class Queue:
    """The videos of a server, in the order in which they were asked for; for any thread.

    Args:
        path: SQLite file, which is made if it does not exist

    Raises:
        InputError: if the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._claimed: set[str] = set()
        try:
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.execute("PRAGMA wal_autocheckpoint=50")  # pages, so that the log stays small
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            if version == 0:
                self._database.executescript(f"BEGIN; {_TABLE} PRAGMA user_version={_VERSION}; COMMIT;")
            elif version != _VERSION:
                raise InputError(f"queue {path}: its version is {version}, not {_VERSION}; give another folder")
            self._database.execute("SELECT count(*) FROM videos")
        except (sqlite3.Error, OSError) as error:
            raise InputError(f"queue {path}: cannot be used ({reason(error)}); move it away") from error

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._database.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def _rows(self, where: str, *values: Any) -> list[VideoRow]:
        columns = ", ".join(VideoRow.__annotations__)
        with self._lock:
            found = self._database.execute(f"SELECT {columns} FROM videos {where}", values).fetchall()
        return [_row(values) for values in found]

    def add(self, video_id: str, client: str, facts: dict[str, Any]) -> VideoRow:
        """Adds a video to the end of the queue; when this returns, it is on the disk."""
        with self._transaction() as database:
            database.execute(
                "INSERT INTO videos (id, status, created_at, client, facts) VALUES (?, ?, ?, ?, ?)",
                (video_id, QUEUED, time.time(), client, json.dumps(facts)),
            )
            self._changed.notify_all()
        row = self.get(video_id)
        assert row is not None
        return row

    def get(self, video_id: str) -> VideoRow | None:
        """A video; None if there is none of this id."""
        rows = self._rows("WHERE id = ? AND status != ?", video_id, WITHDRAWN)
        return rows[0] if rows else None

    def page(self, limit: int, after: VideoRow | None, *, ascending: bool) -> list[VideoRow]:
        """Up to `limit` videos behind the video `after`, from the oldest or from the newest on."""
        order, sign, start = ("ASC", ">", -1) if ascending else ("DESC", "<", 2**62)
        number = start if after is None else after.number
        where = f"WHERE status != ? AND number {sign} ? ORDER BY number {order} LIMIT ?"
        return self._rows(where, WITHDRAWN, number, limit)

    def finished(self) -> list[VideoRow]:
        """The videos that are completed or failed, those first that have been for the longest."""
        return self._rows("WHERE status IN (?, ?) ORDER BY completed_at, number", COMPLETED, FAILED)

    def ids(self) -> set[str]:
        """The ids of all videos."""
        with self._lock:
            return {row[0] for row in self._database.execute("SELECT id FROM videos")}

    def waiting(self, client: str | None = None) -> int:
        """The number of videos that wait or are made, of one client or of all."""
        where, values = ("", ()) if client is None else (" AND client = ?", (client,))
        with self._lock:
            query = f"SELECT count(*) FROM videos WHERE status IN (?, ?){where}"
            (count,) = self._database.execute(query, (QUEUED, RUNNING, *values)).fetchone()
        return int(count)

    def claim(self, timeout: float) -> VideoRow | None:
        """Begins the next video, or one whose end could not be noted. It is the caller's until it is released.

        Args:
            timeout: seconds for which one is waited for

        Returns:
            The video; None if none came.
        """
        with self._changed:
            if (row := self._next()) is None:
                self._changed.wait(timeout)
                row = self._next()
            if row is None:
                return None
            with self._transaction() as database:
                database.execute(
                    "UPDATE videos SET attempts = attempts + (status = ?), status = ?, "
                    "started_at = coalesce(started_at, ?) WHERE id = ?",
                    (QUEUED, RUNNING, time.time(), row.id),
                )
            self._claimed.add(row.id)
            return self.get(row.id)

    def _next(self) -> VideoRow | None:
        """The first video that waits or is left, and that nobody makes."""
        places = ", ".join("?" * len(self._claimed))
        where = f"WHERE status IN (?, ?) AND id NOT IN ({places}) ORDER BY number LIMIT 1"
        return next(iter(self._rows(where, QUEUED, RUNNING, *self._claimed)), None)

    def release(self, video_id: str) -> None:
        """Gives a claimed video up: if it is neither finished nor removed, it can be claimed again."""
        with self._changed:
            self._claimed.discard(video_id)
            self._changed.notify_all()

    def wake(self) -> None:
        """Ends the waiting of `claim`."""
        with self._changed:
            self._changed.notify_all()

    def got_further(self, video_id: str) -> None:
        """Notes that a new clip of a video was kept: what ends the process now is not what ended it before."""
        self._set(video_id, "attempts = 0")

    def put_back(self, video_id: str) -> None:
        """Puts a video that was stopped back to its place in the queue."""
        self._set(video_id, "status = ?, attempts = 0", QUEUED)

    def finish(self, video_id: str, error: str | None = None) -> None:
        """Notes that a video is completed, or why it failed."""
        status = COMPLETED if error is None else FAILED
        self._set(video_id, "status = ?, completed_at = ?, error = ?", status, time.time(), error)

    def _set(self, video_id: str, change: str, *values: Any) -> None:
        """Changes a video, unless it was cancelled."""
        with self._transaction() as database:
            database.execute(f"UPDATE videos SET {change} WHERE id = ? AND status != ?", (*values, video_id, WITHDRAWN))

    def cancel(self, video_id: str) -> str | None:
        """Removes a video, or, while it is made, tells its worker to.

        Returns:
            The status that it had; None if there is no such video.
        """
        with self._transaction() as database:
            row = self.get(video_id)
            if row is None:
                return None
            if row.status == RUNNING:
                database.execute("UPDATE videos SET status = ? WHERE id = ?", (WITHDRAWN, video_id))
            else:
                database.execute("DELETE FROM videos WHERE id = ?", (video_id,))
        return row.status

    def is_cancelled(self, video_id: str) -> bool:
        """Whether the worker has to stop making a video."""
        return bool(self._rows("WHERE id = ? AND status = ?", video_id, WITHDRAWN))

    def forget(self, video_id: str) -> None:
        """Removes a video, whatever its status."""
        with self._transaction() as database:
            database.execute("DELETE FROM videos WHERE id = ?", (video_id,))

    def recover(self) -> None:
        """Puts in order what a process that was killed left: its videos wait again, or are given up."""
        with self._transaction() as database:
            self._claimed.clear()
            database.execute("DELETE FROM videos WHERE status = ?", (WITHDRAWN,))
            database.execute(
                "UPDATE videos SET status = ?, completed_at = ?, error = ? WHERE status = ? AND attempts >= ?",
                (
                    FAILED,
                    time.time(),
                    f"making it ended the server {MOST_ATTEMPTS} times in a row; try another picture or voice",
                    RUNNING,
                    MOST_ATTEMPTS,
                ),
            )
            database.execute("UPDATE videos SET status = ? WHERE status = ?", (QUEUED, RUNNING))
