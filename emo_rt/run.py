"""The command line: a portrait and a voice in, a talking video out. `python -m emo_rt.run --help`."""

from __future__ import annotations

from emo_rt.stopping import ENDED, STOPPED, Process, is_stopped, leave, own_process

if __name__ == "__main__":
    own_process()  # before the imports that take long

import argparse
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from emo_rt.bundle import Bundle
from emo_rt.bundled import DEFAULT_BUNDLE, PORTRAIT, VOICE
from emo_rt.cluster.connection import connected
from emo_rt.cluster.rows import RowSetup, make_rows
from emo_rt.console import CommandParser, lasting_stderr, open_missing_streams, say
from emo_rt.errors import EmoError, InputError, in_one_line, printable
from emo_rt.interrupts import interruptible
from emo_rt.jobs.batch import Row, one_by_one, read_jobs
from emo_rt.jobs.options import add_plan_options, add_sampling_options, generation_options
from emo_rt.jobs.parsing import parse_box, parse_positive, parse_seed, parse_speed, parse_whole
from emo_rt.jobs.request import Request
from emo_rt.jobs.session import Result, Session
from emo_rt.media.credentials import ALGORITHMS, Signature
from emo_rt.media.framing import CROP, FRAMINGS
from emo_rt.media.video import STDOUT

#: Where the video goes without --out.
DEMO = Path("out/demo.mp4")

DESCRIPTION = """\
Turns one portrait and a voice into a talking video.

example:
  {prog} --image me.jpg --audio hello.wav --out out/hello.mp4

The picture is cropped around the largest face, and the video is as long as the
voice; --framing original shows the whole picture instead. The same seed and the
same plan give the same video."""


def main(arguments: Sequence[str] | None = None, prog: str = "python -m emo_rt.run") -> int:
    """Runs the command line.

    Args:
        arguments: words after the command; None for the process's own
        prog: command as the user typed it, for the help

    Returns:
        The exit code: 0, 2 for what the user can put right, 130 if it was stopped.
    """
    with lasting_stderr():
        try:
            with interruptible():
                return _answered(arguments, prog)
        except KeyboardInterrupt as error:  # it came while engines were unloaded
            return _stopped(error)


def _answered(arguments: Sequence[str] | None, prog: str) -> int:
    try:
        return _run(_parser(prog).parse_args(arguments))
    except BaseException as error:
        if is_stopped() or isinstance(error, KeyboardInterrupt):  # a library may have made another error of it
            return _stopped(error)
        if isinstance(error, EmoError):
            say(f"emo_rt: error: {in_one_line(error)}")
            return 2
        if isinstance(error, MemoryError):
            say("emo_rt: error: there is not enough memory; give a smaller picture, or end other programs")
            return 2
        raise


def _run(options: argparse.Namespace) -> int:
    request = _request(options)
    jobs = read_jobs(options.batch, request) if options.batch else None
    signature = _signature(options)
    bundle = Bundle.load(options.bundle, validated=not options.unvalidated)
    verbose = not options.quiet
    session = Session(bundle, generation_options(options), signature, provenance=options.provenance, verbose=verbose)
    code = 0
    if jobs is not None and options.ray:
        code = _on_cluster(session, jobs, options)
    elif jobs is not None:
        code = _report_all(one_by_one(session, jobs, resume=options.resume), len(jobs), verbose=verbose)
    else:
        _report(session.make(request, resume=options.resume), quiet=options.quiet)
    Process.done = ENDED
    return code


def _stopped(error: BaseException) -> int:
    words = "; ".join(getattr(error, "__notes__", [Process.done]))
    if Process.own:
        leave(printable(words))
    say(f"emo_rt: stopped; {words}")
    return STOPPED


def _on_cluster(session: Session, jobs: Sequence[tuple[int, Request | InputError]], options: argparse.Namespace) -> int:
    """Makes a batch on a Ray cluster; returns the exit code."""
    with connected(options.ray) as ray:
        setup = RowSetup.of(session, validated=not options.unvalidated)
        rows = make_rows(ray, setup, jobs, resume=options.resume, progress=session.verbose)
        return _report_all(rows, len(jobs), verbose=session.verbose)


def _report_all(rows: Iterable[Row], count: int, *, verbose: bool) -> int:
    """Says how each row of a batch ended; one that fails is reported, and the others go on.

    Args:
        rows: the rows, as they are done
        count: number of all of them
        verbose: whether to report those that succeed, too

    Returns:
        The exit code: 0, or 2 if a row failed.
    """
    done = failed = 0
    try:
        for row in rows:
            done, failed = done + row.made, failed + (not row.made)
            if not row.made:
                say(f"emo_rt: error: line {row.line}: {row.words}")
            elif verbose:
                say(row.words, sys.stdout)
    except (Exception, KeyboardInterrupt) as error:
        error.add_note(f"{done} of {count} videos are done")
        raise
    if verbose:
        say(f"{done} of {count} videos are done", sys.stdout)
    return 2 if failed else 0


def _report(result: Result, *, quiet: bool) -> None:
    if not quiet:
        say(str(result), None if result.out == STDOUT else sys.stdout)


