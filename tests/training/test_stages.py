"""The stages: what trains, what stays, and that a killed run goes on as if nothing had happened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import emo_model

from training.corpus import make_clip
from training.model import EmoModel
from training.train import RECIPES, STAGES, Recipe, Trainer, trained_parameters


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers, a second each, at the test size's resolution."""
    directory = tmp_path_factory.mktemp("clips")
    for seed in (1, 2):
        make_clip(seed, seconds=1.0, resolution=32).save(directory / f"{seed}.npz")
    return directory


def trainer(stage: str, clips: Path, out: Path, recipe: Recipe = RECIPES["emo-test"]["video"]) -> Trainer:
    return Trainer(emo_model(), stage, recipe, clips, out, seed=0)


def parts(stage: str) -> set[str]:
    return {name.split(".")[0] for name in trained_parameters(emo_model(), stage)}


def test_each_stage_trains_the_parts_that_the_paper_says() -> None:
    assert parts("vae") == parts("decoder") == {"vae"}
    assert parts("audio") == {"audio_encoder"}
    assert parts("image") == {"backbone", "reference_net", "face_locator"}
    assert parts("video") == {"backbone", "reference_net", "face_locator", "audio_projection"}
    assert parts("speed") == {"backbone", "speed_encoder"}


def test_the_image_stage_knows_neither_time_nor_voice() -> None:
    image, video = (set(trained_parameters(emo_model(), stage)) for stage in ("image", "video"))
    added = {name for name in video - image if name.startswith("backbone.")}
    assert image < video
    backbone = {name for name, _ in emo_model().named_parameters() if name.startswith("backbone.")}
    assert {name for name in backbone if "_speed" not in name} == video & backbone
    assert all("motion_modules" in name or "_audio" in name or "audio_embedding" in name for name in added)


def test_the_decoder_stage_leaves_the_latents_as_they_are(clips: Path, tmp_path: Path) -> None:
    run = trainer("decoder", clips, tmp_path / "decoder", RECIPES["emo-test"]["decoder"])
    images, _ = run.clips.frames(np.random.default_rng(5), 4)
    latents, pictures = run.model.vae.encode(images), run.model.vae.decode(run.model.vae.encode(images))
    run.run(save_every=10)
    assert torch.equal(run.model.vae.encode(images), latents)
    assert not torch.equal(run.model.vae.decode(latents), pictures)


def test_the_speed_stage_trains_temporal_modules_and_speed_layers_only() -> None:
    """The audio layers stay as they are, on purpose (paper, section 3.3)."""
    names = trained_parameters(emo_model(), "speed")
    assert all(name.startswith("speed_encoder.") or ".motion_modules." in name for name in names)
    everywhere = {name for name, _ in emo_model().named_parameters() if "motion_modules" in name or "speed" in name}
    assert set(names) == everywhere


def idle(stage: str, name: str) -> bool:
    """Parameters that a stage trains, but that its loss does not reach."""
    if stage == "image":  # nothing reads the ReferenceNet behind its last features
        last = "reference_net.up_blocks.1.attentions.1."
        tail = (f"{last}proj_out", f"{last}transformer_blocks.0.norm3", f"{last}transformer_blocks.0.ff")
        return name.startswith(tail)
    # wav2vec 2.0's own pretraining alone masks; a softmax does not see what is added to all its keys
    return stage == "audio" and name.endswith(("masked_spec_embed", "k_proj.bias"))


@pytest.mark.parametrize("stage", STAGES)
def test_a_step_changes_all_that_trains_and_nothing_else(stage: str, clips: Path, tmp_path: Path) -> None:
    run = trainer(stage, clips, tmp_path, replace(RECIPES["emo-test"][stage], audio_dropout=0, first_clips=0))
    before = {name: parameter.detach().clone() for name, parameter in run.model.named_parameters()}
    run._train_step()
    trained = set(trained_parameters(run.model, stage))
    for name, parameter in run.model.named_parameters():
        changed = not torch.equal(parameter, before[name])
        if name not in trained:
            assert not changed, name
            assert parameter.grad is None, name
        elif not idle(stage, name):
            assert changed, name
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name


