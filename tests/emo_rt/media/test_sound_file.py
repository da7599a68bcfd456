"""What is heard of files that are damaged, cut, paused, odd or hostile."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from samples import tones, write_sound

from emo_rt.errors import InputError
from emo_rt.media.sound import AudioStream, SoundChunk, read_voice
from emo_rt.media.sound_file import SOUND_FORMATS

RATE = 44100


def test_every_format_that_is_read_exists() -> None:
    known = {name for names in av.formats_available for name in names.split(",")}
    assert not set(SOUND_FORMATS) - known


def heard(path: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The voice, the sound, and the lines that were said."""
    said: list[str] = []
    chunks: list[SoundChunk] = list(AudioStream(path, 16000, say=said.append))
    assert all(line.startswith(f"audio {path}: ") for line in said)
    return (
        np.concatenate([chunk.voice for chunk in chunks]),
        np.concatenate([chunk.sound for chunk in chunks], axis=1),
        said,
    )


def loud(voice: np.ndarray, start: float, end: float) -> float:
    """The loudness of a stretch in seconds."""
    return float(np.abs(voice[round(start * 16000) : round(end * 16000)]).mean())


def mp3(path: Path, seconds: float = 2.0, rate: int = RATE, channels: int = 2) -> bytes:
    layout = {1: "mono", 2: "stereo"}[channels]
    return write_sound(path, tones(seconds, rate, channels), rate, "libmp3lame", layout).read_bytes()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.wav", "ffconcat version 1.0\nfile secret.wav\n"),
        ("list.mp3", "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:2,\nsecret.ts\n#EXT-X-ENDLIST\n"),
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:2,\nsecret.ts\n#EXT-X-ENDLIST\n"),
        ("list.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n"),
    ],
)
def test_a_file_that_names_others_is_not_followed(tmp_path: Path, name: str, content: str) -> None:
    write_sound(tmp_path / "secret.wav", tones(2.0), 16000)
    write_sound(tmp_path / "secret.ts", tones(2.0, 48000), 48000, "aac")
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=f"audio .*{name}: holds no sound that can be read"):
        read_voice(tmp_path / name, 16000)


def refers_to(content: bytes, name: bytes) -> bytes:
    """An MP4 with the index of another one, `content`, which says that the sound lies in the file `name` beside it."""
    path = b"/" + name
    alias = bytes(10) + bytes([4]) + b"disk".ljust(27, b"\0") + bytes(12) + bytes([len(name)]) + name.ljust(63, b"\0")
    alias += bytes(16) + struct.pack(">HH", 1, 1) + bytes(16)
    alias += struct.pack(">HH", 2, len(path)) + path + bytes(len(path) % 2) + struct.pack(">Hh", 0xFFFF, 0)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    at = content.index(b"dref") + 12
    changed = bytearray(content[:at] + entry + content[at + 12 :])
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        start = changed.index(box) - 4
        size = int.from_bytes(changed[start : start + 4], "big") + len(entry) - 12
        changed[start : start + 4] = size.to_bytes(4, "big")
    sound = changed.index(b"mdat")
    changed[sound + 4 : changed.index(b"moov") - 4] = bytes(changed.index(b"moov") - 8 - sound)
    return bytes(changed)


def test_an_mp4_that_names_another_file_is_not_followed(tmp_path: Path) -> None:
    secret = write_sound(tmp_path / "secret.m4a", tones(2.0, 48000), 48000, "aac")
    path = tmp_path / "names.m4a"
    path.write_bytes(refers_to(secret.read_bytes(), b"secret.m4a"))
    with av.open(str(path), options={"enable_drefs": "1"}) as followed:
        assert sum(frame.samples for frame in followed.decode(audio=0)) > 90_000
    with pytest.raises(InputError, match=r"audio .*names.m4a: "):
        print(np.abs(read_voice(path, 16000)).max())


