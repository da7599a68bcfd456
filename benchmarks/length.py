"""What the command line takes as the voice grows: ``python -m benchmarks.length --seconds 60 3600 --quality fast``.

Of each voice: the plan and what it predicted, what the run says of itself in the end, seconds with the start, and
the most memory.
"""

from __future__ import annotations

import argparse
import json
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

from benchmarks.machine import CHECKOUT, machine, results_file
from emo_rt.bundle import Bundle
from emo_rt.bundled import DEFAULT_BUNDLE, VOICE
from emo_rt.engines.registry import BACKENDS
from emo_rt.jobs.request import AUTO
from emo_rt.media.sound import read_voice
from emo_rt.planning.planner import QUALITIES

PEAK_OF_CHILD = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def time_videos(
    seconds: Sequence[float], bundle: Path = DEFAULT_BUNDLE, backend: str = AUTO, quality: str = "balanced"
) -> list[dict[str, Any]]:
    """The bundled portrait speaks for each number of ``seconds``.

    Raises:
        subprocess.CalledProcessError: with what the command line said, if it failed.
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
        [sys.executable, "-c", PEAK_OF_CHILD, *command], cwd=CHECKOUT, capture_output=True, text=True, check=True
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
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.length", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, metavar="DIR", help="(default: the bundled one)")
    parser.add_argument("--backend", choices=[AUTO, *sorted(BACKENDS)], default=AUTO, help="(default: %(default)s)")
    parser.add_argument("--quality", choices=QUALITIES, default="balanced", help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, nargs="+", default=[10, 60, 300], help="(default: 10 60 300)")
    args = parser.parse_args(arguments)
    manifest = Bundle.load(args.bundle).manifest
    videos = time_videos(args.seconds, args.bundle, args.backend, args.quality)
    for video in videos:
        print(f"{video['voice_seconds']:g} s: {video['wall_seconds']:.1f} s, {video['peak_mib']:.0f} MiB")
        print(f"  {video['plan']} predicted\n  {video['report']}")
    path = results_file(f"length-{manifest.name}-{args.quality}")
    result = {"machine": machine(), "precision": manifest.precision, "videos": videos}
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
