"""A bundle of tiny graphs, written with ONNX alone: the runtime's logic is tested without PyTorch.

Every graph uses all of its inputs, so that a tensor that is lost or mixed up on the way changes the video.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from emo_rt.bundle import GraphSpec, Manifest, NoiseSchedule, RuntimeConfig, TensorSpec, file_sha256

CONFIG = RuntimeConfig(
    resolution=32,
    frames_per_second=25,
    clip_frames=4,
    motion_frames=2,
    sample_rate=16000,
    audio_margin=1,
    audio_context=1,
    latent_channels=4,
    latent_size=8,
    steps=3,
    guidance_scale=1.5,
    speed=0.5,
    face_region_margin=0.2,
    face_fraction=0.5,
)
SCHEDULE = NoiseSchedule(
    alphas_cumprod=tuple(float(alpha) for alpha in np.cos(np.linspace(0.02, 1.0, 1000) * np.pi / 2) ** 2),
    prediction_type="sample",
)


class GraphBuilder:
    """Collects nodes; a node's output is the name that it was added under."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(seed)

    def add(self, output: str, kind: str, *inputs: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, name: str, value: object, dtype: type = np.float32) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def weight(self, name: str, *shape: int) -> str:
        fan_in = int(np.prod(shape[1:])) if len(shape) == 4 else shape[0]
        return self.constant(name, self.random.standard_normal(shape) / np.sqrt(fan_in))

    def model(self, name: str, inputs: list[TensorSpec], outputs: list[TensorSpec]) -> onnx.ModelProto:
        def info(spec: TensorSpec) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(
                spec.name, helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)), spec.shape
            )

        graph = helper.make_graph(
            self.nodes, name, [info(spec) for spec in inputs], [info(spec) for spec in outputs], self.initializers
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model, full_check=True)
        return model


def spec(name: str, *shape: int, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, dtype, shape)


#: A model with its inputs and outputs.
FakeGraph = tuple[onnx.ModelProto, list[TensorSpec], list[TensorSpec]]
# As in the paper: f frames, n motion frames, latents (c, s, s), frames of R x R pixels; audio features of width d.
F, N, C, S, R, D = CONFIG.clip_frames, CONFIG.motion_frames, 4, 8, CONFIG.resolution, 8
FEATURES = spec("audio_features", F + 2, D)
LATENTS = spec("latents", F, C, S, S)
CONDITIONS = [spec("face_latents", 1, C, S, S), spec("audio_value_00", 2, F + 2, C)]
REFERENCES = [spec("reference_key_00", 1, C, S, S), spec("motion_value_00", N, C, S, S)]
TIME_EMBEDDING = spec("time_embedding", 1)
COEFFICIENTS = [spec(name, 1) for name in ("latents_coefficient", "prediction_coefficient")]


def graphs() -> dict[str, FakeGraph]:
    """The graphs of the bundle by name."""
    return {
        "audio_encoder": audio_encoder(),
        "conditioning": conditioning(),
        "vae_encoder": vae_encoder(),
        "reference_net": reference_net(),
        "time_embedding": time_embedding(),
        "backbone": backbone("backbone", ["voice"]),
        "cached_backbone": cached_backbone("cached_backbone", ["voice"]),
        "guided_backbone": backbone("guided_backbone", ["no_voice", "voice"]),
        "cached_guided_backbone": cached_backbone("cached_guided_backbone", ["no_voice", "voice"]),
        "vae_decoder": vae_decoder(),
    }


def finish(name: str, builder: GraphBuilder, inputs: list[TensorSpec], outputs: list[TensorSpec]) -> FakeGraph:
    return builder.model(name, inputs, outputs), inputs, outputs


