"""Who speaks: espeak-ng's voices in several languages, and which of them training never hears.

A voice is a language or accent with a variant, such as "en-us+f3" or "fr+m1". Three sets are disjoint:

* training: the formant synthesizer's voices;
* held out: the same synthesizer with other variants, in the training languages and in two more;
* the held-out family: all variants of espeak-ng's Klatt synthesizer. It makes its sound in another way, and stands for
  another system's voices.
"""

from __future__ import annotations

import numpy as np

from training.speakers.speech.languages import WORDS_OF_LANGUAGE

SPLITS = ("train", "held-out", "held-out-family")

HELD_OUT_LANGUAGES = ("it", "ja")
TRAINING_LANGUAGES = ("en", *(language for language in WORDS_OF_LANGUAGE if language not in HELD_OUT_LANGUAGES))

_ENGLISH_SHARE = 0.5
_ENGLISH_ACCENTS = (
    "en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc",
)  # fmt: skip

_TRAINING_VARIANTS = (
    "f1", "f2", "f3", "f5", "m1", "m2", "m3", "m4", "m6", "m7", "Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo",
    "Gene", "Henrique", "Hugo", "Jacky", "Lee", "Marco", "Mario", "Michael", "anika", "antonio", "aunty", "belinda",
    "boris", "ed", "grandma", "grandpa", "gustave", "ian", "iven", "john", "linda", "marcelo", "max", "michel",
    "miguel", "norbert", "pablo", "paul", "quincy", "rob", "robert", "sandro", "steph", "travis", "victor", "zac",
)  # fmt: skip
_HELD_OUT_VARIANTS = ("f4", "m5", "m8", "Alex", "Nguyen", "Storm", "pedro", "shelby")
_KLATT_VARIANTS = ("klatt", "klatt2", "klatt3", "klatt4", "klatt5", "klatt6", "Reed", "adam", "benjamin", "caleb",
                   "david", "edward")  # fmt: skip
_WHISPERS = {"train": "whisper", "held-out": "whisperf"}

# Accents with training variants that only held-out speakers have.
_HELD_OUT_PAIRS = ("en-gb-scotland+f2", "en-us-nyc")


def _combinations(languages: tuple[str, ...], variants: tuple[str, ...]) -> tuple[str, ...]:
    accents = [accent for name in languages for accent in (_ENGLISH_ACCENTS if name == "en" else (name,))]
    return tuple(f"{accent}+{variant}" for accent in accents for variant in variants)


VOICES: dict[str, tuple[str, ...]] = {
    "train": tuple(
        voice for voice in _combinations(TRAINING_LANGUAGES, _TRAINING_VARIANTS) if voice not in _HELD_OUT_PAIRS
    ),
    "held-out": (*_combinations((*TRAINING_LANGUAGES, *HELD_OUT_LANGUAGES), _HELD_OUT_VARIANTS), *_HELD_OUT_PAIRS),
    "held-out-family": _combinations(TRAINING_LANGUAGES, _KLATT_VARIANTS),
}


def voice_language(voice: str) -> str:
    """The language of a voice: "en" for "en-us+f3", "pt-br" for "pt-br+m1"."""
    name = voice.partition("+")[0]
    return "en" if name.startswith("en") else name


def random_voice(rng: np.random.Generator, split: str) -> str:
    """A voice of one of `SPLITS`. In each split, half of the voices that are drawn speak English."""
    english = rng.random() < _ENGLISH_SHARE
    return str(rng.choice([voice for voice in VOICES[split] if (voice_language(voice) == "en") == english]))


def random_whisper(rng: np.random.Generator, split: str) -> str:
    """A voice as `random_voice` draws it, but whispering. The held-out family cannot whisper and speaks aloud."""
    voice = random_voice(rng, split)
    return f"{voice.partition('+')[0]}+{_WHISPERS[split]}" if split in _WHISPERS else voice
