"""A video ends after as many seconds of its voice as are asked for, whatever follows."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from samples import read_video, tones, write_sound
from test_run import command

import emo_rt
from emo_rt import run
from emo_rt.errors import InputError
from emo_rt.jobs.job import Job
from emo_rt.jobs.request import Request
from emo_rt.media import sound as media
from emo_rt.media.sound import AudioStream


@pytest.fixture
def long_voice(tmp_path: Path) -> Path:
    return write_sound(tmp_path / "long.wav", tones(3.0, 48000, 2), 48000, layout="stereo")


@pytest.mark.parametrize("options", [(), ("--fragmented",)])
def test_the_video_ends_there_with_its_sound(
    bundle: Path, portrait: Path, long_voice: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    out = tmp_path / "out.mp4"
    assert run.main(command(bundle, portrait, long_voice, out, "--max-seconds", "1.01", *options)) == 0
    video = read_video(out)
    assert len(video["frames"]) == 26
    assert abs(video["sound"].shape[1] / 48000 - 1.04) < 0.03
    cut = write_sound(tmp_path / "cut.wav", tones(3.0, 48000, 2)[:, :48480], 48000, layout="stereo")
    assert run.main(command(bundle, portrait, cut, tmp_path / "cut.mp4", *options)) == 0
    np.testing.assert_array_equal(video["frames"][:20], read_video(tmp_path / "cut.mp4")["frames"][:20])


def test_more_seconds_than_there_are_change_nothing(bundle: Path, portrait: Path, voice: Path, tmp_path: Path) -> None:
    for name, options in (("all", ()), ("more", ("--max-seconds", "1e308"))):
        assert run.main(command(bundle, portrait, voice, tmp_path / f"{name}.mp4", *options)) == 0
    assert (tmp_path / "all.mp4").read_bytes() == (tmp_path / "more.mp4").read_bytes()


def test_in_python_and_in_a_batch(bundle: Path, portrait: Path, long_voice: Path, tmp_path: Path) -> None:
    options = {"bundle": bundle, "backend": "onnxruntime", "threads": 1}
    result = emo_rt.animate(portrait, long_voice, tmp_path / "1.mp4", max_seconds=0.5, **options)  # type: ignore[arg-type]
    assert result.frames == 13
    rows = f"portrait,voice,output,max_seconds\n{portrait},{long_voice},{tmp_path}/2.mp4,0.2\n"
    (tmp_path / "jobs.csv").write_text(f"{rows}{portrait},{long_voice},{tmp_path}/3.mp4,\n")
    arguments = ["--bundle", str(bundle), "--threads", "1", "--backend", "onnxruntime", "--max-seconds", "0.04"]
    assert run.main([*arguments, "--batch", str(tmp_path / "jobs.csv")]) == 0
    assert [len(read_video(tmp_path / name)["frames"]) for name in ("2.mp4", "3.mp4")] == [5, 1]


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "long"])
def test_other_numbers_are_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main([f"--max-seconds={text}"]) == 2
    assert "--max-seconds" in capsys.readouterr().err
    with pytest.raises(InputError, match="max seconds"):
        Request(Path("a"), Path("b"), Path("c"), max_seconds=float(text) if text != "long" else text)  # type: ignore[arg-type]


def test_a_live_voice_that_goes_on_is_not_waited_for(
    bundle: Path, portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender stays, and sends nothing more."""
    reading, writing = os.pipe()
    monkeypatch.setattr(sys, "stdin", os.fdopen(reading))
    monkeypatch.setattr(media, "STALLED", 5.0)
    content = write_sound(tmp_path / "voice.wav", tones(1.5), 16000).read_bytes()
    threading.Thread(target=os.write, args=(writing, content), daemon=True).start()
    out = tmp_path / "live.mp4"
    assert run.main(command(bundle, portrait, Path("-"), out, "--max-seconds", "1")) == 0
    assert len(read_video(out)["frames"]) == 25
    os.close(writing)


def test_what_follows_is_not_read(long_voice: Path) -> None:
    content = long_voice.read_bytes()
    long_voice.write_bytes(content[: len(content) // 2])  # cut short, which is an error where it is reached
    with pytest.raises(InputError, match="cut short"):
        AudioStream(long_voice, 16000).voice_samples()
    assert AudioStream(long_voice, 16000, max_seconds=0.5).voice_samples() == 8000


def test_a_job_of_another_length_is_not_gone_on_with(
    bundle: Path, portrait: Path, long_voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = Job.append

    def stopped(job: Job, *kept: object) -> None:
        append(job, *kept)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(Job, "append", stopped)
    arguments = command(bundle, portrait, long_voice, tmp_path / "out.mp4", "--resume", "--max-seconds")
    assert run.main([*arguments, "1"]) == 130
    monkeypatch.setattr(Job, "append", append)
    assert run.main([*arguments, "2"]) == 2
    assert run.main([*arguments, "1"]) == 0
