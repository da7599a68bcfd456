"""A folder of clips holds the speakers that were asked for; bad input is refused in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from made_photograph import made_photograph

from training import corpus
from training.clips.clip import TrainingClip
from training.clips.folder import load_clips
from training.clips.held_out import is_held_out_person, is_held_out_seed
from training.speakers.casting import HELD_OUT_PERCENT
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
    assert sorted(path.name for path in out.iterdir()) == ["00000000.npz", "00000001.npz", "settings.json"]
    assert (out / "00000000.npz").read_bytes() == b"kept"
    clip, same = TrainingClip.load(out / "00000001.npz"), make_clip(1, 0.4, 32, augmented_share=1.0)
    np.testing.assert_array_equal(clip.frames, same.frames)
    np.testing.assert_array_equal(clip.waveform, same.waveform)
    assert clip.sound == same.sound != "clean"


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three people, of whom nobody is held out."""
    folder = tmp_path_factory.mktemp("portraits")
    for name in ("anna", "otto", "ruth"):
        assert not is_held_out_person(name, HELD_OUT_PERCENT)
        made_photograph(name).save(folder)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_workers_and_restarts_give_the_same_bytes(portraits: Path, tmp_path: Path) -> None:
    options = ["--portraits", str(portraits), "--puppet-share", "0.6", "--split", "train", "--compact"]
    for name, workers in (("one", ["--workers", "1"]), ("two", ["--workers", "2"]), ("cluster", ["--ray", "local"])):
        assert corpus.main(["--out", str(tmp_path / name), *SMALL, "--clips", "3", *options, *workers]) == 0
    whole = files_of(tmp_path / "one")
    assert len(whole) == 7  # three videos, their labels, and the settings
    assert files_of(tmp_path / "two") == files_of(tmp_path / "cluster") == whole
    for name in ("00000001.labels.npz", "00000002.mp4", "00000002.labels.npz"):  # as after a kill
        (tmp_path / "one" / name).unlink()
    assert corpus.main(["--out", str(tmp_path / "one"), *SMALL, "--clips", "3", *options, "--workers", "1"]) == 0
    assert files_of(tmp_path / "one") == whole


def test_clips_of_puppets_can_be_read_with_every_label(portraits: Path, tmp_path: Path) -> None:
    options = ["--portraits", str(portraits), "--split", "train", "--workers", "1"]
    assert corpus.main(["--out", str(tmp_path / "clips"), *SMALL, *options]) == 0
    clips = load_clips(tmp_path / "clips")
    assert len(clips) == 2
    for clip in clips.values():
        assert clip.frames.shape == (10, 32, 32, 3)
        assert not clip.knows("gaze")
        assert clip.face_box[:, 2].min() > 8


def test_a_share_of_the_puppets_keep_their_heads_still(portraits: Path, tmp_path: Path) -> None:
    stilled = [{s for s in range(400) if CorpusSettings(still_share=share).keeps_still(s)} for share in (0, 0.3, 1)]
    assert [len(seeds) for seeds in (stilled[0], stilled[2])] == [0, 400]
    assert 0.25 < len(stilled[1]) / 400 < 0.35
    speeds = []
    for share in ("0", "1"):
        options = ["--portraits", str(portraits), "--workers", "1", "--still-share", share, "--seed", "7"]
        assert corpus.main(["--out", str(tmp_path / share), *SMALL, "--clips", "1", *options]) == 0
        speeds.append(TrainingClip.load(next((tmp_path / share).glob("*.npz"))).head_speed)
    assert speeds[0].all()
    assert not speeds[1].any()


def test_a_share_of_the_clips_shows_puppets_and_a_higher_share_only_adds_some() -> None:
    shown = [
        {seed for seed in range(400) if CorpusSettings(puppet_share=share).shows_puppet(seed)}
        for share in (0.0, 0.3, 0.8, 1.0)
    ]
    assert [len(seeds) for seeds in (shown[0], shown[3])] == [0, 400]
    assert 0.25 < len(shown[1]) / 400 < 0.35
    assert shown[1] < shown[2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--seconds", "0.6"], "was begun with --seconds 0.4, not 0.6: go on with the same, or give another folder"),
        (["--still-share", "0.5"], "was begun with --still-share 0.0, not 0.5"),
        (["--compact"], "was begun with --compact False, not True"),
        (["--split", "train"], "was begun with --split all, not train"),
    ],
)
def test_a_folder_remembers_what_its_clips_are(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--out", str(tmp_path), *SMALL, "--workers", "1"]
    assert corpus.main(arguments) == 0
    before = files_of(tmp_path)
    assert corpus.main([*arguments, "--clips", "3", "--seed", "1"]) == 0  # more clips may join
    assert set(files_of(tmp_path)) - set(before) == {"00000002.npz", "00000003.npz"}
    capsys.readouterr()
    assert corpus.main([*arguments, *options]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_damaged_record_of_settings_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "settings.json").write_text("[]")
    assert corpus.main(["--out", str(tmp_path), *SMALL, "--workers", "1"]) == 2
    assert "settings.json does not say what the clips are" in capsys.readouterr().err


def test_portraits_that_changed_are_noticed(
    portraits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "portraits"
    shutil.copytree(portraits, folder)
    arguments = ["--out", str(tmp_path / "clips"), *SMALL, "--clips", "1", "--portraits", str(folder)]
    arguments += ["--split", "train", "--workers", "1"]
    assert corpus.main(arguments) == 0
    made_photograph("ida").save(folder)
    capsys.readouterr()
    assert corpus.main(arguments) == 2
    assert "with --portraits 3 pictures of 3 people (" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("no folder", "has no prepared portraits: make them with `python -m training.prepare portraits`"),
        ("no mask", "otto.mask.png is missing: make it anew with `python -m training.prepare portraits`"),
        ("version", "otto.npz is of version 9, not 1: make it anew"),
        ("damaged", "otto.npz is no prepared portrait"),
        (
            "held out",
            "nobody of its 3 people is kept from training; add portraits of more people, or take --split train",
        ),
    ],
)
def test_portraits_that_cannot_be_used_give_one_line_and_code_2(
    fault: str, words: str, portraits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, path = tmp_path / "portraits", tmp_path / "portraits" / "otto.npz"
    if fault != "no folder":
        shutil.copytree(portraits, folder)
    if fault == "no mask":
        (folder / "otto.mask.png").unlink()
    elif fault == "version":
        with np.load(path) as archive:
            arrays = dict(archive)
        np.savez(path, **arrays | {"version": 9})
    elif fault == "damaged":
        path.write_bytes(b"PK torn")
    split = "held-out" if fault == "held out" else "train"
    out = tmp_path / "clips"
    assert corpus.main(["--out", str(out), *SMALL, "--portraits", str(folder), "--split", split]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not out.exists()


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
        (["--puppet-share", "0.5"], "--puppet-share needs --portraits, whose people the puppets are"),
        (["--puppet-share", "2"], "--puppet-share is between 0 and 1, not 2.0"),
        (["--compact", "--resolution", "33"], "--resolution is even with --portraits or --compact, not 33"),
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
