"""What speakers say: sentences of their own split alone, in the voice and behind it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from training.speakers.speech import recording
from training.speakers.speech.recording import record, speak


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each sentence that was drawn, whether it is one that training never hears."""
    drawn: list[bool] = []
    draw = recording.random_sentence

    def listen(rng: np.random.Generator, language: str = "en", held_out: bool = False) -> str:
        drawn.append(held_out)
        return draw(rng, language, held_out)

    monkeypatch.setattr(recording, "random_sentence", listen)
    return drawn


@pytest.mark.parametrize(("split", "held_out"), [("train", False), ("held-out", True), ("held-out-family", True)])
def test_a_voice_says_sentences_of_its_split(split: str, held_out: bool, said: list[bool]) -> None:
    speak(np.random.default_rng(0), split, 2.0)
    assert set(said) == {held_out}


@pytest.mark.parametrize(("split", "held_out"), [("train", False), ("held-out", True)])
def test_those_who_babble_behind_it_do_too(
    split: str, held_out: bool, said: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_babble(
        waveform: np.ndarray, rng: np.random.Generator, babble: Callable[[], np.ndarray]
    ) -> tuple[np.ndarray, list[str]]:
        return babble(), ["babble"]

    monkeypatch.setattr(recording, "augment", only_babble)
    heard, effects = record(np.random.default_rng(0), np.zeros(16000, np.float32), split, augmented_share=1.0)
    assert (len(heard), effects) == (16000, "babble")
    assert said == 3 * [held_out]
