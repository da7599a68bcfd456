"""Many videos: the plan is chosen once, the engines load once, and a voice that cannot be read stops no other.

python examples/batch.py --folder videos hello.wav goodbye.wav
"""

import argparse
from pathlib import Path

import emo_rt

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("voices", type=Path, nargs="*", default=[emo_rt.VOICE], help="speech (default: the bundled voice)")
parser.add_argument("--image", type=Path, default=emo_rt.PORTRAIT, help="picture (default: the bundled portrait)")
parser.add_argument("--folder", type=Path, default=Path("videos"), help="for the videos (default: %(default)s)")
parser.add_argument("--bundle", default=emo_rt.DEFAULT_BUNDLE, help="model bundle (default: emo-photo)")
options = parser.parse_args()

session = emo_rt.Session(emo_rt.Bundle.load(options.bundle), emo_rt.GenerationOptions(quality="fast"), verbose=True)
for seed, voice in enumerate(options.voices):
    request = emo_rt.Request(options.image, voice, options.folder / f"{voice.stem}.mp4", seed=seed)
    try:
        print(session.make(request))
    except emo_rt.EmoError as error:
        print(f"{voice}: {error}")