def audio_encoder() -> FakeGraph:
    g = GraphBuilder(1)
    g.add("frames", "Reshape", "waveform", g.constant("by_frame", [F + 4, CONFIG.samples_per_frame], np.int64))
    g.add("projected", "MatMul", "frames", g.weight("w", CONFIG.samples_per_frame, D))
    rows = [g.constant(name, [value], np.int64) for name, value in (("from", 1), ("to", F + 3), ("axis", 0))]
    g.add("inner", "Slice", "projected", *rows)
    g.add("audio_features", "Tanh", "inner")
    return finish("audio_encoder", g, [spec("waveform", 1, CONFIG.window_samples)], [FEATURES])


def conditioning() -> FakeGraph:
    g = GraphBuilder(2)
    g.add("projected", "MatMul", "audio_features", g.weight("w", D, C))
    g.add("column", "Unsqueeze", "head_speed", g.constant("last", [1], np.int64))
    g.add("voice", "Add", "projected", "column")
    g.add("no_voice", "Mul", "column", g.constant("zeros", np.zeros((1, C))))
    for half in ("no_voice", "voice"):
        g.add(f"{half}_first", "Unsqueeze", half, g.constant(f"{half}_axis", [0], np.int64))
    g.add("audio_value_00", "Concat", "no_voice_first", "voice_first", axis=0)
    g.add("pooled", "AveragePool", "face_region", kernel_shape=[4, 4], strides=[4, 4])
    g.add("face_latents", "Conv", "pooled", g.weight("face", C, 1, 1, 1))
    inputs = [FEATURES, spec("head_speed", F + 2), spec("face_region", 1, 1, R, R)]
    return finish("conditioning", g, inputs, CONDITIONS)


def vae_encoder() -> FakeGraph:
    g = GraphBuilder(3)
    g.add("real", "Cast", "image", to=TensorProto.FLOAT)
    g.add("scaled", "Div", "real", g.constant("half", 127.5))
    g.add("centred", "Sub", "scaled", g.constant("unit", 1.0))
    g.add("planes", "Transpose", "centred", perm=[0, 3, 1, 2])
    g.add("pooled", "AveragePool", "planes", kernel_shape=[4, 4], strides=[4, 4])
    g.add("latents", "Conv", "pooled", g.weight("w", C, 3, 1, 1))
    return finish("vae_encoder", g, [spec("image", 1, R, R, 3, dtype="uint8")], [spec("latents", 1, C, S, S)])


def reference_net() -> FakeGraph:
    g = GraphBuilder(4)
    g.add("reference_key_00", "Conv", "reference_latents", g.weight("w", C, C, 1, 1))
    g.add("motion_value_00", "Conv", "motion_latents", g.weight("v", C, C, 1, 1))
    inputs = [spec("reference_latents", 1, C, S, S), spec("motion_latents", N, C, S, S)]
    return finish("reference_net", g, inputs, REFERENCES)


def time_embedding() -> FakeGraph:
    g = GraphBuilder(5)
    g.add("time_embedding", "Mul", "timestep", g.constant("thousandth", 1e-3))
    return finish("time_embedding", g, [spec("timestep", 1)], [TIME_EMBEDDING])


def backbone(name: str, halves: list[str]) -> FakeGraph:
    """A full step; with two halves, the one without voice and the one with it, a guided one."""
    g = GraphBuilder(6)
    g.add("motion", "ReduceMean", "motion_value_00", axes=[0], keepdims=1)
    g.add("base", "Sum", "latents", "face_latents", "reference_key_00", "motion", "time_embedding")
    w = g.weight("w", C, C, 1, 1)
    for half in halves:
        at = g.constant(f"{half}_at", ["no_voice", "voice"].index(half), np.int64)
        g.add(f"{half}_rows", "Gather", "audio_value_00", at, axis=0)
        rows = [g.constant(f"{half}_{k}", [v], np.int64) for k, v in (("from", 1), ("to", F + 1), ("axis", 0))]
        g.add(f"{half}_own", "Slice", f"{half}_rows", *rows)
        g.add(f"{half}_all", "ReduceMean", f"{half}_rows", axes=[0], keepdims=1)
        g.add(f"{half}_sum", "Add", f"{half}_own", f"{half}_all")
        g.add(f"{half}_audio", "Reshape", f"{half}_sum", g.constant(f"{half}_shape", [F, C, 1, 1], np.int64))
        g.add(f"{half}_heard", "Add", "base", f"{half}_audio")
        g.add(f"{half}_mixed", "Conv", f"{half}_heard", w)
        g.add(f"{half}_prediction", "Tanh", f"{half}_mixed")
    g.add("deep_features", "Concat", *(f"{half}_mixed" for half in halves), axis=0)
    inputs = [LATENTS, *next_latents(g, halves), TIME_EMBEDDING, *CONDITIONS, *REFERENCES, *COEFFICIENTS]
    return finish(name, g, inputs, [spec("next_latents", *LATENTS.shape), deep_features(halves)])


