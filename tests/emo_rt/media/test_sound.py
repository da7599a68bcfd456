"""Every kind of sound gives the same voice, in chunks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from samples import tones, write_sound

from emo_rt.media.sound import AudioStream, read_voice

FORMATS = [
    ("voice.wav", 8000, "pcm_s16le", "mono"),
    ("voice.wav", 44100, "pcm_u8", "stereo"),
    ("voice.wav", 48000, "pcm_s24le", "stereo"),
    ("voice.wav", 96000, "pcm_f32le", "mono"),
    ("voice.wav", 48000, "pcm_s16le", "5.1"),
    ("voice.wav", 11127, "pcm_s16le", "mono"),
    ("voice.flac", 44100, "flac", "stereo"),
    ("voice.mp3", 44100, "libmp3lame", "stereo"),
    ("voice.ogg", 48000, "libopus", "stereo"),
    ("voice.m4a", 44100, "aac", "stereo"),
]


@pytest.mark.parametrize(("name", "rate", "codec", "layout"), FORMATS)
def test_every_kind_of_sound_gives_the_same_voice(
    tmp_path: Path, name: str, rate: int, codec: str, layout: str
) -> None:
    channels = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    sound = np.repeat(tones(1.0, rate), channels, axis=0)
    if layout == "5.1":
        sound[[0, 1, 3, 4, 5]] = 0  # speech in films comes from the centre
    path = write_sound(tmp_path / name, sound, rate, codec, layout)
    voice = read_voice(path, 16000)
    assert abs(len(voice) - 16000) <= (960 if name.endswith("mp3") else 1)
    expected = tones(1.0)[0]
    length = min(len(voice), len(expected))
    assert np.corrcoef(voice[200 : length - 200], expected[200 : length - 200])[0, 1] > 0.98
    stream = AudioStream(path, 16000)
    assert stream.sound_channels == min(channels, 2)
    chunks = list(stream)
    assert sum(chunk.sound.shape[1] for chunk in chunks) == pytest.approx(
        len(voice) * stream.sound_rate / 16000, abs=16
    )
    assert {chunk.sound.shape[0] for chunk in chunks} == {stream.sound_channels}


def test_voice_has_exactly_the_length_of_the_sound(tmp_path: Path) -> None:
    for samples in (44100, 44101, 4410, 1764, 1765):
        path = write_sound(tmp_path / "voice.wav", tones(2.0, 44100)[:, :samples], 44100)
        assert len(read_voice(path, 16000)) == round(samples * 16000 / 44100)


def test_sound_is_read_in_chunks_and_again(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "voice.wav", tones(4.0), 16000)
    stream = AudioStream(path, 16000)
    chunks = [chunk.voice for chunk in stream]
    assert max(len(chunk) for chunk in chunks) <= 16000
    assert stream.voice_samples() == 64000
    np.testing.assert_allclose(np.concatenate(chunks), tones(4.0)[0], atol=1e-4)
