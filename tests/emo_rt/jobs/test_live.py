"""A voice that comes through a pipe becomes a video that leaves through one, while it comes."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from fake_bundle import CONFIG
from samples import read_video, tones

from emo_rt import run
from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.sampling import Sampling
from emo_rt.media import sound as media

ROOT = Path(run.__file__).parents[1]


def wav(sound: np.ndarray, rate: int = 16000) -> bytes:
    """As a recorder sends it, which does not know how long it will be."""
    pcm = (sound[0] * 32767).astype("<i2").tobytes()
    size = (0xFFFFFFFF).to_bytes(4, "little")
    fields = struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
    return b"RIFF" + size + b"WAVEfmt " + fields + b"data" + size + pcm


@pytest.fixture
def start(bundle: Path, portrait: Path) -> Any:
    """Starts the command line with a voice that comes through a pipe."""
    running: list[subprocess.Popen[bytes]] = []

    def run_with(*options: str, **streams: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "emo_rt.run", "--bundle", str(bundle), "--image", str(portrait)]
        command += ["--audio", "-", "--threads", "1", "--backend", "onnxruntime", *options]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
        running.append(subprocess.Popen(command, cwd=ROOT, **pipes))
        return running[-1]

    yield run_with
    for process in running:
        process.kill()
        process.wait()


@pytest.mark.parametrize("framing", ["crop", "original"])
def test_through_a_pipe_comes_what_a_file_gives(start: Any, tmp_path: Path, framing: str) -> None:
    sound = tones(1.01)
    process = start("--out", "-", "--framing", framing)
    video, errors = process.communicate(wav(sound), timeout=60)
    assert process.returncode == 0, errors
    assert b"26 frames, 1.04 s of video" in errors
    (tmp_path / "piped.mp4").write_bytes(video)
    (tmp_path / "voice.wav").write_bytes(wav(sound))
    piped = read_video(tmp_path / "piped.mp4")
    process = start("--audio", str(tmp_path / "voice.wav"), "--out", str(tmp_path / "file.mp4"), "--framing", framing)
    assert process.wait(60) == 0
    written = read_video(tmp_path / "file.mp4")
    np.testing.assert_array_equal(piped["frames"], written["frames"])
    assert abs(piped["sound"].shape[1] - written["sound"].shape[1]) <= 1024


def test_a_named_pipe_gives_what_standard_input_gives(start: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    process = start("--audio", str(tmp_path / "pipe"), "--out", str(tmp_path / "named.mp4"))
    send = (tmp_path / "pipe").write_bytes
    threading.Thread(target=send, args=(wav(tones(1.01)),), daemon=True).start()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert start("--out", str(tmp_path / "stdin.mp4")).communicate(wav(tones(1.01)), timeout=60)
    named, stdin = (read_video(tmp_path / name)["frames"] for name in ("named.mp4", "stdin.mp4"))
    np.testing.assert_array_equal(named, stdin)


def test_frames_leave_as_soon_as_the_voice_they_hear_is_there(start: Any, tmp_path: Path) -> None:
    """With the voice that one clip hears, and what AAC wants beyond, that clip is there but for its last frame."""
    out = tmp_path / "out.mp4"
    process = start("--out", str(out))
    heard = (CONFIG.clip_frames + CONFIG.audio_margin + CONFIG.audio_context) * CONFIG.samples_per_frame + 2048
    sound = tones(2.0)
    data = wav(sound)
    process.stdin.write(data[: 44 + 2 * heard])
    process.stdin.flush()
    deadline, frames = time.monotonic() + 30, 0
    while frames < CONFIG.clip_frames - 1 and time.monotonic() < deadline:
        time.sleep(0.05)
        try:
            frames = len(read_video(out)["frames"])
        except (av.FFmpegError, FileNotFoundError, ValueError):
            continue
    assert frames >= CONFIG.clip_frames - 1
    assert process.poll() is None
    process.stdin.write(data[44 + 2 * heard :])
    process.stdin.close()
    assert process.wait(30) == 0
    assert len(read_video(out)["frames"]) == 50


def test_a_stream_of_garbage_is_refused_and_leaves_nothing(start: Any, tmp_path: Path) -> None:
    process = start("--out", str(tmp_path / "out.mp4"))
    _, errors = process.communicate(np.random.default_rng(0).bytes(200_000), timeout=60)
    assert process.returncode == 2
    assert errors.startswith(b"emo_rt: error: audio -: ")
    assert errors.count(b"\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_stream_that_ends_at_once_is_refused(start: Any, tmp_path: Path) -> None:
    process = start("--out", str(tmp_path / "out.mp4"))
    _, errors = process.communicate(b"", timeout=60)
    assert process.returncode == 2
    assert errors.startswith(b"emo_rt: error: audio -: ")
    assert list(tmp_path.iterdir()) == []


def test_engines_are_warm_before_a_live_voice_alone(
    bundle: Path, portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is there at once: a clip of nothing would only make its first one later."""
    warmed: list[Sampling] = []
    monkeypatch.setattr(Cascade, "warm_up", lambda self, sampling: warmed.append(sampling))
    (tmp_path / "voice.wav").write_bytes(wav(tones(0.5)))
    options = ["--bundle", str(bundle), "--image", str(portrait), "--threads", "1", "--backend", "onnxruntime"]
    options += ["--out", str(tmp_path / "out.mp4"), "--fragmented", "--audio"]
    assert run.main([*options, str(tmp_path / "voice.wav")]) == 0
    assert warmed == []
    with (tmp_path / "voice.wav").open() as voice:
        monkeypatch.setattr(sys, "stdin", voice)
        assert run.main([*options, "-"]) == 0
    assert len(warmed) == 1


def test_a_stream_that_stalls_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setattr(media, "STALLED", 0.3)
    monkeypatch.setattr(sys, "stdin", os.fdopen(reading))
    os.write(writing, wav(tones(0.5)))
    stream = media.AudioStream(media.STDIN, 16000)
    received: list[int] = []
    with pytest.raises(media.InputError, match=r"audio -: nothing came for 0\.3 s"):
        received.extend(len(chunk.voice) for chunk in stream)
    assert sum(received) > 7000  # nothing of what came is held back
    os.close(writing)


def test_a_stream_can_be_ended_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setattr(sys, "stdin", os.fdopen(reading))
    os.write(writing, wav(tones(0.5)))
    stream = media.AudioStream(media.STDIN, 16000)
    threading.Timer(0.3, stream.close).start()
    assert sum(len(chunk.voice) for chunk in stream) == 8000
    os.close(writing)


def test_a_reader_that_goes_away_ends_the_run(start: Any) -> None:
    process = start("--out", "-")
    process.stdout.close()
    endless = io.BytesIO(wav(tones(30.0))).read()
    try:
        process.stdin.write(endless)
        process.stdin.close()
    except BrokenPipeError:
        pass
    assert process.wait(60) == 2
    errors = process.stderr.read()
    assert b"output -: whoever read it has gone" in errors
    assert b"Traceback" not in errors


def test_a_video_that_grows_stays_when_it_is_stopped(start: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    process = start("--out", str(out))
    process.stdin.write(wav(tones(2.0)))
    process.stdin.flush()
    deadline = time.monotonic() + 30
    while not (out.exists() and out.stat().st_size > 4000) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    assert process.wait(30) == 130
    assert len(read_video(out)["frames"]) > 3
    assert f"emo_rt: stopped; {out} has the first ".encode() in process.stderr.read()
