"""Speech with the time of every phoneme, synthesised by espeak-ng.

espeak-ng is called through ctypes: besides the samples it reports when each phoneme begins, which gives mouth shapes
with ground truth (`training.speakers.mouth`) and frame labels for a speech encoder (`frame_classes`).
"""

import ctypes
import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import av
import espeakng_loader
import numpy as np

from training.clips.phonemes import local_symbol, phoneme_class
from training.clips.rates import SAMPLE_RATE
from training.speakers.speech.languages import WORDS_OF_LANGUAGE
from training.speakers.speech.vocabulary import SENTENCE_PATTERNS, WORDS


@dataclass(frozen=True)
class Phoneme:
    """One speech sound in espeak's notation without stress marks; `start` and `end` in seconds."""

    symbol: str
    start: float
    end: float


@dataclass(frozen=True)
class Utterance:
    """`waveform`: float32 (samples,) at 16 kHz in [-1, 1]; `phonemes` in order, each ending where the next begins."""

    waveform: np.ndarray
    phonemes: tuple[Phoneme, ...]
    text: str
    voice: str

    @property
    def seconds(self) -> float:
        return len(self.waveform) / SAMPLE_RATE


class _Event(ctypes.Structure):
    """`espeak_EVENT` of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # milliseconds
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),  # a union; for a phoneme event its UTF-8 symbol
    )


_AUDIO_OUTPUT_RETRIEVAL = 1
_INITIALIZE_PHONEME_EVENTS = 0x0001
_INITIALIZE_DONT_EXIT = 0x8000
_EVENT_LIST_TERMINATED, _EVENT_PHONEME = 0, 7
_CHARS_UTF8 = 1
_RATE, _PITCH, _PITCH_RANGE = 1, 3, 4

_SILENT = 2e-3
_BURST_TOLERANCE, _LONGEST_CLOSURE = 0.012, 0.08  # seconds

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class _Espeak:
    """The library, loaded anew for each utterance and unloaded by `close`.

    espeak-ng keeps the phases of its oscillators and noise between utterances; only a fresh copy of its globals makes
    equal calls give equal samples (15 ms).
    """

    def __init__(self) -> None:
        self.library = ctypes.CDLL(espeakng_loader.get_library_path())
        self.native_rate: int = self.library.espeak_Initialize(
            _AUDIO_OUTPUT_RETRIEVAL,
            0,
            espeakng_loader.get_data_path().encode(),
            _INITIALIZE_PHONEME_EVENTS | _INITIALIZE_DONT_EXIT,
        )
        if self.native_rate <= 0:
            raise RuntimeError("espeak-ng did not initialise")
        self.chunks: list[np.ndarray] = []
        self.onsets: list[tuple[str, float]] = []
        self.callback = _Callback(self._receive)  # kept: the library holds only the pointer
        self.library.espeak_SetSynthCallback(self.callback)

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        if count > 0:
            self.chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type != _EVENT_LIST_TERMINATED:
            if events[index].type == _EVENT_PHONEME:
                symbol = events[index].name.decode("utf-8", "replace").lstrip("',%=")
                self.onsets.append((symbol, events[index].audio_position / 1000))
            index += 1
        return 0

    def __call__(
        self, text: str, voice: str, rate: int, pitch: int, pitch_range: int
    ) -> tuple[np.ndarray, list[tuple[str, float]]]:
        """Returns int16 samples at the native rate and each phoneme's onset in seconds."""
        if self.library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice!r}")
        self.library.espeak_SetParameter(_RATE, rate, 0)
        self.library.espeak_SetParameter(_PITCH, pitch, 0)
        self.library.espeak_SetParameter(_PITCH_RANGE, pitch_range, 0)
        self.library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # breath noise: equal calls give equal samples
        self.chunks, self.onsets = [], []
        encoded = text.encode()
        if self.library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _CHARS_UTF8, None, None) != 0:
            raise RuntimeError(f"espeak-ng could not speak {text!r}")
        self.library.espeak_Synchronize()
        if not self.chunks:
            raise ValueError(f"nothing to speak in {text!r}")
        return np.concatenate(self.chunks), self.onsets

    def close(self) -> None:
        self.library.espeak_Terminate()
        ctypes.CDLL(None).dlclose(ctypes.c_void_p(self.library._handle))