def _request(options: argparse.Namespace) -> Request:
    given = {"--image": options.image, "--audio": options.audio, "--out": options.out}
    if options.ray and not options.batch:
        raise InputError(f"--ray {options.ray}: a cluster makes the rows of a --batch; give one")
    if options.batch and (beside := [name for name, value in given.items() if value is not None]):
        raise InputError(f"{beside[0]} and --batch are both given: a batch names its files itself; leave one out")
    return Request(
        image=options.image or PORTRAIT,
        audio=options.audio or VOICE,
        out=options.out or DEMO,
        face_box=options.face_box,
        face=options.face,
        seed=options.seed,
        speed=options.speed,
        fragmented=options.fragmented,
        framing=options.framing,
        audio_track=options.audio_track,
        max_seconds=options.max_seconds,
    )


def _signature(options: argparse.Namespace) -> Signature | None:
    if options.sign is None:
        return None
    certificate, key = options.sign
    return Signature(certificate, key, options.sign_algorithm, options.timestamps)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=prog, description=DESCRIPTION.format(prog=prog), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"emo-rt {version('emo-rt')}")
    _add_files(parser)
    _add_plan(parser)
    _add_generation(parser)
    _add_provenance(parser)
    add = parser.add_argument_group("model").add_argument
    add("--bundle", type=Path, default=DEFAULT_BUNDLE, metavar="DIR", help="model bundle (default: emo-photo)")
    unvalidated = "run a bundle that differs too much from the model that it was exported from"
    add("--unvalidated", action="store_true", help=unvalidated)
    return parser


def _add_files(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("files").add_argument
    add("--image", type=Path, help="picture with a face (default: the bundled portrait)")
    audio = "speech, or a video with sound; - reads it from a pipe as it comes (default: the bundled voice)"
    add("--audio", type=Path, help=audio)
    track = "take the Nth track of sound, where there are several (default: the file's own default)"
    add("--audio-track", type=partial(parse_whole, name="--audio-track", smallest=1), metavar="N", help=track)
    longest = "end after this much of the voice (default: all of it)"
    add("--max-seconds", type=partial(parse_positive, name="--max-seconds"), metavar="SECONDS", help=longest)
    add("--out", type=Path, help=f"MP4 to write; - for a pipe (default: {DEMO})")
    box = "the face in the picture: left, top, width and height in pixels (default: detected)"
    add("--face-box", type=partial(parse_box, name="--face-box"), metavar="X,Y,W,H", help=box)
    face = "take the Nth face from the left, where there are several (default: the largest)"
    add("--face", type=partial(parse_whole, name="--face", smallest=1), metavar="N", help=face)
    framing = (
        "what the video shows: crop is the square around the face; original is the whole picture, in its own shape, "
        "with that square pasted back into it (default: %(default)s)"
    )
    add("--framing", choices=FRAMINGS, default=CROP, help=framing)
    add("--fragmented", action="store_true", help="write an MP4 that plays while it grows, as pipes always need")
    batch = (
        "a video of each row of a CSV file: portrait, voice, output (and seed, speed, face_box, face, framing, "
        "audio_track, max_seconds); portrait and voice are looked for beside the CSV first, then from the current "
        "directory, as output is"
    )
    add("--batch", type=Path, metavar="CSV", help=batch)
    ray = (
        "make the rows of --batch on the Ray cluster at HOST:PORT; auto finds it, local starts one (needs emo-rt[ray])"
    )
    add("--ray", metavar="ADDRESS", help=ray)
    resume = "go on from a run that was stopped, and keep what is done if this one is (default: from a minute on)"
    add("--quiet", action="store_true", help="say nothing but errors")
    add("--resume", action=argparse.BooleanOptionalAction, help=resume)


def _add_plan(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group(
        "plan",
        "The first run measures what clips cost on this machine; the plan is the best quality that is fast enough.",
    ).add_argument
    add_plan_options(add)
    target = "frames per second to hold, with less effort per clip if the machine slows down (default: the quality's)"
    add("--target-fps", type=partial(parse_positive, name="--target-fps"), metavar="FPS", help=target)
    latency = "longest time to the first frame, once the engines are loaded and the voice is there"
    add("--max-latency", type=partial(parse_positive, name="--max-latency"), metavar="SECONDS", help=latency)


def _add_generation(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("generation").add_argument
    seed = "any whole number from 0 up (default: %(default)s)"
    add("--seed", type=partial(parse_seed, name="--seed"), default=0, help=seed)
    add_sampling_options(add)
    speed = "how fast the head turns, degrees per frame, 0 to 10; 0 keeps it still (default: the bundle's)"
    add("--speed", type=partial(parse_speed, name="--speed"), help=speed)


def _add_provenance(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("provenance", "The comment of every MP4 says that it was generated.").add_argument
    add("--provenance", action="store_true", help="write what the video was made from beside it: OUT.json")
    sign = "add C2PA content credentials, with your PEM files (needs c2pa-python)"
    add("--sign", type=Path, nargs=2, metavar=("CERTIFICATE", "KEY"), help=sign)
    algorithm = "signature algorithm that the key is for (default: %(default)s)"
    add("--sign-algorithm", choices=ALGORITHMS, default="es256", help=algorithm)
    add("--timestamps", metavar="URL", help="time-stamping authority that certifies when the video was signed")


if __name__ == "__main__":
    open_missing_streams()
    sys.exit(main())
