"""What the command line makes of voices that are damaged, in several tracks, or silent."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from samples import read_video, tones, write_sound

import emo_rt
from emo_rt import run


def command(bundle: Path, portrait: Path, audio: Path, out: Path, *more: str) -> list[str]:
    files = ["--bundle", bundle, "--image", portrait, "--audio", audio, "--out", out]
    return [*map(str, files), "--threads", "1", "--backend", "onnxruntime", *more]


def two_tracks(path: Path) -> Path:
    """A second of silence in the first track, and two of tones in the second."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("pcm_s16le", rate=16000, layout="mono") for _ in range(2)]
        for stream, sound in zip(streams, (tones(1.0) * 0, tones(2.0)), strict=True):
            frame = av.AudioFrame.from_ndarray((sound * 32767).astype(np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16000, 0
            for part in (frame, None):
                container.mux(stream.encode(part))
    return path


def test_what_is_left_out_is_said_and_the_rest_becomes_a_video(
    bundle: Path, portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_sound(tmp_path / "voice.mp3", tones(2.0, 44100, 2), 44100, "libmp3lame", "stereo")
    content = bytearray(path.read_bytes())
    content[8000:8300] = np.random.default_rng(1).bytes(300)
    path.write_bytes(content)
    assert run.main(command(bundle, portrait, path, tmp_path / "out.mp4")) == 0
    errors = capsys.readouterr().err
    assert errors.count(f"audio {path}: 1 damaged part of ") + errors.count("damaged parts of ") == 1
    assert len(read_video(tmp_path / "out.mp4")["frames"]) > 40


def test_a_face_that_will_not_speak_is_said(
    bundle: Path, portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = tones(1.0)
    path = write_sound(tmp_path / "inverted.wav", np.concatenate([one, -one]), 16000, layout="stereo")
    assert run.main(command(bundle, portrait, path, tmp_path / "out.mp4")) == 0
    assert capsys.readouterr().err.count("its channels cancel each other out") == 1


def test_a_track_is_chosen_everywhere(
    bundle: Path, portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = two_tracks(tmp_path / "tracks.mkv")
    assert run.main(command(bundle, portrait, path, tmp_path / "1.mp4")) == 0
    assert "track 1 of 2, the default; choose another with --audio-track N" in capsys.readouterr().err
    assert run.main(command(bundle, portrait, path, tmp_path / "2.mp4", "--audio-track", "2")) == 0
    (tmp_path / "jobs.csv").write_text(f"portrait,voice,output,audio_track\n{portrait},{path},{tmp_path}/3.mp4,2\n")
    batch = [
        "--bundle",
        str(bundle),
        "--backend",
        "onnxruntime",
        "--threads",
        "1",
        "--batch",
        str(tmp_path / "jobs.csv"),
    ]
    assert run.main([str(word) for word in batch]) == 0
    options = {"bundle": bundle, "backend": "onnxruntime", "threads": 1}
    emo_rt.animate(portrait, path, tmp_path / "4.mp4", audio_track=2, **options)  # type: ignore[arg-type]
    lengths = [len(read_video(tmp_path / f"{number}.mp4")["frames"]) for number in (1, 2, 3, 4)]
    assert lengths == [25, 50, 50, 50]
    capsys.readouterr()
    assert run.main(command(bundle, portrait, path, tmp_path / "5.mp4", "--audio-track", "3")) == 2
    assert f"audio {path}: there is no track 3; choose 1 to 2" in capsys.readouterr().err
