"""A CSV of jobs: each row a video, and one bad row spoils no other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from samples import read_video, tones, write_sound

from emo_rt import run
from emo_rt.cascade.cascade import Cascade
from emo_rt.errors import InputError
from emo_rt.jobs.batch import read_jobs
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
