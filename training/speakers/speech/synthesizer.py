"""espeak-ng, which says a text and tells when each phoneme begins.

It is called through ctypes. The times give mouth shapes with ground truth (`training.speakers.mouth`) and frame labels
for a speech encoder (`training.speakers.speech.utterance`).
"""

from __future__ import annotations

import ctypes
from contextlib import closing
from typing import Any

import av
import espeakng_loader
import numpy as np

from training.clips.phonemes import local_symbol
from training.clips.rates import SAMPLE_RATE
from training.speakers.speech.utterance import Phoneme, Utterance


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

_SILENT = 2e-3  # loudest sample of a closure, of 1
_BURST_TOLERANCE = 0.012  # seconds by which a burst may come before its reported time
_LONGEST_CLOSURE = 0.08  # seconds

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class _Espeak:
    """The library, loaded anew for each utterance and unloaded by `close`.

    espeak-ng keeps the phases of its oscillators and noise between utterances. Equal calls give equal samples only with
    a fresh copy of its globals; loading one takes 15 ms.

    Attributes:
        native_rate: sample rate of the voices in Hz.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self.native_rate: int = self._library.espeak_Initialize(
            _AUDIO_OUTPUT_RETRIEVAL,
            0,
            espeakng_loader.get_data_path().encode(),
            _INITIALIZE_PHONEME_EVENTS | _INITIALIZE_DONT_EXIT,
        )
        if self.native_rate <= 0:
            raise RuntimeError("espeak-ng did not initialise")
        self._chunks: list[np.ndarray] = []
        self._onsets: list[tuple[str, float]] = []
        self._callback = _Callback(self._receive)  # kept: the library holds only the pointer
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        if count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type != _EVENT_LIST_TERMINATED:
            if events[index].type == _EVENT_PHONEME:
                symbol = events[index].name.decode("utf-8", "replace").lstrip("',%=")
                self._onsets.append((symbol, events[index].audio_position / 1000))
            index += 1
        return 0

    def speak(
        self, text: str, voice: str, rate: int, pitch: int, pitch_range: int
    ) -> tuple[np.ndarray, list[tuple[str, float]]]:
        """Samples int16 (samples,) at the native rate, and each phoneme with its onset in seconds."""
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice!r}")
        self._library.espeak_SetParameter(_RATE, rate, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        self._library.espeak_SetParameter(_PITCH_RANGE, pitch_range, 0)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # breath noise: equal calls give equal samples
        self._chunks, self._onsets = [], []
        encoded = text.encode()
        if self._library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _CHARS_UTF8, None, None) != 0:
            raise RuntimeError(f"espeak-ng could not speak {text!r}")
        self._library.espeak_Synchronize()
        if not self._chunks:
            raise ValueError(f"nothing to speak in {text!r}")
        return np.concatenate(self._chunks), self._onsets

    def close(self) -> None:
        self._library.espeak_Terminate()
        ctypes.CDLL(None).dlclose(ctypes.c_void_p(self._library._handle))


def synthesize(text: str, voice: str = "en-us", rate: int = 175, pitch: int = 50, pitch_range: int = 50) -> Utterance:
    """Says a text.

    Args:
        text: a sentence or several.
        voice: an espeak-ng voice with an optional variant, such as "en-us+f3" (see `training.speakers.speech.voices`).
        rate: words per minute, 80 to 450.
        pitch: base pitch, 0 to 99.
        pitch_range: extent to which the pitch rises and falls, 0 to 99.

    Raises:
        ValueError: if the voice is unknown, or the text has nothing to say.
    """
    with closing(_Espeak()) as espeak:
        samples, onsets = espeak.speak(text, voice, rate, pitch, pitch_range)
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
    """The time in seconds at which a sound begins; that of a voiceless plosive or affricate includes its closure.

    espeak-ng reports these sounds from their burst on, and counts the silence before it to the sound before.
    """
    if not symbol.startswith(("p", "t", "k", "c")):
        return burst
    end = round((burst - _BURST_TOLERANCE) * SAMPLE_RATE)
    begin = max(end - round(_LONGEST_CLOSURE * SAMPLE_RATE), 0)
    loud = np.flatnonzero(np.abs(waveform[begin : max(end, 0)]) > _SILENT)
    quiet = begin + loud[-1] + 1 if len(loud) else begin
    return quiet / SAMPLE_RATE if 0 < quiet < end else burst


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """Samples int16 or float32 (samples,) at `rate` Hz -> float32 (samples,) at 16 kHz in [-1, 1]."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
    sample_format = "s16" if samples.dtype == np.int16 else "flt"
    frame = av.AudioFrame.from_ndarray(samples[None], format=sample_format, layout="mono")
    frame.sample_rate = rate
    parts = [part.to_ndarray()[0] for source in (frame, None) for part in resampler.resample(source)]
    return np.clip(np.concatenate(parts), -1, 1).astype(np.float32)
