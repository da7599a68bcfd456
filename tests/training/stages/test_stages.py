"""The stages: what trains, what stays, and that a killed run goes on as if nothing had happened."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_models import emo_model

from training.model.conditions import Conditions
from training.model.config import CONFIGS, EmoConfig
from training.model.model import EmoModel
from training.model.vae import to_uint8
from training.speakers.speaker import make_clip
from training.stages.data import ClipFolder, Weights
from training.stages.losses import StageLoss
from training.stages.recipe import STAGES, Recipe
from training.stages.trainer import Trainer, trained_parameters
from training.train import main


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers, a second each, at the test size's resolution."""
    directory = tmp_path_factory.mktemp("clips")
    for seed in (1, 2):
        make_clip(seed, seconds=1.0, resolution=32).save(directory / f"{seed}.npz")
    return directory


def trainer(stage: str, clips: Path, out: Path, recipe: Recipe | None = None) -> Trainer:
    return Trainer(emo_model(), stage, recipe or Recipe.load("emo-test", stage), clips, out, seed=0)


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
    run = trainer("decoder", clips, tmp_path / "decoder", Recipe.load("emo-test", "decoder"))
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
    run = trainer(stage, clips, tmp_path, replace(Recipe.load("emo-test", stage), audio_dropout=0, first_clips=0))
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
    recipe = replace(Recipe.load("emo-test", stage), steps=4)
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
    run = trainer("vae", clips, tmp_path / "vae", Recipe.load("emo-test", "vae"))
    run.run(save_every=10)
    model = EmoModel.load(tmp_path / "vae")
    images, _ = run.clips.frames(np.random.default_rng(5), 64)
    assert model.vae.encode(images).std().item() == pytest.approx(1, abs=0.1)


def test_dropped_voices_and_motion_frames_are_zeros(clips: Path, tmp_path: Path) -> None:
    run = trainer(
        "video",
        clips,
        tmp_path,
        replace(Recipe.load("emo-test", "video"), audio_dropout=1, first_clips=1, own_motion=0),
    )
    seen = []
    voice_and_place, portrait_and_motion = run.model.voice_and_place, run.model.portrait_and_motion

    def note_voice(*arguments: torch.Tensor) -> Conditions:
        seen.append(arguments[0])
        return voice_and_place(*arguments)

    def note_motion(*arguments: torch.Tensor) -> Conditions:
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
    batch = run.clips.videos(np.random.default_rng(0), 32, weights=Weights(), first_clips=0.5, before=True)
    assert batch.motion_latents is not None
    recorded = batch.motion_latents.clone()
    run.loss.generate_motion(batch)
    assert batch.motion_latents.shape == recorded.shape
    first = recorded.flatten(1).abs().amax(1) == 0
    assert 0 < first.sum() < 32
    assert torch.equal(batch.motion_latents[first], recorded[first])
    assert all(not torch.equal(*pair) for pair in zip(batch.motion_latents[~first], recorded[~first], strict=True))


def test_the_frames_before_a_window_end_where_its_motion_frames_do(clips: Path, tmp_path: Path) -> None:
    data = trainer("video", clips, tmp_path).clips
    batch = data.videos(np.random.default_rng(0), 8, weights=Weights(), before=True)
    assert batch.before is not None
    assert batch.motion_latents is not None
    assert torch.equal(batch.before.latents[:, -data.config.motion_frames :], batch.motion_latents)
    assert torch.equal(batch.before.reference_latents, batch.reference_latents)


def test_the_reference_of_a_first_clip_is_the_frame_before(clips: Path, tmp_path: Path) -> None:
    data = trainer("video", clips, tmp_path).clips
    batch = data.videos(np.random.default_rng(0), 8, weights=Weights(), first_clips=1)
    for reference, latents in zip(batch.reference_latents, batch.latents, strict=True):
        (clip,) = (c for c in data.latents if (c.float() == latents[0]).flatten(1).all(1).any())
        index = int((clip.float() == latents[0]).flatten(1).all(1).nonzero()[0])
        assert torch.equal(reference, clip[index - 1].float())


def test_pictures_that_latents_stand_for_are_not_kept(clips: Path, tmp_path: Path) -> None:
    for clip in trainer("video", clips, tmp_path).clips.clips:
        assert clip.frames.size == 0
        assert clip.frames.base is None


