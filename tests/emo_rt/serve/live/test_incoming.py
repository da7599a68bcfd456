from __future__ import annotations

import io
import time

import av
import numpy as np
import pytest

from emo_rt.errors import InputError
from emo_rt.serve.live.incoming import incoming_sound


def tone(seconds: float, rate: int) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def encoded(container: str, seconds: float) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream("libopus", rate=48000, layout="mono")
        for start in range(0, round(seconds * 48000), 960):
            part = tone(seconds, 48000)[None, start : start + 960]
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format="flt", layout="mono")
            frame.sample_rate, frame.pts = 48000, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def test_samples_arrive_as_they_are_also_where_chunks_cut_one_in_two() -> None:
    heard: list[np.ndarray] = []
    sound = incoming_sound("pcm_s16le", heard.append)
    samples = (tone(0.1, 16000) * 32767).astype("<i2")
    data = samples.tobytes()
    for start in range(0, len(data), 333):
        sound.add(data[start : start + 333])
    np.testing.assert_array_equal(np.concatenate(heard), samples.astype(np.float32) / 32768)


@pytest.mark.parametrize(("name", "container"), [("ogg_opus", "ogg"), ("webm_opus", "webm")])
def test_opus_is_heard_while_it_still_comes(name: str, container: str) -> None:
    heard: list[np.ndarray] = []
    sound = incoming_sound(name, heard.append)
    data = encoded(container, 4.0)
    for start in range(0, len(data) // 2, 500):
        sound.add(data[start : min(start + 500, len(data) // 2)])
    until = time.monotonic() + 10
    while sum(map(len, heard)) < 48000:  # one second at least, of the two that came
        assert time.monotonic() < until
        time.sleep(0.01)
    sound.add(data[len(data) // 2 :])
    sound.close()
    voice = np.concatenate(heard)
    assert abs(len(voice) / 48000 - 4.0) < 0.05
    spectrum = np.abs(np.fft.rfft(voice[48000:96000]))
    assert int(np.argmax(spectrum)) == 220


@pytest.mark.parametrize("data", [b"", b"nothing of the kind" * 1000])
def test_what_is_no_opus_is_refused_in_words(data: bytes) -> None:
    sound = incoming_sound("ogg_opus", lambda _: None)
    sound.add(data)
    with pytest.raises(InputError, match="audio: is no"):
        sound.close()


def test_another_codec_is_refused() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as out:
        stream = out.add_stream("flac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format="s16", layout="mono")
        frame.sample_rate = 48000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    sound = incoming_sound("ogg_opus", lambda _: None)
    sound.add(file.getvalue())
    with pytest.raises(InputError, match="is no Opus"):
        sound.close()
