"""What the server counts, for Prometheus: requests, videos and the queue."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

#: Methods that have a label of their own; clients may send any word.
_METHODS = {"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"}
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The counters of one server.

    Args:
        queue_length: gives the number of videos that wait or are made

    Attributes:
        registry: where further metrics are registered
    """

    def __init__(self, queue_length: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        queued = Gauge("emo_rt_queue_length", "Videos that wait or are made", registry=self.registry)
        queued.set_function(queue_length)
        self._videos = Counter("emo_rt_videos", "Videos by outcome", ["outcome"], registry=self.registry)
        for outcome in ("completed", "failed", "cancelled"):
            self._videos.labels(outcome)
        self._seconds = Counter("emo_rt_video_seconds", "Seconds of video that were made", registry=self.registry)
        self._rate = Gauge("emo_rt_frames_per_second", "Frames per second of the last video", registry=self.registry)
        self._requests = Histogram(
            "emo_rt_request_seconds",
            "Seconds until a request was answered",
            ["method", "route", "status"],
            buckets=_BUCKETS,
            registry=self.registry,
        )

    def video_ended(self, outcome: str, seconds: float = 0.0, frames_per_second: float | None = None) -> None:
        """Counts a video.

        Args:
            outcome: `completed`, `failed` or `cancelled`
            seconds: seconds of video that were made
            frames_per_second: rate at which they were made; None if that is not known
        """
        self._videos.labels(outcome).inc()
        self._seconds.inc(seconds)
        if frames_per_second is not None:
            self._rate.set(frames_per_second)

    def request_ended(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts a request by the template of its route, such as `/v1/videos/{video_id}`."""
        self._requests.labels(method if method in _METHODS else "OTHER", route, str(status)).observe(seconds)

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)
