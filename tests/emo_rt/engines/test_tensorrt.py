"""The TensorRT backend on a fake GPU: which tensors it moves where, and in which order."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

import fake_gpu
import numpy as np
import pytest
from fake_gpu import ALLOCATED, ASKED, CALLERS, fake_cached_engine
from samples import drawn_face, tones

from emo_rt.bundle import Bundle
from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.prefetch import decoded_clips
from emo_rt.cascade.sampling import Sampling
from emo_rt.engines.engine import to_numpy
from emo_rt.engines.registry import available_backends, check_runs_here, describe, load_engine
from emo_rt.errors import BundleError, InputError
from emo_rt.media.boxes import Box

PORTRAIT = np.asarray(drawn_face(32))
FACE = Box(8, 8, 14, 16)


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The backend's module, with the fake GPU under it."""
    before = dict(sys.modules)
    fake_gpu.install()
    sys.modules.pop("emo_rt.engines.tensorrt", None)
    module = importlib.import_module("emo_rt.engines.tensorrt")
    monkeypatch.setattr(module, "cached_engine", fake_cached_engine)
    ASKED.clear()
    yield module
    for name in sys.modules.keys() - before.keys():
        del sys.modules[name]
    sys.modules.update(before)


def frames(bundle: Path, backend: str, **options: float) -> np.ndarray:
    cascade = Cascade.load(Bundle.load(bundle), backend, threads=1)
    return np.concatenate(list(cascade.generate(PORTRAIT, FACE, [tones(0.5)[0]], **options)))  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{}, {"guidance_scale": 1.0}, {"seed": 3, "steps": 1}])
def test_the_video_is_that_of_onnx_runtime(bundle: Path, backend: ModuleType, options: dict[str, float]) -> None:
    np.testing.assert_array_equal(frames(bundle, "tensorrt", **options), frames(bundle, "onnxruntime", **options))


def test_costs_are_those_of_a_gpu_and_a_version_of_tensorrt(backend: ModuleType) -> None:
    assert describe("tensorrt") == "tensorrt: tensorrt 0 on Fake GPU"


