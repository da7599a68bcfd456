"""Time a bundle and compare it with PyTorch: ``python -m benchmarks.run``.

Writes one JSON file with the machine, the versions and the commit that the figures came from:

* validation: each graph's error and the whole video's PSNR against PyTorch;
* graphs: median milliseconds of one run of each graph;
* videos: seconds and peak memory of the command line for voices of growing length.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from tqdm import tqdm

from benchmarks.machine import CHECKOUT, machine
from benchmarks.turns import median_milliseconds
from emo_rt.bundle import Bundle
from emo_rt.engine import to_numpy
from emo_rt.engines import BACKENDS, load_engine
from emo_rt.media import read_voice
from emo_rt.run import DEFAULT_BUNDLE
from export.build import MODELS
from export.graphs import graphs
from export.validate import report, validate
from training.model import EmoModel


def time_graphs(model: EmoModel, bundle: Bundle, backend: str, turns: int) -> dict[str, float]:
    """Median milliseconds of one run of each graph, on its example inputs."""
    calls: list[Callable[[], object]] = []
    for name, graph in graphs(model).items():
        engine = load_engine(bundle, name, backend)
        inputs = {key: tensor.numpy() for key, tensor in graph.inputs.items()}
        calls.append(
            lambda engine=engine, inputs=inputs: [to_numpy(tensor) for tensor in engine.run(inputs).values()]  # type: ignore[misc]
        )
    return dict(zip(graphs(model), median_milliseconds(calls, turns), strict=True))


PEAK_OF_CHILD = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def time_video(bundle: Path, backend: str, seconds: float, directory: Path) -> dict[str, float]:
    """Wall seconds and peak memory of the whole command line for a voice of ``seconds``."""
    voice = read_voice(CHECKOUT / "assets" / "voice.wav", 16_000)
    path = directory / f"{seconds:g}.wav"
    _write_wav(path, np.resize(voice, round(16_000 * seconds)))
    command = [sys.executable, "-m", "emo_rt.run", "--audio", str(path), "--out", str(path.with_suffix(".mp4"))]
    command += ["--bundle", str(bundle.resolve()), "--backend", backend]
    started = time.perf_counter()
    # Through a process that is small itself: Linux counts the memory of the one that starts another, too.
    measured = subprocess.run(
        [sys.executable, "-c", PEAK_OF_CHILD, *command], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    wall = time.perf_counter() - started
    return {
        "voice_seconds": seconds,
        "wall_seconds": round(wall, 2),
        "frames_per_second": round(25 * seconds / wall, 2),
        "peak_mib": round(int(measured.stdout) / 1024, 1),
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
        prog="python -m benchmarks.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=MODELS / "emo-tiny", metavar="DIR", help="the checkpoint")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, metavar="DIR", help="a bundle made of it")
    parser.add_argument("--backend", choices=sorted(BACKENDS), default="onnxruntime")
    parser.add_argument("--turns", type=int, default=10, help="of each graph, three runs each (default: %(default)s)")
    parser.add_argument("--seconds", type=float, nargs="+", default=[10, 30, 120], help="voices (default: 10 30 120)")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "benchmarks" / "results", metavar="DIR")
    args = parser.parse_args(arguments)
    model, bundle = EmoModel.load(args.model), Bundle.load(args.bundle)
    facts = machine()
    validation = validate(model, args.bundle, backend=args.backend)
    print(report(validation))
    graph_times = time_graphs(model, bundle, args.backend, args.turns)
    with tempfile.TemporaryDirectory() as directory:
        videos = [
            time_video(args.bundle, args.backend, seconds, Path(directory))
            for seconds in tqdm(args.seconds, desc="timing videos", unit="video")
        ]
    result = {
        "machine": facts,
        "bundle": bundle.manifest.name,
        "precision": bundle.manifest.precision,
        "backend": args.backend,
        "steps": bundle.config.steps,
        "validation": validation,
        "graph_milliseconds": graph_times,
        "videos": videos,
    }
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"{bundle.manifest.name}-{bundle.manifest.precision}-{args.backend}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    for name, milliseconds in graph_times.items():
        print(f"{name:>23}: {milliseconds:.1f} ms")
    for video in videos:
        print(
            f"{video['voice_seconds']:>12g} s: {video['wall_seconds']:.1f} s, "
            f"{video['frames_per_second']:.1f} frames per second, peak {video['peak_mib']:.0f} MiB"
        )
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
