"""Whether anything is lost where replicas and nodes die while they work.

Videos and a live face are made on a cluster of two nodes of this machine, one replica on each. Every few seconds a
random one of these dies: a replica by `kill -9`, or the second node, which comes back. Then each video is compared with
the one that this process makes alone, bit by bit, and the late frames of the face are counted after each death.

example:
  python -m benchmarks.cluster.faults --videos 20 --seconds 24
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import tempfile
import threading
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cluster.nodes import NODES, cluster, replica_processes
from benchmarks.machine import machine_facts, results_file, write_results
from emo_rt.bundle import Bundle, file_sha256
from emo_rt.bundled import DEFAULT_BUNDLE, PORTRAIT, VOICE
from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.sampling import Sampling
from emo_rt.cluster.clips import ClusterCascade, ReplicaSetup, replicas_of
from emo_rt.cluster.connection import connected
from emo_rt.cluster.shared_bundle import SharedBundle
from emo_rt.jobs.request import GenerationOptions, Request
from emo_rt.jobs.session import Session
from emo_rt.live.face import LiveFace
from emo_rt.media.portrait import read_portrait
from emo_rt.media.sound import read_voice
from emo_rt.serve.live.turns import Turns

REPLICAS = 2
#: Share of the deaths that are a node's.
NODE_SHARE = 0.25
_VOICE_RATE = 48000


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit code, 1 if a video is lost or differs."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cluster.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--videos", type=int, default=20, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=24.0, help="of each video (default: %(default)s)")
    parser.add_argument("--every", type=float, default=10.0, help="seconds from death to death (default: %(default)s)")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, help="model bundle (default: the bundled one)")
    parser.add_argument("--backend", default="openvino-bf16", help="(default: %(default)s)")
    out = "JSON to write (default: %(default)s)"
    parser.add_argument("--out", type=Path, default=results_file("cluster-faults"), help=out)
    options = parser.parse_args(arguments)
    bundle = Bundle.load(options.bundle)
    sampling = {"steps": 1, "guidance_scale": bundle.config.guidance_scale, "guided_steps": 1}
    asked = GenerationOptions(backend=options.backend, threads=1, **sampling)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as name, cluster(REPLICAS) as nodes, connected(nodes.address) as ray:
        folder, voice = Path(name), _voice(Path(name), options.seconds)
        setup = ReplicaSetup(SharedBundle.of(bundle, validated=True), options.backend)
        with replicas_of(ray, setup, REPLICAS) as replicas:
            turns, cascade = Turns(REPLICAS + 1, lambda: REPLICAS), ClusterCascade(bundle, replicas)
            session = Session(bundle, asked, cascade=cascade)
            session.around = turns.shared
            requests = [Request(PORTRAIT, voice, folder / f"{seed}.mp4", seed=seed) for seed in range(options.videos)]
            with _live(turns, cascade) as live, ThreadPoolExecutor(REPLICAS + 1) as pool:
                running = [pool.submit(session.make, request) for request in requests]
                deaths = _kill_until(lambda seconds: not wait(running, seconds).not_done, nodes, options.every)
        made = [file_sha256(request.out) for request in requests]
        alone = Session(bundle, asked)
        different = []
        for request, digest in zip(requests, made, strict=True):
            request.out.unlink()
            alone.make(request)
            if file_sha256(request.out) != digest:
                different.append(request.seed)
    late = [sum(at <= each < at + options.every for each in live.late) for at, _ in deaths]
    results = {
        "machine": machine_facts(),
        "videos": len(made),
        "different": different,
        "deaths": {kind: sum(each == kind for _, each in deaths) for kind in ("replica", "node")},
        "live_frames": live.frames,
        "late_frames_after_each_death": late,
    }
    print(results)
    write_results(options.out, results)
    return int(bool(different))


def _voice(folder: Path, seconds: float) -> Path:
    """The bundled voice over and over, as a file."""
    rate = 16000
    sound = np.resize(read_voice(VOICE, rate), round(seconds * rate))
    path = folder / "voice.wav"
    with wave.open(os.fspath(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((sound * 32767).astype(np.int16).tobytes())
    return path


def _kill_until(done: Callable[[float], bool], nodes: Any, every: float) -> list[tuple[float, str]]:
    """Kills something every few seconds. A node is started from the main thread alone, so this runs there.

    Args:
        done: waits for so many seconds; whether everything is done
        nodes: the cluster
        every: seconds from death to death

    Returns:
        when something died, and what: "replica" or "node"
    """
    chance, times = random.Random(0), []
    (second,) = nodes.worker_nodes
    while not done(every):
        if chance.random() < NODE_SHARE:
            times.append((time.monotonic(), "node"))
            nodes.remove_node(second, allow_graceful=False)
            second = nodes.add_node(num_cpus=REPLICAS // NODES)
        elif living := replica_processes():
            times.append((time.monotonic(), "replica"))
            os.kill(chance.choice(living), signal.SIGKILL)
    return times


@dataclass
class Live:
    """What was seen of a live face.

    Attributes:
        frames: number of frames
        late: when a frame was late
    """

    frames: int = 0
    late: list[float] = field(default_factory=list)


@contextlib.contextmanager
def _live(turns: Turns, cascade: Cascade) -> Iterator[Live]:
    """A live face that speaks without a pause while the block lasts."""
    portrait, box = read_portrait(os.fspath(PORTRAIT), cascade.config, None)
    sound, seen, ended = read_voice(VOICE, _VOICE_RATE), Live(), threading.Event()
    faces: list[LiveFace] = []
    shared = turns.shared(cascade, lambda: faces[0].due)
    piece = _VOICE_RATE // cascade.config.frames_per_second

    def listen(face: LiveFace) -> None:
        began = time.monotonic()
        while not ended.is_set():
            start = seen.frames * piece % (len(sound) - piece)
            face.push(sound[start : start + piece])
            if face.take().late:
                seen.late.append(time.monotonic())
            seen.frames += 1
            time.sleep(max(began + seen.frames * face.frame_seconds - time.monotonic(), 0))

    faces.append(LiveFace(shared, portrait, box, Sampling(1, 1.0, 0), sound_rate=_VOICE_RATE, real_time=True))
    with faces[0] as face:
        time.sleep(5)  # while the idle loop is generated
        thread = threading.Thread(target=listen, args=(face,))
        thread.start()
        try:
            yield seen
        finally:
            ended.set()
            thread.join()


if __name__ == "__main__":
    raise SystemExit(main())