def test_a_gpu_without_tensorrt_is_no_backend(backend: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "tensorrt" in available_backends()
    with monkeypatch.context() as patch:  # undone before the fake GPU goes
        for name in ("tensorrt", "tensorrt_rtx"):
            patch.setitem(sys.modules, name, None)
        assert "tensorrt" not in available_backends()
        with pytest.raises(InputError, match="TensorRT is not installed"):
            check_runs_here("tensorrt")


def test_two_videos_of_one_cascade_do_not_mix(bundle: Path, backend: ModuleType) -> None:
    cascade = Cascade.load(Bundle.load(bundle), "tensorrt", threads=1)
    voices = [tones(0.5)[0], 0.3 * tones(0.7)[0]]
    both = [cascade.generate(PORTRAIT, FACE, [voice], seed=seed) for seed, voice in enumerate(voices)]
    mixed: list[list[np.ndarray]] = [[], []]
    for one, two in zip(*both, strict=False):
        mixed[0].append(one)
        mixed[1].append(two)
    for seed, voice in enumerate(voices):
        alone = Cascade.load(Bundle.load(bundle), "onnxruntime", threads=1)
        for clip, expected in zip(mixed[seed], alone.generate(PORTRAIT, FACE, [voice], seed=seed), strict=False):
            np.testing.assert_array_equal(clip, expected)


def test_twelve_clips_are_denoised_and_decoded_by_two_threads(bundle: Path, backend: ModuleType) -> None:
    """The GPU's work comes from one thread, whoever asks for it: no other has a context, or disturbs a capture."""
    loaded = Bundle.load(bundle)
    sampling = Sampling.of(loaded.config, cache_interval=2)

    def video(name: str) -> np.ndarray:
        cascade = Cascade.load(loaded, name, threads=1)
        seconds = 12 * loaded.config.clip_frames / 25
        with closing(decoded_clips(cascade, cascade.denoise(PORTRAIT, FACE, [tones(seconds)[0]], sampling))) as clips:
            return np.stack([frames for _, frames in clips])

    CALLERS.clear()
    made = video("tensorrt")
    assert len(made) == 12
    np.testing.assert_array_equal(made, video("onnxruntime"))
    assert len(CALLERS) == 1


def test_memory_of_the_gpu_is_freed(bundle: Path, backend: ModuleType) -> None:
    def after_a_video() -> int:
        cascade = Cascade.load(Bundle.load(bundle), "tensorrt", threads=1)
        for _ in range(2):
            list(cascade.generate(PORTRAIT, FACE, [tones(0.5)[0]]))
        del cascade
        gc.collect()
        load_engine(Bundle.load(bundle), "time_embedding", "tensorrt")  # what was asked for before is done then
        gc.collect()
        return len(ALLOCATED)

    assert after_a_video() == after_a_video()


def test_what_tensorrt_refuses_is_an_error(bundle: Path, backend: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(ALLOCATED)
    with monkeypatch.context() as patch:
        patch.setattr(fake_gpu.FakeContext, "set_tensor_address", lambda *_: False)
        with pytest.raises(BundleError, match="time_embedding: TensorRT does not take the memory of timestep") as error:
            load_engine(Bundle.load(bundle), "time_embedding", "tensorrt")
    assert before == ALLOCATED, f"{error.value} still holds memory, which another thread would free"
    monkeypatch.setattr(fake_gpu.FakeEngine, "create_execution_context", lambda _: None)
    with pytest.raises(BundleError, match="time_embedding: the GPU's memory is too small"):
        load_engine(Bundle.load(bundle), "time_embedding", "tensorrt")


def test_conditions_are_moved_once_for_all_steps(bundle: Path, backend: ModuleType) -> None:
    """Every further step costs the same: latents and what belongs to the step."""
    asked = []
    for steps in (2, 3, 4):
        ASKED.clear()
        frames(bundle, "tensorrt", steps=steps)
        asked.append(dict(ASKED))
    clips = 4
    more = {key: asked[2][key] - asked[1][key] for key in asked[0]}
    assert more == {key: asked[1][key] - asked[0][key] for key in asked[0]}
    assert more["downloads"] == 0
    assert more["launches"] == clips + 1  # a step of each clip, and one time embedding
    assert more["copies"] == clips * 4 + 1  # latents, time embedding in; latents, deep features out; time embeddings
    assert more["uploads"] == clips * 3 + 1  # two coefficients and the guidance scale; the new timestep


def test_a_result_outlives_the_next_run(bundle: Path, backend: ModuleType) -> None:
    engine = load_engine(Bundle.load(bundle), "time_embedding", "tensorrt")
    results = [engine.run({"timestep": np.array([value], np.float32)})["time_embedding"] for value in (100, 900, 500)]
    np.testing.assert_allclose([to_numpy(result)[0] for result in results], [0.1, 0.9, 0.5], rtol=1e-6)


def test_an_engine_of_another_precision_is_refused(
    bundle: Path, backend: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_gpu.FakeEngine, "get_tensor_dtype", lambda *_: fake_gpu.FakeDataType.HALF)
    with pytest.raises(BundleError, match="the engine's timestep is HALF, the manifest says float32"):
        load_engine(Bundle.load(bundle), "time_embedding", "tensorrt")


def test_without_a_gpu_the_message_says_so(bundle: Path, backend: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("CUDA_ERROR_NO_DEVICE")

    monkeypatch.setattr(fake_gpu.FakeDevice, "set_current", fail)
    backend.gpu.cache_clear()
    with pytest.raises(InputError, match="backend tensorrt needs an NVIDIA GPU and its driver; there is none"):
        load_engine(Bundle.load(bundle), "time_embedding", "tensorrt")
