"""Generated speakers: what the labels say is what is heard and seen."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from made_photograph import made_photograph
from scipy.spatial.transform import Rotation

from training.clips.clip import TrainingClip
from training.clips.rotation import head_speed
from training.speakers.performance import perform
from training.speakers.puppets.pose import pose
from training.speakers.puppets.puppet import Puppet
from training.speakers.speaker import make_clip, make_puppet_clip
from training.speakers.speech.voices import VOICES, voice_language


@pytest.fixture(scope="module")
def clip() -> TrainingClip:
    return make_clip(seed=5, seconds=3.0, resolution=96)


def test_a_clip_follows_from_its_seed(clip: TrainingClip) -> None:
    again = make_clip(seed=5, seconds=3.0, resolution=96)
    for field in dataclasses.fields(TrainingClip):
        np.testing.assert_array_equal(getattr(clip, field.name), getattr(again, field.name))
    assert not np.array_equal(make_clip(seed=6, seconds=3.0, resolution=96).frames, clip.frames)


def test_a_clip_has_the_documented_shapes_and_survives_saving(clip: TrainingClip, tmp_path: Path) -> None:
    assert clip.frames.shape == (75, 96, 96, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.waveform.shape == (75 * 640,)
    assert clip.phoneme_class.shape == (150,)
    assert clip.phoneme_class.dtype == np.int64
    clip.save(tmp_path / "clip.npz")
    loaded = TrainingClip.load(tmp_path / "clip.npz")
    for field in dataclasses.fields(TrainingClip):
        np.testing.assert_array_equal(getattr(clip, field.name), getattr(loaded, field.name))
    assert [path.name for path in tmp_path.iterdir()] == ["clip.npz"]


def test_a_clip_of_an_older_version_loads_without_what_came_later(clip: TrainingClip, tmp_path: Path) -> None:
    clip.save(tmp_path / "new.npz")
    later = ("blink", "gaze", "text", "voice", "language", "style", "sound", "photograph", "person")
    with np.load(tmp_path / "new.npz") as archive:
        np.savez(tmp_path / "old.npz", **{name: archive[name] for name in archive.files if name not in later})
    old = TrainingClip.load(tmp_path / "old.npz")
    np.testing.assert_array_equal(old.frames, clip.frames)
    assert not old.knows("blink")
    assert not old.knows("gaze")
    assert old.text == old.voice == old.language == old.style == old.sound == old.photograph == old.person == ""


def test_the_blink_label_is_what_the_eyes_do() -> None:
    """In a still head, the upper face changes most where the lids move."""
    clip = make_clip(seed=6, seconds=3.0, resolution=96)
    assert clip.head_speed.mean() < 0.05
    assert clip.blink.shape == (75,)
    assert clip.blink.dtype == np.float32
    assert clip.blink.max() == 1
    face = clip.face_box[0]
    eyes = clip.frames[:, int(face[1] + 0.25 * face[3]) : int(face[1] + 0.5 * face[3])].astype(np.float32)
    change = np.abs(np.diff(eyes, axis=0)).mean((1, 2, 3))
    moves = np.abs(np.diff(clip.blink)) > 0.3
    assert change[moves].mean() > 3 * change[~moves].mean()


def test_the_face_box_holds_the_mouth_box(clip: TrainingClip) -> None:
    face, mouth = clip.face_box, clip.mouth_box
    assert (mouth[:, :2] >= face[:, :2]).all()
    assert (mouth[:, :2] + mouth[:, 2:] <= face[:, :2] + face[:, 2:]).all()
    assert (face[:, 2] > 0.45 * 96).all()
    assert (face[:, 2] < 0.62 * 96).all()


def test_head_speed_is_the_angle_between_rotations(clip: TrainingClip) -> None:
    yaw = np.zeros((4, 3), np.float32)
    yaw[:, 0] = [0, 2, 5, 5]
    np.testing.assert_allclose(head_speed(yaw), [2, 2, 3, 0], atol=1e-4)
    turned = Rotation.from_euler("yxz", clip.rotation * [1, -1, 1], degrees=True)
    steps = np.rad2deg((turned[1:] * turned[:-1].inv()).magnitude())
    np.testing.assert_allclose(clip.head_speed, [steps[0], *steps], rtol=1e-4, atol=1e-4)


def test_another_familys_clip_differs_only_in_what_follows_the_voice() -> None:
    own, other = (make_clip(0, 0.5, 32, voices=voices) for voices in ("train", "held-out-family"))
    assert own.voice in VOICES["train"]
    assert other.voice in VOICES["held-out-family"]
    assert other.language == voice_language(other.voice)
    np.testing.assert_array_equal(own.blink, other.blink)
    background = (slice(None), slice(0, 4), slice(0, 4))
    np.testing.assert_array_equal(own.frames[background], other.frames[background])
    assert not np.array_equal(own.rotation, other.rotation)
    with pytest.raises(ValueError, match="no split"):
        make_clip(0, 0.5, 32, voices="klatt")


def test_a_puppets_clip_follows_from_its_seed_and_its_photograph() -> None:
    first, again = (make_puppet_clip(3, made_photograph(), 0.4, 32) for _ in range(2))
    for field in dataclasses.fields(TrainingClip):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(again, field.name))
    assert first.frames.shape == (10, 32, 32, 3)
    assert not first.knows("gaze")
    assert (first.photograph, first.person) == ("anna", "anna")
    other = make_puppet_clip(3, made_photograph(parted=0.3), 0.4, 32)
    np.testing.assert_array_equal(first.mouth_opening, other.mouth_opening)
    assert not np.array_equal(first.frames, other.frames)


def test_a_puppet_is_labelled_with_the_rotation_that_is_seen() -> None:
    motion, clip = perform(3, 0.4, puppet=True).motion, make_puppet_clip(3, made_photograph(), 0.4, 32)
    seen = Puppet.of(made_photograph()).seen_rotation(motion.rotation)
    np.testing.assert_array_equal(clip.rotation, seen)
    np.testing.assert_array_equal(clip.head_speed, head_speed(seen.numpy()))


def test_the_width_of_a_puppets_mouth_is_what_speech_and_smiles_make_of_it() -> None:
    puppet = Puppet.of(made_photograph())
    seen, labels, smiles = [], [], []
    for seed in range(12):
        performance = perform(seed, 1.0, puppet=True)
        corners = pose(puppet, performance.motion, 1.0).mesh[:, [61, 291]]
        seen.append((corners[:, 1] - corners[:, 0]).norm(dim=1))
        labels.append(performance.motion.mouth_width + 0.6 * performance.motion.smile)
        smiles.append(performance.motion.smile)
    assert torch.cat(smiles).max() > 0.3
    assert np.corrcoef(torch.cat(seen), torch.cat(labels))[0, 1] > 0.97
    closed = torch.cat(smiles) == 0
    assert np.corrcoef(torch.cat(seen)[closed], torch.cat(labels)[closed])[0, 1] > 0.97
