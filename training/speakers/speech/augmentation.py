"""Imperfect sound: rooms, noise, equalisers, overload and lossy codecs. No effect moves a sound in time."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import av
import numpy as np

from training.clips.rates import SAMPLE_RATE

#: Name of the encoder in libavcodec, sample rate in Hz, and bits per second (0: the encoder has one rate).
CODECS: tuple[tuple[str, int, tuple[int, ...]], ...] = (
    ("libmp3lame", 16000, (16000, 24000, 48000)),
    ("aac", 16000, (16000, 24000, 48000)),
    ("libopus", 16000, (8000, 12000, 24000)),
    ("g722", 16000, (0,)),
    ("pcm_mulaw", 8000, (0,)),
    ("libopencore_amrnb", 8000, (5900, 12200)),
)

# Names of decoders that differ from those of the encoders.
_DECODERS = {"libmp3lame": "mp3float", "libopencore_amrnb": "amrnb"}


def augment(
    waveform: np.ndarray, rng: np.random.Generator, babble: Callable[[], np.ndarray]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Applies one to three effects, in the order in which they occur in life.

    Args:
        waveform: float32 (samples,) at 16 kHz in [-1, 1].
        rng: chooses the effects and their strength.
        babble: function that gives other voices (samples,) for the background; called only when they are used.

    Returns:
        the changed sound, float32 (samples,) and as loud as before, and the names of the effects.
    """
    effects: dict[str, tuple[float, Callable[[np.ndarray], np.ndarray]]] = {
        "room": (0.35, lambda sound: room(sound, rng)),
        "noise": (0.40, lambda sound: add_noise(sound, coloured_noise(len(sound), rng), rng.uniform(5, 30))),
        "babble": (0.12, lambda sound: add_noise(sound, babble(), rng.uniform(8, 25))),
        "equaliser": (0.25, lambda sound: equalise(sound, rng)),
        "telephone": (0.12, telephone),
        "overload": (0.12, lambda sound: overload(sound, rng.uniform(1.5, 4))),
        "codec": (0.30, lambda sound: random_codec(sound, rng)),
    }
    chosen: list[str] = []
    while not chosen:
        chosen = [name for name, (chance, _) in effects.items() if rng.random() < chance][:3]
    peak = np.abs(waveform).max()
    for name in chosen:
        waveform = effects[name][1](waveform)
    loudest = np.abs(waveform).max()
    return (waveform * (peak / max(loudest, 1e-6))).astype(np.float32), tuple(chosen)


