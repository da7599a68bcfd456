"""A bundle against the PyTorch model that it was made of: ``python -m export.validate models/emo-tiny/bundle``.

Every graph is compared on the inputs that it gets while the bundled portrait speaks, and so is the video that comes
out after all clips; with a reader of faces (``--reader models/face-reader``) also how the mouth moves in it. What was
measured goes into the bundle's validation.json; a bundle that falls below the bars of its precision fails, and the
runtime refuses it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torchmetrics.functional.image import structural_similarity_index_measure
from tqdm import tqdm

from emo_rt.bundle import VALIDATION_NAME, Bundle
from emo_rt.cascade.cascade import Cascade
from emo_rt.engines.engine import Engine, Tensor, to_numpy
from emo_rt.engines.registry import BACKENDS, check_runs_here
from emo_rt.errors import EmoError
from export.check_quantizers import check_quantizers
from export.graphs import modules as graphs
from export.manifest import noise_schedule, runtime_config
from export.sample import Sample, bundled_sample
from training.evaluation.metrics import correlation, psnr
from training.evaluation.reader import FaceReader
from training.model.model import EmoModel
from training.model.pipeline import EmoPipeline


@dataclass(frozen=True)
class Bars:
    """The least that a bundle must reach: cosine of each graph's outputs, PSNR in dB of the decoded video."""

    cosine: float
    video_psnr: float


BARS = {
    "fp32": Bars(0.999999, 60),
    "fp16": Bars(0.9999, 45),
    "bf16": Bars(0.999, 35),
    "int8": Bars(0.999, 35),
    "fp8": Bars(0.998, 30),
}
#: The least correlation of what a reader says of the mouth in a bundle's video and in PyTorch's.
MOUTH_CORRELATION = 0.98
#: What reaches a quantizer of activations, as a share of what it can say; error of a weight of 8 bits, by its norm.
QUANTIZER_RANGE, WEIGHT_ERROR = (0.25, 4.0), 0.05
#: Calls of each graph that are compared.
RECORDINGS = 4
#: What full steps leave to cached ones.
DEEP = "deep_features"


class RecordingEngine:
    """A graph's PyTorch module in an engine's place; it keeps what it was given and what it made of that."""

    def __init__(self, name: str, graph: graphs.ExportGraph) -> None:
        self.name, self.graph = name, graph
        self.calls: list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]] = []

    @property
    def picked(self) -> list[int]:
        """The calls that are compared: spread over all."""
        last = len(self.calls) - 1
        return [int(index) for index in np.unique(np.linspace(0, last, RECORDINGS).round())]

    @torch.no_grad()
    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        given = {name: to_numpy(inputs[name]) for name in self.graph.inputs}
        results = self.graph.run({name: torch.tensor(array) for name, array in given.items()})
        outputs = {name: tensor.numpy() for name, tensor in results.items()}
        self.calls.append((given, outputs))
        return dict(outputs)


def validate(
    model: EmoModel,
    directory: Path,
    *,
    backend: str = "onnxruntime",
    scene: Sample | None = None,
    frames: int = 60,
    reader: FaceReader | None = None,
) -> dict[str, Any]:
    """Compare the bundle in ``directory`` with the float32 ``model`` that it was made of.

    Args:
        backend: that runs the bundle's graphs.
        scene: what is animated; the bundled portrait and voice for ``frames`` frames by default.
        reader: compares how the mouth moves, too.

    Returns:
        ``graphs``: for each graph the largest error over all outputs and recorded inputs, as a share of the output's
        range, the least cosine and the least PSNR in dB of that range, and what ``check_quantizers`` says; ``video``:
        PSNR in dB over all decoded frames, its worst frame's, that of the first and the last tenth, SSIM, and with a
        reader the correlation of the mouth opening; ``failures``: the bars that are not met.
    """
    bundle = Bundle.load(directory, validated=False)
    scene = scene or bundled_sample(model.config, frames)
    cascade = Cascade.load(bundle, backend)
    recordings = record(model, scene)
    with_own_features(recordings, cascade)
    compared = {
        name: compare(recorded, cascade.engine(name), bundle.graph_path(name))
        for name, recorded in tqdm(recordings.items(), desc="comparing graphs", leave=False)
    }
    for name, recorded in recordings.items():
        calls = [recorded.calls[index][0] for index in recorded.picked]
        compared[name] |= check_quantizers(model, bundle.graph_path(name), calls)
    video = compare_videos(model, cascade, scene, reader)
    precision = bundle.manifest.precision
    return {
        "precision": precision,
        "backend": backend,
        "graphs": compared,
        "video": video,
        "failures": failures(BARS[precision], compared, video),
    }


