"""The cascade is the method of the paper, whatever comes in chunks, after a stop or with other options."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from fake_bundle import CONFIG
from samples import drawn_face, tones

from emo_rt.bundle import GRAPH_NAMES, Bundle, file_sha256
from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.clips import clip_noise
from emo_rt.cascade.sampling import Sampling
from emo_rt.cascade.schedule import ddim_coefficients
from emo_rt.engines.engine import to_numpy
from emo_rt.engines.registry import load_engine
from emo_rt.errors import BundleError, EmoError, InputError
from emo_rt.media.boxes import Box, face_region

PORTRAIT = np.asarray(drawn_face(32))
FACE = Box(8, 8, 14, 16)


@pytest.fixture(scope="module")
def cascade(bundle: Path) -> Cascade:
    return Cascade.load(Bundle.load(bundle), threads=1)


def generate(cascade: Cascade, seconds: float = 0.5, face: Box = FACE, portrait: Any = PORTRAIT, **options: Any):
    voice = options.pop("voice", tones(seconds)[0])
    return list(cascade.generate(portrait, face, [voice], **options))


def test_frames_are_as_many_as_the_voice_lasts(cascade: Cascade) -> None:
    clips = generate(cascade, 0.41)
    assert [clip.shape for clip in clips] == [(4, 32, 32, 3), (4, 32, 32, 3), (3, 32, 32, 3)]
    assert {clip.dtype for clip in clips} == {np.dtype(np.uint8)}
    assert [len(clip) for clip in generate(cascade, 0.001)] == [1]
    assert [len(clip) for clip in generate(cascade, 0.41, max_frames=6)] == [4, 2]
    assert [len(clip) for clip in generate(cascade, 0.41, max_frames=4)] == [4]


def test_the_same_seed_is_bit_identical_also_in_another_cascade(cascade: Cascade, bundle: Path) -> None:
    other = Cascade.load(Bundle.load(bundle), threads=1)
    for one, two in zip(generate(cascade, seed=5), generate(other, seed=5), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(generate(cascade, seed=6)[0], generate(cascade, seed=5)[0])


def test_the_start_does_not_depend_on_how_much_follows(cascade: Cascade) -> None:
    """The first 12 frames of a long video are the 12 frames of a short one, where the voice nearby is the same."""
    voice = tones(2.0)[0]
    long = np.concatenate(generate(cascade, voice=voice))
    around = (CONFIG.audio_margin + CONFIG.audio_context) * 640
    short = np.concatenate(generate(cascade, voice=voice[: 12 * 640 + around]))
    np.testing.assert_array_equal(short[:12], long[:12])
    np.testing.assert_array_equal(np.concatenate(generate(cascade, voice=voice, max_frames=12)), long[:12])


def test_everything_that_goes_in_matters(cascade: Cascade) -> None:
    base = np.concatenate(generate(cascade))
    changes: list[dict[str, Any]] = [
        {"voice": tones(0.5)[0] * 0.5},
        {"face": Box(2, 2, 10, 10)},
        {"portrait": 255 - PORTRAIT},
        {"seed": 1},
        {"steps": 2},
        {"guidance_scale": 4.0},
        {"guided_steps": 1},
        {"cache_interval": 3},
        {"speed": 3.0},
    ]
    for change in changes:
        assert not np.array_equal(np.concatenate(generate(cascade, **change)), base), change
    defaults = {"seed": 0, "steps": 3, "guidance_scale": 1.5, "guided_steps": 3, "cache_interval": 1, "speed": 0.5}
    np.testing.assert_array_equal(np.concatenate(generate(cascade, **defaults)), base)


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        ("vae_encoder", "vae_encoder computes"),
        ("conditioning", "the graph that gives face_latents computes"),
        ("reference_net", "the graph that gives reference_key_00 computes"),
        ("guided_backbone", "guided_backbone computes"),
    ],
)
def test_weights_that_are_no_numbers_are_told(bundle: Path, tmp_path: Path, graph: str, words: str) -> None:
    """Without a word, such a model makes a video of one colour."""
    directory = shutil.copytree(bundle, tmp_path / "bundle")
    path, manifest = directory / f"{graph}.onnx", directory / "manifest.json"
    model, facts = onnx.load(path), json.loads(manifest.read_text())
    for name in {"w", "face"} & {tensor.name for tensor in model.graph.initializer}:
        tensor = next(each for each in model.graph.initializer if each.name == name)
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.full(tensor.dims, np.nan, np.float32), name))
    files = facts["graphs"][graph]["files"]
    for name in files:
        (directory / name).unlink()
    options = {"save_as_external_data": True, "location": f"{graph}.onnx.data", "size_threshold": 90}
    onnx.save_model(model, path, **(options if len(files) > 1 else {}))
    files.update({name: file_sha256(directory / name) for name in files})
    manifest.write_text(json.dumps(facts))
    cascade = Cascade.load(Bundle.load(directory), threads=1)
    with pytest.raises(BundleError, match=rf"bundle {directory}: {words} no finite numbers \(NaN\); rebuild it"):
        generate(cascade)


@pytest.mark.parametrize(
    ("sampling", "steps"),
    [
        ({}, ["guided_backbone"] * 3),
        ({"cache_interval": 2}, ["guided_backbone", "cached_guided_backbone", "guided_backbone"]),
        ({"cache_interval": 3, "guided_steps": 1}, ["guided_backbone", "backbone", "cached_backbone"]),
    ],
)
def test_the_cascade_is_the_method_written_out(
    cascade: Cascade, bundle: Path, sampling: dict[str, int], steps: list[str]
) -> None:
    """Two clips by hand: the second clip's motion frames are the last n latents of the first."""
    loaded = Bundle.load(bundle)
    engines = {name: load_engine(loaded, name, threads=1) for name in GRAPH_NAMES}

    def run(name: str, **inputs: Any) -> dict[str, np.ndarray]:
        return {key: to_numpy(value) for key, value in engines[name].run(inputs).items()}

    voice = tones(8 * 0.04)[0]
    padded = np.pad(voice, (2 * 640, 2 * 640))
    reference_latents = run("vae_encoder", image=PORTRAIT[None])["latents"]
    motion_latents = np.zeros((2, 4, 8, 8), np.float32)
    expected = []
    for clip in range(2):
        features = run("audio_encoder", waveform=padded[None, clip * 4 * 640 : (clip * 4 + 8) * 640])
        region = face_region(FACE, 32, 0.2)
        conditions = run("conditioning", **features, head_speed=np.full(6, 0.5), face_region=region)
        conditions |= run("reference_net", reference_latents=reference_latents, motion_latents=motion_latents)
        latents = clip_noise(0, clip, (4, 4, 8, 8))
        deep: dict[str, np.ndarray] = {}
        for graph, (timestep, a, b) in zip(steps, ddim_coefficients(loaded.noise_schedule, 3), strict=True):
            step = {"timestep": timestep, "guidance_scale": 1.5, "latents_coefficient": a, "prediction_coefficient": b}
            scalars = {name: np.array([value], np.float32) for name, value in step.items()}
            scalars |= run("time_embedding", timestep=scalars.pop("timestep"))
            found = run(graph, latents=latents, **scalars, **conditions, **deep)
            latents = found.pop("next_latents")
            deep = found or deep
        motion_latents = latents[2:]
        expected.append(run("vae_decoder", latents=latents)["frames"])
    for clip, frames in zip(generate(cascade, voice=voice, **sampling), expected, strict=True):
        np.testing.assert_array_equal(clip, frames)