def test_bad_bytes_are_left_out(tmp_path: Path) -> None:
    content = mp3(tmp_path / "voice.mp3")
    for bad in (np.random.default_rng(1).bytes(300), bytes(3000)):
        damaged = bytearray(content)
        damaged[8000 : 8000 + len(bad)] = bad
        (tmp_path / "voice.mp3").write_bytes(damaged)
        voice, _, said = heard(tmp_path / "voice.mp3")
        assert 1.5 * 16000 < len(voice) < 2.05 * 16000
        (line,) = said
        assert re.search(r"\d damaged parts? of \d+ bytes in all left out", line)


def test_junk_behind_the_sound_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "junk.mp3").write_bytes(mp3(tmp_path / "voice.mp3") + np.random.default_rng(0).bytes(5000))
    voice, _, said = heard(tmp_path / "junk.mp3")
    assert abs(len(voice) - 32000) < 800
    assert len(said) == 1
    assert "1 damaged part of 5000 bytes" in said[0]


@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (22050, 2), (22050, 1), (44100, 1)])
def test_two_files_in_one_are_heard_one_after_the_other(tmp_path: Path, rate: int, channels: int) -> None:
    first, second = mp3(tmp_path / "1.mp3"), mp3(tmp_path / "2.mp3", rate=rate, channels=channels)
    (tmp_path / "two.mp3").write_bytes(first + second)
    voice, sound, _ = heard(tmp_path / "two.mp3")
    assert sound.shape == (2, pytest.approx(len(voice) * RATE / 16000, abs=2))
    assert abs(len(voice) - 64000) < 1600
    assert loud(voice, 2.1, 3.9) == pytest.approx(loud(voice, 0.1, 1.9), rel=0.2)


def test_a_stream_of_aac_that_was_cut_is_heard_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "voice.aac", tones(2.0, RATE), RATE, "aac")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3 + 7])
    voice, _, said = heard(path)
    assert 1.2 * 16000 < len(voice) < 1.5 * 16000
    assert "1 damaged part" in said[0]


