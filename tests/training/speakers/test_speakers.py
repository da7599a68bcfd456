"""Generated speakers: what the labels say must be what is heard and seen."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from training.clips.clip import TrainingClip
from training.clips.phonemes import PHONEME_CLASSES, phoneme_class
from training.clips.rotation import head_speed
from training.corpus import SAMPLE_RATE
from training.speakers.drawn.heads import Motion, sample_portraits
from training.speakers.drawn.render import render
from training.speakers.mouth import mouth_curves
from training.speakers.speaker import is_held_out_seed, make_clip
from training.speakers.speech.synthesizer import frame_classes, random_sentence, synthesize


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
    later = ("blink", "text", "voice", "language", "style", "sound")
    with np.load(tmp_path / "new.npz") as archive:
        np.savez(tmp_path / "old.npz", **{name: archive[name] for name in archive.files if name not in later})
    old = TrainingClip.load(tmp_path / "old.npz")
    np.testing.assert_array_equal(old.frames, clip.frames)
    assert not len(old.blink)
    assert old.text == old.voice == old.language == old.style == old.sound == ""


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


def test_phoneme_times_are_in_order_and_inside_the_waveform() -> None:
    rng = np.random.default_rng(0)
    for voice in ("en-us", "en-gb-scotland+f2"):
        utterance = synthesize(random_sentence(rng), voice)
        times = [time for phoneme in utterance.phonemes for time in (phoneme.start, phoneme.end)]
        assert times == sorted(times)
        assert times[0] >= 0
        assert times[-1] <= len(utterance.waveform) / SAMPLE_RATE
        assert np.abs(utterance.waveform).max() <= 1


def test_equal_calls_speak_equally_whatever_was_said_before() -> None:
    first = synthesize("She sees the sea.", "en-us+f3")
    synthesize("Something else.", "en+m2")
    np.testing.assert_array_equal(synthesize("She sees the sea.", "en-us+f3").waveform, first.waveform)


def test_an_unknown_voice_is_refused() -> None:
    with pytest.raises(ValueError, match="no voice"):
        synthesize("Hello.", "nobody")


def test_symbols_outside_the_classes_go_to_a_near_one() -> None:
    near = {"_:": "silence", "A@": "A:", "t#": "t", "aI@": "aI", "i": "i:"}
    assert {symbol: PHONEME_CLASSES[phoneme_class(symbol)] for symbol in near} == near


def test_the_mouth_closes_on_p_b_m_and_opens_on_vowels() -> None:
    utterance = synthesize("My puppy may buy a map. Papa, mama, baby!")
    frames = int(utterance.seconds * 25)
    curves, classes = mouth_curves(utterance, 25, frames), frame_classes(utterance, 25, frames)
    closed = np.isin(classes, [phoneme_class(symbol) for symbol in "pbm"])
    for phoneme in utterance.phonemes:
        if phoneme.symbol in ("p", "b", "m"):
            middle = min(int((phoneme.start + phoneme.end) / 2 * 25), frames - 1)
            assert curves.opening[middle] < 0.05
    open_vowels = np.isin(classes, [phoneme_class(symbol) for symbol in ("A:", "aI", "a")])
    assert curves.opening[open_vowels].mean() > curves.opening[closed].mean() + 0.4


def test_the_mouth_rounds_on_oo_and_spreads_on_ee() -> None:
    rounded, spread = (mouth_curves(synthesize(text), 25, 20).width for text in ("Who?", "He?"))
    assert rounded.min() < 0.2
    assert spread.max() > 0.7


def test_opening_the_mouth_changes_only_the_lower_face() -> None:
    portraits = sample_portraits(range(6))
    closed = render(portraits, Motion.rest(6), 128)
    opened = render(portraits, dataclasses.replace(Motion.rest(6), mouth_opening=torch.ones(6)), 128)
    changed = (opened.frames - closed.frames).abs().amax(1) > 0.02  # [B, H, W]
    for index in range(6):
        x, y, width, height = opened.mouth_box[index].tolist()
        rows, columns = torch.nonzero(changed[index], as_tuple=True)
        assert (rows > y - 4).float().mean() > 0.8
        assert rows.min() > y - 24  # the nose and the cheeks beside it, a little; eyes and hair not at all
        inside = (columns > x - 3) & (columns < x + width + 3) & (rows < y + height + 3)
        assert inside.float().mean() > 0.5  # the rest: the chin falls
        assert 8 < opened.mouth_box[index, 3] - closed.mouth_box[index, 3] < 20


def test_an_open_mouth_is_dark_and_looks_the_more_different_the_wider_it_is() -> None:
    openings = torch.linspace(0, 1, 9)
    for seed in range(8):
        portrait = sample_portraits([seed])
        rendering = render(portrait, dataclasses.replace(Motion.rest(9), mouth_opening=openings), 128)
        x, y, width, height = (int(value) for value in rendering.mouth_box[-1])
        mouths = rendering.frames[:, :, y : y + height, x : x + width]
        change = (mouths - mouths[:1]).abs().mean((1, 2, 3))
        assert np.corrcoef(openings.numpy(), change.numpy())[0, 1] > 0.9
        if portrait.skin.mean() > 0.7:  # in dark skin teeth and tongue are the brightest part
            assert np.corrcoef(openings.numpy(), mouths.mean((1, 2, 3)).numpy())[0, 1] < -0.6


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
    steps = np.linalg.norm(np.diff(clip.rotation, axis=0), axis=1)
    np.testing.assert_allclose(clip.head_speed[1:], steps, rtol=0.25, atol=0.02)


def test_a_turning_head_moves_its_features_more_than_its_outline() -> None:
    turned = dataclasses.replace(Motion.rest(1), rotation=torch.tensor([[15.0, 0.0, 0.0]]))
    portrait = sample_portraits([1])
    shift = render(portrait, turned, 128).mouth_box - render(portrait, Motion.rest(1), 128).mouth_box
    assert 4 < shift[0, 0] + shift[0, 2] / 2 < 16


def test_a_tenth_of_the_speakers_is_held_out() -> None:
    assert 0.08 < np.mean([is_held_out_seed(seed) for seed in range(2000)]) < 0.12
