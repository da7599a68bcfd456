"""Melodies for spoken sentences: notes, vibrato and long vowels, while the times of the phonemes stay exact."""

from __future__ import annotations

import dataclasses

import numpy as np

from training.clips.phonemes import FIRST_VOWEL, phoneme_class
from training.clips.rates import SAMPLE_RATE
from training.speakers.speech.utterance import Phoneme, Utterance

# Steps of scales in semitones: major, minor, pentatonic.
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9))

_HOP = 80  # samples from one estimate of pitch to the next: 5 ms
_LONGEST_PERIOD, _SHORTEST_PERIOD = SAMPLE_RATE // 60, SAMPLE_RATE // 500
_LONGEST_VOWEL = 1.5  # seconds


def sing(utterance: Utterance, rng: np.random.Generator) -> Utterance:
    """Sings an utterance: each syllable takes a note of a scale and a length of whole half-beats, with vibrato.

    Vowels take the added time, consonants keep theirs (pitch-synchronous overlap-add after Moulines and Charpentier,
    1990). The map of time is piecewise linear between phonemes, so their new times are exact.

    Args:
        utterance: spoken words; without a vowel they stay as they are.
        rng: chooses scale, notes, lengths and vibrato.
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
    """Hz at each time (n,): a walk on a scale around `middle` Hz with a new note at each onset, glides and vibrato."""
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
    """Lays grains of two periods around the source's pitch marks at the melody's periods: float32 (samples,).

    `pitch` and `melody` are Hz every 5 ms of the source and of the result; `source` and `target` are times in seconds
    that belong together.
    """
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
