"""What speakers say: random sentences, of which a tenth is held out."""

from __future__ import annotations

import hashlib

import numpy as np

from training.speakers.speech.languages import WORDS_OF_LANGUAGE
from training.speakers.speech.vocabulary import SENTENCE_PATTERNS, WORDS


def random_sentence(rng: np.random.Generator, language: str = "en", held_out: bool = False) -> str:
    """A sentence that takes 2 to 5 s to say: grammatical in English, frequent words at random in other languages.

    Args:
        rng: chooses the pattern and the words.
        language: "en", or a name in `training.speakers.speech.languages`.
        held_out: whether the sentence is one of the tenth that training never hears.

    Raises:
        KeyError: if there are no words of this language.
    """
    while True:
        sentence = _english_sentence(rng) if language == "en" else _words(rng, language)
        if (hashlib.sha256(sentence.encode()).digest()[0] < 26) == held_out:
            return sentence


def _english_sentence(rng: np.random.Generator) -> str:
    sentence = str(rng.choice(SENTENCE_PATTERNS))
    while "{" in sentence:
        before, _, rest = sentence.partition("{")
        kind, _, after = rest.partition("}")
        sentence = before + str(rng.choice(WORDS[kind])) + after
    return sentence[0].upper() + sentence[1:]


def _words(rng: np.random.Generator, language: str) -> str:
    words = rng.choice(WORDS_OF_LANGUAGE[language], int(rng.integers(4, 9)))
    return " ".join(words) + str(rng.choice([".", ".", ".", "?"]))
