"""Weights to a bundle: ``python -m export.build --model models/emo-tiny --precision fp16``.

Exports the six graphs of a checkpoint to ONNX, writes the manifest that the runtime verifies, runs every graph and a
whole video against PyTorch, and puts the comparison into ``validation.json``. The bundle appears whole or not at all.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import shutil
import sys
import warnings
from pathlib import Path

import onnx
import torch
from tqdm import tqdm

from emo_rt.bundle import MANIFEST_NAME, Graph, Manifest, NoiseSchedule, RuntimeConfig, TensorSpec, file_sha256
from emo_rt.errors import EmoError
from export import graphs
from export.float16 import to_float16
from export.storage import compact
from export.validate import report, validate
from training.config import EmoConfig
from training.model import EmoModel
from training.schedule import noise_scheduler

OPSET = 20
#: ONNX's own limit is 2 GiB for a file; larger graphs keep their weights beside them.
EXTERNAL_DATA_BYTES = 1 << 30
for _library in ("torch.onnx", "onnxscript", "onnx_ir"):  # they warn of what no graph of ours needs
    logging.getLogger(_library).setLevel(logging.ERROR)
MODELS = Path(__file__).parents[1] / "models"


def export_graph(graph: graphs.Graph, path: Path) -> None:
    """Write one graph as ONNX with static shapes, its weights beside it where they are large."""
    weights = sum(p.numel() * p.element_size() for p in graph.module.parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph.module.eval(),
            (*graph.arguments, {}),  # the exporter takes a dictionary in the last place for keywords
            path,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(graph.inputs),
            output_names=graph.outputs,
            external_data=weights > EXTERNAL_DATA_BYTES,
            verbose=False,
        )


def describe(path: Path) -> Graph:
    """The manifest's entry of an exported graph: its files with their hashes, inputs and outputs."""
    proto = onnx.load(path, load_external_data=False)
    initializers = {tensor.name for tensor in proto.graph.initializer}
    data = path.with_name(path.name + ".data")
    return Graph(
        file=path.name,
        files={file.name: file_sha256(file) for file in (path, data) if file.exists()},
        inputs=tuple(_spec(value) for value in proto.graph.input if value.name not in initializers),
        outputs=tuple(_spec(value) for value in proto.graph.output),
    )


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return TensorSpec(value.name, dtype, tuple(dimension.dim_value for dimension in tensor.shape.dim))


def runtime_config(config: EmoConfig) -> RuntimeConfig:
    """The part of a model's config that the runtime must know."""
    return RuntimeConfig(**{field.name: getattr(config, field.name) for field in dataclasses.fields(RuntimeConfig)})


def noise_schedule(config: EmoConfig) -> NoiseSchedule:
    """The table that the runtime takes its DDIM steps from, as diffusers' scheduler holds it."""
    scheduler = noise_scheduler(config)
    return NoiseSchedule(
        alphas_cumprod=tuple(scheduler.alphas_cumprod.double().tolist()),
        prediction_type=config.prediction_type,
        timestep_spacing=config.timestep_spacing,
        steps_offset=int(scheduler.config["steps_offset"]),
    )


def build(model: EmoModel, precision: str, directory: Path, check: bool = True) -> dict[str, object]:
    """Export, describe and validate a bundle of ``model`` (float32) in ``directory``; returns the validation.

    An older bundle there is replaced once the new one is complete.
    """
    partial = directory.with_name(directory.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        exported = to_float16(model) if precision == "fp16" else model
        described = {}
        for name, graph in tqdm(graphs.graphs(exported).items(), desc="exporting", unit="graph"):
            path = partial / f"{name}.onnx"
            export_graph(graph, path)
            compact(path)
            described[name] = describe(path)
        manifest = Manifest(
            name=model.config.name,
            precision=precision,
            config=runtime_config(model.config),
            noise_schedule=noise_schedule(model.config),
            graphs=described,
        )
        (partial / MANIFEST_NAME).write_text(json.dumps(manifest.to_json(), indent=1) + "\n")
        validation = validate(model, partial) if check else {}
        (partial / "validation.json").write_text(json.dumps(validation, indent=2) + "\n")
        shutil.rmtree(directory, ignore_errors=True)
        partial.rename(directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return validation


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m export.build", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", type=Path, default=MODELS / "emo-tiny", metavar="DIR", help="checkpoint (default: models/emo-tiny)"
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16"),
        default="fp32",
        help="fp32 is the faster on a CPU, fp16 is for GPUs (default: fp32)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the bundle (default: bundle in the checkpoint, bundle-fp16 for fp16)"
    )
    args = parser.parse_args(arguments)
    out = args.out or args.model / ("bundle" if args.precision == "fp32" else f"bundle-{args.precision}")
    try:
        model = EmoModel.load(args.model)
        validation = build(model, args.precision, out)
    except (EmoError, FileNotFoundError, ValueError) as error:
        print(f"export: error: {error}", file=sys.stderr)
        return 2
    print(report(validation))
    print(f"bundle: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
