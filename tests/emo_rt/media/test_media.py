from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from samples import drawn_face, tones, write_sound

from emo_rt.media.image import read_image
from emo_rt.media.sound import AudioStream, read_voice


def test_a_picture_is_read_as_it_is(tmp_path: Path) -> None:
    image = drawn_face(64)
    image.save(tmp_path / "face.png")
    np.testing.assert_array_equal(read_image(tmp_path / "face.png"), np.asarray(image))


@pytest.mark.parametrize("name", ["grey.png", "palette.gif", "cmyk.jpg", "cmyk.tif", "deep.png", "bits.png"])
def test_every_kind_of_picture_looks_the_same(tmp_path: Path, name: str) -> None:
    face = drawn_face(64)
    grey = face.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    picture = {
        "grey.png": grey,
        "palette.gif": face.convert("P", palette=Image.Palette.ADAPTIVE),
        "cmyk.jpg": face.convert("CMYK"),
        "cmyk.tif": face.convert("CMYK"),
        "deep.png": deep,
        "bits.png": face.convert("1"),
    }[name]
    picture.save(tmp_path / name)
    pixels = read_image(tmp_path / name).astype(float)
    expected = {"grey.png": grey, "deep.png": grey, "bits.png": face.convert("1")}.get(name, face).convert("RGB")
    assert pixels.shape == (64, 64, 3)
    assert np.abs(pixels - np.asarray(expected, float)).mean() < 8


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_becomes_mid_grey(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 32, 64))
    if mode == "P":
        image = image.quantize(2)
    elif mode == "LA":
        image = image.convert("LA")
    image.save(tmp_path / "clear.png")
    pixels = read_image(tmp_path / "clear.png").astype(int)
    assert np.abs(pixels[:, 40:] - 128).max() <= 2
    assert pixels[:, :30].max() <= 2


def test_a_picture_is_turned_upright(tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(48 * 64, dtype=np.uint16).reshape(48, 64).astype(np.uint8)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png"), np.rot90(np.asarray(image), -1))


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
