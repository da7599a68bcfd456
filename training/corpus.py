"""Clips of generated speakers with ground truth: `python -m training.corpus --out DIR` writes them.

Everything about a clip follows from its seed. A tenth of the seeds is held out, with portraits, voices, languages and
sentences of their own. `--split held-out-family` gives them another synthesizer's voices (`training.voices`).

Of the training clips, six in ten have an imperfect sound (`training.sound`); the labels are those of the voice alone.

`python -m training.corpus --sample assets` makes the repository's sample portrait and voice, which are held out too.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import itertools
import multiprocessing
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from training.delivery import random_delivery
from training.gestures import FRAMES_PER_SECOND, blinks, gaze, head_motion, smoothed, wander
from training.heads import Motion, sample_portraits
from training.mouth import mouth_curves
from training.render import render
from training.scene import rotation_matrix
from training.sound import augment
from training.speech import SAMPLE_RATE, Utterance, frame_classes, join, random_sentence, synthesize
from training.voices import SPLITS, random_voice, voice_language

_SAMPLES_PER_FRAME = SAMPLE_RATE // FRAMES_PER_SECOND
_LOUDEST = 0.9
_AUGMENTED_SHARE = 0.6

_SAMPLE_SEED = 348  # held out
_SAMPLE_VOICE = "en-us+f4"  # held out
_SAMPLE_TEXTS = ("Good morning! May I show you the view above the bay?", "We were hoping you would stay for supper.")


@dataclass(frozen=True)
class Clip:
    """One speaker for t frames at 25 Hz. Labels are float32 unless noted.

    Footage (``training.prepare``) knows only the frames and the boxes for certain. What else it does not know has
    length 0 here and is absent from the file.
    """

    frames: np.ndarray  # uint8 (t, h, w, 3), RGB
    waveform: np.ndarray  # (t * 640,) at 16 kHz in [-1, 1]
    mouth_opening: np.ndarray  # (t,) 0 closed .. 1 wide open
    mouth_width: np.ndarray  # (t,) 0 rounded .. 1 spread
    rotation: np.ndarray  # (t, 3) degrees: yaw, pitch, roll
    head_speed: np.ndarray  # (t,) degrees per frame: the angle from the previous rotation to this one
    face_box: np.ndarray  # (t, 4) x, y, width, height in pixels
    mouth_box: np.ndarray  # (t, 4)
    phoneme_class: np.ndarray  # int64 (2 * t,) at 50 Hz: indices into `training.phonemes.PHONEME_CLASSES`
    blink: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))  # (t,) 0 open .. 1 shut
    text: str = ""
    voice: str = ""  # espeak-ng's name, such as "en-us+f3"
    language: str = ""
    style: str = ""  # "speech", "whisper" or "singing"
    sound: str = ""  # "clean", or the effects of `training.sound` joined by "+"

    def save(self, path: Path | str) -> None:
        """Writes an uncompressed .npz, whole or not at all."""
        path = Path(path)
        temporary = path.with_name(path.name + ".part")
        with temporary.open("wb") as file:
            np.savez(file, **{name: getattr(self, name) for name in CLIP_FIELDS if self.knows(name)})
        temporary.replace(path)

    def knows(self, *names: str) -> bool:
        """Whether the clip has all these fields."""
        return all(len(getattr(self, name)) for name in names)

    @classmethod
    def load(cls, path: Path | str, needs: Sequence[str] = ()) -> Self:
        """Reads what `save` has written.

        Args:
            path: a .npz.
            needs: fields that the clip must have, besides the frames and the boxes.

        Raises:
            ValueError: naming the file, if a field is missing that it must have.
        """
        with np.load(path) as archive:
            missing = [name for name in (*_CERTAIN, *needs) if name not in archive]
            if missing:
                raise ValueError(f"{path} has no {missing[0]}: {_CURES.get(missing[0], _NO_LABEL)}")
            unknown = dict.fromkeys(CLIP_FIELDS, np.zeros(0, np.float32)) | dict.fromkeys(_STRINGS, "")
            known = {name: str(archive[name]) if name in _STRINGS else archive[name] for name in archive}
        return cls(**unknown | known)


#: Of `Clip`, in order.
CLIP_FIELDS = tuple(field.name for field in dataclasses.fields(Clip))
_STRINGS = tuple(field.name for field in dataclasses.fields(Clip) if field.type == "str")
_CERTAIN = ("frames", "face_box", "mouth_box")
_NO_LABEL = "footage has no such labels; use clips of `python -m training.corpus`"
_NO_ROTATION = "prepare the footage with --landmarker or --reader, which see how the head turns"
_CURES = {
    "waveform": "only the image stage trains on videos without sound",
    "rotation": _NO_ROTATION,
    "head_speed": _NO_ROTATION,
    **dict.fromkeys(_CERTAIN, "it is no clip of `python -m training.corpus` or `python -m training.prepare`"),
}


def is_held_out(seed: int) -> bool:
    """Whether the speaker of this seed is kept from training (a tenth of them)."""
    return hashlib.sha256(str(seed).encode()).digest()[0] < 26


def make_clip(
    seed: int,
    seconds: float = 4.0,
    resolution: int = 128,
    *,
    voices: str | None = None,
    augmented_share: float | None = None,
) -> Clip:
    """The clip of a seed: one person, one voice, `seconds` of speech with pauses, and motion of its own liveliness.

    Args:
        voices: whose voices speak, one of `training.voices.SPLITS`; by default those of the seed's own split.
        augmented_share: chance that the sound is made imperfect; by default 0.6 in training and 0 in held-out clips.

    Raises:
        ValueError: there is no such split.
    """
    own = "held-out" if is_held_out(seed) else "train"
    voices = voices or own
    if voices not in SPLITS:
        raise ValueError(f"no split is called {voices!r}: there are {', '.join(SPLITS)}")
    if augmented_share is None:
        augmented_share = _AUGMENTED_SHARE if own == "train" else 0.0
    frames = round(seconds * FRAMES_PER_SECOND)
    # Each with a generator of its own, so that a change of one leaves the others.
    utterance, style = _speech(np.random.default_rng([seed, 0x5BEE]), voices, frames / FRAMES_PER_SECOND)
    waveform, sound = _heard(np.random.default_rng([seed, 0x50D]), utterance.waveform, voices, augmented_share)
    rng = np.random.default_rng([seed, 0xC119])
    curves = mouth_curves(utterance, FRAMES_PER_SECOND, frames)
    rotation, translation = head_motion(rng, utterance.waveform, frames)
    eyes = gaze(rng, frames)
    columns = {
        "mouth_opening": curves.opening,
        "mouth_width": curves.width,
        "blink": blinks(rng, utterance.waveform, frames),
        "brow": 0.5 * wander(rng, frames, 0.6) + 0.4 * (smoothed(curves.opening, 9) - 0.3),
        "gaze": eyes,
        "rotation": rotation,
        "translation": translation,
    }
    motion = Motion(**{name: torch.tensor(np.asarray(value, np.float32)) for name, value in columns.items()})
    rendering = render(sample_portraits([seed]), motion, resolution)
    pixels = (rendering.frames * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return Clip(
        frames=pixels.numpy(),
        waveform=waveform,
        mouth_opening=curves.opening,
        mouth_width=curves.width,
        rotation=motion.rotation.numpy(),
        head_speed=head_speed(motion.rotation.numpy()),
        face_box=rendering.face_box.numpy(),
        mouth_box=rendering.mouth_box.numpy(),
        phoneme_class=frame_classes(utterance, 2 * FRAMES_PER_SECOND, 2 * frames),
        blink=motion.blink.numpy(),
        text=utterance.text,
        voice=utterance.voice,
        language=voice_language(utterance.voice),
        style=style,
        sound=sound,
    )


def head_speed(rotation: np.ndarray) -> np.ndarray:
    """Yaw, pitch, roll (t, 3) in degrees -> (t,) degrees per frame; the first frame takes the second's value."""
    matrices = rotation_matrix(torch.tensor(rotation, dtype=torch.float64))
    steps = matrices[1:] @ matrices[:-1].mT
    # The angle from its sine: the cosine says nothing of small angles in finite precision.
    sine = (steps - steps.mT).flatten(1).norm(dim=1) / 8**0.5
    cosine = (steps.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2
    angles = torch.rad2deg(torch.atan2(sine, cosine))
    speeds = torch.cat([angles[:1], angles]) if len(angles) else torch.zeros(len(rotation))
    return speeds.numpy().astype(np.float32)


def _speech(rng: np.random.Generator, voices: str, seconds: float) -> tuple[Utterance, str]:
    """Sentences with pauses, cut to exactly `seconds`, and the style in which they are said."""
    delivery = random_delivery(rng, voices)
    language = voice_language(delivery.voice)
    utterances, pauses, total = [], [], 0.0
    while total < seconds:
        sentence = random_sentence(rng, language, held_out=voices != "train")
        said = delivery.say(sentence, rng)
        emphasis = np.float32(10 ** (rng.uniform(-6, 0) / 20))
        utterances.append(dataclasses.replace(said, waveform=emphasis * said.waveform))
        pauses.append(float(rng.uniform(0.0, 0.4) if rng.random() < 0.75 else rng.uniform(0.4, 1.2)))
        total += pauses[-1] + said.seconds
    whole = join(utterances, pauses)
    loudness = np.exp(rng.uniform(np.log(0.15), 0)) * _LOUDEST / np.abs(whole.waveform).max()
    # The phonemes beyond the end stay: the mouth prepares for them.
    waveform = whole.waveform[: round(seconds * SAMPLE_RATE)] * np.float32(loudness)
    return dataclasses.replace(whole, waveform=waveform), delivery.style


def _heard(rng: np.random.Generator, waveform: np.ndarray, voices: str, share: float) -> tuple[np.ndarray, str]:
    """The waveform as it is heard, imperfect in a `share` of the cases, and what has happened to it."""
    if rng.random() >= share:
        return waveform, "clean"

    def babble() -> np.ndarray:
        length = len(waveform)
        speakers = [random_voice(rng, voices) for _ in range(3)]
        sentences = [
            synthesize(random_sentence(rng, voice_language(voice), voices != "train"), voice) for voice in speakers
        ]
        return np.sum([np.roll(np.resize(said.waveform, length), int(rng.integers(length))) for said in sentences], 0)

    heard, effects = augment(waveform, rng, babble)
    return heard, "+".join(effects)


def write_sample(directory: Path) -> None:
    """Writes `portrait.png` (512 x 512, frontal, mouth closed) and `voice.wav` (16 kHz) of a held-out speaker."""
    directory.mkdir(parents=True, exist_ok=True)
    frame = render(sample_portraits([_SAMPLE_SEED]), Motion.rest(1), 512).frames[0]
    pixels = (frame * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    Image.fromarray(pixels).save(directory / "portrait.png", optimize=True)
    speech = join([synthesize(text, _SAMPLE_VOICE, rate=150) for text in _SAMPLE_TEXTS], [0.2, 0.1])
    peak = np.abs(speech.waveform).max()
    with wave.open(str(directory / "voice.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((speech.waveform * (_LOUDEST / peak * 32767)).astype("<i2").tobytes())


def _seeds(first: int, clips: int, split: str) -> list[int]:
    """The first `clips` seeds of a split, from `first` on."""
    candidates = itertools.count(first)
    chosen = (seed for seed in candidates if split == "all" or is_held_out(seed) == (split != "train"))
    return list(itertools.islice(chosen, clips))


def _write(job: tuple[int, Path, float, int, str | None, float | None]) -> None:
    seed, path, seconds, resolution, voices, augmented_share = job
    torch.set_num_threads(1)
    clip = make_clip(seed, seconds, resolution, voices=voices, augmented_share=augmented_share)
    clip.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes clips of generated speakers, one .npz for each seed.")
    parser.add_argument("--out", type=Path, help="directory for the clips; those already there are kept")
    parser.add_argument("--clips", type=int, default=500, help="how many (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each (default: %(default)s)")
    parser.add_argument("--resolution", type=int, default=128, help="side of a frame in pixels (default: 128)")
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default: %(default)s)")
    parser.add_argument("--split", choices=("all", *SPLITS), default="all", help="which speakers to take")
    parser.add_argument(
        "--augmented-share",
        type=float,
        help="share of clips with noise, rooms, codecs and the like (default: 0.6 of training, 0 of held-out clips)",
    )
    parser.add_argument("--sample", type=Path, metavar="DIR", help="write only the sample portrait and voice, there")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.sample:
        write_sample(arguments.sample)
        return
    if not arguments.out:
        parser.error("--out is required")
    arguments.out.mkdir(parents=True, exist_ok=True)
    seeds = _seeds(arguments.seed, arguments.clips, arguments.split)
    paths = [arguments.out / f"{seed:08d}.npz" for seed in seeds]
    voices = None if arguments.split == "all" else arguments.split
    jobs = [
        (seed, path, arguments.seconds, arguments.resolution, voices, arguments.augmented_share)
        for seed, path in zip(seeds, paths, strict=True)
        if not path.exists()
    ]
    with multiprocessing.get_context("spawn").Pool(arguments.workers) as pool:
        for _ in tqdm(pool.imap_unordered(_write, jobs), total=len(jobs), unit="clip"):
            pass


if __name__ == "__main__":
    main()