def record(model: EmoModel, scene: Sample) -> dict[str, RecordingEngine]:
    """Run the runtime's cascade in PyTorch, with and without guidance and cached features, and keep what graphs get."""
    engines = {name: RecordingEngine(name, graph) for name, graph in graphs.export_graphs(model).items()}
    config = model.config
    cascade = Cascade(runtime_config(config), noise_schedule(config), engines.__getitem__)
    guidance_scale = config.guidance_scale if config.guidance_scale != 1 else 2.0
    for scale, interval, clips in ((guidance_scale, 1, 3), (1.0, 1, 1), (guidance_scale, 2, 1), (1.0, 2, 1)):
        generated = cascade.generate(
            scene.portrait,
            scene.face_box,
            [scene.waveform],
            steps=max(2, config.steps),
            guidance_scale=scale,
            cache_interval=interval,
            max_frames=min(scene.frames, clips * config.clip_frames),
        )
        for _ in generated:
            pass
    return engines


def with_own_features(recordings: Mapping[str, RecordingEngine], cascade: Cascade) -> None:
    """Give the recorded cached steps the deep features that the bundle's own full steps make."""
    for name in ("backbone", "guided_backbone"):
        cached = recordings[f"cached_{name}"]
        for index in cached.picked:
            given, outputs = cached.calls[index]
            (whole,) = (inputs for inputs, made in recordings[name].calls if made[DEEP] is given[DEEP])
            own = to_numpy(cascade.engine(name).run(whole)[DEEP])
            cached.calls[index] = ({**given, DEEP: own}, outputs)


def compare(recorded: RecordingEngine, engine: Engine, path: Path) -> dict[str, float]:
    """One graph of a bundle against what PyTorch made of the recorded inputs.

    The decoder is compared before it rounds to uint8, where the smallest error that can be would be 1 / 255. Deep
    features are compared by what a cached step makes of them.

    Args:
        engine: that the bundle's graph runs in.
        path: of its ONNX file.
    """
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for index in recorded.picked:
        inputs, expected = recorded.calls[index]
        module = recorded.graph.module
        if isinstance(module, graphs.VAEDecoderGraph):
            with torch.no_grad():
                pixels = module.pixels(torch.tensor(inputs["latents"])).numpy()
            pairs.append((_before_rounding(path, inputs), pixels))
        else:
            actual = engine.run(inputs)
            pairs += [(to_numpy(actual[key]), value) for key, value in expected.items() if key != DEEP]
    return {
        "max_error": max(float(np.abs(a - b).max()) / _range(b) for a, b in _as_double(pairs)),
        "cosine": min(_cosine(a, b) for a, b in _as_double(pairs)),
        "psnr": min(psnr(a, b, _range(b)) for a, b in _as_double(pairs)),
    }


def _as_double(pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(a.astype(np.float64), b.astype(np.float64)) for a, b in pairs]


def _range(values: np.ndarray) -> float:
    return max(float(np.ptp(values)), 1e-12)


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    sizes = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.vdot(a, b)) / sizes if sizes else float(np.array_equal(a, b))


