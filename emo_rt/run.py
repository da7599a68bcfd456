"""The command line: a portrait and a voice in, a talking video out. `python -m emo_rt.run --help`."""

from __future__ import annotations

import argparse
import dataclasses
import math
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from emo_rt.bundle import Bundle
from emo_rt.bundled import DEFAULT_BUNDLE, PORTRAIT, VOICE
from emo_rt.cascade.clips import MAX_SEED
from emo_rt.engines.registry import BACKENDS
from emo_rt.errors import EmoError, InputError
from emo_rt.jobs.batch import read_jobs
from emo_rt.jobs.request import AUTO, GenerationOptions, Request
from emo_rt.jobs.session import Session
from emo_rt.media.boxes import Box
from emo_rt.media.credentials import ALGORITHMS, Signature
from emo_rt.media.sound import STDIN
from emo_rt.media.video import STDOUT
from emo_rt.planning.planner import QUALITIES

DESCRIPTION = """\
Turns one portrait and a voice into a talking video.

example:
  python -m emo_rt.run --image me.jpg --audio hello.wav --out out/hello.mp4

The picture is cropped around the largest face, and the video is as long as the
voice. The same seed and the same plan give the same video."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0, 2 for what the user can put right, 130 if it was stopped."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` cleans up as Ctrl-C does
    try:
        options = _parser().parse_args(arguments)
        request = _request(options)
        jobs = read_jobs(options.batch, request) if options.batch else None
        signature = _signature(options)
        bundle = Bundle.load(options.bundle, validated=not options.unvalidated)
        session = Session(bundle, _wishes(options), signature, options.provenance)
        if jobs is not None:
            return make_all(session, jobs, resume=options.resume)
        closing = session.make(request, resume=options.resume)
        print(closing, file=sys.stderr if request.out == STDOUT else sys.stdout)
    except EmoError as error:
        print(f"emo_rt: error: {error}", file=sys.stderr)
        return 130 if isinstance(error.__cause__, KeyboardInterrupt) else 2
    except KeyboardInterrupt:
        print("emo_rt: stopped, nothing written", file=sys.stderr)
        return 130
    return 0


def make_all(session: Session, jobs: Sequence[tuple[int, Request | InputError]], *, resume: bool | None) -> int:
    """Makes the videos of a batch one after another; a row that fails is said and the others go on."""
    failed = 0
    for line, request in jobs:
        try:
            if isinstance(request, InputError):
                raise request
            print(session.make(request, resume=resume), flush=True)
        except EmoError as error:
            if isinstance(error.__cause__, KeyboardInterrupt):
                raise
            failed += 1
            print(f"emo_rt: error: line {line}: {error}", file=sys.stderr)
    print(f"{len(jobs) - failed} of {len(jobs)} videos are done")
    return 2 if failed else 0


def _request(options: argparse.Namespace) -> Request:
    return Request(
        image=options.image,
        audio=options.audio,
        out=options.out,
        face_box=options.face_box,
        seed=options.seed,
        speed=options.speed,
        growing=options.fragmented or options.out == STDOUT or options.audio == STDIN,
    )


def _signature(options: argparse.Namespace) -> Signature | None:
    if options.sign is None:
        return None
    certificate, key = options.sign
    return Signature(certificate, key, options.sign_algorithm, options.timestamps)


def _wishes(options: argparse.Namespace) -> GenerationOptions:
    return GenerationOptions(
        **{field.name: getattr(options, field.name) for field in dataclasses.fields(GenerationOptions)}
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m emo_rt.run", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument_group("files").add_argument
    add("--image", type=Path, default=PORTRAIT, help="picture with a face (default: the bundled portrait)")
    voice_help = "speech, or a video with sound; - reads it from a pipe as it comes (default: the bundled voice)"
    add("--audio", type=Path, default=VOICE, help=voice_help)
    out = "the MP4 to write; - for a pipe (default: %(default)s)"
    add("--out", type=Path, default=Path("out/demo.mp4"), help=out)
    box = "the face in the picture: left, top, width and height in pixels (default: detected)"
    add("--face-box", type=_box, metavar="X,Y,W,H", help=box)
    add("--fragmented", action="store_true", help="write an MP4 that plays while it grows, as pipes always do")
    batch = "a video of each row of a CSV file with the columns portrait, voice, output (and seed, speed, face_box)"
    add("--batch", type=Path, metavar="CSV", help=batch)
    resume = "go on with a run that was stopped, and keep what is done if this one is (default: from a minute on)"
    add("--resume", action=argparse.BooleanOptionalAction, help=resume)

    add = parser.add_argument_group(
        "plan", "What clips cost on this machine is measured once; the plan is the best quality that is fast enough."
    ).add_argument
    quality = "best: whatever it takes; balanced: plays while it is made; fast (default: %(default)s)"
    add("--quality", choices=QUALITIES, default="balanced", help=quality)
    target = "frames per second to hold, with less effort per clip if the machine slows (default: the quality's)"
    add("--target-fps", type=_positive, metavar="FPS", help=target)
    latency = "to the first frame at most, engines loaded and voice there"
    add("--max-latency", type=_positive, metavar="SECONDS", help=latency)
    backends = "what runs the graphs (default: the fastest that is installed)"
    add("--backend", choices=[AUTO, *sorted(BACKENDS)], default=AUTO, help=backends)
    add("--threads", type=_whole(1), help="CPU threads (default: one per core)")

    add = parser.add_argument_group("generation").add_argument
    add("--seed", type=_whole(0, MAX_SEED), default=0, help="any whole number from 0 up (default: %(default)s)")
    add("--steps", type=_whole(1), help="denoising steps per clip: more is slower and finer (default: the plan's)")
    guidance = "how strictly the video follows the voice; 1 is no guidance (default: the bundle's)"
    add("--guidance-scale", type=_number, metavar="SCALE", help=guidance)
    guided = "guide only the first so many steps (default: the plan's)"
    add("--guided-steps", type=_whole(0), metavar="STEPS", help=guided)
    cached = "run the whole model in each Nth step only; the others reuse its deep features (default: the plan's)"
    add("--cache-interval", type=_whole(1), metavar="N", help=cached)
    add("--speed", type=_number, help="how fast the head turns, degrees per frame (default: the bundle's)")

    add = parser.add_argument_group("provenance", "Every MP4 says in its comment that it was generated.").add_argument
    add("--provenance", action="store_true", help="write what the video was made of beside it: OUT.json")
    sign = "add C2PA content credentials, with PEM files of yours (needs c2pa-python)"
    add("--sign", type=Path, nargs=2, metavar=("CERTIFICATE", "KEY"), help=sign)
    add("--sign-algorithm", choices=ALGORITHMS, default="es256", help="that the key is for (default: %(default)s)")
    add("--timestamps", metavar="URL", help="of an authority that certifies when it was signed")

    add = parser.add_argument_group("model").add_argument
    add("--bundle", type=Path, default=DEFAULT_BUNDLE, metavar="DIR", help="model bundle (default: emo-tiny)")
    add("--unvalidated", action="store_true", help="run a bundle that differs too much from the model it was made of")
    return parser


def _whole(smallest: int, largest: int | None = None) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if value < smallest or (largest is not None and value > largest):
            bound = "or more" if largest is None else f"to {largest}"
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


def _positive(text: str) -> float:
    value = _number(text)
    if value == 0:
        raise argparse.ArgumentTypeError("0 is out of range: choose a number above 0")
    return value


def _box(text: str) -> Box:
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form X,Y,W,H, whole pixels") from None
    return Box(x, y, width, height)


if __name__ == "__main__":
    sys.exit(main())