def test_the_face_weighs_more_and_the_mouth_most(clips: Path, tmp_path: Path) -> None:
    data = trainer("video", clips, tmp_path).clips
    (plain,) = data.videos(np.random.default_rng(0), 1, weights=Weights()).loss_weight
    assert torch.equal(plain, torch.ones_like(plain))
    face, mouth, both = (
        data.videos(np.random.default_rng(0), 1, weights=weights).loss_weight[0]
        for weights in (Weights(face=3), Weights(mouth=8), Weights(3, 8))
    )
    assert (face.min(), face.max()) == (1, 3)
    assert mouth.max() > 3
    assert torch.equal(both, torch.maximum(face, mouth))
    assert 0.02 < (mouth > 1).float().mean() < (face > 1).float().mean() < 0.8


def test_windows_with_a_still_head_can_be_asked_for(clips: Path, tmp_path: Path) -> None:
    data = trainer("video", clips, tmp_path).clips
    rng = np.random.default_rng(0)
    moving, still = (data.videos(rng, 64, weights=Weights(), still=share).head_speed for share in (0.0, 1.0))
    assert moving is not None
    assert still is not None
    assert still.mean() < 0.8 * moving.mean()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps must be 1 or more, not 0"),
        ({"learning_rate": 0.0}, "learning_rate must be more than 0"),
        ({"own_motion": 1.5}, "own_motion is a share between 0 and 1, not 1.5"),
        ({"still": 0.6, "every_speed": 0.5}, "shares of one whole, not 0.6 and 0.5"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(Recipe.load("emo-test", "video"), **{"still": 0.0, **wrong})  # type: ignore[arg-type]


def test_rare_head_speeds_can_be_asked_for_as_often_as_others(clips: Path, tmp_path: Path) -> None:
    data = trainer("video", clips, tmp_path).clips
    slow, fast = data.config.speed_centers[0], data.config.speed_centers[-1]
    data.clips = [replace(data.clips[0], head_speed=np.full(25, speed)) for speed in 9 * [slow] + [fast]]
    data.latents, data.voiced = 10 * [data.latents[0]], list(range(10))
    data.config = replace(data.config, speed_centers=(slow, fast), speed_radii=(1.0, 1.0))
    rng = np.random.default_rng(0)
    usual, every = (data.videos(rng, 200, weights=Weights(), every_speed=share).head_speed for share in (0.0, 1.0))
    assert usual is not None
    assert every is not None
    share = [float((speeds.mean(1) > (slow + fast) / 2).float().mean()) for speeds in (usual, every)]
    assert share[0] < 0.2
    assert 0.4 < share[1] < 0.6


def test_clips_of_another_resolution_are_refused(tmp_path: Path) -> None:
    make_clip(3, seconds=0.4, resolution=40).save(tmp_path / "3.npz")
    with pytest.raises(ValueError, match=r"3.npz has 40 pixels a side, emo-test 32"):
        trainer("vae", tmp_path, tmp_path / "out")


def test_voices_are_learned_from_clips_of_any_resolution(tmp_path: Path) -> None:
    make_clip(3, seconds=0.4, resolution=40).save(tmp_path / "3.npz")
    run = trainer("audio", tmp_path, tmp_path / "out")
    assert not run.clips.clips[0].frames.size
    assert run._train_step() > 0


def test_a_folder_without_clips_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} has no clips"):
        trainer("vae", tmp_path, tmp_path / "out")


@pytest.mark.parametrize("stage", ["image", "video"])
def test_accumulated_batches_give_the_mean_of_their_gradients(stage: str, clips: Path, tmp_path: Path) -> None:
    recipe = replace(Recipe.load("emo-test", stage), accumulate=2)
    run = trainer(stage, clips, tmp_path, recipe)
    expected = [torch.zeros_like(parameter) for parameter in run.trained]
    for batch in range(2):
        rng = np.random.Generator(np.random.Philox(key=[run.seed, batch]))
        gradients = torch.autograd.grad(run.loss(rng), run.trained, allow_unused=True)
        for total, gradient in zip(expected, gradients, strict=True):
            total += 0 if gradient is None else gradient / 2
    norm = torch.stack([gradient.norm() for gradient in expected]).norm()
    run._train_step()
    for parameter, gradient in zip(run.trained, expected, strict=True):
        actual = torch.zeros_like(gradient) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(actual, gradient / norm.clamp(min=1), rtol=1e-3, atol=1e-5)