class Killed(Exception):
    """Stands for a power cut."""


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_run_goes_on_to_the_same_weights(
    stage: str, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPES["emo-test"][stage], steps=4)
    trainer(stage, clips, tmp_path / "whole", recipe).run(save_every=4)

    killed = trainer(stage, clips, tmp_path / "killed", recipe)
    step = killed._train_step

    def die_at_the_third() -> float:
        if killed.step == 2:
            raise Killed
        return step()

    monkeypatch.setattr(killed, "_train_step", die_at_the_third)
    with pytest.raises(Killed):
        killed.run(save_every=2)
    torch.manual_seed(123)  # a new process: nothing may hang on PyTorch's own generator
    resumed = trainer(stage, clips, tmp_path / "killed", recipe)
    resumed.run(save_every=4)

    assert resumed.step == 4
    whole, again = (torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "killed"))
    for part in ("model", "average", "head"):
        for name, tensor in whole[part].items():
            assert torch.equal(tensor, again[part][name]), f"{part} {name}"
    for file in ("model.safetensors", "vae/diffusion_pytorch_model.safetensors", "wav2vec2/model.safetensors"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "killed" / file).read_bytes()
    assert (tmp_path / "whole/vae/config.json").read_text() == (tmp_path / "killed/vae/config.json").read_text()


def test_the_vae_stage_scales_latents_to_unit_deviation(clips: Path, tmp_path: Path) -> None:
    run = trainer("vae", clips, tmp_path / "vae", RECIPES["emo-test"]["vae"])
    run.run(save_every=10)
    model = EmoModel.load(tmp_path / "vae")
    images, _ = run.clips.frames(np.random.default_rng(5), 64)
    assert model.vae.encode(images).std().item() == pytest.approx(1, abs=0.1)


def test_dropped_voices_and_motion_frames_are_zeros(clips: Path, tmp_path: Path) -> None:
    run = trainer(
        "video", clips, tmp_path, replace(RECIPES["emo-test"]["video"], audio_dropout=1, first_clips=1, own_motion=0)
    )
    seen = []
    voice_and_place, portrait_and_motion = run.model.voice_and_place, run.model.portrait_and_motion

    def note_voice(*arguments: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append(arguments[0])
        return voice_and_place(*arguments)

    def note_motion(*arguments: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append(arguments[1])
        return portrait_and_motion(*arguments)

    run.model.voice_and_place, run.model.portrait_and_motion = note_voice, note_motion  # type: ignore[method-assign]
    run._train_step()
    assert len(seen) == 2
    assert not any(tensor.any() for tensor in seen)


def test_generated_motion_frames_replace_recorded_ones_but_not_those_of_a_first_clip(
    clips: Path, tmp_path: Path
) -> None:
    run = trainer("video", clips, tmp_path)
    batch = run.clips.videos(np.random.default_rng(0), 32, mouth_weight=1, first_clips=0.5, before=True)
    assert batch.motion_latents is not None
    recorded = batch.motion_latents.clone()
    run._generate_motion(batch)
    assert batch.motion_latents.shape == recorded.shape
    first = recorded.flatten(1).abs().amax(1) == 0
    assert 0 < first.sum() < 32
    assert torch.equal(batch.motion_latents[first], recorded[first])
    assert all(not torch.equal(*pair) for pair in zip(batch.motion_latents[~first], recorded[~first], strict=True))


def test_the_frames_before_a_window_end_where_its_motion_frames_do(clips: Path, tmp_path: Path) -> None:
    data = trainer("video", clips, tmp_path).clips
    batch = data.videos(np.random.default_rng(0), 8, mouth_weight=1, before=True)
    assert batch.before is not None
    assert batch.motion_latents is not None
    assert torch.equal(batch.before.latents[:, -data.config.motion_frames :], batch.motion_latents)
    assert torch.equal(batch.before.reference_latents, batch.reference_latents)


def test_the_reference_of_a_first_clip_is_the_frame_before(clips: Path, tmp_path: Path) -> None:
    data = trainer("video", clips, tmp_path).clips
    batch = data.videos(np.random.default_rng(0), 8, mouth_weight=1, first_clips=1)
    for reference, latents in zip(batch.reference_latents, batch.latents, strict=True):
        (clip,) = (c for c in data.latents if (c.float() == latents[0]).flatten(1).all(1).any())
        index = int((clip.float() == latents[0]).flatten(1).all(1).nonzero()[0])
        assert torch.equal(reference, clip[index - 1].float())


def test_windows_with_a_still_head_can_be_asked_for(clips: Path, tmp_path: Path) -> None:
    data = trainer("video", clips, tmp_path).clips
    rng = np.random.default_rng(0)
    moving, still = (data.videos(rng, 64, mouth_weight=1, still=share).head_speed for share in (0.0, 1.0))
    assert moving is not None
    assert still is not None
    assert still.mean() < 0.8 * moving.mean()


def test_clips_of_another_resolution_are_refused(tmp_path: Path) -> None:
    make_clip(3, seconds=0.4, resolution=40).save(tmp_path / "3.npz")
    with pytest.raises(ValueError, match=r"3.npz has 40 pixels a side, emo-test 32"):
        trainer("vae", tmp_path, tmp_path / "out")


def test_a_folder_without_clips_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} has no clips"):
        trainer("vae", tmp_path, tmp_path / "out")
