"""Nothing in the directory of a job is trusted: what is damaged or planted there reaches no video and no other file."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_run import command

from emo_rt import run
from emo_rt.errors import InputError
from emo_rt.jobs.clip_file import LATENTS_EVERY, append_clip
from emo_rt.jobs.job import Job

CLIPS = 2 * LATENTS_EVERY + 3
FACTS = {"seed": 1, "plan": {"backend": "onnxruntime", "steps": 8}}


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is cut here."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def clip(index: int) -> list[bytes]:
    return [np.random.default_rng((index, frame)).bytes(30) for frame in range(4)]


def latents(index: int) -> np.ndarray:
    return np.random.default_rng(index).standard_normal((2, 3, 2, 2)).astype(np.float32)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The output of a job that was stopped after `CLIPS` clips."""
    with Job(tmp_path / "out.mp4") as job:
        job.start(FACTS)
        for index in range(CLIPS):
            job.append(clip(index), latents(index))
    return tmp_path / "out.mp4"


def clips_gone_on_with(out: Path) -> int:
    """The number of clips that a later run goes on from; they are as they were made, or this fails."""
    with Job(out) as job:
        facts = job.earlier()
        if facts is None:
            assert job.progress.clips == 0
            return 0
        assert facts == FACTS
        count = job.progress.clips
        assert job.progress.frames == 4 * count
        np.testing.assert_array_equal(job.progress.motion_latents, latents(count - 1))
        job.go_on()
        assert list(job.clips()) == [clip(index) for index in range(count)]
        job.append(clip(count), latents(count))
        assert list(job.clips()) == [clip(index) for index in range(count + 1)]
        return count


def test_no_bit_that_flips_reaches_a_video(out: Path) -> None:
    files = {path: path.read_bytes() for path in out.with_name("out.mp4.job").iterdir() if path.name != "lock"}
    random, went_on = np.random.default_rng(0), []
    for _ in range(300):
        path = list(files)[random.integers(len(files))]
        content = bytearray(files[path])
        content[random.integers(len(content))] ^= 1 << random.integers(8)
        path.write_bytes(content)
        went_on.append(clips_gone_on_with(out))
        for each, whole in files.items():
            each.write_bytes(whole)
    assert clips_gone_on_with(out) == CLIPS
    assert {0, LATENTS_EVERY, 2 * LATENTS_EVERY} <= set(went_on) <= {0, LATENTS_EVERY, 2 * LATENTS_EVERY, CLIPS}


def test_clips_before_a_damaged_one_are_not_made_again(out: Path) -> None:
    path = out.with_name("out.mp4.job") / "clips.bin"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert clips_gone_on_with(out) == 2 * LATENTS_EVERY


def test_a_clip_that_is_damaged_while_the_video_is_made_is_told(out: Path) -> None:
    path = out.with_name("out.mp4.job") / "clips.bin"
    with Job(out) as job:
        job.earlier()
        job.go_on()
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(InputError, match=r"out\.mp4: clip 18 in .*clips\.bin was damaged .*same command again"):
            list(job.clips())


def npz(path: Path, **changes: Any) -> None:
    with np.load(path) as saved:
        content = {name: saved[name] for name in saved.files}
    np.savez(path, **{**content, **changes})


@pytest.mark.parametrize(
    "change",
    [
        {"clips": 10**6},
        {"clips": -1},
        {"clips": 3},
        {"frames": 1},
        {"size": -5},
        {"size": np.zeros(3)},
        {"clips": "many"},
        {"motion_latents": np.full((2, 3, 2, 2), np.nan)},
        {"motion_latents": np.zeros((9, 9))},
        {"motion_latents": np.array(["text"])},
        {"seal": 0},
    ],
    ids=str,
)
def test_a_progress_of_wrong_content_is_a_fresh_start(out: Path, change: dict[str, Any]) -> None:
    npz(out.with_name("out.mp4.job") / "progress.npz", **change)
    assert clips_gone_on_with(out) == 0


def test_packets_of_a_wrong_count_with_the_right_checksum_are_none(out: Path) -> None:
    path = out.with_name("out.mp4.job") / "clips.bin"
    facts = path.with_name("job.json").read_bytes()
    body = b"\xff\xff\x00\x00"
    checksum = zlib.crc32(body, zlib.crc32(facts))
    path.write_bytes(len(body).to_bytes(4, "little") + checksum.to_bytes(4, "little") + body)
    assert clips_gone_on_with(out) == 0


