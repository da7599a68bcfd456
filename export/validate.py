"""Every graph, and a whole video, against PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from emo_rt.bundle import GRAPH_NAMES, Bundle
from emo_rt.cascade import Cascade
from emo_rt.engines import load_engine, to_numpy
from emo_rt.face import Box
from export import graphs
from training.model import EmoModel
from training.pipeline import EmoPipeline

#: Enough for three clips, so that motion frames have been handed on twice.
CLIPS = 3


def validate(model: EmoModel, directory: Path) -> dict[str, Any]:
    """Compare the bundle in ``directory`` with the float32 ``model`` that it was made of.

    Returns:
        ``graphs``: for each graph the largest error over all outputs, as a share of that output's range;
        ``video``: PSNR in dB over all decoded frames of a video of three clips, and its worst frame's.
    """
    bundle = Bundle.load(directory)
    return {
        "precision": bundle.manifest.precision,
        "graphs": {name: graph_error(graph, bundle, name) for name, graph in graphs.graphs(model).items()},
        "video": video_psnr(model, bundle),
    }


@torch.no_grad()
def graph_error(graph: graphs.Graph, bundle: Bundle, name: str) -> float:
    """Largest absolute error of a graph's outputs against PyTorch's, as a share of each output's range.

    The decoder is compared before it rounds to uint8, where the smallest error that can be would be 1 / 255.
    """
    inputs = {key: tensor.numpy() for key, tensor in graph.inputs.items()}
    if isinstance(graph.module, graphs.VAEDecoderGraph):
        expected = graph.module.pixels(graph.inputs["latents"]).numpy()
        return _relative_error(_before_rounding(bundle.graph_path(name), inputs), expected)
    outputs = load_engine(bundle, name).run(inputs)
    return max(_relative_error(to_numpy(outputs[key]), tensor.numpy()) for key, tensor in graph.run().items())


def _before_rounding(path: Path, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """What enters the Round node of an exported graph."""
    proto = onnx.load(path)
    (rounding,) = (node for node in proto.graph.node if node.op_type == "Round")
    proto.graph.output.append(onnx.helper.make_empty_tensor_value_info(rounding.input[0]))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (values,) = session.run([rounding.input[0]], inputs)
    return np.asarray(values)


def _relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    actual, expected = actual.astype(np.float64), expected.astype(np.float64)
    return float(np.abs(actual - expected).max() / max(np.ptp(expected), 1e-12))


def video_psnr(model: EmoModel, bundle: Bundle) -> dict[str, float]:
    """PSNR in dB of the runtime's video against the PyTorch pipeline's, same seed, portrait and voice."""
    config = bundle.config
    rng = np.random.default_rng(0)
    portrait, face_box = _portrait(rng, config.resolution)
    frames = CLIPS * config.clip_frames - 1  # the last clip is trimmed
    waveform = (0.1 * rng.standard_normal(frames * config.samples_per_frame)).astype(np.float32)
    expected = EmoPipeline(model)(portrait, face_box, waveform, frames)
    actual = np.concatenate(list(Cascade(bundle).generate(portrait, face_box, [waveform])))
    per_frame = [psnr(a, b) for a, b in zip(actual, expected, strict=True)]
    return {"frames": frames, "psnr": psnr(actual, expected), "worst_frame_psnr": min(per_frame)}


def psnr(actual: np.ndarray, expected: np.ndarray) -> float:
    """Peak signal-to-noise ratio of uint8 pictures in dB; 100 where they are equal."""
    error = float(np.mean((actual.astype(np.float64) - expected.astype(np.float64)) ** 2))
    return float(min(100.0, 10 * np.log10(255**2 / max(error, 1e-12))))


def _portrait(rng: np.random.Generator, resolution: int) -> tuple[np.ndarray, Box]:
    """A smooth random picture and where its face would be: validation needs no drawn or photographed person."""
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 8, 8)))
    smooth = torch.nn.functional.interpolate(coarse, size=(resolution, resolution), mode="bicubic")
    picture = smooth[0].permute(1, 2, 0).clamp(0, 255).to(torch.uint8).numpy()
    return picture, Box(resolution / 4, resolution / 4, resolution / 2, resolution / 2)


def report(validation: dict[str, Any]) -> str:
    """The comparison as lines for people."""
    lines = [f"{name:>14}: max error {validation['graphs'][name]:.1e} of the output's range" for name in GRAPH_NAMES]
    video = validation["video"]
    lines.append(f"{'whole video':>14}: {video['psnr']:.1f} dB against PyTorch ({video['frames']} frames)")
    return "\n".join(lines)
