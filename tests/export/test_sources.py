"""What is built again, and what is not."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from emo_rt.bundle import GRAPH_NAMES, file_sha256
from export import sources as plan
from export.sources import PARTS, STEPS, WEIGHTS, Options, Sources, entry, outdated, read_sources, write_record

#: Which graph holds which of the weights below.
HELD = {
    "audio_encoder": {"audio_encoder.wav2vec2.layer"},
    "conditioning": {"audio_projection", "backbone.attn_audio.to_k"},
    "vae_encoder": {"vae.autoencoder.encoder"},
    "reference_net": {"reference_net", "backbone.attn2.to_k"},
    "time_embedding": {"backbone.time_embedding"},
    **{name: {"backbone.conv_in"} for name in STEPS},
    "vae_decoder": {"vae.autoencoder.decoder"},
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Files in a checkpoint's layout, one tiny weight for each name above."""
    rng = np.random.default_rng(0)
    for file, prefix in WEIGHTS.items():
        path = tmp_path / "checkpoint" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        names = {name for held in HELD.values() for name in held}
        own = [name.removeprefix(prefix) for name in sorted(names) if prefix and name.startswith(prefix)]
        own = own or [name for name in sorted(names) if not name.startswith(("vae.", "audio_encoder."))]
        save_file({name: rng.standard_normal(4).astype(np.float16) for name in own}, path)
    (tmp_path / "checkpoint" / "config.json").write_text(json.dumps({"resolution": 32, "steps": 4}))
    (tmp_path / "checkpoint" / "vae" / "config.json").write_text(json.dumps({"scaling_factor": 0.5}))
    return tmp_path / "checkpoint"


@pytest.fixture
def built(checkpoint: Path, tmp_path: Path) -> Path:
    """What a build would leave: a file for each graph, and the record."""
    directory = tmp_path / "bundle"
    directory.mkdir()
    sources = read_sources(checkpoint, Options())
    record = {}
    for name in GRAPH_NAMES:
        (directory / f"{name}.onnx").write_text(name)
        record[name] = entry({f"{name}.onnx": file_sha256(directory / f"{name}.onnx")}, HELD[name], sources)
    write_record(directory, sources, record)
    return directory


def change_weight(path: Path, name: str) -> None:
    """One bit of it."""
    weights = load_file(path)
    weights[name].view(np.uint16)[0] ^= 1
    save_file(weights, path)


def test_parts_are_all_graphs_of_a_bundle() -> None:
    assert sorted(name for part in PARTS for name in part) == sorted(GRAPH_NAMES)


def test_nothing_changed_is_nothing_to_do(checkpoint: Path, built: Path) -> None:
    assert outdated(built, read_sources(checkpoint, Options())) == {}


def test_without_a_bundle_all_is_to_do(checkpoint: Path, tmp_path: Path) -> None:
    reasons = outdated(tmp_path / "nowhere", read_sources(checkpoint, Options()))
    assert reasons == dict.fromkeys(GRAPH_NAMES, "there is none yet")


@pytest.mark.parametrize(
    ("file", "weight", "graphs"),
    [
        ("vae/diffusion_pytorch_model.safetensors", "decoder", ["vae_decoder"]),
        ("wav2vec2/model.safetensors", "layer", ["audio_encoder"]),
        ("model.safetensors", "reference_net", ["reference_net"]),
        ("model.safetensors", "backbone.conv_in", list(STEPS)),
        ("model.safetensors", "backbone.attn_audio.to_k", ["conditioning"]),
    ],
)
def test_a_changed_bit_concerns_the_graphs_that_hold_it(
    checkpoint: Path, built: Path, file: str, weight: str, graphs: list[str]
) -> None:
    change_weight(checkpoint / file, weight)
    reasons = outdated(built, read_sources(checkpoint, Options()))
    assert list(reasons) == graphs
    assert all(reason.endswith(f"{weight} changed") for reason in reasons.values())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (Options("fp16"), "precision changed"),
        (Options(clip_frames=24), "clip frames changed"),
        (Options(resolution=64), "resolution changed"),
        (Options(backend="openvino"), "backend changed"),
    ],
)
def test_another_option_concerns_all_graphs(checkpoint: Path, built: Path, options: Options, reason: str) -> None:
    assert outdated(built, read_sources(checkpoint, options)) == dict.fromkeys(GRAPH_NAMES, reason)


