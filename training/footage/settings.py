"""What the clips of some footage depend on, besides its videos."""

from __future__ import annotations

from dataclasses import dataclass

from training.clips.rates import FRAMES_PER_SECOND


@dataclass(frozen=True)
class PreparationSettings:
    """How clips are made from videos. The first line of a report holds these values, with these names.

    Attributes:
        resolution: side of a frame in pixels.
        seconds: length of a clip.
        held_out: share of the identities that is held out, in percent.
        min_face: width in pixels of the narrowest face in a video.
        detect_every: number of frames of which one is searched for faces.
        landmarker: file with MediaPipe's FaceLandmarker; None finds faces as the runtime does.
        reader: directory of a face reader, which reads the rotation of the head; None leaves it unknown.
        annotations: directory with HDTF's or VFHQ's text files; None uses whole videos.

    Raises:
        ValueError: naming the option of `python -m training.prepare` that is out of range.
    """

    resolution: int
    seconds: float
    held_out: float
    min_face: float
    detect_every: int
    landmarker: str | None = None
    reader: str | None = None
    annotations: str | None = None

    def __post_init__(self) -> None:
        if self.resolution < 16:
            raise ValueError(f"--resolution is at least 16, not {self.resolution}")
        if not 0.2 <= self.seconds < float("inf"):
            raise ValueError(f"--seconds is at least 0.2, not {self.seconds}")
        if not 0 <= self.held_out <= 100:
            raise ValueError(f"--held-out is between 0 and 100, not {self.held_out}")
        if not self.min_face >= 0:
            raise ValueError(f"--min-face is at least 0, not {self.min_face}")
        if not 1 <= self.detect_every <= self.seconds * FRAMES_PER_SECOND / 4:
            raise ValueError(f"--detect-every is at least 1 and at most a quarter of a clip, not {self.detect_every}")

    @property
    def clip_frames(self) -> int:
        """The length of a clip in frames."""
        return round(self.seconds * FRAMES_PER_SECOND)
