"""A bundle's graphs and its video against PyTorch's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from torchmetrics.functional.image import structural_similarity_index_measure
from tqdm import tqdm

from emo_rt.cascade.cascade import Cascade
from emo_rt.engines.engine import Engine, to_numpy
from export.graphs.modules import VAEDecoderGraph
from export.inner_tensors import inner_tensors
from export.recording import DEEP_FEATURES, RecordedCall, RecordingEngine
from export.sample import Sample
from training.evaluation.metrics import correlation, psnr
from training.evaluation.reader import FaceReader
from training.model.model import EmoModel
from training.model.pipeline import EmoPipeline


def compare_graph(recorded: RecordingEngine, engine: Engine, path: Path) -> dict[str, float]:
    """Compare one graph of a bundle with what PyTorch made of the recorded inputs.

    The decoder is compared before it rounds to uint8, where the smallest error that shows would be 1 / 255. Deep
    features are compared by what a cached step makes of them.

    Args:
        recorded: PyTorch's engine of the graph with its calls
        engine: engine that runs the bundle's graph
        path: ONNX file of the graph

    Returns:
        `max_error`, the largest error of an output as a share of the output's range; `cosine`, the least cosine of an
        output with PyTorch's; `psnr`, the least PSNR of an output in dB of its range. Each is NaN if an output is.
    """
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for index in recorded.compared:
        call, module = recorded.calls[index], recorded.graph.module
        if isinstance(module, VAEDecoderGraph):
            pairs.append((_before_rounding(path, call), _pixels(module, call)))
        else:
            actual = engine.run(call.inputs)
            pairs += [(to_numpy(actual[key]), value) for key, value in call.outputs.items() if key != DEEP_FEATURES]
    doubles = [(a.astype(np.float64), b.astype(np.float64)) for a, b in pairs]
    return {
        "max_error": float(np.max([np.abs(a - b).max() / _range(b) for a, b in doubles])),
        "cosine": float(np.min([_cosine(a, b) for a, b in doubles])),
        "psnr": float(np.min([psnr(a, b, data_range=_range(b)) for a, b in doubles])),
    }


def _range(values: np.ndarray) -> float:
    return max(float(np.ptp(values)), 1e-12)


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    sizes = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.vdot(a, b)) / sizes if sizes else float(np.array_equal(a, b))


@torch.no_grad()
def _pixels(decoder: VAEDecoderGraph, call: RecordedCall) -> np.ndarray:
    """PyTorch's pictures before they are rounded."""
    pixels: np.ndarray = decoder.pixels(torch.tensor(call.inputs["latents"])).numpy()
    return pixels


def _before_rounding(path: Path, call: RecordedCall) -> np.ndarray:
    """The tensor that enters the Round node of an exported graph."""
    proto = onnx.load(path, load_external_data=False)
    (rounding,) = (node for node in proto.graph.node if node.op_type == "Round")
    (tensors,) = inner_tensors(path, [rounding.input[0]], [call.inputs])
    return tensors[rounding.input[0]]


def compare_videos(
    model: EmoModel, cascade: Cascade, sample: Sample, reader: FaceReader | None = None
) -> dict[str, float]:
    """Compare the runtime's video with the PyTorch pipeline's for the same seed, portrait and voice.

    Args:
        model: model in float32
        cascade: cascade on the bundle's engines
        sample: portrait and voice to animate
        reader: reader of faces that compares the mouths, if any

    Returns:
        `frames`, the number of frames; PSNR in dB: `psnr` over all frames, `worst_frame_psnr`, `first_tenth_psnr` and
        `last_tenth_psnr`; `ssim`; with a reader `mouth_correlation`, the correlation of the two mouth openings.
    """
    expected = EmoPipeline(model)(sample.portrait, sample.face_box, sample.waveform, sample.frames)
    clips = cascade.generate(sample.portrait, sample.face_box, [sample.waveform])
    actual = np.concatenate(list(tqdm(clips, desc="generating", unit="clip", leave=False)))
    per_frame = [psnr(a, b) for a, b in zip(actual, expected, strict=True)]
    tenth = max(1, sample.frames // 10)
    own, wanted = (torch.from_numpy(video).movedim(-1, 1).float() for video in (actual, expected))
    read = {}
    if reader is not None:
        mouths = [reader.read(video).mouth_opening for video in (actual, expected)]
        read["mouth_correlation"] = correlation(*mouths)
    return {
        "frames": sample.frames,
        "psnr": psnr(actual, expected),
        "worst_frame_psnr": min(per_frame),
        "first_tenth_psnr": psnr(actual[:tenth], expected[:tenth]),
        "last_tenth_psnr": psnr(actual[-tenth:], expected[-tenth:]),
        "ssim": float(structural_similarity_index_measure(own, wanted, data_range=255.0)),  # type: ignore[arg-type]
        **read,
    }
