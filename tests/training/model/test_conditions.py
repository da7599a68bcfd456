"""Conditions: where each reaches the Backbone's prediction and where it does not, and their names in the graphs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_models import Inputs, changed_frames, emo_model, latents

from training.model.conditions import Conditions
from training.model.config import EmoConfig
from training.model.controls import FaceLocator
from training.model.model import EmoModel

TIMESTEP = torch.tensor([800])
FRAMES = 7


@pytest.fixture(scope="module")
def model() -> EmoModel:
    """More frames than an audio window spans."""
    return emo_model(clip_frames=FRAMES)


@pytest.fixture
def inputs(model: EmoModel) -> Inputs:
    return Inputs(model.config)


def predict(model: EmoModel, inputs: Inputs, temporal: bool = True, order: list[int] | None = None) -> torch.Tensor:
    noisy = latents(model.config, 1, FRAMES, seed=9)
    noisy = noisy if order is None else noisy[:, order]
    return model.backbone(noisy, TIMESTEP, inputs.conditions(model), temporal)


@pytest.mark.parametrize("temporal", [False, True])
def test_another_portrait_changes_every_frame(model: EmoModel, inputs: Inputs, temporal: bool) -> None:
    before = predict(model, inputs, temporal)
    inputs.reference_latents += 0.5
    assert changed_frames(before, predict(model, inputs, temporal)) == list(range(FRAMES))


def test_each_motion_frame_changes_every_frame(model: EmoModel, inputs: Inputs) -> None:
    before = predict(model, inputs)
    for frame in range(model.config.motion_frames):
        other = Inputs(model.config)
        other.motion_latents[:, frame] += 0.5
        assert changed_frames(before, predict(model, other)) == list(range(FRAMES))


def test_the_order_of_motion_frames_matters(model: EmoModel, inputs: Inputs) -> None:
    before = predict(model, inputs)
    inputs.motion_latents = inputs.motion_latents.flip(1)
    assert changed_frames(before, predict(model, inputs)) == list(range(FRAMES))


def test_without_temporal_modules_and_known_frames_motion_frames_do_nothing() -> None:
    model = emo_model(clip_frames=FRAMES, known_frames_in_latents=False)
    inputs = Inputs(model.config)
    before = predict(model, inputs, temporal=False)
    inputs.motion_latents += 0.5
    assert changed_frames(before, predict(model, inputs, temporal=False)) == []


def test_before_the_first_clip_the_portrait_stands_for_the_motion_frames(model: EmoModel) -> None:
    portrait = latents(model.config, 2)
    motion = latents(model.config, 2, model.config.motion_frames, seed=1)
    motion[0] = 0
    known = model.backbone.known_frame_conditions(portrait, motion)
    assert known.last_latents is not None
    assert torch.equal(known.last_latents, torch.stack([portrait[0], motion[1, -1]]))
    standing = portrait[:1, None].expand_as(motion[:1])
    expected = model.backbone.known_frame_conditions(portrait[:1], standing).known_maps
    assert known.known_maps is not None
    torch.testing.assert_close(known.known_maps[:1], expected)


def test_motion_frames_can_be_drawn_towards_the_portrait(model: EmoModel) -> None:
    portrait = latents(model.config, 2)
    motion = latents(model.config, 2, model.config.motion_frames, seed=1)
    motion[0] = 0
    pulled = model.portrait_and_motion(portrait, motion, portrait_pull=0.25).last_latents
    assert pulled is not None
    assert torch.equal(pulled[0], portrait[0])
    torch.testing.assert_close(pulled[1], 0.75 * motion[1, -1] + 0.25 * portrait[1])


def test_a_new_model_predicts_that_nothing_moves(inputs: Inputs) -> None:
    model = EmoModel(replace(EmoConfig.from_name("emo-test"), clip_frames=FRAMES)).eval().requires_grad_(False)
    expected = inputs.motion_latents[:, -1:].expand(-1, FRAMES, -1, -1, -1)
    torch.testing.assert_close(predict(model, inputs), expected)


@pytest.mark.parametrize("in_time_embedding", [False, True])
def test_sound_reaches_the_frames_within_its_margin_and_no_others(in_time_embedding: bool) -> None:
    model = emo_model(clip_frames=FRAMES, audio_in_time_embedding=in_time_embedding)
    margin = model.config.audio_margin
    before = predict(model, Inputs(model.config), temporal=False)
    for position in range(FRAMES + 2 * margin):
        inputs = Inputs(model.config)
        inputs.audio_features[:, position] = inputs.audio_features[:, position].flip(-1)
        heard_at = position - margin  # the first features are those of frames before the clip
        near = [frame for frame in range(FRAMES) if abs(frame - heard_at) <= margin]
        assert changed_frames(before, predict(model, inputs, temporal=False)) == near


def test_temporal_modules_carry_sound_to_every_frame(model: EmoModel, inputs: Inputs) -> None:
    before = predict(model, inputs)
    inputs.audio_features[:, 0] = inputs.audio_features[:, 0].flip(-1)
    assert changed_frames(before, predict(model, inputs)) == list(range(FRAMES))


def test_the_order_of_sound_within_a_window_matters(model: EmoModel, inputs: Inputs) -> None:
    before = predict(model, inputs, temporal=False)
    inputs.audio_features[:, :5] = inputs.audio_features[:, :5].flip(1)  # frame 0 hears the same five, reversed
    assert 0 in changed_frames(before, predict(model, inputs, temporal=False))


def test_another_face_region_changes_every_frame(model: EmoModel, inputs: Inputs) -> None:
    before = predict(model, inputs, temporal=False)
    inputs.face_region[:, :, 4:8, 4:28] = 1
    assert changed_frames(before, predict(model, inputs, temporal=False)) == list(range(FRAMES))


def test_another_speed_changes_every_frame(model: EmoModel, inputs: Inputs) -> None:
    assert inputs.head_speed is not None
    before = predict(model, inputs)
    inputs.head_speed += 0.7
    assert changed_frames(before, predict(model, inputs)) == list(range(FRAMES))


def test_speed_is_heard_by_temporal_modules_only(model: EmoModel, inputs: Inputs) -> None:
    before = predict(model, inputs, temporal=False)
    inputs.head_speed = None
    assert changed_frames(before, predict(model, inputs, temporal=False)) == []
    assert not [name for name in inputs.conditions(model).named_tensors() if "speed" in name]


def test_it_matters_when_the_head_turns(model: EmoModel, inputs: Inputs) -> None:
    """Not only how fast: the same turn two frames later is another motion."""
    inputs.head_speed = torch.zeros(1, FRAMES + 2 * model.config.audio_margin)
    inputs.head_speed[:, 4] = 2.0
    before = predict(model, inputs)
    inputs.head_speed = inputs.head_speed.roll(2, 1)
    assert changed_frames(before, predict(model, inputs)) == list(range(FRAMES))


def test_a_gesture_changes_its_frame_alone_without_temporal_modules() -> None:
    model = emo_model(clip_frames=FRAMES, gestures=True)
    inputs = Inputs(model.config)
    before = predict(model, inputs, temporal=False)
    assert inputs.gestures is not None
    inputs.gestures[:, 3, 0] += 1.0
    assert changed_frames(before, predict(model, inputs, temporal=False)) == [3]


def test_a_model_of_gestures_refuses_a_clip_without_them() -> None:
    model = emo_model(gestures=True)
    inputs = Inputs(model.config)
    inputs.gestures = None
    with pytest.raises(ValueError, match="takes the gestures of each frame"):
        inputs.conditions(model)


def test_frames_know_of_each_other_through_temporal_modules_only(model: EmoModel, inputs: Inputs) -> None:
    order = [3, 0, 6, 1, 5, 2, 4]
    inputs.audio_features[:] = inputs.audio_features[:, :1]  # the same for all frames
    inputs.head_speed = None
    alone, together = (predict(model, inputs, temporal) for temporal in (False, True))
    permuted = predict(model, inputs, temporal=False, order=order)
    torch.testing.assert_close(permuted, alone[:, order], rtol=0, atol=1e-5)
    assert changed_frames(predict(model, inputs, order=order), together[:, order]) == list(range(FRAMES))


def test_samples_of_a_batch_do_not_mix(model: EmoModel) -> None:
    noisy, timestep = latents(model.config, 2, FRAMES), torch.tensor([900, 50])
    both = Inputs(model.config, batch=2)
    together = model.backbone(noisy, timestep, both.conditions(model))
    for index in range(2):
        one = Inputs(model.config)
        for name, value in vars(both).items():
            setattr(one, name, value[index : index + 1])
        alone = model.backbone(noisy[index : index + 1], timestep[index : index + 1], one.conditions(model))
        torch.testing.assert_close(together[index : index + 1], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("in_time_embedding", [False, True])
def test_several_voices_at_once_are_as_one_after_the_other(in_time_embedding: bool) -> None:
    """Two voices for one set of other conditions, at once and one after the other."""
    model = emo_model(clip_frames=FRAMES, audio_in_time_embedding=in_time_embedding)
    noisy, inputs = latents(model.config, 1, FRAMES), Inputs(model.config)
    shared, voice = inputs.conditions(model), inputs.audio_features
    inputs.audio_features = torch.cat([torch.zeros_like(voice), voice])
    voices = model.backbone.audio_conditions(model.audio_projection(inputs.audio_features))
    both = replace(shared, audio=voices.audio, audio_embedding=voices.audio_embedding)
    together = model.backbone(noisy, TIMESTEP, both)
    assert changed_frames(together[:1], together[1:]) == list(range(FRAMES))
    for index in range(2):
        inputs.audio_features = torch.zeros_like(voice) if index == 0 else voice
        alone = model.backbone(noisy, TIMESTEP, inputs.conditions(model))
        torch.testing.assert_close(together[index : index + 1], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["emo-test", "emo-photo", "emo-sd15"])
def test_a_face_region_is_encoded_to_the_shape_of_the_latents(name: str) -> None:
    config = EmoConfig.from_name(name)
    with torch.device("meta"):
        encoded = FaceLocator(config)(torch.zeros(2, 1, config.resolution, config.resolution))
    assert encoded.shape == (2, config.latent_channels, config.latent_size, config.latent_size)


def test_deep_features_stand_for_all_levels_but_the_outermost(model: EmoModel, inputs: Inputs) -> None:
    backbone, conditions = model.backbone, inputs.conditions(model)
    noisy, embedding = latents(model.config, 1, FRAMES, seed=9), model.backbone.embed_time(TIMESTEP)
    full, deep = backbone.predict(noisy, embedding, conditions)
    taken = backbone.cached_step_conditions(conditions).named_tensors()
    assert 0 < len(taken) < len(conditions.named_tensors())
    inner = [*backbone.down_blocks[1:], backbone.mid_block, *backbone.up_blocks[:-1]]
    ran: list[torch.nn.Module] = []
    hooks = [
        layer.register_forward_hook(lambda layer, *_: ran.append(layer)) for level in inner for layer in level.modules()
    ]

    def cached(**changes: torch.Tensor) -> torch.Tensor:
        return backbone.predict(noisy, embedding, Conditions.from_named_tensors(taken | changes), deep_features=deep)[0]

    torch.testing.assert_close(cached(), full, rtol=0, atol=0)
    for name, tensor in taken.items():
        assert not torch.equal(cached(**{name: torch.randn_like(tensor)}), full), name
    assert not ran
    for hook in hooks:
        hook.remove()


def test_named_tensors_are_the_exported_graphs_inputs_in_their_order(model: EmoModel, inputs: Inputs) -> None:
    """A bundle depends on these names: attention layers and temporal modules have numbers of their own."""

    def pairs(kind: str, count: int) -> list[str]:
        return [f"{kind}_{part}_{number:02d}" for number in range(count) for part in ("key", "value")]

    attentions, modules = len(model.backbone.attention_layers()), len(model.backbone.temporal_modules())
    assert attentions != modules
    assert list(inputs.conditions(model).named_tensors()) == [
        *pairs("audio", attentions),
        "audio_embedding",
        "face_latents",
        *pairs("speed", modules),
        *pairs("reference", attentions),
        *pairs("motion_first", modules),
        *pairs("motion_second", modules),
        "known_maps",
        "last_latents",
    ]


def test_conditions_survive_the_way_to_named_tensors_and_back(model: EmoModel, inputs: Inputs) -> None:
    for conditions in (inputs.conditions(model), model.backbone.cached_step_conditions(inputs.conditions(model))):
        named = conditions.named_tensors()
        again = Conditions.from_named_tensors(dict(reversed(named.items()))).named_tensors()
        assert list(again) == list(named)
        assert all(again[name] is tensor for name, tensor in named.items())


@pytest.mark.parametrize(
    "lost", ["reference_key_00", "reference_value_00", "motion_first_key_02", "motion_second_key_02"]
)
def test_named_tensors_with_a_gap_or_an_unknown_name_are_refused(model: EmoModel, inputs: Inputs, lost: str) -> None:
    named = inputs.conditions(model).named_tensors()
    with pytest.raises(ValueError, match=r"unknown or incomplete: noise$"):
        Conditions.from_named_tensors(named | {"noise": torch.zeros(1)})
    del named[lost]
    with pytest.raises(ValueError, match=f"unknown or incomplete: {lost[:6]}"):
        Conditions.from_named_tensors(named)


def test_parts_are_merged_unless_they_have_a_field_in_common() -> None:
    voice, place = Conditions(audio={0: (torch.zeros(1), torch.zeros(1))}), Conditions(face_latents=torch.ones(1))
    merged = Conditions.merged(voice, Conditions(), place)
    assert list(merged.named_tensors()) == ["audio_key_00", "audio_value_00", "face_latents"]
    for part in (voice, place):
        with pytest.raises(ValueError, match=r"two parts of the conditions have (audio|face_latents)"):
            Conditions.merged(merged, part)


def test_one_of_two_voices_is_taken_from_the_voice_alone() -> None:
    def numbered(*shape: int) -> torch.Tensor:
        return torch.arange(shape[0], dtype=torch.float32).reshape(-1, *[1] * (len(shape) - 1)).expand(shape)

    both = Conditions(
        audio={3: (numbered(2, 4, 5, 8), numbered(2, 4, 5, 8))},
        audio_embedding=numbered(2, 4, 8),
        reference={3: (numbered(1, 9, 8), numbered(1, 9, 8))},
        motion={0: ((numbered(9, 2, 8), numbered(9, 2, 8)), (numbered(9, 2, 8), numbered(9, 2, 8)))},
    )
    for half, voice in ((both.unconditional(), 0), (both.conditional(), 1)):
        for name, tensor in half.named_tensors().items():
            of_both = both.named_tensors()[name]
            assert torch.equal(tensor, of_both[voice : voice + 1] if name.startswith("audio") else of_both), name


def test_another_dtype_is_that_of_every_tensor(model: EmoModel, inputs: Inputs) -> None:
    conditions = inputs.conditions(model)
    half = conditions.to(torch.float16).named_tensors()
    assert half.keys() == conditions.named_tensors().keys()
    for name, tensor in conditions.named_tensors().items():
        assert torch.equal(half[name], tensor.half()), name
