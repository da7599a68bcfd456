"""A video in one call.

python examples/animate.py --image me.jpg --audio hello.wav --out hello.mp4
"""

import argparse

import emo_rt

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--image", default=emo_rt.PORTRAIT, help="picture with a face (default: the bundled portrait)")
parser.add_argument("--audio", default=emo_rt.VOICE, help="speech (default: the bundled voice)")
parser.add_argument("--out", default="animate.mp4", help="MP4 to write (default: %(default)s)")
parser.add_argument("--bundle", default=emo_rt.DEFAULT_BUNDLE, help="model bundle (default: emo-photo)")
options = parser.parse_args()

result = emo_rt.animate(options.image, options.audio, options.out, seed=3, bundle=options.bundle, verbose=True)
print(f"{result.out}: {result.frames} frames, {result.seconds:.2f} s")
