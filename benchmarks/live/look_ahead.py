"""How well a mouth follows the voice where little of the voice after a clip is known.

Held-out people speak clip by clip. Of each clip some frames are kept, and of the voice after those some frames are
known; the rest is silence to the model. The correlation of the mouth's opening, as the reader of faces sees it, with
the truth is the mean over the people.

example:
  python -m benchmarks.live.look_ahead --data data/held-out --keep 6:10 4:2 4:0
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from emo_rt.bundle import Bundle
from emo_rt.bundled import DEFAULT_BUNDLE
from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.sampling import Sampling
from emo_rt.live.clip_maker import ClipMaker
from emo_rt.live.frame import LiveFrame
from emo_rt.live.voice_queue import VoiceQueue
from emo_rt.media.boxes import Box
from training.clips.clip import TrainingClip
from training.clips.folder import clip_paths
from training.evaluation.metrics import correlation
from training.evaluation.reader import BUNDLED_READER, FaceReader

#: Frames of each video.
FRAMES = 72


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.live.look_ahead",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="clips of people that training never saw")
    parser.add_argument("--people", type=int, default=10, help="number of them (default: %(default)s)")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, help="model bundle (default: the bundled one)")
    parser.add_argument("--backend", default="openvino-bf16", help="what runs the graphs (default: %(default)s)")
    parser.add_argument("--guidance-scale", type=float, help="1 is no guidance (default: the bundle's)")
    keep = "frames of a clip that are kept, and frames of voice after those that are known (default: %(default)s)"
    parser.add_argument("--keep", nargs="+", default=["6:10", "6:3", "4:4", "4:3", "4:2", "4:0"], help=keep)
    options = parser.parse_args(arguments)
    cascade = Cascade.load(Bundle.load(options.bundle), options.backend)
    sampling = Sampling.of(cascade.config, steps=1, guidance_scale=options.guidance_scale)
    people = [TrainingClip.load(path) for path in clip_paths(options.data)[: options.people]]
    reader = FaceReader.load(BUNDLED_READER)
    for kept, known in (map(int, text.split(":")) for text in options.keep):
        found = [
            correlation(reader.read(_spoken(cascade, sampling, person, kept, known)).mouth_opening, truth)
            for person in tqdm(people, desc=f"{kept}:{known}", unit="person", leave=False)
            for truth in [person.mouth_opening[:FRAMES]]
        ]
        print(f"{kept} frames kept, {known} more known: mouth r = {np.mean(found):.3f}")
    return 0


def _spoken(cascade: Cascade, sampling: Sampling, person: TrainingClip, kept: int, known: int) -> np.ndarray:
    """The video in which a person speaks, RGB uint8 (FRAMES, R, R, 3)."""
    box = Box(*(float(value) for value in person.face_box[0]))
    maker = ClipMaker(cascade, person.frames[0], box, sampling, 0, None)
    maker.prepare()
    queue = VoiceQueue(cascade.config, cascade.config.sample_rate)
    queue.push(person.waveform)
    made: list[LiveFrame] = []
    while len(made) < FRAMES:
        for pose in maker.make(made, list(queue)[: kept + known])[:kept]:
            made.append(LiveFrame(pose, queue.next()))
    return np.stack([frame.picture for frame in made[:FRAMES]])


if __name__ == "__main__":
    sys.exit(main())
