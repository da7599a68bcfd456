"""Time the command line for longer and longer voices.

For each voice: the plan and its prediction, the report of the run, the seconds with the start of the program, and the
most memory.

example:
  python -m benchmarks.length --seconds 60 3600 --quality fast
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from tqdm import tqdm

from benchmarks.machine import CHECKOUT, machine_facts, results_file, write_results
from emo_rt.bundle import Bundle
from emo_rt.bundled import DEFAULT_BUNDLE, VOICE
from emo_rt.engines.registry import BACKENDS
from emo_rt.errors import EmoError
from emo_rt.jobs.request import AUTO
from emo_rt.media.sound import read_voice
from emo_rt.planning.planner import QUALITIES

#: A program that runs a command and prints the most memory that the command took, in KiB.
_PEAK_OF_CHILD = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def time_videos(
    seconds: Sequence[float], bundle: Path = DEFAULT_BUNDLE, backend: str = AUTO, quality: str = "balanced"
) -> list[dict[str, Any]]:
    """Time the command line while the bundled portrait speaks with the bundled voice, repeated.

    Args:
        seconds: lengths of the voices in seconds
        bundle: directory of the bundle
        backend: backend, or `auto`
        quality: quality that the plan aims at

    Returns:
        For each voice `voice_seconds`, `wall_seconds`, `peak_mib`, `plan` and `report`.

    Raises:
        subprocess.CalledProcessError: if the command line fails.
    """
    with tempfile.TemporaryDirectory() as directory:
        options = ["--bundle", str(bundle.resolve()), "--backend", backend, "--quality", quality]
        bar = tqdm(seconds, desc="timing videos", unit="video")
        return [_time_video(length, options, Path(directory)) for length in bar]


def _time_video(seconds: float, options: list[str], directory: Path) -> dict[str, Any]:
    voice, video = directory / f"{seconds:g}.wav", directory / f"{seconds:g}.mp4"
    _write_wav(voice, np.resize(read_voice(VOICE, 16_000), round(16_000 * seconds)))
    command = [sys.executable, "-m", "emo_rt.run", "--audio", str(voice), "--out", str(video), *options]
    started = time.perf_counter()
    # Through a process that is small itself: Linux counts the memory of the one that starts another, too.
    made = subprocess.run(
        [sys.executable, "-c", _PEAK_OF_CHILD, *command], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    wall = time.perf_counter() - started
    report, peak = made.stdout.splitlines()
    return {
        "voice_seconds": seconds,
        "wall_seconds": round(wall, 2),
        "peak_mib": round(int(peak) / 1024, 1),
        "plan": next(line for line in made.stderr.splitlines() if line.startswith("plan: ")).removeprefix("plan: "),
        "report": report.removeprefix(f"{video}: "),
    }


def _write_wav(path: Path, waveform: np.ndarray) -> None:
    samples = (waveform.clip(-1, 1) * 32767).astype(np.int16)[None]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = 16_000
        container.mux([*stream.encode(frame), *stream.encode(None)])


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.length", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--bundle", type=Path, default=DEFAULT_BUNDLE, metavar="DIR", help="bundle (default: the bundled one)")
    add("--backend", choices=[AUTO, *sorted(BACKENDS)], default=AUTO, help="runs the bundle (default: %(default)s)")
    add("--quality", choices=QUALITIES, default="balanced", help="aim of the plan (default: %(default)s)")
    seconds = "lengths of the voices (default: 10 60 300)"
    add("--seconds", type=float, nargs="+", default=[10, 60, 300], metavar="S", help=seconds)
    args = parser.parse_args(arguments)
    try:
        manifest = Bundle.load(args.bundle).manifest
        videos = time_videos(args.seconds, args.bundle, args.backend, args.quality)
    except subprocess.CalledProcessError as error:
        print(f"benchmark: error: {(error.stderr.strip().splitlines() or ['no output'])[-1]}", file=sys.stderr)
        return 2
    except (EmoError, OSError, ValueError) as error:
        print(f"benchmark: error: {error}", file=sys.stderr)
        return 2
    for video in videos:
        print(f"{video['voice_seconds']:g} s: {video['wall_seconds']:.1f} s, {video['peak_mib']:.0f} MiB")
        print(f"  {video['plan']} predicted\n  {video['report']}")
    path = results_file(f"length-{manifest.name}-{args.quality}")
    write_results(path, {"machine": machine_facts(), "precision": manifest.precision, "videos": videos})
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
