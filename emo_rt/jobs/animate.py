"""A portrait and a voice into a video, in one call from Python."""

from __future__ import annotations

from pathlib import Path

from emo_rt.bundle import Bundle
from emo_rt.bundled import DEFAULT_BUNDLE
from emo_rt.jobs.request import AUTO, GenerationOptions, Request
from emo_rt.jobs.session import Result, Session
from emo_rt.media.boxes import Box
from emo_rt.media.framing import CROP


def animate(
    image: str | Path,
    audio: str | Path,
    out: str | Path,
    *,
    seed: int = 0,
    speed: float | None = None,
    face_box: Box | None = None,
    face: int | None = None,
    framing: str = CROP,
    audio_track: int | None = None,
    max_seconds: float | None = None,
    quality: str = "balanced",
    steps: int | None = None,
    guidance_scale: float | None = None,
    backend: str = AUTO,
    threads: int | None = None,
    bundle: str | Path | Bundle = DEFAULT_BUNDLE,
    resume: bool | None = None,
    verbose: bool = False,
) -> Result:
    """Makes a video of a portrait that speaks with a voice.

    The first call measures this machine to choose a plan, which takes a minute or more. Every call loads the engines:
    a `Session` loads them once for many videos, and takes all `GenerationOptions`.

    Example:
        result = emo_rt.animate("me.jpg", "hello.wav", "hello.mp4", seed=3)
        print(f"{result.frames} frames, {result.seconds} s")

    Args:
        image: picture file with a face
        audio: sound file, or a video with sound
        out: MP4 file to write
        seed: seed of the noise, 0 .. 2**64 - 1; the same seed and the same plan give the same video
        speed: speed of the head, degrees per frame; None for the bundle's own
        face_box: the face in pixels of the picture; None to detect it
        face: number of the face that is detected, counted from the left, from 1; None for the largest
        framing: `crop` for a video of the square around the face, `original` for one of the whole picture
        audio_track: number of the track of sound, from 1; None for the file's default
        max_seconds: seconds of the voice after which the video ends; None for all of it
        quality: `best` for the best preset, `balanced` for the best that plays while it is made, or `fast`
        steps: number of DDIM steps per clip; None for the plan's
        guidance_scale: scale of classifier-free guidance, 1 for no guidance; None for the bundle's own
        backend: key of `emo_rt.engines.registry.BACKENDS`; AUTO for the fastest that runs here
        threads: number of CPU threads; None for one per core
        bundle: directory of a bundle, or a loaded one; without it the bundle that emo-rt carries
        resume: whether to go on from an earlier run that was stopped, and to keep the finished clips if this one is;
            None to go on, but keep clips only of a video of a minute or more
        verbose: whether to show the plan and a progress bar on stderr

    Raises:
        InputError: for an input or an option that cannot be used, or an output that cannot be written.
        BundleError: if the bundle is incomplete or altered.
    """
    files = (Path(image), Path(audio), Path(out))
    request = Request(*files, face_box, seed, speed, False, face, framing, audio_track, max_seconds)
    options = GenerationOptions(backend, threads, quality, steps=steps, guidance_scale=guidance_scale)
    loaded = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
    return Session(loaded, options, verbose=verbose).make(request, resume=resume)
