"""When the clips of a video were written, and what that says of the machine."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import numpy as np

from emo_rt.cascade.cascade import DenoisedClip


def counted_frames(count: int) -> str:
    """A number of frames in words: `1 frame`, `2 frames`."""
    return f"{count} frame{'' if count == 1 else 's'}"


@dataclass
class Timing:
    """When the clips of a video were written.

    Attributes:
        started: time of the start, seconds on `time.perf_counter`'s clock
        written: time at which each clip was written, on the same clock
        latencies: seconds from the start of each clip's denoising until it was written
        frames: number of frames of each clip
    """

    started: float = field(default_factory=time.perf_counter)
    written: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)

    def add(self, clip: DenoisedClip) -> None:
        """Notes that a clip is written now."""
        self.written.append(time.perf_counter())
        self.latencies.append(self.written[-1] - clip.started)
        self.frames.append(clip.clip.frames)

    @property
    def seconds(self) -> float:
        """Seconds from the start until the last clip was written."""
        return self.written[-1] - self.started if self.written else 0.0

    @property
    def sustained_fps(self) -> float:
        """Frames per second after the first clip; NaN if there is only one."""
        return sum(self.frames[1:]) / (self.written[-1] - self.written[0]) if len(self.written) > 1 else math.nan

    def missed(self, target_fps: float) -> int:
        """The number of clips that came a frame or more too late for a viewer who watched from the first one on."""
        due = self.written[0] + np.cumsum([0, *self.frames[:-1]]) / target_fps
        return int(np.sum(np.array(self.written) >= due + 1 / target_fps))

    def report(self, target_fps: float | None) -> str:
        """One line of text.

        Args:
            target_fps: frames per second by which clips count as late; None to count none
        """
        if not self.written:
            return "nothing was left to do"
        p50, p95, most = np.percentile(self.latencies, [50, 95, 100])
        first = self.written[0] - self.started
        late = ""
        if target_fps is not None:
            late = f", {self.missed(target_fps)} of {len(self.written)} late at {target_fps:g} frames per second"
        return (
            f"{sum(self.frames) / self.seconds:.1f} frames per second, first clip after {first:.2f} s, "
            f"clips {p50:.2f} s (p95 {p95:.2f}, at most {most:.2f}){late}"
        )
