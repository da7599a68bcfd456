"""What a user asks for: a video, and how it is generated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emo_rt.bundle import RuntimeConfig
from emo_rt.cascade.audio import frame_count
from emo_rt.errors import InputError
from emo_rt.media.boxes import Box, portrait_crop
from emo_rt.media.face import find_face
from emo_rt.media.image import crop_portrait, read_image
from emo_rt.media.sound import AudioStream
from emo_rt.media.video import STDOUT, check_output


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        image, audio: files; the audio may be STDIN.
        out: an MP4; STDOUT if it is `growing`.
        face_box: the face in the picture's pixels; None to look for it.
        speed: of the head, degrees per frame; None for the bundle's own.
        growing: the MP4 plays while it grows.
    """

    image: Path
    audio: Path
    out: Path
    face_box: Box | None = None
    seed: int = 0
    speed: float | None = None
    growing: bool = False


class Source:
    """The portrait and the voice of a request, read and checked.

    Attributes:
        portrait, face_box: as `Cascade.denoise` takes them.
        frames: of the video; None where the voice is still coming.

    Raises:
        InputError: for whatever cannot be read, or where no face is found.
    """

    def __init__(self, request: Request, config: RuntimeConfig) -> None:
        if request.out != STDOUT and request.out.resolve() in (request.image.resolve(), request.audio.resolve()):
            raise InputError(f"output {request.out}: is one of the inputs; give another --out")
        if request.out != STDOUT:
            check_output(request.out)
        image = read_image(request.image)
        face_box = _face_box(request, image)
        crop = portrait_crop((image.shape[1], image.shape[0]), face_box, config.face_fraction)
        self.portrait = crop_portrait(image, crop, config.resolution)
        self.face_box = face_box.within(crop, config.resolution)
        self.stream = AudioStream(request.audio, config.sample_rate)
        live = self.stream.live
        self.frames = None if live else frame_count(self.stream.voice_samples(), config.samples_per_frame)


def _face_box(request: Request, image: np.ndarray) -> Box:
    height, width = image.shape[:2]
    if request.face_box is None:
        return find_face(image, str(request.image))
    if not request.face_box.fits((width, height)):
        raise InputError(f"--face-box lies outside of the picture {request.image}, which has {width} x {height} pixels")
    return request.face_box


AUTO = "auto"


@dataclass(frozen=True)
class GenerationOptions:
    """How videos are to be made; None leaves it to the plan.

    Attributes:
        backend: a key of `emo_rt.engines.registry.BACKENDS`, or AUTO for the fastest that runs here.
        threads: CPU threads; None for one per core.
        quality, target_fps, max_latency: see `emo_rt.planning.planner.choose`.
        steps, guidance_scale, guided_steps, cache_interval: see `Sampling`.
    """

    backend: str = AUTO
    threads: int | None = None
    quality: str = "balanced"
    target_fps: float | None = None
    max_latency: float | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    guided_steps: int | None = None
    cache_interval: int | None = None

    @property
    def sampling(self) -> tuple[int | None, float | None, int | None, int | None]:
        return self.steps, self.guidance_scale, self.guided_steps, self.cache_interval
