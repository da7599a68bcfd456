"""The command line: a portrait and a voice in, a talking video out. `python -m emo_rt.run --help`."""

from __future__ import annotations

import argparse
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
from tqdm import tqdm

from emo_rt.audio import frame_count
from emo_rt.bundle import Bundle
from emo_rt.cascade import Cascade
from emo_rt.engines import BACKENDS, check_runs_here
from emo_rt.errors import EmoError, InputError
from emo_rt.face import Box, crop_portrait, find_face, portrait_crop
from emo_rt.media import AudioStream, VideoWriter, read_image
from emo_rt.plan import MAX_SEED
from emo_rt.schedule import ddim_timesteps

CHECKOUT = Path(__file__).resolve().parents[1]
DEFAULT_BUNDLE = CHECKOUT / "models" / "emo-tiny" / "bundle"

DESCRIPTION = """\
Turns one portrait and a voice into a talking video.

example:
  python -m emo_rt.run --image me.jpg --audio hello.wav --out out/hello.mp4

The picture is cropped around the largest face, and the video is as long as the
voice. The same seed gives the same video."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0, 2 for what the user can put right, 130 if it was stopped."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` cleans up as Ctrl-C does
    try:
        print(generate_video(_parser().parse_args(arguments)))
    except EmoError as error:
        print(f"emo_rt: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("emo_rt: stopped, nothing written", file=sys.stderr)
        return 130
    return 0


def generate_video(options: argparse.Namespace) -> str:
    """Does what the options say; everything cheap is checked before the engines load. Returns the closing line.

    Raises:
        EmoError: for whatever the user can put right; then no file is left behind.
    """
    out = options.out.resolve()
    if out in (options.image.resolve(), options.audio.resolve()):
        raise InputError(f"output {options.out}: is one of the inputs; give another --out")
    image = read_image(options.image)
    check_runs_here(options.backend)
    bundle = Bundle.load(options.bundle, validated=not options.unvalidated)
    config = bundle.config
    ddim_timesteps(bundle.noise_schedule, options.steps or config.steps)
    face_box = _face_box(options.face_box, image, options.image)
    crop = portrait_crop((image.shape[1], image.shape[0]), face_box, config.face_fraction)
    portrait = crop_portrait(image, crop, config.resolution)
    stream = AudioStream(options.audio, config.sample_rate)
    frames_total = frame_count(stream.voice_samples(), config.samples_per_frame)
    fps = config.frames_per_second

    with VideoWriter(
        options.out, config.resolution, config.resolution, fps, stream.sound_rate, stream.sound_channels
    ) as writer:

        def voice() -> Iterator[np.ndarray]:
            for chunk in stream:
                writer.write_sound(chunk.sound)
                yield chunk.voice

        started = time.perf_counter()
        cascade = Cascade.load(bundle, options.backend, options.threads)
        loaded = time.perf_counter()
        with tqdm(total=frames_total, unit="frame", desc=options.out.name) as progress:
            for frames in cascade.generate(
                portrait,
                face_box.within(crop, config.resolution),
                voice(),
                seed=options.seed,
                steps=options.steps,
                guidance_scale=options.guidance_scale,
                speed=options.speed,
            ):
                writer.write_frames(frames)
                progress.update(len(frames))
    seconds = time.perf_counter() - loaded
    written = writer.frames_written
    return (
        f"{options.out}: {written} frames, {written / fps:.2f} s of video in {seconds:.2f} s, "
        f"{written / seconds:.1f} frames per second (engines loaded in {loaded - started:.2f} s)"
    )


def _face_box(given: Box | None, image: np.ndarray, path: Path) -> Box:
    if given is None:
        return find_face(image, str(path))
    height, width = image.shape[:2]
    if not given.fits((width, height)):
        raise InputError(f"--face-box lies outside of the picture {path}, which has {width} x {height} pixels")
    return given


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m emo_rt.run", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument_group("files").add_argument
    portrait, voice = CHECKOUT / "assets" / "portrait.png", CHECKOUT / "assets" / "voice.wav"
    add("--image", type=Path, default=portrait, help="picture with a face (default: the bundled portrait)")
    add("--audio", type=Path, default=voice, help="speech, or a video with sound (default: the bundled voice)")
    add("--out", type=Path, default=Path("out/demo.mp4"), help="the MP4 to write (default: %(default)s)")
    box = "the face in the picture: left, top, width and height in pixels (default: detected)"
    add("--face-box", type=_box, metavar="X,Y,W,H", help=box)

    add = parser.add_argument_group("generation").add_argument
    add("--seed", type=_whole(0, MAX_SEED), default=0, help="any whole number from 0 up (default: %(default)s)")
    add("--steps", type=_whole(1), help="denoising steps per clip: more is slower and finer (default: the bundle's)")
    guidance = "how strictly the video follows the voice; 1 is no guidance (default: the bundle's)"
    add("--guidance-scale", type=_number, metavar="SCALE", help=guidance)
    add("--speed", type=_number, help="how fast the head turns, degrees per frame (default: the bundle's)")

    add = parser.add_argument_group("engine").add_argument
    add("--bundle", type=Path, default=DEFAULT_BUNDLE, metavar="DIR", help="model bundle (default: emo-tiny)")
    backends = "what runs the graphs (default: %(default)s)"
    add("--backend", choices=sorted(BACKENDS), default="onnxruntime", help=backends)
    add("--threads", type=_whole(1), help="CPU threads (default: one per core)")
    add("--unvalidated", action="store_true", help="run a bundle that differs too much from the model it was made of")
    return parser


def _whole(smallest: int, largest: int | None = None) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if value < smallest or (largest is not None and value > largest):
            bound = "up" if largest is None else f"to {largest}"
            raise argparse.ArgumentTypeError(f"{text} is out of range: choose {smallest} {bound}")
        return value

    return parse


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not math.isfinite(value) or value < 0:
        raise argparse.ArgumentTypeError(f"{text} is out of range: choose a number from 0 up")
    return value


def _box(text: str) -> Box:
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form X,Y,W,H, whole pixels") from None
    return Box(x, y, width, height)


if __name__ == "__main__":
    sys.exit(main())
