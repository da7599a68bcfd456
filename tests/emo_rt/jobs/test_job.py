"""What is kept of an unfinished video is whole, whenever the run ends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_rt.errors import InputError
from emo_rt.jobs.job import Job

LATENTS = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)


def clip(index: int) -> list[bytes]:
    return [bytes([index]) * (5 + frame) for frame in range(4)]


def job_of(path: Path, clips: int) -> None:
    with Job(path) as job:
        job.start({"seed": 1})
        for index in range(clips):
            job.append(clip(index), LATENTS + index)


def test_clips_come_back_and_the_next_goes_on_from_the_last(tmp_path: Path) -> None:
    job_of(tmp_path / "out.mp4", 3)
    with Job(tmp_path / "out.mp4") as job:
        assert job.progress.clips == 0
        assert job.earlier() == {"seed": 1}
        job.go_on()
        assert (job.progress.clips, job.progress.frames) == (3, 12)
        np.testing.assert_array_equal(job.progress.motion_latents, LATENTS + 2)
        job.append(clip(3), LATENTS)
        assert list(job.clips()) == [clip(index) for index in range(4)]


def test_a_clip_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    """At every byte that a kill may leave behind the last clip that is known."""
    job_of(tmp_path / "out.mp4", 2)
    clips = tmp_path / "out.mp4.job" / "clips.bin"
    whole = clips.read_bytes()
    for extra in (b"", b"\x04", b"\x04\x00\x00\x00garbage", whole):
        clips.write_bytes(whole + extra)
        with Job(tmp_path / "out.mp4") as job:
            assert job.earlier() == {"seed": 1}
            job.go_on()
            assert list(job.clips()) == [clip(0), clip(1)]
            job.append(clip(2), LATENTS)
            assert list(job.clips()) == [clip(0), clip(1), clip(2)]
        job_of(tmp_path / "out.mp4", 2)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("progress.npz", b""),
        ("progress.npz", b"PK\x03\x04 torn"),
        ("clips.bin", b""),
        ("clips.bin", None),
        ("job.json", b"{"),
        ("job.json", b"[]"),
        ("job.json", None),
    ],
)
def test_what_cannot_be_trusted_is_not_gone_on_with(tmp_path: Path, name: str, content: bytes | None) -> None:
    job_of(tmp_path / "out.mp4", 2)
    damaged = tmp_path / "out.mp4.job" / name
    damaged.unlink() if content is None else damaged.write_bytes(content)
    with Job(tmp_path / "out.mp4") as job:
        assert job.earlier() is None
        assert job.progress.clips == 0
        assert list(job.clips()) == []


def test_a_clip_that_cannot_be_written_leaves_those_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with Job(tmp_path / "out.mp4") as job:
        job.start({})
        job.append(clip(0), LATENTS)
        monkeypatch.setattr("emo_rt.jobs.clip_file._write", full)
        with pytest.raises(InputError, match=r"out\.mp4: cannot be written \(No space left"):
            job.append(clip(1), LATENTS)
    with Job(tmp_path / "out.mp4") as job:
        assert job.earlier() == {}
        assert list(job.clips()) == [clip(0)]


def test_directories_are_made_and_removed_with_the_job(tmp_path: Path) -> None:
    with Job(tmp_path / "new" / "deep" / "out.mp4") as job:
        job.start({})
        job.discard()
    assert list(tmp_path.iterdir()) == []
    with Job(tmp_path / "new" / "out.mp4") as job:
        job.start({})
        job.video.write_bytes(b"video")
        job.finish()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.mp4"]


def stopped(path: Path, clips: int, keep: bool) -> KeyboardInterrupt:
    """Ends a job by an exception after so many clips; returns the exception."""
    try:
        with Job(path, 40, keep=keep) as job:
            job.start({})
            for index in range(clips):
                job.append(clip(index), LATENTS)
            raise KeyboardInterrupt
    except KeyboardInterrupt as stop:
        return stop


def test_a_stopped_job_keeps_clips_and_says_so_or_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.mp4"
    for clips, keep in ((0, True), (2, False)):
        assert not hasattr(stopped(path, clips, keep), "__notes__")
        assert list(tmp_path.iterdir()) == []
    notes = stopped(path, 2, keep=True).__notes__
    assert notes == ["8 of 40 frames are done, and the same command goes on from there"]
    with Job(path) as job:
        assert job.earlier() == {}
        assert job.progress.frames == 8


def test_what_an_earlier_run_left_stays_until_it_is_taken_over(tmp_path: Path) -> None:
    job_of(tmp_path / "out.mp4", 2)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out.mp4.job").iterdir()}
    with Job(tmp_path / "out.mp4", keep=False) as job:
        assert job.earlier() == {"seed": 1}
    assert {path.name: path.read_bytes() for path in (tmp_path / "out.mp4.job").iterdir()} == before
    with Job(tmp_path / "out.mp4", keep=False) as job:
        assert job.earlier() == {"seed": 1}
        job.go_on()
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    with Job(tmp_path / "new" / "out.mp4") as job:
        assert job.earlier() is None
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="output"), Job(tmp_path / "file" / "out.mp4"):
        pytest.fail("it was opened")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("interrupted", ["replace", "unlink"])
def test_an_interrupt_while_a_job_finishes_leaves_the_video_alone_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: str
) -> None:
    """It comes once, right after the file was moved, or between two files of the job that are removed."""
    where = {"replace": os, "unlink": Path}[interrupted]
    real = getattr(where, interrupted)

    def once(*arguments: Any, **options: Any) -> None:
        real(*arguments, **options)
        monkeypatch.setattr(where, interrupted, real)
        raise KeyboardInterrupt

    def finish() -> None:
        with Job(tmp_path / "out.mp4") as job:
            job.start({})
            job.append(clip(0), LATENTS)
            job.video.write_bytes(b"video")
            monkeypatch.setattr(where, interrupted, once)
            job.finish()

    with pytest.raises(KeyboardInterrupt) as stopped:
        finish()
    assert stopped.value.__notes__ == ["the video is complete"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