def synthesize(text: str, voice: str = "en-us", rate: int = 175, pitch: int = 50, pitch_range: int = 50) -> Utterance:
    """Speaks `text`.

    Args:
        text: a sentence or several.
        voice: an espeak-ng voice with an optional variant, such as "en-us+f3" (see `training.speakers.speech.voices`).
        rate: words per minute, 80 to 450.
        pitch: base pitch, 0 to 99.
        pitch_range: how far it rises and falls, 0 to 99.

    Raises:
        ValueError: the voice is unknown, or the text has nothing to say.
    """
    with closing(_Espeak()) as espeak:
        samples, onsets = espeak(text, voice, rate, pitch, pitch_range)
    waveform = resample(samples, espeak.native_rate)
    seconds = len(waveform) / SAMPLE_RATE
    starts = [min(_closure(waveform, symbol, start), seconds) for symbol, start in onsets] + [seconds]
    starts = np.maximum.accumulate(starts).tolist()
    language = voice.partition("+")[0]
    phonemes = tuple(
        Phoneme(local_symbol(symbol, language), start, end)
        for (symbol, _), start, end in zip(onsets, starts[:-1], starts[1:], strict=True)
        if end > start
    )
    return Utterance(waveform, phonemes, text, voice)


def _closure(waveform: np.ndarray, symbol: str, burst: float) -> float:
    """When the closure of a voiceless plosive or affricate begins, in seconds; of other sounds, when they do.

    espeak-ng reports these sounds from their burst on, and counts the silence before it to the sound before.
    """
    if not symbol.startswith(("p", "t", "k", "c")):
        return burst
    end = round((burst - _BURST_TOLERANCE) * SAMPLE_RATE)
    begin = max(end - round(_LONGEST_CLOSURE * SAMPLE_RATE), 0)
    loud = np.flatnonzero(np.abs(waveform[begin : max(end, 0)]) > _SILENT)
    quiet = begin + loud[-1] + 1 if len(loud) else begin
    return quiet / SAMPLE_RATE if 0 < quiet < end else burst


def join(utterances: Sequence[Utterance], pauses: Sequence[float]) -> Utterance:
    """One utterance after the other, each preceded by its pause in seconds."""
    waveforms, phonemes, start = [], [], 0
    for utterance, pause in zip(utterances, pauses, strict=True):
        gap = round(pause * SAMPLE_RATE)
        start += gap
        shift = start / SAMPLE_RATE
        waveforms += [np.zeros(gap, np.float32), utterance.waveform]
        phonemes += [Phoneme("_", shift - pause, shift)] if gap else []
        phonemes += [Phoneme(p.symbol, p.start + shift, p.end + shift) for p in utterance.phonemes]
        start += len(utterance.waveform)
    text = " ".join(utterance.text for utterance in utterances)
    return Utterance(np.concatenate(waveforms), tuple(phonemes), text, utterances[0].voice)


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """int16 or float32 (samples,) at `rate` Hz -> float32 (samples,) at 16 kHz in [-1, 1]."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
    sample_format = "s16" if samples.dtype == np.int16 else "flt"
    frame = av.AudioFrame.from_ndarray(samples[None], format=sample_format, layout="mono")
    frame.sample_rate = rate
    parts = [part.to_ndarray()[0] for source in (frame, None) for part in resampler.resample(source)]
    return np.clip(np.concatenate(parts), -1, 1).astype(np.float32)


def frame_classes(utterance: Utterance, frames_per_second: float, frames: int) -> np.ndarray:
    """The phoneme class in force in the middle of each frame, int64 (frames,); silence beyond the utterance."""
    middles = (np.arange(frames) + 0.5) / frames_per_second
    if not utterance.phonemes:
        return np.zeros(frames, np.int64)
    starts = np.array([phoneme.start for phoneme in utterance.phonemes])
    classes = np.array([0] + [phoneme_class(phoneme.symbol) for phoneme in utterance.phonemes], np.int64)
    found = classes[np.searchsorted(starts, middles, side="right")]
    return np.where(middles < utterance.phonemes[-1].end, found, 0)


def random_sentence(rng: np.random.Generator, language: str = "en", held_out: bool = False) -> str:
    """A sentence that takes 2 to 5 s to say: grammatical in English, frequent words at random in other languages.

    A tenth of all sentences is held out: no sentence comes both with and without `held_out`.

    Raises:
        KeyError: there are no words of this language.
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