def test_without_guidance_no_step_computes_what_has_no_voice(bundle: Path) -> None:
    cascade = Cascade.load(Bundle.load(bundle), threads=1)
    loaded: list[str] = []
    load = cascade.engine
    cascade.engine = lambda name: (loaded.append(name), load(name))[1]
    plain = np.concatenate(generate(cascade, guidance_scale=1.0))
    assert "guided_backbone" not in loaded
    almost = np.concatenate(generate(cascade, guidance_scale=1.0001))
    assert "guided_backbone" in loaded
    assert np.abs(plain.astype(int) - almost).max() <= 1


def test_clips_come_as_the_voice_comes(cascade: Cascade) -> None:
    read = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal read
        while True:
            read += 1
            yield np.zeros(640, np.float32)

    clips = cascade.generate(PORTRAIT, FACE, endless())
    assert len(list(itertools.islice(clips, 10))) == 10
    assert read == 42  # 40 frames and the two after them that the last clip hears


def test_going_on_after_some_clips_changes_no_bit(cascade: Cascade) -> None:
    """Also with a voice in pieces of which whole ones come before the first clip that is made."""
    voice = tones(1.5)[0]
    sampling = Sampling.of(cascade.config)
    whole = list(cascade.denoise(PORTRAIT, FACE, [voice], sampling))
    for done in (1, 4, 9):
        for size in (100, 5000, len(voice)):
            pieces = (voice[start : start + size] for start in range(0, len(voice), size))
            after = (done, whole[done - 1].motion_latents)
            rest = list(cascade.denoise(PORTRAIT, FACE, pieces, sampling, after=after))
            assert [clip.clip for clip in rest] == [clip.clip for clip in whole[done:]]
            for clip, expected in zip(rest, whole[done:], strict=True):
                np.testing.assert_array_equal(cascade.decode(clip), cascade.decode(expected))


def test_fewer_guided_steps_are_another_video_between_all_and_none(cascade: Cascade) -> None:
    def video(**options: float) -> np.ndarray:
        clips = cascade.generate(PORTRAIT, FACE, [tones(0.5)[0]], guidance_scale=6.0, **options)  # type: ignore[arg-type]
        return np.concatenate(list(clips)).astype(float)

    every, two, none = video(), video(guided_steps=2), video(guided_steps=0)
    np.testing.assert_array_equal(every, video(guided_steps=3))
    assert np.abs(every - two).mean() > 0
    assert np.abs(two - none).mean() > 0
    with pytest.raises(InputError, match="guided steps is -1"):
        video(guided_steps=-1)


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 0},
        {"steps": 1001},
        {"speed": -1.0},
        {"speed": float("nan")},
        {"guidance_scale": -0.1},
        {"seed": -1},
        {"max_frames": 0},
        {"portrait": PORTRAIT[:16]},
    ],
)
def test_a_value_out_of_range_is_named(cascade: Cascade, options: dict[str, Any]) -> None:
    word = next(iter(options)).replace("_", " ").replace("portrait", "image")
    with pytest.raises(EmoError, match=word):
        generate(cascade, **options)
