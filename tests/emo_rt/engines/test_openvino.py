"""OpenVINO gives the video of ONNX Runtime."""

from __future__ import annotations

import ctypes
import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from samples import drawn_face, tones

from emo_rt.bundle import Bundle
from emo_rt.cascade.cascade import Cascade
from emo_rt.engines.engine import to_numpy
from emo_rt.engines.openvino import OpenVinoEngine
from emo_rt.engines.registry import load_engine
from emo_rt.errors import BundleError, InputError
from emo_rt.media.boxes import Box


def test_the_video_is_that_of_onnx_runtime(bundle: Path) -> None:
    videos = []
    for backend in ("openvino", "onnxruntime"):
        cascade = Cascade.load(Bundle.load(bundle), backend, threads=1)
        clips = cascade.generate(np.asarray(drawn_face(32)), Box(8, 8, 14, 16), [tones(0.5)[0]])
        videos.append(np.concatenate(list(clips)).astype(int))
    assert np.abs(videos[0] - videos[1]).max() <= 1


def test_processes_with_few_threads_do_not_share_the_first_cores(bundle: Path) -> None:
    """OpenVINO pins threads to cores, and every process begins with the same one."""
    for threads, pinned in ((1, False), (None, True)):
        engine = load_engine(Bundle.load(bundle), "time_embedding", "openvino", threads)
        assert isinstance(engine, OpenVinoEngine)
        assert engine._compiled.get_property("ENABLE_CPU_PINNING") == (pinned and sys.platform == "linux")


def test_a_result_outlives_the_next_run(bundle: Path) -> None:
    engine = load_engine(Bundle.load(bundle), "time_embedding", "openvino")
    results = [engine.run({"timestep": np.array([value], np.float32)})["time_embedding"] for value in (100, 900, 500)]
    np.testing.assert_allclose([to_numpy(result)[0] for result in results], [0.1, 0.9, 0.5], rtol=1e-6)


class SignalStack(ctypes.Structure):
    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_the_main_thread_takes_signals_where_it_did_before(bundle: Path) -> None:
    """OpenVINO leaves the thread that calls it with a signal stack that it frees later."""

    def signal_stack() -> int | None:
        stack = SignalStack()
        assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
        address: int | None = stack.address
        return address

    before = signal_stack()
    engine = load_engine(Bundle.load(bundle), "time_embedding", "openvino", threads=1)
    engine.run({"timestep": np.ones(1, np.float32)})
    assert signal_stack() == before


def test_a_shape_that_does_not_fit_is_named(bundle: Path) -> None:
    encoder = load_engine(Bundle.load(bundle), "vae_encoder", "openvino")
    with pytest.raises(InputError, match=r"vae_encoder: the input image has the shape \(32, 32, 3\), expected \(1, 32"):
        encoder.run({"image": np.zeros((32, 32, 3), np.uint8)})
    with pytest.raises(InputError, match="vae_encoder: the input image is missing"):
        encoder.run({})


def test_a_graph_that_is_not_what_the_manifest_says_is_refused(bundle: Path, tmp_path: Path) -> None:
    loaded = Bundle.load(bundle)
    graph, path = loaded.manifest.graphs["time_embedding"], loaded.graph_path("time_embedding")
    with pytest.raises(BundleError, match=r"time_embedding\.onnx has other inputs than the manifest"):
        OpenVinoEngine("time_embedding", path, dataclasses.replace(graph, inputs=()))
    (tmp_path / "none.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match=r"none\.onnx does not load \(Unable to read the model") as raised:
        OpenVinoEngine("none", tmp_path / "none.onnx", graph)
    assert "\n" not in str(raised.value)


def test_a_graph_that_cannot_be_run_is_named(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("Exception from infer_request.cpp:223:\nshapes differ\n")

    engine = load_engine(Bundle.load(bundle), "time_embedding", "openvino")
    monkeypatch.setattr(engine, "_infer", fail)
    with pytest.raises(BundleError, match=rf"bundle {bundle}: time_embedding\.onnx does not run \(shapes differ\); re"):
        engine.run({"timestep": np.ones(1, np.float32)})
