"""The folder of a server: portraits and videos, each in a directory under an id that nobody guesses."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from emo_rt.atomic import atomic_write
from emo_rt.errors import InputError, reason
from emo_rt.serve.answers import OVERLOADED, ApiError
from emo_rt.serve.queue import Queue, VideoRow
from emo_rt.serve.settings import Settings

#: The files of a portrait and of a video, in their directories.
PICTURE_FILE, AUDIO_FILE, VIDEO_FILE, GROWING_FILE = "picture.png", "audio", "video.mp4", "growing.mp4"
_FACTS = "portrait.json"
_ID = re.compile(r"(portrait|video)_[A-Za-z0-9_-]{24}")
#: Bytes of the disk that stay free.
_SPARE = 64 * 2**20


def new_id(kind: str) -> str:
    """An id that nobody guesses (144 bits), of a `portrait` or a `video`."""
    return f"{kind}_{secrets.token_urlsafe(18)}"


def is_id(text: str, kind: str) -> bool:
    """Whether a text has the form of an id of that kind: nothing else becomes part of a path."""
    found = _ID.fullmatch(text)
    return found is not None and found[1] == kind


class Store:
    """What a server keeps in its folder; for any thread.

    Args:
        settings: folder, quota and age
        queue: the videos

    Raises:
        InputError: if the folder cannot be written, or another server uses it.
    """

    def __init__(self, settings: Settings, queue: Queue) -> None:
        self.settings, self.queue = settings, queue
        folder = settings.folder
        self._portraits, self._videos, self._incoming = (folder / name for name in ("portraits", "videos", "incoming"))
        self._lock = threading.Lock()
        self._reserved = 0
        try:
            shutil.rmtree(self._incoming, ignore_errors=True)
            for directory in (self._portraits, self._videos, self._incoming):
                directory.mkdir(exist_ok=True)
            self._remove_orphans()
        except OSError as error:
            raise InputError(f"folder {folder}: cannot be written ({reason(error)}); give another folder") from error

    def _remove_orphans(self) -> None:
        """Removes the videos that were accepted or deleted by half when the process was killed."""
        known = self.queue.ids()
        for directory in self._videos.iterdir():
            if is_id(directory.name, "video") and directory.name not in known:
                shutil.rmtree(directory, ignore_errors=True)

    @contextlib.contextmanager
    def incoming(self, size: int) -> Iterator[Path]:
        """A new directory for an upload of up to `size` bytes, which is removed in the end if it still has its name.

        Raises:
            ApiError: if there is no room for it.
        """
        self.make_room(size, reserve=True)
        directory = self._incoming / secrets.token_urlsafe(18)
        try:
            directory.mkdir()
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            with self._lock:
                self._reserved -= size

    def video(self, video_id: str) -> Path:
        """The directory of a video."""
        assert is_id(video_id, "video")
        return self._videos / video_id

    def portrait(self, portrait_id: str) -> Path:
        """The directory of a portrait."""
        assert is_id(portrait_id, "portrait")
        return self._portraits / portrait_id

    def add_video(self, directory: Path) -> str:
        """Takes over a directory of `incoming`; returns the id of the video."""
        video_id = new_id("video")
        directory.rename(self.video(video_id))
        return video_id

    def add_portrait(self, directory: Path, facts: dict[str, Any]) -> str:
        """Takes over a directory of `incoming` that holds a picture; returns the id of the portrait."""
        portrait_id = new_id("portrait")
        _write_facts(directory, facts)
        directory.rename(self.portrait(portrait_id))
        return portrait_id

    def portrait_facts(self, portrait_id: str) -> dict[str, Any] | None:
        """What was written of a portrait; None if there is none of this id."""
        if not is_id(portrait_id, "portrait"):
            return None
        try:
            facts = json.loads((self.portrait(portrait_id) / _FACTS).read_bytes())
        except (OSError, ValueError):
            return None
        return facts if isinstance(facts, dict) else None

    def change_portrait(self, portrait_id: str, facts: dict[str, Any]) -> None:
        """Writes the facts of a portrait that is there; does nothing if it is gone."""
        with contextlib.suppress(FileNotFoundError):
            _write_facts(self.portrait(portrait_id), facts)

    def remove(self, directory: Path) -> None:
        """Removes the directory of a portrait or a video, at once for everybody who looks for it."""
        trash = self._incoming / secrets.token_urlsafe(18)
        with contextlib.suppress(OSError):
            directory.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)

    def expires_at(self, row: VideoRow) -> float | None:
        """When a video is removed, Unix seconds; None while it is not finished."""
        return None if row.completed_at is None else row.completed_at + self.settings.keep_seconds

    def expire(self) -> None:
        """Removes what is older than it is kept."""
        now = time.time()
        for row in self.queue.finished():
            if row.completed_at is not None and row.completed_at + self.settings.keep_seconds < now:
                self._remove_video(row)
        for created_at, directory in self._portraits_by_age():
            if created_at + self.settings.keep_seconds < now:
                self.remove(directory)

    def used(self) -> int:
        """The bytes of all files of the folder."""
        return _size(self.settings.folder)

    def make_room(self, size: int, *, reserve: bool = False) -> None:
        """Removes the oldest finished videos and then the oldest portraits, until `size` bytes fit into the quota.

        Args:
            size: number of bytes that are about to be written
            reserve: whether they count until they are given back

        Raises:
            ApiError: if even that is not enough; then nothing is removed.
        """
        with self._lock:
            have = self.used() + self._reserved + size
            victims: list[tuple[Path, VideoRow | None]] = []
            if have > self.settings.quota_bytes:
                candidates = [(self.video(row.id), row) for row in self.queue.finished()]
                for directory, row in [*candidates, *((path, None) for _, path in self._portraits_by_age())]:
                    if have <= self.settings.quota_bytes:
                        break
                    have -= _size(directory)
                    victims.append((directory, row))
            if have > self.settings.quota_bytes:
                raise ApiError(507, "the server's folder is full; delete videos, or come back later", OVERLOADED)
            for directory, row in victims:
                self.remove(directory) if row is None else self._remove_video(row)
            if shutil.disk_usage(self.settings.folder).free < size + _SPARE:
                raise ApiError(507, "the server's disk is full; come back later", OVERLOADED)
            if reserve:
                self._reserved += size

    def _remove_video(self, row: VideoRow) -> None:
        self.queue.forget(row.id)
        self.remove(self.video(row.id))

    def _portraits_by_age(self) -> list[tuple[float, Path]]:
        """The portraits with the time of their upload, the oldest first."""
        found = []
        for directory in self._portraits.iterdir():
            facts = self.portrait_facts(directory.name) or {}
            found.append((float(facts.get("created_at", 0)), directory))
        return sorted(found)


def open_folder(settings: Settings) -> FileLock:
    """Makes the folder of a server, and keeps other servers out of it until the lock is released.

    Raises:
        InputError: if it cannot be made, or another server uses it.
    """
    folder = settings.folder
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FileLock(folder / "lock", thread_local=False)
        lock.acquire(blocking=False)
    except Timeout:
        raise InputError(f"folder {folder}: another server uses it; give another one with --folder") from None
    except (OSError, ValueError) as error:
        raise InputError(f"folder {folder}: cannot be used ({reason(error)}); give another folder") from error
    return lock


def _write_facts(directory: Path, facts: dict[str, Any]) -> None:
    with atomic_write(directory / _FACTS) as file:
        file.write(json.dumps(facts).encode())


def _size(directory: Path) -> int:
    """The bytes of all files below a directory; what vanishes meanwhile does not count."""
    size = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(parent, name)).st_size
    return size
