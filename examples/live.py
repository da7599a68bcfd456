"""A live voice: it comes in chunks of 40 ms, as from a microphone, and each clip leaves as soon as its voice is there.

python examples/live.py --audio hello.wav
"""

import argparse
import time
from collections.abc import Iterator

import numpy as np

import emo_rt

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--audio", default=emo_rt.VOICE, help="speech (default: the bundled voice)")
parser.add_argument("--steps", type=int, default=4, help="denoising steps per clip (default: %(default)s)")
parser.add_argument("--bundle", default=emo_rt.DEFAULT_BUNDLE, help="model bundle (default: emo-tiny)")
options = parser.parse_args()

bundle = emo_rt.Bundle.load(options.bundle)
cascade = emo_rt.Cascade.load(bundle, "onnxruntime")
sampling = emo_rt.Sampling.of(bundle.config, steps=options.steps)
cascade.warm_up(sampling)
portrait, face_box = emo_rt.read_portrait(emo_rt.PORTRAIT, bundle.config)
start = time.perf_counter()


def microphone() -> Iterator[np.ndarray]:
    """Mono float32 chunks (samples,), each when it has been spoken."""
    voice, chunk = emo_rt.read_voice(options.audio, bundle.config.sample_rate), bundle.config.sample_rate // 25
    for end in range(chunk, len(voice) + chunk, chunk):
        time.sleep(max(0.0, start + end / bundle.config.sample_rate - time.perf_counter()))
        yield voice[end - chunk : end]


for clip in cascade.generate(portrait, face_box, microphone(), steps=options.steps):
    print(f"{time.perf_counter() - start:6.2f} s: {len(clip)} frames of {clip.shape[1]} x {clip.shape[2]} pixels")