def coloured_noise(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise (samples,) of unit power: white, pink, brown or anything between."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    frequencies = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE).clip(20)
    noise = np.fft.irfft(spectrum * frequencies ** -rng.uniform(0, 1), samples)
    return noise / noise.std()


def add_noise(waveform: np.ndarray, noise: np.ndarray, decibels: float) -> np.ndarray:
    """Puts noise behind a voice.

    Args:
        waveform: (samples,) the voice.
        noise: (n,) the noise, which is repeated as long as the voice lasts.
        decibels: power of the voice above that of the noise.
    """
    noise = np.resize(noise, len(waveform))
    power = np.sqrt((waveform**2).mean() / max((noise**2).mean(), 1e-12)) * 10 ** (-decibels / 20)
    return waveform + power * noise


def room(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Adds echoes to a sound (samples,) that fade exponentially, by 60 dB in 0.15 to 0.8 s."""
    fading = rng.uniform(0.15, 0.8)
    time = np.arange(round(fading * SAMPLE_RATE)) / SAMPLE_RATE
    response = rng.standard_normal(len(time)) * 10 ** (-3 * time / fading)
    response[time < rng.uniform(0.002, 0.02)] = 0  # before the first echo
    response *= 10 ** (-rng.uniform(2, 15) / 20) / np.sqrt((response**2).sum())
    response[0] = 1
    size = len(waveform) + len(response) - 1
    return np.fft.irfft(np.fft.rfft(waveform, size) * np.fft.rfft(response, size), size)[: len(waveform)]


def equalise(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Changes a sound (samples,) by up to 10 dB at five frequencies, smoothly between them and without delay."""
    anchors = np.log([100, 400, 1200, 3000, 7000])
    return _filtered(waveform, lambda f: np.interp(np.log(f), anchors, rng.uniform(-10, 10, 5)))


def telephone(waveform: np.ndarray) -> np.ndarray:
    """Leaves 300 to 3400 Hz of a sound (samples,), and 40 dB less an octave outside, without delay."""
    return _filtered(waveform, lambda f: -40 * (np.log2(300 / f).clip(0) + np.log2(f / 3400).clip(0)))


def overload(waveform: np.ndarray, gain: float) -> np.ndarray:
    """Cuts the peaks of a sound (samples,) that is `gain` times too loud for its microphone."""
    level = np.abs(waveform).max() / gain
    return waveform.clip(-level, level)


def random_codec(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Encodes and decodes a sound (samples,) with one of `CODECS`."""
    name, rate, bit_rates = CODECS[int(rng.integers(len(CODECS)))]
    return through_codec(waveform, name, rate, int(rng.choice(bit_rates)))


def through_codec(waveform: np.ndarray, name: str, rate: int, bit_rate: int) -> np.ndarray:
    """Encodes and decodes a sound. The codec's delay is taken out.

    Args:
        waveform: float32 (samples,) at 16 kHz.
        name: name of an encoder in libavcodec.
        rate: sample rate of the encoder in Hz.
        bit_rate: bits per second; 0 leaves them to the encoder.
    """
    delay = _delay(name, rate, bit_rate)
    decoded = _encode_and_decode(waveform, name, rate, bit_rate)
    decoded = decoded[delay:] if delay >= 0 else np.pad(decoded, (-delay, 0))
    return np.pad(decoded, (0, max(len(waveform) - len(decoded), 0)))[: len(waveform)]


def _filtered(waveform: np.ndarray, decibels: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Changes a sound (samples,) by the `decibels` that a function gives for frequencies in Hz."""
    size = len(waveform) + SAMPLE_RATE // 4  # so that what spreads beyond one end does not wrap to the other
    frequencies = np.fft.rfftfreq(size, 1 / SAMPLE_RATE).clip(20)
    return np.fft.irfft(np.fft.rfft(waveform, size) * 10 ** (decibels(frequencies) / 20), size)[: len(waveform)]


@lru_cache
def _delay(name: str, rate: int, bit_rate: int) -> int:
    """Delay of a codec in samples at 16 kHz, measured with a second of bursts of noise."""
    rng = np.random.default_rng(0)
    envelope = np.repeat(rng.uniform(0, 1, 20) ** 3, SAMPLE_RATE // 20)
    probe = _filtered(rng.standard_normal(SAMPLE_RATE), lambda f: -60 * np.log2(f / 1500).clip(0)) * envelope
    probe = (0.5 * probe / np.abs(probe).max()).astype(np.float32)
    decoded = _encode_and_decode(probe, name, rate, bit_rate)
    size = 1 << 16
    correlation = np.fft.irfft(np.fft.rfft(decoded, size) * np.fft.rfft(probe, size).conj())
    lag = int(correlation.argmax())
    return lag - size if lag > size // 2 else lag


def _encode_and_decode(waveform: np.ndarray, name: str, rate: int, bit_rate: int) -> np.ndarray:
    encoder = av.CodecContext.create(name, "w")
    assert isinstance(encoder, av.AudioCodecContext)
    formats = [format.name for format in encoder.codec.audio_formats or []]
    encoder.sample_rate, encoder.layout = rate, "mono"
    encoder.format = next(choice for choice in ("s16", "fltp", "flt") if choice in formats)
    if bit_rate:
        encoder.bit_rate = bit_rate
    encoder.open()
    resampler = av.AudioResampler(
        format=encoder.format.name, layout="mono", rate=rate, frame_size=encoder.frame_size or None
    )
    frame = av.AudioFrame.from_ndarray(waveform[None].astype(np.float32), format="flt", layout="mono")
    frame.sample_rate = SAMPLE_RATE
    packets = [
        packet for source in (frame, None) for part in resampler.resample(source) for packet in encoder.encode(part)
    ]
    packets += encoder.encode(None)
    decoder = av.CodecContext.create(_DECODERS.get(name, encoder.codec.name), "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate, decoder.layout = rate, "mono"
    decoder.extradata = encoder.extradata
    decoded = [part for packet in [*packets, None] for part in decoder.decode(packet)]
    back = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
    return np.concatenate([part.to_ndarray()[0] for f in [*decoded, None] for part in back.resample(f)])
