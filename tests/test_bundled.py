"""What the repository carries: the checkpoint, its bundle, the portrait and the voice."""

from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path

import av
import numpy as np
import pytest

from emo_rt.bundle import GRAPH_NAMES, Bundle
from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.gestures import Gestures
from emo_rt.engines.onnxruntime import OnnxRuntimeEngine
from emo_rt.media.boxes import Box
from emo_rt.media.portrait import read_portrait
from emo_rt.media.sound import read_voice
from emo_rt.run import main
from export.graphs.exporter import convert
from export.graphs.modules import export_graphs
from export.graphs.onnx_file import export_part, graph_spec
from export.manifest import noise_schedule, runtime_config
from training.evaluation.metrics import psnr
from training.evaluation.reader import FaceReader
from training.model.model import EmoModel
from training.model.pipeline import EmoPipeline

CHECKOUT = Path(__file__).resolve().parents[1]
MODEL = CHECKOUT / "models" / "emo-photo"
PORTRAIT, VOICE = CHECKOUT / "assets" / "portrait.png", CHECKOUT / "assets" / "voice.wav"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.load(MODEL / "bundle")


@pytest.fixture(scope="module")
def model() -> EmoModel:
    return EmoModel.load(MODEL)


@pytest.fixture(scope="module")
def portrait(bundle: Bundle) -> tuple[np.ndarray, Box]:
    """The bundled portrait as the model takes it, and the face in it, found as the command line finds it."""
    return read_portrait(PORTRAIT, bundle.config)


def test_validation_meets_the_thresholds(bundle: Bundle) -> None:
    validation = json.loads((MODEL / "bundle" / "validation.json").read_text())
    assert set(validation["graphs"]) == set(GRAPH_NAMES)
    assert validation["failures"] == []
    assert validation["video"]["psnr"] >= 60


def test_bundle_was_made_of_the_checkpoint(bundle: Bundle, model: EmoModel) -> None:
    assert bundle.config == runtime_config(model.config)
    assert bundle.noise_schedule == noise_schedule(model.config)


def float16_cascade(bundle: Bundle, directory: Path) -> Cascade:
    """The model's graphs in float16, each exported when a video asks for it."""
    made = export_graphs(convert(EmoModel.load(MODEL), "float16"))

    @functools.cache
    def engine(name: str) -> OnnxRuntimeEngine:
        export_part({name: made[name]}, directory)
        path = directory / f"{name}.onnx"
        return OnnxRuntimeEngine(name, path, graph_spec(path))

    return Cascade(bundle.config, bundle.noise_schedule, engine)


@pytest.mark.parametrize(("precision", "least_psnr"), [("fp32", 60), ("fp16", 55)])
def test_video_equals_pytorch(
    precision: str, least_psnr: float, bundle: Bundle, model: EmoModel, portrait: tuple[np.ndarray, Box], tmp_path: Path
) -> None:
    """Two clips, so that motion frames are handed on, in few steps."""
    cascade = Cascade.load(bundle) if precision == bundle.manifest.precision else float16_cascade(bundle, tmp_path)
    voice = read_voice(VOICE, bundle.config.sample_rate)
    frames = bundle.config.clip_frames + 3
    options = {"seed": 5, "steps": 3, "guidance_scale": 2.0, "speed": 1.0}
    expected = EmoPipeline(model)(*portrait, voice, frames, **options)  # type: ignore[arg-type]
    clips = cascade.generate(*portrait, [voice], max_frames=frames, **options)  # type: ignore[arg-type]
    assert psnr(np.concatenate(list(clips)), expected) >= least_psnr


def test_first_clip_alone_is_the_first_of_many(bundle: Bundle, portrait: tuple[np.ndarray, Box]) -> None:
    voice = read_voice(VOICE, bundle.config.sample_rate)
    cascade = Cascade.load(bundle)
    (alone,) = cascade.generate(*portrait, [voice], steps=2, max_frames=bundle.config.clip_frames)
    first, *_ = cascade.generate(*portrait, [voice], steps=2, max_frames=3 * bundle.config.clip_frames)
    assert np.array_equal(alone, first)


def test_voice_moves_the_mouth_and_little_else(bundle: Bundle, portrait: tuple[np.ndarray, Box]) -> None:
    """Against silence, same noise: the lower half of the face changes more than the rest of the picture."""
    voice = read_voice(VOICE, bundle.config.sample_rate)
    cascade, frames = Cascade.load(bundle), 2 * bundle.config.clip_frames
    spoken, silent = (
        np.concatenate(list(cascade.generate(*portrait, [sound], max_frames=frames))).astype(float)
        for sound in (voice, np.zeros_like(voice))
    )
    change = np.abs(spoken - silent).mean((0, 3))
    box = portrait[1]
    left, right = round(box.x + 0.25 * box.width), round(box.x + 0.75 * box.width)
    top, bottom = round(box.y + 0.6 * box.height), round(box.y + box.height)
    assert change[top:bottom, left:right].mean() > 3 * change.mean()


def test_the_face_blinks_when_its_gestures_say_so(bundle: Bundle, portrait: tuple[np.ndarray, Box]) -> None:
    seed, cascade, voice = 28, Cascade.load(bundle), read_voice(VOICE, bundle.config.sample_rate)
    frames = np.concatenate(list(itertools.islice(cascade.generate(*portrait, [voice], seed=seed), 3)))
    closing = Gestures(seed, bundle.config.speed, bundle.config.frames_per_second).at(np.arange(len(frames)))[:, 3]
    read = FaceReader.load(MODEL.parent / "face-reader").read(frames).blink
    assert (closing == 1).any()
    assert read[closing == 1].min() > 0.5
    assert read[closing == 0].max() < 0.3


def test_the_defaults_make_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--steps", "1", "--backend", "onnxruntime"]) == 0  # each further engine is measured for 10 seconds
    with av.open(str(tmp_path / "out" / "demo.mp4")) as video:
        kinds = {stream.type: stream.codec_context.name for stream in video.streams}
        seconds = sum(1 for _ in video.decode(video=0)) / 25
    assert kinds == {"video": "h264", "audio": "aac"}
    with av.open(str(VOICE)) as voice:
        assert voice.duration is not None
        assert abs(seconds - voice.duration / av.time_base) <= 1 / 25


def test_bundled_files_are_small() -> None:
    files = [path for path in MODEL.rglob("*") if path.is_file() and not path.parent.name.startswith("bundle-")]
    assert sum(path.stat().st_size for path in files) <= 60e6
