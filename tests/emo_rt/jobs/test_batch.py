"""A CSV of jobs: each row a video, and one bad row spoils no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import read_video, tones, write_sound

from emo_rt import run
from emo_rt.cascade.cascade import Cascade
from emo_rt.errors import InputError
from emo_rt.jobs import request
from emo_rt.jobs.batch import read_jobs
from emo_rt.jobs.job import Job
from emo_rt.jobs.request import Request
from emo_rt.media.boxes import Box

DEFAULT = Request(Path("p.png"), Path("v.wav"), Path("o.mp4"), seed=7)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_in_any_order_and_values_left_out(tmp_path: Path) -> None:
    header = "\ufeffvoice, output,portrait,seed,face_box,speed,face"
    text = f'{header}\na.wav, a.mp4,"a, b.png",,1 2 3 4,,\nb.wav,b.mp4,b.png,3,,1.5,2\n'
    (_, first), (line, second) = read_jobs(write(tmp_path / "jobs.csv", text), DEFAULT)
    assert first == Request(Path("a, b.png"), Path("a.wav"), Path("a.mp4"), Box(1, 2, 3, 4), 7)
    assert second == Request(Path("b.png"), Path("b.wav"), Path("b.mp4"), None, 3, 1.5, face=2)
    assert line == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column portrait, voice, output"),
        ("portrait,voice\na,b\n", "no column output"),
        ("portrait,voice,output,sead\na,b,c,1\n", "unknown column 'sead'"),
        ("portrait,voice,output\n", "no row"),
        ('portrait,voice,output\n"a,b,c\n', "cannot be read as CSV"),
        (None, "no such file"),
        ("portrait,voice,output,seed,seed\na,b,c,1,2\n", "the column seed is there twice"),
        ("portrait,voice,output\n , ,\n\n", "no row"),
    ],
)
def test_a_file_that_is_no_batch(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "jobs.csv"
    if text is not None:
        write(path, text)
    with pytest.raises(InputError, match=words) as error:
        read_jobs(path, DEFAULT)
    assert "jobs.csv" in str(error.value)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a,,c,,,", "voice is empty"),
        ("a,b,c,x,,", "seed 'x' is no whole number"),
        ("a,b,c,-1,,", "seed '-1' is out of range: choose 0 to"),
        (f"a,b,c,{2**64},,", f"seed '{2**64}' is out of range: choose 0 to"),
        ("a,b,c,1.5,,", "seed '1.5' is no whole number"),
        ("a,b,c,,fast,", "speed 'fast' is no number"),
        ("a,b,c,,nan,", "speed 'nan' is out of range: choose 0 or more"),
        ("a,b,c,,inf,", "speed 'inf' is out of range"),
        ("a,b,c,,-1,", "speed '-1' is out of range"),
        ("a,b,c,,,1 2 3", "face_box '1 2 3' is not of the form"),
        ("a,b,c,,,1 2 3 nan", "face_box '1 2 3 nan' is not of the form"),
        ("a,b,c,,,-1 2 3 4", "face_box '-1 2 3 4' is out of range"),
        ("a,b,c,,,1 2 0 4", "face_box '1 2 0 4' is out of range"),
        ("a,b,c,,,,0", "face '0' is out of range: choose 1 or more"),
        ("a,b,c,,,1 2 3 4,1", "face 1 and a face box are both given"),
        ("a,b,c,,,,,panorama", "framing 'panorama' is unknown: choose crop or original"),
        ("a,b,c,,,,,,surplus", "more values"),
        ("a,b,first.mp4,,,", "line 2 writes it, too"),
        ("a,-,c,,,", "- stands for a pipe"),
        ("a,b,-,,,", "- stands for a pipe"),
        ("a,b,c\0.mp4,,,", "cannot be written (embedded null byte)"),
        (f"a,b,c,{'9' * 5000},,", "seed '99999"),
        (f"a,b,c,{'9' * 4000},,", "choose 0 to"),
        (f"a,b,c,,,0 0 {'9' * 400} 1", "face_box '0 0 99999"),
        ("a,b,c,,50,", "speed '50' is out of range: choose 0 or more, and 10 at most"),
    ],
)
def test_a_bad_row_is_told_from_the_good_ones(tmp_path: Path, row: str, words: str) -> None:
    columns = "portrait,voice,output,seed,speed,face_box,face,framing"
    text = f"{columns}\na,b,first.mp4\n{row}\na,b,last.mp4,,,,\n"
    first, (line, bad), last = read_jobs(write(tmp_path / "jobs.csv", text), DEFAULT)
    assert isinstance(first[1], Request)
    assert isinstance(last[1], Request)
    assert line == 3
    assert words in str(bad)
    assert len(str(bad)) < 200


TEXT = "Portrait,VOICE,output,seed\nJos\u00e9.png,a.wav,a.mp4,3\nb.png,b.wav,b.mp4,\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
@pytest.mark.parametrize("between", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_csv_files_of_all_common_kinds(tmp_path: Path, encoding: str, between: str, newline: str) -> None:
    mark = {"utf-16-le": "\ufeff", "utf-16-be": "\ufeff"}.get(encoding, "")
    text = mark + TEXT.replace(",", between).replace("\n", newline)
    (tmp_path / "jobs.csv").write_bytes(text.encode(encoding))
    (two, first), (three, second) = read_jobs(tmp_path / "jobs.csv", DEFAULT)
    assert (two, three) == (2, 3)
    assert first == Request(Path("Jos\u00e9.png"), Path("a.wav"), Path("a.mp4"), seed=3)
    assert second == Request(Path("b.png"), Path("b.wav"), Path("b.mp4"), seed=7)


def test_inputs_are_looked_for_beside_the_csv_and_then_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder, names in ((here, ("both.png", "here.wav")), (there, ("both.png", "there.wav"))):
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes(b"")
    monkeypatch.chdir(here)
    rows = ["both.png,there.wav,a.mp4", "both.png,here.wav,b.mp4", f"{here / 'both.png'},here.wav,c.mp4"]
    jobs = read_jobs(write(there / "jobs.csv", "\n".join(["portrait,voice,output", *rows])), DEFAULT)
    requests = [request for _, request in jobs if isinstance(request, Request)]
    assert [request.image for request in requests] == [there / "both.png", there / "both.png", here / "both.png"]
    assert [request.audio for request in requests] == [there / "there.wav", Path("here.wav"), Path("here.wav")]
    assert [request.out for request in requests] == [Path("a.mp4"), Path("b.mp4"), Path("c.mp4")]


@pytest.mark.parametrize("option", ["--image", "--audio", "--out"])
def test_files_beside_a_batch_are_refused(tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = write(tmp_path / "jobs.csv", "portrait,voice,output\na,b,c.mp4\n")
    assert run.main(["--batch", str(jobs), option, "x.mp4"]) == 2
    assert f"error: {option} and --batch are both given" in capsys.readouterr().err


def test_whatever_one_row_causes_stays_that_rows(
    bundle: Path, portrait: Path, voice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "broken.png").write_bytes(portrait.read_bytes())
    read = request.read_picture

    def fails(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "broken.png":
            raise RuntimeError("the decoder\ngave up")
        return read(path, *arguments, **options)

    monkeypatch.setattr(request, "read_picture", fails)
    bad = ["a\0b.png,{v},1.mp4", "{p},a\0b.wav,2.mp4", "{p},{v},3\0.mp4", "loop.png,{v},4.mp4", "{p},{v},{t}/loop.mp4"]
    bad += ["broken.png,{v},{t}/6.mp4", "{p},-,7.mp4", "{p},{v},8.mp4,%s" % ("9" * 5000)]
    rows = [row.format(p=portrait, v=voice, t=tmp_path) for row in (*bad, "{p},{v},{t}/good.mp4")]
    jobs = write(tmp_path / "jobs.csv", "\n".join(["portrait,voice,output,seed", *rows]))
    options = ["--bundle", str(bundle), "--threads", "1", "--backend", "onnxruntime", "--steps", "1"]
    assert run.main([*options, "--batch", str(jobs)]) == 2
    printed = capsys.readouterr()
    assert "1 of 9 videos are done" in printed.out
    errors = [line for line in printed.err.splitlines() if line.startswith("emo_rt: error: line ")]
    assert [int(line.split()[3].rstrip(":")) for line in errors] == list(range(2, 10))
    assert "unexpected RuntimeError (the decoder gave up)" in errors[5]
    assert sorted(path.name for path in tmp_path.glob("*.mp4*")) == ["good.mp4", "loop.mp4"]


def test_a_batch_that_is_stopped_says_what_is_done(
    bundle: Path, portrait: Path, voice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    rows = [f"{portrait},{voice},{tmp_path / name}.mp4" for name in "ab"]
    jobs = write(tmp_path / "jobs.csv", "\n".join(["portrait,voice,output", *rows]))
    finish = Job.finish

    def stopped(job: Job) -> None:
        if job.out.name == "b.mp4":
            raise KeyboardInterrupt
        finish(job)

    monkeypatch.setattr(Job, "finish", stopped)
    options = ["--bundle", str(bundle), "--threads", "1", "--backend", "onnxruntime", "--steps", "1"]
    assert run.main([*options, "--batch", str(jobs)]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "emo_rt: stopped; 1 of 2 videos are done"
    assert (tmp_path / "a.mp4").exists()


def test_a_batch_makes_what_the_same_commands_make_and_loads_once(
    bundle: Path, portrait: Path, voice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    other = write_sound(tmp_path / "other.wav", tones(0.5), 16000)
    missing = tmp_path / "none.png"
    rows = [(portrait, voice, "one.mp4", 0), (missing, voice, "bad.mp4", 0), (portrait, other, "two.mp4", 5)]
    lines = [",".join(map(str, (image, sound, tmp_path / out, seed))) for image, sound, out, seed in rows]
    jobs = write(tmp_path / "jobs.csv", "\n".join(["portrait,voice,output,seed", *lines]))
    options = ["--bundle", str(bundle), "--threads", "1", "--backend", "onnxruntime"]
    loads: list[str] = []
    load = Cascade.load
    monkeypatch.setattr(Cascade, "load", lambda *arguments: (loads.append("engines"), load(*arguments))[1])
    assert run.main([*options, "--batch", str(jobs)]) == 2
    printed = capsys.readouterr()
    assert "line 3: image" in printed.err
    assert "none.png: no such file" in printed.err
    assert "2 of 3 videos are done" in printed.out
    assert loads == ["engines"]
    assert not (tmp_path / "bad.mp4").exists()
    for image, sound, out, seed in (rows[0], rows[2]):
        alone = tmp_path / f"alone_{out}"
        files = ["--image", str(image), "--audio", str(sound), "--out", str(alone), "--seed", str(seed)]
        assert run.main([*options, *files]) == 0
        np.testing.assert_array_equal(read_video(alone)["frames"], read_video(tmp_path / out)["frames"])