def _before_rounding(path: Path, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """What enters the Round node of an exported graph."""
    proto = onnx.load(path)
    (rounding,) = (node for node in proto.graph.node if node.op_type == "Round")
    proto.graph.output.append(onnx.helper.make_empty_tensor_value_info(rounding.input[0]))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (values,) = session.run([rounding.input[0]], dict(inputs))
    return np.asarray(values)


def compare_videos(
    model: EmoModel, cascade: Cascade, scene: Sample, reader: FaceReader | None = None
) -> dict[str, float]:
    """The runtime's video against the PyTorch pipeline's, same seed, portrait and voice."""
    expected = EmoPipeline(model)(scene.portrait, scene.face_box, scene.waveform, scene.frames)
    clips = cascade.generate(scene.portrait, scene.face_box, [scene.waveform])
    actual = np.concatenate(list(tqdm(clips, desc="generating", unit="clip", leave=False)))
    per_frame = [psnr(a, b) for a, b in zip(actual, expected, strict=True)]
    tenth = max(1, scene.frames // 10)
    own, wanted = (torch.from_numpy(video).movedim(-1, 1).float() for video in (actual, expected))
    read = {}
    if reader is not None:
        mouths = [reader.read(video).mouth_opening for video in (actual, expected)]
        read["mouth_correlation"] = correlation(*mouths)
    return {
        "frames": scene.frames,
        "psnr": psnr(actual, expected),
        "worst_frame_psnr": min(per_frame),
        "first_tenth_psnr": psnr(actual[:tenth], expected[:tenth]),
        "last_tenth_psnr": psnr(actual[-tenth:], expected[-tenth:]),
        "ssim": float(structural_similarity_index_measure(own, wanted, data_range=255.0)),  # type: ignore[arg-type]
        **read,
    }


def failures(bars: Bars, compared: Mapping[str, Mapping[str, float]], video: Mapping[str, float]) -> list[str]:
    """The bars that are not met, in words. What is not a number meets none."""
    failed = [
        f"{name}: cosine {graph['cosine']:.6f}, at least {bars.cosine} wanted"
        for name, graph in compared.items()
        if not graph["cosine"] >= bars.cosine
    ]
    for name, graph in compared.items():
        if "quantizers" in graph:
            low, high = QUANTIZER_RANGE
            if not low <= graph["least_range"] <= graph["most_range"] <= high:
                failed.append(
                    f"{name}: activations use {graph['least_range']:.2f} to {graph['most_range']:.2f} of a quantizer's "
                    f"range, {low} to {high} wanted"
                )
            if not graph["weight_error"] <= WEIGHT_ERROR:
                failed.append(f"{name}: a weight is off by {graph['weight_error']:.3f}, at most {WEIGHT_ERROR} wanted")
    if not video["psnr"] >= bars.video_psnr:
        failed.append(f"video: {video['psnr']:.1f} dB, at least {bars.video_psnr} wanted")
    if "mouth_correlation" in video and not video["mouth_correlation"] >= MOUTH_CORRELATION:
        failed.append(f"mouth: correlation {video['mouth_correlation']:.3f}, at least {MOUTH_CORRELATION} wanted")
    return failed


def validation_report(validation: Mapping[str, Any]) -> str:
    """The comparison as lines for people."""
    lines = [
        f"{name:>23}: max error {graph['max_error']:.1e} of the output's range, cosine {graph['cosine']:.7f}, "
        f"{graph['psnr']:.1f} dB"
        for name, graph in validation["graphs"].items()
    ]
    lines += [
        f"{name:>23}: {graph['quantizers']} quantizers see {graph['least_range']:.2f} to {graph['most_range']:.2f} of "
        f"their range, weights are off by {graph['weight_error']:.4f} at most"
        for name, graph in validation["graphs"].items()
        if "quantizers" in graph
    ]
    video = validation["video"]
    lines.append(
        f"{'whole video':>23}: {video['psnr']:.1f} dB against PyTorch, worst frame {video['worst_frame_psnr']:.1f} dB, "
        f"SSIM {video['ssim']:.4f} ({video['frames']} frames)"
    )
    if "mouth_correlation" in video:
        lines.append(f"{'mouth':>23}: opens as in PyTorch with a correlation of {video['mouth_correlation']:.4f}")
    lines += [f"FAILED {failure}" for failure in validation["failures"]]
    return "\n".join(lines)


def write_validation(directory: Path, validation: Mapping[str, Any]) -> None:
    """Keep it in the bundle, where the runtime looks."""
    path = directory / VALIDATION_NAME
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(validation, indent=1) + "\n")
    temporary.replace(path)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m export.validate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path, help="directory of the bundle")
    parser.add_argument("--model", type=Path, metavar="DIR", help="its checkpoint (default: the folder around it)")
    parser.add_argument("--backend", choices=sorted(BACKENDS), default="onnxruntime", help="default: %(default)s")
    parser.add_argument("--frames", type=int, default=60, help="of the video; 1500 is a minute (default: %(default)s)")
    parser.add_argument("--reader", type=Path, metavar="DIR", help="compare the mouths, too: models/face-reader")
    args = parser.parse_args(arguments)
    try:
        check_runs_here(args.backend)
        model = EmoModel.load(args.model or args.bundle.resolve().parent)
        reader = FaceReader.load(args.reader) if args.reader else None
        validation = validate(model, args.bundle, backend=args.backend, frames=args.frames, reader=reader)
        write_validation(args.bundle, validation)
    except (EmoError, FileNotFoundError, ValueError) as error:
        print(f"validate: error: {error}", file=sys.stderr)
        return 2
    print(validation_report(validation))
    return 1 if validation["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
