"""When the clips of a video were written."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import numpy as np

from emo_rt.cascade.cascade import DenoisedClip


@dataclass
class Timing:
    """When the clips of a video were written.

    Attributes:
        started: when it began, on `time.perf_counter`'s clock; so are the next.
        written: when each clip was there.
        latencies: seconds from the start of each clip's denoising until it was there.
        frames: of each clip.
    """

    started: float = field(default_factory=time.perf_counter)
    written: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)

    def add(self, clip: DenoisedClip) -> None:
        """Tells that a clip is written."""
        self.written.append(time.perf_counter())
        self.latencies.append(self.written[-1] - clip.started)
        self.frames.append(clip.clip.frames)

    @property
    def seconds(self) -> float:
        """Until the last clip was there."""
        return self.written[-1] - self.started if self.written else 0.0

    @property
    def sustained_fps(self) -> float:
        """Frames per second from the first clip on; NaN where there is but one."""
        return sum(self.frames[1:]) / (self.written[-1] - self.written[0]) if len(self.written) > 1 else math.nan

    def missed(self, target_fps: float) -> int:
        """Clips that were late, by a frame or more, for somebody who watched from the first one on."""
        due = self.written[0] + np.cumsum([0, *self.frames[:-1]]) / target_fps
        return int(np.sum(np.array(self.written) >= due + 1 / target_fps))

    def report(self, target_fps: float) -> str:
        """One line."""
        if not self.written:
            return "nothing was left to do"
        p50, p95, most = np.percentile(self.latencies, [50, 95, 100])
        first = self.written[0] - self.started
        return (
            f"{sum(self.frames) / self.seconds:.1f} frames per second, first clip after {first:.2f} s, "
            f"clips {p50:.2f} s (p95 {p95:.2f}, at most {most:.2f}), {self.missed(target_fps)} of {len(self.written)} "
            f"late at {target_fps:g} frames per second"
        )
