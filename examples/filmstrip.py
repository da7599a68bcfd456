"""One picture of what a video says: the portrait, the voice, and frames below the sound that they go with.

python examples/filmstrip.py --image me.jpg --audio hello.wav --out filmstrip.png
"""

import argparse

import numpy as np
from PIL import Image, ImageDraw

import emo_rt

FRAMES, WAVE = 9, 64  # frames in the picture; pixels of the waveform's height
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--image", default=emo_rt.PORTRAIT, help="picture with a face (default: the bundled portrait)")
parser.add_argument("--audio", default=emo_rt.VOICE, help="speech (default: the bundled voice)")
parser.add_argument("--out", default="filmstrip.png", help="picture to write (default: %(default)s)")
parser.add_argument("--steps", type=int, help="denoising steps per clip (default: the model's)")
parser.add_argument("--bundle", default=emo_rt.DEFAULT_BUNDLE, help="model bundle (default: emo-photo)")
options = parser.parse_args()

bundle = emo_rt.Bundle.load(options.bundle)
portrait, face_box = emo_rt.read_portrait(options.image, bundle.config)
voice = emo_rt.read_voice(options.audio, bundle.config.sample_rate)
clips = emo_rt.Cascade.load(bundle).generate(portrait, face_box, [voice], steps=options.steps)
video = np.concatenate(list(clips))  # uint8 (t, R, R, 3)

side = bundle.config.resolution
left = side + WAVE // 2  # of the strip; the portrait stands before it
strip = Image.new("RGB", (left + FRAMES * side, WAVE + side), "white")
strip.paste(Image.fromarray(portrait), (0, WAVE))
draw = ImageDraw.Draw(strip)
columns = np.array_split(np.abs(voice) / np.abs(voice).max(), FRAMES * side)
for x, column in enumerate(columns):
    height = WAVE / 2 * column.max(initial=0)
    draw.line([(left + x, WAVE / 2 - height), (left + x, WAVE / 2 + height)], fill="steelblue")
for index in range(FRAMES):
    moment = round((index + 0.5) * len(video) / FRAMES)  # in the middle of the sound above it
    strip.paste(Image.fromarray(video[moment]), (left + index * side, WAVE))
strip.quantize().save(options.out, optimize=True)  # 256 colours: a third of the bytes
