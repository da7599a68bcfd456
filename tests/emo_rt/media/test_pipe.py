"""Sound through pipes of every kind, and those that FFmpeg does not know how to read as they come."""

from __future__ import annotations

import os
import select
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from samples import tones, write_sound

from emo_rt.errors import InputError
from emo_rt.media import sound as media
from emo_rt.media.pipe import Pipe
from emo_rt.media.sound import STDIN, AudioStream, read_voice

SELECT = select.select


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], None]]:
    """Sends bytes through standard input, and closes it."""
    senders = []

    def send(content: bytes) -> None:
        reading, writing = os.pipe()
        monkeypatch.setattr(sys, "stdin", os.fdopen(reading))
        senders.append(threading.Thread(target=_write, args=(writing, content), daemon=True))
        senders[-1].start()

    yield send
    for sender in senders:
        sender.join(10)


def _write(descriptor: int, content: bytes) -> None:
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except BrokenPipeError:
        pass


def piped() -> np.ndarray:
    return np.concatenate([chunk.voice for chunk in AudioStream(STDIN, 16000)])


def wav(bits: int, data: bytes, rate: int = 16000, behind: bytes = b"") -> bytes:
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, min(rate * bits // 8, 0xFFFFFFFF), bits // 8, bits)
    body = b"WAVE" + head + struct.pack("<4sI", b"data", len(data)) + data + behind
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def deep_wav(bits: int) -> bytes:
    """A second of tones in more bits than anybody hears."""
    samples = (tones(1.0)[0] * 32767).astype("<i2").tobytes()
    zeros = bytes(bits // 8 - 2)
    return wav(bits, b"".join(zeros + samples[at : at + 2] for at in range(0, len(samples), 2)))


def test_a_wav_of_64_bits_is_heard(sent: Callable[[bytes], None]) -> None:
    sent(deep_wav(64))
    np.testing.assert_allclose(piped(), tones(1.0)[0], atol=1e-3)


@pytest.mark.parametrize("bits", [40, 48, 56, 72])
def test_a_wav_of_bits_that_nobody_writes_is_refused(sent: Callable[[bytes], None], bits: int) -> None:
    sent(deep_wav(bits))
    with pytest.raises(InputError, match="audio -: "):
        piped()


def test_what_stands_behind_the_samples_of_a_wav_is_not_heard(sent: Callable[[bytes], None]) -> None:
    samples = (tones(1.0)[0] * 32767).astype("<i2").tobytes()
    sent(wav(16, samples, behind=b"LIST" + struct.pack("<I", 4000) + b"\x7f" * 4000))
    assert len(piped()) == 16000


def test_a_text_that_claims_two_gigabytes_is_refused_before_it_takes_them(sent: Callable[[bytes], None]) -> None:
    content = deep_wav(64)
    text = b"LIST" + struct.pack("<I", 0x7FFFFFF0) + b"INFOISFT" + struct.pack("<I", 0x7FFFFF00) + b"me"
    sent(content[:12] + b"\0\0\0\0" + bytes(4) + text + content[12:])
    with pytest.raises(InputError, match="audio -: damaged: a text of 2147483392 bytes"):
        piped()


@pytest.mark.parametrize("rate", [1, 1_900_000_000])
def test_a_rate_of_no_recording_is_refused(sent: Callable[[bytes], None], rate: int) -> None:
    sent(wav(16, bytes(20_000), rate))
    with pytest.raises(InputError, match=f"audio -: {rate} Hz is no sample rate"):
        AudioStream(STDIN, 16000)


@pytest.mark.parametrize(
    "content",
    [
        b"ffconcat version 1.0\nfile %s\n",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:2,\n%s\n#EXT-X-ENDLIST\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=%s\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    ],
)
def test_what_names_other_files_or_ports_is_refused(
    sent: Callable[[bytes], None], tmp_path: Path, content: bytes
) -> None:
    secret = write_sound(tmp_path / "secret.wav", tones(1.0), 16000)
    sent(content % os.fsencode(secret))
    with pytest.raises(InputError, match="audio -: holds no sound that can be read"):
        piped()


@pytest.mark.parametrize("codec", ["aac", "alac"])
def test_an_m4a_whose_index_comes_last_is_read_to_its_end(
    sent: Callable[[bytes], None], tmp_path: Path, codec: str
) -> None:
    path = write_sound(tmp_path / "voice.m4a", tones(2.0, 48000), 48000, codec)
    content = path.read_bytes()
    assert content.index(b"mdat") < content.index(b"moov")
    sent(content)
    voice, expected = piped(), read_voice(path, 16000)
    assert abs(len(voice) - len(expected)) < 1024
    np.testing.assert_array_equal(voice[:30000], expected[:30000])


def test_an_m4a_that_is_too_long_to_keep_is_refused(
    sent: Callable[[bytes], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emo_rt.media.pipe.LARGEST_KEPT", 4000)
    sent(write_sound(tmp_path / "voice.m4a", tones(2.0, 48000), 48000, "aac").read_bytes())
    with pytest.raises(InputError, match="audio -: an M4A whose index comes after"):
        piped()


@pytest.mark.parametrize("name", ["voice.wav", "voice.mp3", "voice.m4a", "voice.flac"])
def test_a_named_pipe_is_live(tmp_path: Path, name: str) -> None:
    codec = {"wav": "pcm_s16le", "mp3": "libmp3lame", "m4a": "aac", "flac": "flac"}[name[6:]]
    path = write_sound(tmp_path / name, tones(1.0, 48000), 48000, codec)
    os.mkfifo(tmp_path / "pipe")
    sender = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(path.read_bytes()), daemon=True)
    sender.start()
    stream = AudioStream(tmp_path / "pipe", 16000)
    assert stream.live
    voice = np.concatenate([chunk.voice for chunk in stream])
    sender.join(10)
    assert abs(len(voice) - 16000) < 1200


def test_a_pipe_of_a_shell_is_live(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "voice.wav", tones(1.0), 16000)
    reading, writing = os.pipe()
    sender = threading.Thread(target=_write, args=(writing, path.read_bytes()), daemon=True)
    sender.start()
    assert len(read_voice(f"/dev/fd/{reading}", 16000)) == 16000
    sender.join(10)
    os.close(reading)


def test_a_named_pipe_that_nobody_writes_to_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(media, "STALLED", 0.3)
    with pytest.raises(InputError, match=r"audio .*pipe: nothing came for 0\.3 s"):
        AudioStream(tmp_path / "pipe", 16000)


@pytest.fixture
def without_select(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where a pipe is nothing that `select` knows."""

    def fail(*_: object) -> None:
        raise OSError(10038, "an operation was attempted on something that is not a socket")

    monkeypatch.setattr("emo_rt.media.pipe.select.select", fail)


@pytest.mark.usefixtures("without_select")
@pytest.mark.parametrize(
    ("name", "codec"), [("wav", "pcm_s16le"), ("mp3", "libmp3lame"), ("m4a", "aac"), ("flac", "flac")]
)
def test_a_pipe_is_heard_where_it_cannot_be_selected(
    sent: Callable[[bytes], None], tmp_path: Path, name: str, codec: str
) -> None:
    content = write_sound(tmp_path / f"voice.{name}", tones(5.0, 48000), 48000, codec).read_bytes()
    sent(content)
    with_thread = piped()
    with pytest.MonkeyPatch.context() as patch:
        patch.undo()
        patch.setattr("emo_rt.media.pipe.select.select", SELECT)
        sent(content)
        np.testing.assert_array_equal(with_thread, piped())
    assert abs(len(with_thread) - 80000) < 1200


@pytest.mark.usefixtures("without_select")
def test_a_silent_pipe_that_cannot_be_selected_is_given_up_or_ended() -> None:
    reading, writing = os.pipe()
    pipe = Pipe(reading, 0.3)
    os.write(writing, b"abc")
    assert [pipe.read(2), pipe.read(2)] == [b"ab", b"c"]
    with pytest.raises(InputError, match=r"audio -: nothing came for 0\.3 s"):
        pipe.read(2)
    os.write(writing, b"d")
    assert pipe.read(2) == b"d"
    os.close(writing)
    assert [pipe.read(2), pipe.read(2)] == [b"", b""]
    pipe.closed = True
    assert pipe.read(2) == b""
    os.close(reading)


@pytest.mark.usefixtures("without_select")
def test_a_pipe_that_cannot_be_read_is_told_where_it_cannot_be_selected(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(IsADirectoryError):
        Pipe(descriptor, 5.0).read(10)
    os.close(descriptor)


def test_a_closed_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="audio -: standard input is closed"):
        AudioStream(STDIN, 16000)
