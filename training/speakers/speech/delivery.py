"""How a sentence is said: by whom, how fast and high, whispered or sung. Phoneme times stay exact."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from training.clips.phonemes import FIRST_VOWEL, phoneme_class
from training.clips.rates import SAMPLE_RATE
from training.speakers.speech.synthesizer import Phoneme, Utterance, resample, synthesize
from training.speakers.speech.voices import random_voice, random_whisper

# Steps of scales in semitones: major, minor, pentatonic.
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9))

_HOP = 80  # samples from one estimate of pitch to the next: 5 ms
_LONGEST_PERIOD, _SHORTEST_PERIOD = SAMPLE_RATE // 60, SAMPLE_RATE // 500
_LONGEST_VOWEL = 1.5  # seconds

_SINGING_SHARE, _WHISPERING_SHARE = 0.1, 0.04


@dataclass(frozen=True)
class Delivery:
    """A speaker's way of saying things.

    Attributes:
        voice: of espeak-ng.
        style: "speech", "whisper" or "singing".
        rate: words per minute.
        pitch, pitch_range: see `training.speakers.speech.synthesizer.synthesize`.
        size: of the speaker, 1 as the voice is; see `resize_voice`.
    """

    voice: str
    style: str
    rate: int
    pitch: int
    pitch_range: int
    size: float

    def say(self, text: str, rng: np.random.Generator) -> Utterance:
        rate = max(round(self.rate * self.size), 80)  # a larger voice is played more slowly
        utterance = resize_voice(synthesize(text, self.voice, rate, self.pitch, self.pitch_range), self.size)
        return sing(utterance, rng) if self.style == "singing" else utterance


def random_delivery(rng: np.random.Generator, split: str) -> Delivery:
    """One with a voice of a split of `training.speakers.speech.voices`: a tenth sing, a few whisper."""
    style = str(
        rng.choice(
            ["singing", "whisper", "speech"],
            p=[_SINGING_SHARE, _WHISPERING_SHARE, 1 - _SINGING_SHARE - _WHISPERING_SHARE],
        )
    )
    return Delivery(
        voice=random_whisper(rng, split) if style == "whisper" else random_voice(rng, split),
        style=style,
        rate=int(rng.integers(110, 236)),
        pitch=int(rng.integers(15, 86)),
        pitch_range=int(rng.integers(20, 90)),
        size=float(rng.uniform(0.9, 1.12)),
    )


def resize_voice(utterance: Utterance, size: float) -> Utterance:
    """The utterance played `size` times as slowly: pitch and formants of a larger or smaller speaker."""
    played = round(SAMPLE_RATE / size)  # Hz
    waveform, exact = resample(utterance.waveform, played), SAMPLE_RATE / played
    phonemes = tuple(Phoneme(p.symbol, p.start * exact, p.end * exact) for p in utterance.phonemes)
    return dataclasses.replace(utterance, waveform=waveform, phonemes=phonemes)


def sing(utterance: Utterance, rng: np.random.Generator) -> Utterance:
    """A melody on the utterance: a note of a scale and a length of whole half-beats for each syllable, with vibrato.

    Vowels take the added time, consonants keep theirs (pitch-synchronous overlap-add after Moulines and Charpentier,
    1990). The map of time is piecewise linear between phonemes, so their new times are exact.
    """
    starts = np.array([phoneme.start for phoneme in utterance.phonemes])
    source = np.unique(np.array([0.0, *starts, utterance.phonemes[-1].end, utterance.seconds]))
    vowels = np.array([_is_vowel(utterance, start) for start in source[:-1]])
    lengths = np.diff(source)
    onsets = np.flatnonzero(vowels)
    if not len(onsets):
        return utterance
    half_beat = rng.uniform(0.13, 0.26)
    for first, following in zip(onsets, [*onsets[1:], len(lengths)], strict=True):
        others = lengths[first + 1 : following].sum()
        wanted = half_beat * rng.choice([1, 2, 2, 3, 4])
        lengths[first] = np.clip(wanted - others, lengths[first], _LONGEST_VOWEL)
    target = np.concatenate([[0.0], np.cumsum(lengths)])

    pitch = _pitch(utterance.waveform)
    samples = round(target[-1] * SAMPLE_RATE)
    time = np.arange(0, samples + _HOP, _HOP) / SAMPLE_RATE
    melody = _melody(rng, target[onsets], time, float(np.median(pitch[pitch > 0])) if pitch.any() else 150.0)
    waveform = _overlap_add(utterance.waveform, pitch, melody, source, target, samples)
    phonemes = tuple(
        Phoneme(p.symbol, *(float(np.interp(edge, source, target)) for edge in (p.start, p.end)))
        for p in utterance.phonemes
    )
    return dataclasses.replace(utterance, waveform=waveform, phonemes=phonemes)


def _is_vowel(utterance: Utterance, start: float) -> bool:
    return any(p.start == start and phoneme_class(p.symbol) >= FIRST_VOWEL for p in utterance.phonemes)


def _melody(rng: np.random.Generator, onsets: np.ndarray, time: np.ndarray, middle: float) -> np.ndarray:
    """Hz at each time: a walk on a scale around `middle` Hz with a new note at each onset, gliding and vibrating."""
    scale = np.array(_SCALES[int(rng.integers(len(_SCALES)))])
    degrees = np.clip(np.cumsum(rng.integers(-2, 3, len(onsets))), -3, 6)
    notes = scale[degrees % len(scale)] + 12 * (degrees // len(scale))
    steps = notes[(np.searchsorted(onsets, time, side="right") - 1).clip(0)].astype(float)
    glide = np.hanning(13)[1:-1]
    semitones = np.convolve(np.pad(steps, 5, mode="edge"), glide / glide.sum(), mode="valid")
    vibrato = rng.uniform(0.1, 0.5) * np.sin(2 * np.pi * rng.uniform(4.5, 6.5) * time + rng.uniform(0, 2 * np.pi))
    return middle * 2 ** ((semitones + vibrato) / 12)


def _pitch(waveform: np.ndarray) -> np.ndarray:
    """Hz every 5 ms, 0 where there is no voice: the highest peak of the normalised autocorrelation."""
    size = 3 * _LONGEST_PERIOD
    padded = np.pad(waveform, (size // 2, size))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[: len(waveform) + _HOP : _HOP]
    window = np.hanning(size)
    spectrum = np.abs(np.fft.rfft(frames * window, 2048)) ** 2
    correlation = np.fft.irfft(spectrum)[:, : _LONGEST_PERIOD + 1]
    of_window = np.fft.irfft(np.abs(np.fft.rfft(window, 2048)) ** 2)[: _LONGEST_PERIOD + 1]
    correlation /= (correlation[:, :1] + 1e-9) * (of_window / of_window[0])
    lags = np.arange(_SHORTEST_PERIOD, _LONGEST_PERIOD)
    chances = correlation[:, lags] - 0.001 * lags  # of nearly equal peaks, the shortest period
    best = lags[chances.argmax(1)]
    energy = (frames**2).mean(1)
    voiced = (correlation[np.arange(len(best)), best] > 0.5) & (energy > 1e-3 * energy.max())
    return np.where(voiced, SAMPLE_RATE / best, 0.0)


def _pitch_marks(waveform: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """Samples at which the voice's periods peak, in order."""
    marks: list[int] = []
    position = 0
    while position < len(waveform):
        frequency = pitch[min(position // _HOP, len(pitch) - 1)]
        if not frequency:
            position += _HOP
            continue
        period = SAMPLE_RATE / frequency
        follows = marks and position - marks[-1] < 1.5 * period
        reach = max(round((0.2 if follows else 0.5) * period), 1)
        begin = max(position - reach, marks[-1] + 1 if marks else 0)
        marks.append(begin + int(waveform[begin : position + reach].argmax()))
        position = max(position, marks[-1]) if not follows else marks[-1]
        position += round(period)
    return np.array(marks, int)


def _overlap_add(
    waveform: np.ndarray, pitch: np.ndarray, melody: np.ndarray, source: np.ndarray, target: np.ndarray, samples: int
) -> np.ndarray:
    """Grains of two periods around the source's pitch marks, laid at the melody's periods."""
    marks = _pitch_marks(waveform, pitch)
    margin = 2 * _LONGEST_PERIOD
    padded, out = np.pad(waveform, margin), np.zeros(samples + 2 * margin, np.float32)
    position = 0.0
    while position < samples:
        at = float(np.interp(position / SAMPLE_RATE, target, source)) * SAMPLE_RATE
        frequency = pitch[min(round(at / _HOP), len(pitch) - 1)]
        if frequency and len(marks):
            nearest = int(marks[np.abs(marks - at).argmin()])
            half = round(SAMPLE_RATE / frequency)
            centre = nearest if abs(nearest - at) < half else round(at)
            step = SAMPLE_RATE / melody[min(int(position) // _HOP, len(melody) - 1)]
        else:
            centre, half, step = round(at), _HOP, float(_HOP)
        grain = padded[margin + centre - half : margin + centre + half] * np.hanning(2 * half + 1)[:-1]
        begin = margin + round(position) - half
        out[begin : begin + len(grain)] += grain
        position += step
    return np.clip(out[margin : margin + samples], -1, 1)