def cached_backbone(name: str, halves: list[str]) -> FakeGraph:
    """A cached step, for the deep features of a `backbone` with the same halves."""
    g = GraphBuilder(7)
    g.add("base", "Sum", "latents", "face_latents", "time_embedding")
    for index, half in enumerate(halves):
        rows = [(f"{half}_from", index * F), (f"{half}_to", (index + 1) * F), (f"{half}_along", 0)]
        g.add(f"{half}_deep", "Slice", "deep_features", *(g.constant(k, [v], np.int64) for k, v in rows))
        g.add(f"{half}_sum", "Add", "base", f"{half}_deep")
        g.add(f"{half}_prediction", "Tanh", f"{half}_sum")
    inputs = [LATENTS, *next_latents(g, halves), TIME_EMBEDDING, CONDITIONS[0], *COEFFICIENTS, deep_features(halves)]
    return finish(name, g, inputs, [spec("next_latents", *LATENTS.shape)])


def next_latents(g: GraphBuilder, halves: list[str]) -> list[TensorSpec]:
    """Adds guidance and the DDIM update to a step; returns the input that guidance takes."""
    prediction = "voice_prediction"
    if len(halves) == 2:
        g.add("difference", "Sub", "voice_prediction", "no_voice_prediction")
        g.add("scaled", "Mul", "guidance_scale", "difference")
        prediction = g.add("prediction", "Add", "no_voice_prediction", "scaled")
    g.add("kept", "Mul", "latents_coefficient", "latents")
    g.add("moved", "Mul", prediction, "prediction_coefficient")
    g.add("next_latents", "Add", "kept", "moved")
    return [spec("guidance_scale", 1)] if len(halves) == 2 else []


def deep_features(halves: list[str]) -> TensorSpec:
    return spec("deep_features", len(halves) * F, C, S, S)


def vae_decoder() -> FakeGraph:
    g = GraphBuilder(8)
    g.add("wide", "Conv", "latents", g.weight("w", 48, C, 1, 1))
    g.add("planes", "DepthToSpace", "wide", blocksize=4)
    g.add("unit", "Sigmoid", "planes")
    g.add("bright", "Mul", "unit", g.constant("white", 255.0))
    g.add("pixels", "Transpose", "bright", perm=[0, 2, 3, 1])
    g.add("frames", "Cast", "pixels", to=TensorProto.UINT8)
    return finish("vae_decoder", g, [LATENTS], [spec("frames", F, R, R, 3, dtype="uint8")])


def write_fake_bundle(directory: Path) -> Path:
    """Writes the bundle, the backbones' weights in files of their own."""
    directory.mkdir(parents=True)
    entries = {}
    for name, (model, inputs, outputs) in graphs().items():
        file = f"{name}.onnx"
        if "backbone" in name:
            onnx.save_model(
                model, directory / file, save_as_external_data=True, location=f"{file}.data", size_threshold=90
            )
        else:
            onnx.save_model(model, directory / file)
        files = {path.name: file_sha256(path) for path in sorted(directory.glob(f"{file}*"))}
        entries[name] = GraphSpec(file, files, tuple(inputs), tuple(outputs))
    manifest = Manifest("fake", "fp32", CONFIG, SCHEDULE, entries)
    (directory / "manifest.json").write_text(json.dumps(manifest.to_json()), encoding="utf-8")
    return directory
