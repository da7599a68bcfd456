"""Frames instead of a file: each clip comes as an array as soon as it is generated.

python examples/frames.py --image me.jpg --audio hello.wav --folder frames
"""

import argparse
from pathlib import Path

from PIL import Image

import emo_rt

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--image", default=emo_rt.PORTRAIT, help="picture with a face (default: the bundled portrait)")
parser.add_argument("--audio", default=emo_rt.VOICE, help="speech (default: the bundled voice)")
parser.add_argument("--folder", type=Path, default=Path("frames"), help="for the pictures (default: %(default)s)")
parser.add_argument("--steps", type=int, help="denoising steps per clip (default: the model's)")
parser.add_argument("--bundle", default=emo_rt.DEFAULT_BUNDLE, help="model bundle (default: emo-photo)")
options = parser.parse_args()

bundle = emo_rt.Bundle.load(options.bundle)
cascade = emo_rt.Cascade.load(bundle, "onnxruntime")
portrait, face_box = emo_rt.read_portrait(options.image, bundle.config)
voice = (chunk.voice for chunk in emo_rt.AudioStream(options.audio, bundle.config.sample_rate))

options.folder.mkdir(parents=True, exist_ok=True)
count = 0
for clip in cascade.generate(portrait, face_box, voice, seed=3, steps=options.steps):  # uint8 (k, R, R, 3)
    for frame in clip:
        Image.fromarray(frame).save(options.folder / f"{count:05d}.png")
        count += 1
print(f"{options.folder}: {count} frames at {bundle.config.frames_per_second} per second")
