"""The compact form of a clip: small, nearly the same, in time, and whole."""

from __future__ import annotations

import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from small_clips import small_clip

from training.clips import compact
from training.clips.clip import TrainingClip
from training.clips.names import clip_name, video_path


def filmed_clip(frames: int = 50, side: int = 64) -> TrainingClip:
    """A disc that moves over soft colours, and syllables of noise: it can be encoded as a film can."""
    rng = np.random.default_rng(0)
    y, x, time = np.meshgrid(np.arange(side), np.arange(side), np.arange(frames), indexing="ij")
    disc = np.hypot(x - side / 2 - 5 * np.sin(time / 9), y - side / 2) < side / 4
    colours = np.stack([120 + x, 60 + y, 160 - x], -1).clip(0, 255)
    pixels = np.where(disc[..., None], [200, 150, 120], colours).transpose(2, 0, 1, 3).astype(np.uint8)
    syllables = np.repeat(rng.uniform(0, 0.5, frames), 640)
    noise = np.convolve(rng.standard_normal(frames * 640), np.ones(8) / 8, "same")
    classes = rng.integers(0, 42, 2 * frames)
    return replace(
        small_clip(frames), frames=pixels, waveform=(syllables * noise).astype(np.float32), phoneme_class=classes
    )


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingClip, TrainingClip]:
    """A clip, and the same read from its compact form."""
    path = tmp_path_factory.mktemp("compact") / "clip.labels.npz"
    clip = filmed_clip()
    clip.save(path)
    assert sorted(file.name for file in path.parent.iterdir()) == ["clip.labels.npz", "clip.mp4"]
    return clip, TrainingClip.load(path)


def test_pictures_are_nearly_the_same(clips: tuple[TrainingClip, TrainingClip]) -> None:
    clip, again = clips
    assert again.frames.dtype == np.uint8
    assert again.frames.shape == clip.frames.shape
    difference = again.frames.astype(np.float64) - clip.frames
    assert 10 * np.log10(255**2 / np.square(difference).mean()) > 35
    assert abs(difference.mean()) < 0.5  # neither darker nor brighter


def test_frames_stay_in_their_places(clips: tuple[TrainingClip, TrainingClip]) -> None:
    clip, again = (one.frames.astype(np.float64) for one in clips)
    for index in (0, 20, 49):
        distance = np.square(again[index] - clip).mean((1, 2, 3))
        assert distance.argmin() == index


def test_the_sound_has_its_length_and_no_delay(clips: tuple[TrainingClip, TrainingClip]) -> None:
    clip, again = (one.waveform for one in clips)
    assert again.dtype == np.float32
    assert again.shape == clip.shape
    size = 1 << 16
    correlation = np.fft.irfft(np.fft.rfft(again, size) * np.fft.rfft(clip, size).conj())
    assert correlation.argmax() == 0
    loudness = [np.sqrt(np.square(sound.reshape(-1, 160)).mean(1)) for sound in (clip, again)]
    assert np.corrcoef(*loudness)[0, 1] > 0.98


def test_labels_keep_three_digits(clips: tuple[TrainingClip, TrainingClip]) -> None:
    clip, again = clips
    for field in fields(TrainingClip):
        value, read = getattr(clip, field.name), getattr(again, field.name)
        assert type(read) is type(value)
        assert getattr(read, "dtype", None) == getattr(value, "dtype", None)
        if field.name in ("phoneme_class", "text", "voice", "language", "style", "sound", "photograph", "person"):
            np.testing.assert_array_equal(read, value)
        elif field.name == "landmarks":
            np.testing.assert_allclose(read, value, atol=1 / 32)
        elif field.name not in ("frames", "waveform"):
            np.testing.assert_allclose(read, value, rtol=1e-3)


def test_what_is_unknown_stays_unknown(tmp_path: Path) -> None:
    nothing = np.zeros(0, np.float32)
    footage = replace(small_clip(), waveform=nothing, phoneme_class=nothing, rotation=nothing, text="", blink=nothing)
    footage.save(tmp_path / "clip.labels.npz")
    loaded = TrainingClip.load(tmp_path / "clip.labels.npz")
    assert not any(loaded.knows(name) for name in ("waveform", "phoneme_class", "rotation", "text", "blink"))
    assert loaded.knows("mouth_opening")
    with pytest.raises(ValueError, match=r"clip.labels.npz has no rotation: prepare the footage"):
        TrainingClip.load(tmp_path / "clip.labels.npz", needs=["rotation"])


def test_silence_is_known_as_silence(tmp_path: Path) -> None:
    replace(small_clip(25), waveform=np.zeros(16000, np.float32)).save(tmp_path / "clip.labels.npz")
    waveform = TrainingClip.load(tmp_path / "clip.labels.npz").waveform
    assert waveform.shape == (16000,)
    assert np.abs(waveform).max() < 1e-4


def test_the_same_clip_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        small_clip(25).save(tmp_path / folder / "clip.labels.npz")
    for name in ("clip.mp4", "clip.labels.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_odd_sides_are_refused(tmp_path: Path) -> None:
    odd = replace(small_clip(), frames=np.zeros((3, 9, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="frames with even sides, not 8 x 9"):
        odd.save(tmp_path / "clip.labels.npz")
    assert not list(tmp_path.iterdir())


def test_a_stop_between_the_files_leaves_no_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **arrays: np.ndarray) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(compact.np, "savez_compressed", full)
    with pytest.raises(OSError, match="no space left"):
        small_clip().save(tmp_path / "clip.labels.npz")
    assert not list(tmp_path.glob("*.npz"))


@pytest.mark.parametrize("fault", ["missing", "torn", "another"])
def test_a_video_that_is_not_the_labels_is_named(fault: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.labels.npz"
    small_clip().save(path)
    video = video_path(path)
    if fault == "missing":
        video.unlink()
    elif fault == "torn":
        video.write_bytes(video.read_bytes()[:500])
    else:
        small_clip(5).save(tmp_path / "longer.labels.npz")
        shutil.copy(tmp_path / "longer.mp4", video)
    with pytest.raises(ValueError, match=r"clip.mp4 .*delete both of its files and make it again") as error:
        TrainingClip.load(path)
    assert "\n" not in str(error.value)


def test_both_forms_have_the_clips_name(tmp_path: Path) -> None:
    assert clip_name(tmp_path / "a.b.npz") == clip_name(tmp_path / "a.b.labels.npz") == "a.b"
    assert video_path(tmp_path / "a.b.labels.npz") == tmp_path / "a.b.mp4"