def test_the_config_concerns_all_graphs_where_they_hold_it(checkpoint: Path, built: Path) -> None:
    config = checkpoint / "config.json"
    config.write_text(json.dumps({"resolution": 32, "steps": 8}))
    assert outdated(built, read_sources(checkpoint, Options())) == {}
    config.write_text(json.dumps({"resolution": 64, "steps": 8}))
    assert set(outdated(built, read_sources(checkpoint, Options())).values()) == {"the config's resolution changed"}


def test_another_version_of_the_exporter_or_its_code_concerns_all_graphs(
    checkpoint: Path, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = read_sources(checkpoint, Options())
    newer = replace(sources, settings={**sources.settings, "torch": "99.0"})
    assert set(outdated(built, newer).values()) == {"torch changed"}
    monkeypatch.setattr(plan, "_code", lambda: "other")
    (reason,) = set(outdated(built, read_sources(checkpoint, Options())).values())
    assert reason == "the code of the export or of the model changed"


@pytest.mark.parametrize("damage", ["altered", "missing"])
def test_a_damaged_file_is_made_again(checkpoint: Path, built: Path, damage: str) -> None:
    path = built / "guided_backbone.onnx"
    path.write_text("other") if damage == "altered" else path.unlink()
    reasons = outdated(built, read_sources(checkpoint, Options()))
    assert reasons == dict.fromkeys(STEPS, "guided_backbone.onnx is missing or was altered")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"settings": 1, "runtime": {}, "graphs": {}}'])
def test_a_broken_record_is_none(checkpoint: Path, built: Path, content: str) -> None:
    (built / plan.RECORD_NAME).write_text(content)
    assert len(outdated(built, read_sources(checkpoint, Options()))) == len(GRAPH_NAMES)


def test_a_checkpoint_that_is_none_is_named(checkpoint: Path) -> None:
    path = checkpoint / "vae" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"diffusion_pytorch_model\.safetensors cannot be read"):
        read_sources(checkpoint, Options())
    path.unlink()
    with pytest.raises(FileNotFoundError, match="is no checkpoint: it has no vae"):
        read_sources(checkpoint, Options())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp12"}, "no precision 'fp12'; choose fp32, fp16, int8"),
        ({"precision": "fp8"}, "no precision 'fp8'; build it for tensorrt"),
        ({"backend": "abacus"}, "backend 'abacus' is unknown; choose onnxruntime, openvino, tensorrt"),
    ],
)
def test_what_a_backend_does_not_run_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Options(**options)


def test_the_code_that_is_watched_is_all_that_makes_a_graph() -> None:
    """What ``export.bundle``, ``training.model.model`` and ``training.model.schedule`` import, directly or not."""
    root = Path(plan.__file__).parents[1]

    def imported(room: str, name: str) -> Iterator[str]:
        yield name
        for node in ast.walk(ast.parse((root / room / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
                for module in modules:
                    if (
                        module.startswith(f"{room}.")
                        and (root / room / f"{module.removeprefix(f'{room}.')}.py").exists()
                    ):
                        yield from imported(room, module.removeprefix(f"{room}."))

    assert set(plan._MODEL_CODE) == {*imported("training", "model"), *imported("training", "schedule")}
    # These say what is built, describe it or compare it.
    assert {*plan._EXPORT_CODE, "plan", "manifest", "validate", "check_quantizers"} == {*imported("export", "bundle")}


def test_sources_need_no_pytorch() -> None:
    tree = ast.parse(Path(plan.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name for name in names | modules if str(name).split(".")[0] in ("torch", "training")}


def test_a_record_says_what_it_was_made_of(tmp_path: Path) -> None:
    sources = Sources({"torch": "1"}, {"a": "00", "b": "11"}, {"steps": 4})
    write_record(tmp_path, sources, {"backbone": entry({"backbone.onnx": "22"}, {"a", "of no checkpoint"}, sources)})
    assert plan.read_record(tmp_path) == {
        "settings": {"torch": "1"},
        "runtime": {"steps": 4},
        "graphs": {"backbone": {"files": {"backbone.onnx": "22"}, "weights": {"a": "00"}}},
    }