@pytest.mark.parametrize("name", ["job.json", "progress.npz", "clips.bin", "video.mp4", "job.json.{pid}.part"])
def test_nothing_is_written_through_a_planted_link(tmp_path: Path, name: str) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    with Job(tmp_path / "out.mp4") as job:
        (job.directory / name.format(pid=os.getpid())).symlink_to(precious)
        job.start(FACTS)
        job.append(clip(0), latents(0))
        job.video.write_bytes(b"video")
        job.finish()
    assert precious.read_bytes() == b"precious"
    assert (tmp_path / "out.mp4").read_bytes() == b"video"


def test_a_link_in_the_place_of_the_clips_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "clips.bin").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic link"):
        append_clip(tmp_path / "clips.bin", 0, 0, clip(0), None)
    assert (tmp_path / "precious").read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["job.json", "progress.npz", "clips.bin"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(out: Path, name: str) -> None:
    path = out.with_name("out.mp4.job") / name
    path.unlink()
    os.mkfifo(path)
    assert clips_gone_on_with(out) == 0


@pytest.mark.parametrize("end", [Job.discard, Job.finish])
def test_files_of_others_stay(out: Path, end: Callable[[Job], None]) -> None:
    directory = out.with_name("out.mp4.job")
    (directory / "notes.txt").write_text("mine")
    (directory / "folder").mkdir()
    with Job(out) as job:
        job.start(FACTS)
        job.append(clip(0), latents(0))
        job.video.write_bytes(b"video")
        end(job)
    assert sorted(path.name for path in directory.iterdir()) == ["folder", "notes.txt"]


@pytest.fixture
def stopped_run(bundle: Path, portrait: Path, voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command of a run that was stopped after 3 clips, its output, and the file that it would have made."""
    append, out, whole = Job.append, tmp_path / "out.mp4", tmp_path / "whole.mp4"
    options = ("--steps", "2", "--resume")
    assert run.main(command(bundle, portrait, voice, whole, *options)) == 0

    def stopped(job: Job, *kept: Any) -> None:
        append(job, *kept)
        if job.progress.clips == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Job, "append", stopped)
    assert run.main(command(bundle, portrait, voice, out, *options)) == 130
    monkeypatch.setattr(Job, "append", append)
    return command(bundle, portrait, voice, out, *options), out, whole


def plan(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda facts: {**facts, "plan": {**facts["plan"], **changes}}


CHANGES: list[Callable[[dict[str, Any]], Any]] = [
    plan(steps="8"),
    plan(steps=-1),
    plan(backend="abacus"),
    plan(guidance_scale=[]),
    plan(surplus=1),
    lambda facts: {**facts, "plan": "none"},
    lambda facts: {name: value for name, value in facts.items() if name != "plan"},
]


def starts_over(stopped_run: Any, capsys: pytest.CaptureFixture[str]) -> bool:
    arguments, out, whole = stopped_run
    capsys.readouterr()
    assert run.main(arguments) == 0
    said = f"what is in {out}.job is damaged: starting over" in capsys.readouterr().err
    return said and out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("change", [plan(steps=3), CHANGES[3], lambda _: [], lambda _: None], ids=range(4))
def test_facts_that_were_changed_are_a_fresh_start(
    stopped_run: Any, change: Callable[[dict[str, Any]], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(f"{stopped_run[1]}.job") / "job.json"
    path.write_text(json.dumps(change(json.loads(path.read_text())), indent=1))
    assert starts_over(stopped_run, capsys)


@pytest.mark.parametrize("change", CHANGES, ids=range(len(CHANGES)))
def test_facts_that_make_no_plan_are_a_fresh_start(
    stopped_run: Any, change: Callable[[dict[str, Any]], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the checksums fit: those of somebody who writes a whole job."""
    with Job(stopped_run[1]) as job:
        facts, shape = job.earlier(), job.progress.motion_latents.shape  # type: ignore[union-attr]
        job.start(change(facts))  # type: ignore[arg-type]
        job.append(clip(0), np.zeros(shape, np.float32))
    assert starts_over(stopped_run, capsys)


def test_latents_of_another_model_are_a_fresh_start(stopped_run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with Job(stopped_run[1]) as job:
        job.start(job.earlier())  # type: ignore[arg-type]
        job.append(clip(0), np.zeros((9, 9), np.float32))
    assert starts_over(stopped_run, capsys)


def test_a_damaged_clip_is_made_again(stopped_run: Any) -> None:
    arguments, out, whole = stopped_run
    path = out.with_name("out.mp4.job") / "clips.bin"
    content = path.read_bytes()
    path.write_bytes(content[:-100] + bytes([content[-100] ^ 16]) + content[-99:])
    assert run.main(arguments) == 0
    assert out.read_bytes() == whole.read_bytes()
