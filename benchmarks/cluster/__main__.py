"""What a clip costs on a Ray cluster, and how many sessions its replicas hold.

Two nodes are started on this machine, each a raylet of its own. Their replicas have one thread each.

* overhead: one clip after another, by engines in this process and by one replica, alternating;
* throughput: videos that are made at the same time, one more than there are replicas, their frames encoded here;
* simulated: the same by `benchmarks.cluster.simulation`, fed with the cost of a clip and of its encoding.

example:
  python -m benchmarks.cluster --replicas 1 2 4
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.cluster.nodes import cluster
from benchmarks.cluster.simulation import ClipCosts, videos_per_second
from benchmarks.machine import machine_facts, results_file, write_results
from emo_rt.bundle import Bundle
from emo_rt.bundled import DEFAULT_BUNDLE, PORTRAIT, VOICE
from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.sampling import Sampling
from emo_rt.cluster.clips import ClusterCascade, ReplicaSetup, replicas_of
from emo_rt.cluster.connection import connected
from emo_rt.cluster.shared_bundle import SharedBundle
from emo_rt.media.portrait import read_portrait
from emo_rt.media.sound import read_voice
from emo_rt.media.video import encode_clip

#: Clips of a timed stretch.
STRETCH_CLIPS = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 4], help="(default: 1 2 4)")
    parser.add_argument("--rounds", type=int, default=10, help="of the overhead (default: %(default)s)")
    parser.add_argument("--clips", type=int, default=150, help="of each video (default: %(default)s)")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, help="model bundle (default: the bundled one)")
    parser.add_argument("--backend", default="openvino-bf16", help="(default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=results_file("cluster"), help="JSON to write (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    bundle = Bundle.load(options.bundle)
    setup = ReplicaSetup(SharedBundle.of(bundle, validated=True), options.backend)
    clips = _clips_of(bundle)
    here = Cascade.load(bundle, options.backend, threads=1)
    results: dict[str, Any] = {"machine": machine_facts(), "backend": options.backend}
    with cluster(max(options.replicas)) as nodes, connected(nodes.address) as ray:
        with replicas_of(ray, setup, 1) as replicas:
            costs = _costs(bundle, clips, here, ClusterCascade(bundle, replicas), options.rounds)
        parts = {"replica": costs.replica, "overhead": costs.overhead, "encoding": costs.encoding}
        results["milliseconds"] = {name: round(1e3 * seconds, 2) for name, seconds in parts.items()}
        results["spread"] = costs.spread
        print(f"milliseconds of a clip: {results['milliseconds']}")
        results["clip_seconds"] = bundle.config.clip_frames / bundle.config.frames_per_second
        results["replicas"] = []
        for number in options.replicas:
            with replicas_of(ray, setup, number) as replicas:
                measured = _throughput(bundle, clips, ClusterCascade(bundle, replicas), number + 1, options.clips)
            simulated = videos_per_second(costs, number, cores=os.cpu_count() or 1) * bundle.config.clip_frames
            rate = bundle.config.frames_per_second
            row = {"replicas": number, "frames_per_second": round(measured, 1), "simulated": round(simulated, 1)}
            results["replicas"].append({**row, "faces_in_real_time": int(measured / rate)})
            print(results["replicas"][-1])
    write_results(options.out, results)
    return 0


Clips = Callable[[Cascade, int], Iterator[Any]]


def _clips_of(bundle: Bundle) -> Clips:
    """A function that makes the frames of a number of clips with a cascade, one after another."""
    portrait, box = read_portrait(os.fspath(PORTRAIT), bundle.config, None)
    voice = read_voice(VOICE, bundle.config.sample_rate)
    sampling = Sampling.of(bundle.config)

    def clips(cascade: Cascade, number: int) -> Iterator[Any]:
        denoised = cascade.denoise(portrait, box, itertools.repeat(voice), sampling)
        return (cascade.decode(clip) for clip in itertools.islice(denoised, number))

    return clips


def _costs(bundle: Bundle, clips: Clips, here: Cascade, there: Cascade, rounds: int) -> ClipCosts:
    """Measures what a clip costs here, on a replica, and to encode."""
    stretches: dict[str, list[float]] = {"here": [], "there": [], "encoding": []}
    for cascade in (here, there):
        list(clips(cascade, STRETCH_CLIPS))
    rate = bundle.config.frames_per_second
    for _ in tqdm(range(rounds), desc="overhead", unit="round"):
        for name, cascade in (("here", here), ("there", there)):
            taken, frames = _seconds_of_clips(clips(cascade, STRETCH_CLIPS))
            stretches[name] += taken
        for each in frames:
            started = time.perf_counter()
            encode_clip(each, rate)
            stretches["encoding"].append(time.perf_counter() - started)
    medians = {name: statistics.median(seconds) for name, seconds in stretches.items()}
    spread = np.quantile(stretches["there"], np.linspace(0, 1, 101)) / medians["there"]
    overhead = medians["there"] - medians["here"]
    return ClipCosts(medians["here"], overhead, medians["encoding"], spread.round(3).tolist())


def _seconds_of_clips(made: Iterator[Any]) -> tuple[list[float], list[Any]]:
    """The seconds from each clip to the next one, and the clips."""
    taken, frames, last = [], [next(made)], time.perf_counter()
    for each in made:
        now = time.perf_counter()
        taken.append(now - last)
        frames.append(each)
        last = time.perf_counter()
    return taken, frames


def _throughput(bundle: Bundle, clips: Clips, cascade: Cascade, videos: int, number: int) -> float:
    """Frames per second of so many videos of so many clips that are made and encoded at the same time."""
    list(clips(cascade, STRETCH_CLIPS))
    written: list[float] = []

    def make() -> None:
        for frames in clips(cascade, number):
            encode_clip(frames, bundle.config.frames_per_second)
            written.append(time.perf_counter())

    threads = [threading.Thread(target=make) for _ in range(videos)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    steady = sorted(written)[len(written) // 10 : -len(written) // 5]  # in which all videos are made
    return (len(steady) - 1) * bundle.config.clip_frames / (steady[-1] - steady[0])


if __name__ == "__main__":
    raise SystemExit(main())
