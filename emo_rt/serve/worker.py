"""The threads that make the videos of the queue, one after another, and go on with what an earlier process left."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from emo_rt.bundle import file_sha256
from emo_rt.errors import ClusterError, EmoError, InputError, printable
from emo_rt.jobs.request import Request
from emo_rt.jobs.session import Result, Session
from emo_rt.media.boxes import Box
from emo_rt.serve.growing import Growing
from emo_rt.serve.metrics import Metrics
from emo_rt.serve.queue import QUEUED, RUNNING, Queue, VideoRow
from emo_rt.serve.store import AUDIO_FILE, PICTURE_FILE, VIDEO_FILE, Store

#: Seconds after which the thread looks whether it has to stop, where it waits.
_PATIENCE = 1.0

_log = logging.getLogger(__name__)


class Stopped(Exception):
    """A video is no longer made: it was cancelled, or the server stops."""


class VideoWorkers:
    """Make the videos of a queue, each in a thread of its own.

    Args:
        queue: videos that wait
        store: their files
        session: maker of videos, with provenance; these threads alone make videos with it
        metrics: what is counted
        number: how many videos are made at the same time
    """

    def __init__(self, queue: Queue, store: Store, session: Session, metrics: Metrics, number: int = 1) -> None:
        self.queue, self.store, self.metrics = queue, store, metrics
        self._workers = [VideoWorker(queue, store, session, metrics) for _ in range(number)]

    def start(self) -> None:
        """Starts the threads; videos that were begun by an earlier process come first."""
        self.queue.recover()
        for worker in self._workers:
            worker.thread.start()

    @property
    def live(self) -> bool:
        """Whether all threads run."""
        return all(worker.thread.is_alive() for worker in self._workers)

    @property
    def ended(self) -> bool:
        """Whether no thread runs."""
        return not any(worker.thread.is_alive() for worker in self._workers)

    @property
    def stopping(self) -> bool:
        """Whether the server stops."""
        return any(worker.stopping for worker in self._workers)

    def stop(self) -> None:
        """Tells the threads to end at the next clip; from any thread, and from a signal handler."""
        for worker in self._workers:
            worker.stopping = True

    def join(self, timeout: float) -> bool:
        """Waits for the end of the threads, and puts the videos that they still make back into the queue.

        Returns:
            Whether they ended in time.
        """
        self.stop()
        self.queue.wake()
        until = time.monotonic() + timeout
        for worker in self._workers:
            if worker.thread.ident is not None:
                worker.thread.join(max(until - time.monotonic(), 0))
            if worker.thread.is_alive() and (running := worker.running):
                self.queue.put_back(running)
        return self.ended

    def cancel(self, video_id: str) -> None:
        """Removes a video; if it is made now, its files go when it has stopped."""
        status = self.queue.cancel(video_id)
        if status in (QUEUED, RUNNING):
            self.metrics.video_ended("cancelled")
        if status is not None and status != RUNNING:
            self.store.remove(self.store.video(video_id))

    def frames_done(self, video_id: str) -> int:
        """The number of finished frames of a video that is made now; 0 for others."""
        return sum(worker.done for worker in self._workers if worker.running == video_id)

    def growing(self, video_id: str) -> Growing | None:
        """What writes the growing MP4 of a video; None if it is not made now."""
        return next((worker.growing for worker in self._workers if worker.running == video_id), None)


class VideoWorker:
    """Makes videos one after another.

    Args:
        queue: as in `VideoWorkers`
        store: as in `VideoWorkers`
        session: as in `VideoWorkers`
        metrics: as in `VideoWorkers`

    Attributes:
        thread: where it works
        stopping: whether it is to end at the next clip
        running: id of the video that it makes, None if it makes none
        done: number of that video's finished frames
        growing: what writes that video's growing MP4, None before its first clip
    """

    def __init__(self, queue: Queue, store: Store, session: Session, metrics: Metrics) -> None:
        self.queue, self.store, self.session, self.metrics = queue, store, session, metrics
        self.stopping = False
        self.thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self.running: str | None = None
        self.done = 0
        self.growing: Growing | None = None
        self._started_at: int | None = None  # frames that an earlier process had made of it
        self._further = False

    def _run(self) -> None:
        with contextlib.suppress(EmoError):  # every video will say so
            self.session.cascade(self.session.plan(predicted=False).backend)
        while not self.stopping:
            row = self.queue.claim(_PATIENCE)
            if row is not None:
                self.done, self._started_at, self._further = 0, None, False
                self.growing, self.running = None, row.id
                try:
                    self._make(row)
                except Exception:  # a disk that is full: it is tried again
                    _log.exception("the queue cannot be written", extra={"fields": {"video": row.id}})
                    time.sleep(_PATIENCE)
                finally:
                    self.running = None
                    self._end_growing()
                    self.queue.release(row.id)

    def _make(self, row: VideoRow) -> None:
        directory = self.store.video(row.id)
        result: Result | None = None
        failure: Exception | None = None
        try:
            if not _is_complete(directory):  # as it is if the process was killed between its end and the queue's
                result = self._made(row, directory)
        except Stopped:
            if not self.queue.is_cancelled(row.id):
                self.queue.put_back(row.id)
                return
        except ClusterError as error:
            _log.error("the cluster", extra={"fields": {"video": row.id, "error": str(error)}})
            self.queue.put_back(row.id)
            time.sleep(_PATIENCE)
            return
        except Exception as error:
            failure = error
        if self.queue.is_cancelled(row.id):
            self.queue.forget(row.id)
            self.store.remove(directory)
            _log.info("video", extra={"fields": {"video": row.id, "outcome": "cancelled"}})
        elif failure is not None:
            self._failed(row, failure)
        else:
            self._finished(row, result)

    def _made(self, row: VideoRow, directory: Path) -> Result:
        """Makes a video; where what an earlier process left is of no use any more, it starts over."""
        request = made_request(row, directory)
        left = directory / f"{VIDEO_FILE}.job"
        for attempt in ("go on", "start over"):
            begun = left.is_dir()
            try:
                return self.session.make(
                    request, resume=True, on_progress=lambda done, total: self._progressed(row, directory, done)
                )
            except InputError:
                if attempt == "start over" or not begun:
                    raise
                self._end_growing()
                self._started_at = None
                shutil.rmtree(left, ignore_errors=True)
        raise AssertionError

    def _progressed(self, row: VideoRow, directory: Path, done: int) -> None:
        if self.stopping or self.queue.is_cancelled(row.id):
            raise Stopped
        if self._started_at is None:
            self._started_at = done
            self._begin_growing(row, directory)
        elif not self._further:
            self._further = True
            self.queue.got_further(row.id)
        self.done = done
        with self._only_logged(row):
            if self.growing is not None:
                self.growing.advance(done, row.facts["frames"])

    @contextlib.contextmanager
    def _only_logged(self, row: VideoRow) -> Iterator[None]:
        """Whatever fails in the block costs those who watch, but not the video."""
        try:
            yield
        except Exception:
            _log.exception("the growing video cannot be written", extra={"fields": {"video": row.id}})
            self._end_growing()

    def _begin_growing(self, row: VideoRow, directory: Path) -> None:
        width, height = row.facts["size"]
        with self._only_logged(row):
            self.growing = Growing(directory, self.session.bundle.config, (width, height), row.facts["max_seconds"])

    def _end_growing(self) -> None:
        growing, self.growing = self.growing, None
        if growing is not None:
            growing.close()

    def _finished(self, row: VideoRow, result: Result | None) -> None:
        self.queue.finish(row.id)
        frames = row.facts["frames"]
        rate = self.session.bundle.config.frames_per_second
        seconds = 0.0 if result is None else result.timing.seconds
        made = 0 if result is None else sum(result.timing.frames)
        self.metrics.video_ended("completed", frames / rate, made / seconds if seconds else None)
        fields = {"video": row.id, "outcome": "completed", "frames": frames, "seconds": round(seconds, 3)}
        _log.info("video", extra={"fields": fields})

    def _failed(self, row: VideoRow, error: Exception) -> None:
        directory = self.store.video(row.id)
        message = "the server made a mistake; ask for the video again"
        if isinstance(error, EmoError):
            names = row.facts["names"]
            message = str(error)
            for path, name in (
                (directory / PICTURE_FILE, names["image"]),
                (directory / AUDIO_FILE, names["audio"]),
                (directory / VIDEO_FILE, "video"),
                (directory, ""),
            ):
                message = message.replace(str(path), name)
        elif isinstance(error, MemoryError):
            message = "there was not enough memory; give a smaller picture"
        self.queue.finish(row.id, printable(message))
        shutil.rmtree(directory / f"{VIDEO_FILE}.job", ignore_errors=True)
        self.metrics.video_ended("failed")
        fields = {"video": row.id, "outcome": "failed", "error": message}
        expected = isinstance(error, EmoError)
        _log.log(logging.INFO if expected else logging.ERROR, "video", extra={"fields": fields}, exc_info=not expected)


def made_request(row: VideoRow, directory: Path) -> Request:
    """What the maker of videos is asked for."""
    box = row.facts["face_box"]
    return Request(
        directory / PICTURE_FILE,
        directory / AUDIO_FILE,
        directory / VIDEO_FILE,
        face_box=Box(**box) if box else None,
        seed=row.facts["seed"],
        speed=row.facts["speed"],
        framing=row.facts["framing"],
        max_seconds=row.facts["max_seconds"],
    )


def _is_complete(directory: Path) -> bool:
    """Whether a directory holds a whole video with its provenance, which is written after it."""
    try:
        facts = json.loads((directory / f"{VIDEO_FILE}.json").read_bytes())
        return bool(facts["sha256"] == file_sha256(directory / VIDEO_FILE))
    except (OSError, ValueError, KeyError, TypeError):
        return False