@pytest.mark.parametrize(("name", "codec"), [("voice.flac", "flac"), ("voice.m4a", "aac"), ("voice.ts", "aac")])
def test_what_comes_after_bad_bytes_keeps_its_time(tmp_path: Path, name: str, codec: str) -> None:
    path = write_sound(tmp_path / name, tones(4.0, 48000), 48000, codec)
    whole = read_voice(path, 16000)
    content = bytearray(path.read_bytes())
    middle = len(content) // 3
    bad = 8000 if codec == "flac" else 300  # a frame of FLAC that is damaged inside is heard as it is
    content[middle : middle + bad] = np.random.default_rng(1).bytes(bad)
    path.write_bytes(content)
    voice, _, said = heard(path)
    assert abs(len(voice) - len(whole)) < 400
    assert np.corrcoef(voice[-24000:-400], whole[len(whole) - 24000 : len(whole) - 400])[0, 1] > 0.95
    assert said


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("voice.mp3", "libmp3lame", {}),
        ("voice.ogg", "libopus", {}),
        ("voice.webm", "libopus", {}),
        ("voice.mkv", "aac", {}),
        ("voice.mp4", "aac", {"movflags": "frag_keyframe+empty_moov", "frag_duration": "200000"}),
        ("voice.avi", "libmp3lame", {}),
    ],
)
def test_half_a_file_is_heard_and_said(tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
    path = tmp_path / name
    write_stretches(path, [(0.0, tones(3.0, 48000)[0])], codec, options)
    assert heard(path)[2] == []
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 11 // 20])
    voice, _, said = heard(path)
    assert 0.5 * 16000 < len(voice) < 2.2 * 16000
    assert any("may be cut short" in line for line in said)


def write_stretches(
    path: Path, stretches: list[tuple[float, np.ndarray]], codec: str, options: dict[str, str] | None = None
) -> Path:
    """Writes stretches of 48 kHz, float32 (samples,), each at its time in seconds."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=48000, layout="mono")
        form = stream.codec_context.format
        resampler = av.AudioResampler(format=form or av.AudioFormat("fltp"), layout="mono", rate=48000)
        for start, samples in stretches:
            for at in range(0, len(samples), 960):
                part = np.ascontiguousarray(samples[None, at : at + 960])
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 48000, round(start * 48000) + at
                for converted in resampler.resample(frame):
                    container.mux(stream.encode(converted))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("name", "codec"), [("call.mp4", "libopus"), ("call.webm", "libopus")])
def test_a_pause_in_the_clock_is_silence(tmp_path: Path, name: str, codec: str) -> None:
    """As a call leaves it whose speaker was muted."""
    one = tones(1.0, 48000)[0]
    path = write_stretches(tmp_path / name, [(0.0, one), (3.0, one)], codec)
    voice, sound, said = heard(path)
    assert len(voice) == pytest.approx(4.0 * 16000, abs=800)
    assert sound.shape[1] == pytest.approx(3 * len(voice), abs=2)
    assert loud(voice, 1.1, 2.9) < 1e-3
    assert min(loud(voice, 0.1, 0.9), loud(voice, 3.1, 3.9)) > 0.05
    assert any("silent for 2.0" in line for line in said)


def test_a_clock_that_jumps_for_hours_is_not_believed(tmp_path: Path) -> None:
    one = tones(1.0, 48000)[0]
    path = write_stretches(tmp_path / "jump.webm", [(0.0, one), (9000.0, one), (9001.0, one)], "libopus")
    assert len(heard(path)[0]) == pytest.approx(3.0 * 16000, abs=1600)


def two_tracks(path: Path, default: int) -> Path:
    """An MP4 with a low tone, and a high one in its second track; the number of the default one."""
    time = np.arange(96000) / 48000
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("aac", rate=48000, layout="mono") for _ in range(2)]
        for stream, pitch in zip(streams, (200, 2000), strict=True):
            tone = np.float32(0.3 * np.sin(2 * np.pi * pitch * time))[None]
            frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, 0
            for part in (frame, None):
                container.mux(stream.encode(part))
    content = bytearray(path.read_bytes())
    at = 0
    for number in (1, 2):
        at = content.index(b"tkhd", at + 4)
        content[at + 7] = 3 if number == default else 2  # bit 0: the track is enabled
    path.write_bytes(content)
    return path


def pitch(voice: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(voice[:16000])).argmax())


@pytest.mark.parametrize(("default", "tone"), [(1, 200), (2, 2000)])
def test_the_default_track_is_heard(tmp_path: Path, default: int, tone: int) -> None:
    voice, _, said = heard(two_tracks(tmp_path / "two.mp4", default))
    assert pitch(voice) == pytest.approx(tone, abs=3)
    assert said == [f"audio {tmp_path / 'two.mp4'}: track {default} of 2, the default; choose another with "
                    "--audio-track N, or track=N in Python"]  # fmt: skip


def test_a_track_can_be_chosen(tmp_path: Path) -> None:
    path = two_tracks(tmp_path / "two.mp4", 2)
    for number, tone in ((1, 200), (2, 2000)):
        assert pitch(read_voice(path, 16000, track=number)) == pytest.approx(tone, abs=3)
    for number in (0, 3):
        with pytest.raises(InputError, match=f"there is no track {number}; choose 1 to 2"):
            AudioStream(path, 16000, track=number)


def test_channels_that_cancel_each_other_out_are_said(tmp_path: Path) -> None:
    one = tones(3.0)
    path = write_sound(tmp_path / "inverted.wav", np.concatenate([one, -one]), 16000, layout="stereo")
    voice, sound, said = heard(path)
    assert np.abs(voice).max() < 1e-3 < 0.1 < np.abs(sound).max()
    (line,) = said
    assert "its channels cancel each other out" in line
    for usual in (np.concatenate([one, one]), np.concatenate([one, 0 * one]), 0 * np.concatenate([one, one])):
        assert heard(write_sound(path, usual, 16000, layout="stereo"))[2] == []


def test_what_is_said_is_said_once(tmp_path: Path) -> None:
    one = tones(1.0)
    path = write_sound(tmp_path / "inverted.wav", np.concatenate([one, -one]), 16000, layout="stereo")
    said: list[str] = []
    stream = AudioStream(path, 16000, say=said.append)
    stream.voice_samples()
    stream.voice_samples()
    assert len(said) == 1


@pytest.mark.parametrize("pid", [400, 500, 600])
def test_a_track_that_appears_on_the_way_ends_nothing(tmp_path: Path, pid: int) -> None:
    first = write_stretches(tmp_path / "1.ts", [(0.0, tones(2.0, 48000)[0])], "aac")
    options = {"mpegts_start_pid": str(pid), "mpegts_pmt_start_pid": str(pid + 50), "mpegts_service_id": str(pid)}
    second = write_stretches(tmp_path / "2.ts", [(0.0, tones(1.0, 48000)[0])], "aac", options)
    (tmp_path / "both.ts").write_bytes(first.read_bytes() + second.read_bytes())
    assert len(heard(tmp_path / "both.ts")[0]) == pytest.approx(32000, abs=1024)


def wav(rate: int, data: bytes, bits: int = 16, channels: int = 1) -> bytes:
    frame = bits // 8 * channels
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, min(rate * frame, 0xFFFFFFFF), frame, bits)
    body = b"WAVE" + head + struct.pack("<4sI", b"data", len(data)) + data
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def au(rate: int, data: bytes) -> bytes:
    return struct.pack(">4s5I", b".snd", 24, len(data), 3, rate, 1) + data


@pytest.mark.parametrize("rate", [1, 1000, 1_900_000_000])
@pytest.mark.parametrize("make", [wav, au])
def test_a_rate_of_no_recording_is_refused_at_once(
    tmp_path: Path, make: Callable[[int, bytes], bytes], rate: int
) -> None:
    path = tmp_path / "odd.wav"
    path.write_bytes(make(rate, bytes(20_000)))
    with pytest.raises(InputError, match=rf"odd.wav: {rate} Hz is no sample rate"):
        AudioStream(path, 16000)


def test_tags_of_another_alphabet_are_no_error(tmp_path: Path) -> None:
    content = mp3(tmp_path / "voice.mp3", 1.0)
    title = b"TIT2" + (6).to_bytes(4, "big") + b"\0\0" + b"\x03\xff\xfe\xe9\xe8\xff"
    size = len(title)
    (tmp_path / "tag.mp3").write_bytes(b"ID3\x04\0\0" + bytes([0, 0, 0, size]) + title + content)
    assert len(read_voice(tmp_path / "tag.mp3", 16000)) > 15000


@pytest.mark.parametrize("rate", [0, -1, 16000.0])
def test_a_rate_that_nobody_can_hear_is_refused(tmp_path: Path, rate: int) -> None:
    path = write_sound(tmp_path / "voice.wav", tones(1.0), 16000)
    with pytest.raises(InputError, match="sample rate is"):
        read_voice(path, rate)


def test_a_text_that_claims_two_gigabytes_is_refused_before_it_takes_them(tmp_path: Path) -> None:
    content = wav(16000, bytes(32000))
    text = b"LIST" + struct.pack("<I", 0x7FFFFFF0) + b"INFOISFT" + struct.pack("<I", 0x7FFFFF00) + b"me"
    for bomb in (content[:12] + text + content[12:], content + text):
        (tmp_path / "bomb.wav").write_bytes(bomb)
        with pytest.raises(InputError, match=r"audio .*bomb.wav: damaged: a text of 2147483392 bytes"):
            read_voice(tmp_path / "bomb.wav", 16000)
    (tmp_path / "told.wav").write_bytes(content + b"LIST" + struct.pack("<I", 16) + b"INFOISFT" + b"\4\0\0\0name")
    assert len(read_voice(tmp_path / "told.wav", 16000)) == 16000