def test_two_processes_train_and_resume_as_one_that_accumulates_two_batches(clips: Path, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    options = ["--stage", "image", "--config", "emo-test", "--device", "cpu", "--threads", "1", "--data", str(clips)]
    for steps in ("2", "3"):  # the second run goes on from the first one's state
        command = [*options, "--steps", steps, "--out"]
        processes = [*torchrun, "-m", "training.train", *command, str(tmp_path / "two")]
        subprocess.run(processes, check=True, capture_output=True, cwd=Path(__file__).parents[2])
        assert main([*command, str(tmp_path / "one"), "--accumulate", "2"]) == 0
    one, two = (torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("one", "two"))
    assert one["step"] == two["step"] == 3
    for name, tensor in one["model"].items():
        torch.testing.assert_close(tensor, two["model"][name], rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("stage", ["image", "video", "speed"])
def test_checkpointed_activations_give_the_same_gradients_from_less_memory(
    stage: str, clips: Path, tmp_path: Path
) -> None:
    recipe, kept, gradients = Recipe.load("emo-test", stage), [], []
    for less in (False, True):
        run = Trainer(emo_model(), stage, recipe, clips, tmp_path, seed=0, gradient_checkpointing=less)
        sizes: list[int] = []

        def keep(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = run.loss(np.random.Generator(np.random.Philox(key=[0, 0])))
            kept.append(sum(sizes))
        gradients.append(torch.autograd.grad(loss, run.trained, allow_unused=True))
    for full, again in zip(*gradients, strict=True):
        assert (full is None) == (again is None)
        if full is not None:
            torch.testing.assert_close(again, full)
    assert kept[1] < kept[0] / 2
    grid = run.sample_grid()
    for parameter in run.model.parameters():
        parameter.data.zero_()
    np.testing.assert_array_equal(run.sample_grid(), grid)  # the averaged model has blocks of its own


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_weights(clips: Path, tmp_path: Path) -> None:
    AcceleratorState._reset_state()  # a process has one precision
    run = Trainer(emo_model(), "video", Recipe.load("emo-test", "video"), clips, tmp_path, 0, mixed_precision="bf16")
    dtypes = {}
    for name, layer in [("conv", run.model.backbone.conv_in), ("norm", run.model.backbone.conv_norm_out)]:
        layer.register_forward_hook(lambda *arguments, name=name: dtypes.update({name: arguments[2].dtype}))
    loss = run._train_step()
    AcceleratorState._reset_state()
    assert dtypes == {"conv": torch.bfloat16, "norm": torch.float32}
    assert {parameter.dtype for parameter in run.model.parameters()} == {torch.float32}
    assert loss == pytest.approx(trainer("video", clips, tmp_path)._train_step(), rel=0.02)


@pytest.mark.parametrize("stage", STAGES)
def test_the_log_has_losses_and_pictures(stage: str, clips: Path, tmp_path: Path) -> None:
    run = trainer(stage, clips, tmp_path)
    run.run(save_every=2)
    (line,) = (json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines())
    assert line["step"] == 2
    assert line["loss"] > 0
    assert line["frames_per_second"] > 0
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Scalars("loss")[0].value == pytest.approx(line["loss"], rel=1e-3)
    assert events.Tags()["images"] == ([] if stage == "audio" else ["samples"])


@pytest.mark.parametrize("stage", STAGES)
def test_clips_that_only_measure_change_nothing_and_their_loss_is_logged(
    stage: str, clips: Path, tmp_path: Path
) -> None:
    others = tmp_path / "others"
    others.mkdir()
    make_clip(4, seconds=1.0, resolution=32).save(others / "4.npz")
    recipe = replace(Recipe.load("emo-test", stage), steps=4)
    trainer(stage, clips, tmp_path / "without", recipe).run(save_every=2)
    run = Trainer(emo_model(), stage, recipe, clips, tmp_path / "with", seed=0, held_out=others)
    run.run(save_every=2)
    without, measured = (
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("without", "with")
    )
    assert [line["step"] for line in measured if "held_out_loss" in line] == [2, 4]
    assert [line["loss"] for line in measured if "loss" in line] == [line["loss"] for line in without]
    assert run.held_out_loss is not None
    assert measured[-1]["held_out_loss"] == pytest.approx(run.mean_held_out_loss(run.held_out_loss), abs=1e-6)
    own = StageLoss(run.averaged, stage, recipe, run.clips, run.phoneme_head)
    assert run.mean_held_out_loss(own) != measured[-1]["held_out_loss"]


def test_processes_share_the_encoding_and_read_the_same_clips(clips: Path, config: EmoConfig) -> None:
    vae = emo_model(seed=7).vae
    first, second = (ClipFolder(clips, config, vae, processes=(process, 2)) for process in (0, 1))
    assert [len(folder.clips) for folder in (first, second)] == [2, 2]
    for one, other in zip(first.latents, second.latents, strict=True):
        assert torch.equal(one, other)
    assert [clip.text for clip in first.clips] == [clip.text for clip in second.clips]


def test_samples_show_the_reference_the_truth_and_what_was_generated(clips: Path, tmp_path: Path) -> None:
    run = trainer("video", clips, tmp_path)
    grid = run.sample_grid()
    assert grid is not None
    batch = run.clips.videos(np.random.default_rng(0), 4, Weights())
    true = to_uint8(run.model.vae.decode(torch.stack([batch.reference_latents[1], batch.latents[1, 0]])))
    assert grid.shape == (4 * 32, 7 * 32, 3)
    assert np.array_equal(grid[32:64, :64], np.concatenate(list(true.numpy()), 1))
    assert not np.array_equal(grid[:, 32 : 4 * 32], grid[:, 4 * 32 :])


def test_a_resumed_log_has_each_step_once(clips: Path, tmp_path: Path) -> None:
    recipe = replace(Recipe.load("emo-test", "vae"), steps=20)
    trainer("vae", clips, tmp_path, recipe).run(save_every=20)
    (tmp_path / "log.jsonl").open("a").write('{"step": 40, "loss": 1.0}\n')
    trainer("vae", clips, tmp_path, replace(recipe, steps=40)).run(save_every=20)
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [20, 40]


def test_a_full_disk_costs_no_saved_step(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No file may grow beyond 60 kB for a while: writing fails as on a full disk."""
    out = tmp_path / "run"
    command = ["--stage", "vae", "--config", "emo-test", "--data", str(clips), "--out", str(out), "--save-every", "2"]
    assert main([*command, "--steps", "2"]) == 0
    saved = {path: path.read_bytes() for path in out.rglob("*") if path.suffix in (".pt", ".safetensors")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    try:
        assert main([*command, "--steps", "4"]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"training: error: cannot save step 4 to {out}: ")
    assert {path: path.read_bytes() for path in saved} == saved
    assert not (out / "partial").exists()
    assert main([*command, "--steps", "4"]) == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[stages.video]", "[stages.video]\nsteeps = 3", "unknown key steeps in [stages.video]"),
        ("[model]", "[model]\nresolutoin = 32", "unknown key resolutoin"),
        ("[stages.video]\nsteps = 2", "[stages.video]\nsteps = 0", "[stages.video]: steps must be 1 or more, not 0"),
        ("[stages.video]", "[stages.film]", "has no table [stages.video]"),
        ("[model]", "[model", "cannot be read"),
    ],
)
def test_a_wrong_config_is_one_clear_line(
    old: str, new: str, message: str, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (CONFIGS / "emo-test.toml").read_text()
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1))
    out = tmp_path / "out"
    assert main(["--stage", "video", "--config", str(path), "--data", str(clips), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(path) in error
    assert message in error
    assert not out.exists()


def test_a_config_of_ones_own_trains(clips: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text((CONFIGS / "emo-test.toml").read_text())
    out = tmp_path / "out"
    assert main(["--stage", "vae", "--config", str(path), "--data", str(clips), "--out", str(out)]) == 0
    assert EmoModel.load(out).config == EmoConfig.from_name(path)
    assert EmoModel.load(out).config.name == "mine"


def test_a_broken_state_is_named(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--stage", "vae", "--config", "emo-test", "--data", str(clips), "--out", str(tmp_path)]
    (tmp_path / "state.pt").write_bytes(b"half a state")
    assert main(command) == 2
    assert f"{tmp_path / 'state.pt'} is no state of this run" in capsys.readouterr().err
