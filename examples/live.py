"""A face that listens: a voice comes as from a microphone, and the face answers while it is still spoken.

python examples/live.py --audio hello.wav
"""

import argparse
import time

import numpy as np

import emo_rt

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--audio", default=emo_rt.VOICE, help="speech (default: the bundled voice)")
parser.add_argument("--steps", type=int, default=1, help="denoising steps per clip (default: %(default)s)")
parser.add_argument("--backend", default="onnxruntime", help="what runs the graphs (default: %(default)s)")
parser.add_argument("--bundle", default=emo_rt.DEFAULT_BUNDLE, help="model bundle (default: emo-photo)")
options = parser.parse_args()

bundle = emo_rt.Bundle.load(options.bundle)
cascade = emo_rt.Cascade.load(bundle, options.backend)
sampling = emo_rt.Sampling.of(bundle.config, steps=options.steps)
portrait, face_box = emo_rt.read_portrait(emo_rt.PORTRAIT, bundle.config)
rate, fps = bundle.config.sample_rate, bundle.config.frames_per_second
voice = emo_rt.read_voice(options.audio, rate)
chunks = np.array_split(voice, -(-len(voice) * fps // rate))  # one for each frame

with emo_rt.LiveFace(cascade, portrait, face_box, sampling, sound_rate=rate, real_time=True) as face:
    start, speaking = time.perf_counter(), False
    for number in range(len(chunks) + 2 * fps):  # two seconds longer than the voice
        if number < len(chunks):
            face.push(chunks[number])
        frame = face.take()  # frame.picture to show and frame.sound to play
        if frame.answered is not None:
            print(f"answered after {frame.answered:.2f} s")
        if frame.speaking != speaking:
            speaking = frame.speaking
            print(f"{number / fps:5.2f} s: it {'speaks' if speaking else 'idles'}")
        time.sleep(max(start + (number + 1) / fps - time.perf_counter(), 0))
    print(f"{face.late} frames came too late")
