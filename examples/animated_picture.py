"""A video as an animated picture, for pages that show no videos: WebP, or GIF by the name of --out.

python examples/animated_picture.py --image me.jpg --audio hello.wav --out hello.webp
"""

import argparse

import numpy as np
from PIL import Image

import emo_rt

EVERY = 2  # frames of the video, one of which is shown
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--image", default=emo_rt.PORTRAIT, help="picture with a face (default: the bundled portrait)")
parser.add_argument("--audio", default=emo_rt.VOICE, help="speech (default: the bundled voice)")
parser.add_argument("--out", default="animated.webp", help="picture to write (default: %(default)s)")
parser.add_argument("--bundle", default=emo_rt.DEFAULT_BUNDLE, help="model bundle (default: emo-photo)")
options = parser.parse_args()

bundle = emo_rt.Bundle.load(options.bundle)
portrait, face_box = emo_rt.read_portrait(options.image, bundle.config)
voice = emo_rt.read_voice(options.audio, bundle.config.sample_rate)
clips = emo_rt.Cascade.load(bundle).generate(portrait, face_box, [voice])
first, *others = (Image.fromarray(frame) for frame in np.concatenate(list(clips))[::EVERY])
milliseconds = 1000 * EVERY // bundle.config.frames_per_second
first.save(options.out, save_all=True, append_images=others, duration=milliseconds, loop=0, quality=60, method=6)
