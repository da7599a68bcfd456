"""A folder of clips holds the speakers that were asked for; bad input is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training import corpus
from training.clips.clip import TrainingClip
from training.clips.held_out import is_held_out_seed
from training.speakers.corpus import CorpusSettings
from training.speakers.speaker import make_clip

SMALL = ["--clips", "2", "--seconds", "0.4", "--resolution", "32"]


def test_the_seeds_of_a_split_are_its_speakers() -> None:
    trained = CorpusSettings(clips=30, split="train").seeds
    held_out = CorpusSettings(clips=30, split="held-out", seed=100).seeds
    assert len(trained) == len(held_out) == 30
    assert not any(map(is_held_out_seed, trained))
    assert all(map(is_held_out_seed, held_out))
    assert min(held_out) >= 100
    assert CorpusSettings(clips=30, split="held-out-family", seed=100).seeds == held_out
    assert CorpusSettings(clips=3, seed=8).seeds == [8, 9, 10]


def test_a_folder_gets_the_clips_that_it_lacks(tmp_path: Path) -> None:
    out = tmp_path / "clips"
    out.mkdir()
    (out / "00000000.npz").write_bytes(b"kept")
    assert corpus.main(["--out", str(out), *SMALL, "--workers", "1", "--augmented-share", "1"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["00000000.npz", "00000001.npz"]
    assert (out / "00000000.npz").read_bytes() == b"kept"
    clip, same = TrainingClip.load(out / "00000001.npz"), make_clip(1, 0.4, 32, augmented_share=1.0)
    np.testing.assert_array_equal(clip.frames, same.frames)
    np.testing.assert_array_equal(clip.waveform, same.waveform)
    assert clip.sound == same.sound != "clean"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--clips", "0"], "--clips is at least 1, not 0"),
        (["--seconds", "-1"], "--seconds is at least 0.2, not -1.0"),
        (["--seconds", "nan"], "--seconds is at least 0.2, not nan"),
        (["--seconds", "inf"], "--seconds is at least 0.2, not inf"),
        (["--resolution", "5"], "--resolution is at least 16, not 5"),
        (["--seed", "-1"], "--seed is at least 0, not -1"),
        (["--augmented-share", "1.5"], "--augmented-share is between 0 and 1, not 1.5"),
        (["--augmented-share", "nan"], "--augmented-share is between 0 and 1, not nan"),
        (["--workers", "0"], "--workers is at least 1, not 0"),
    ],
)
def test_impossible_options_give_one_line_and_code_2(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert corpus.main(["--out", str(tmp_path / "out"), *SMALL, *options]) == 2
    assert capsys.readouterr().err == f"corpus: error: {message}\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--out", "--sample"])
@pytest.mark.parametrize("below", [".", "below"])
def test_a_file_is_no_folder(option: str, below: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("words")
    assert corpus.main([option, str(tmp_path / "file" / below)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("corpus: error: ")
    assert error.count("\n") == 1
    assert str(tmp_path / "file") in error
    assert (tmp_path / "file").read_text() == "words"


def test_a_folder_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        corpus.main([])
    assert error.value.code == 2
    assert "--out" in capsys.readouterr().err
