"""Which graphs a build makes again, and which it keeps."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from emo_rt.bundle import GRAPH_NAMES, STEP_GRAPHS, file_sha256
from export import sources as sources_module
from export.graphs import options as options_module
from export.graphs.options import GRAPH_PARTS, BuildOptions
from export.sources import (
    CALIBRATION_CODE,
    GRAPH_CODE,
    RECORD_NAME,
    WEIGHT_FILES,
    BuildSources,
    outdated_graphs,
    read_record,
    read_sources,
    record_entry,
    write_record,
)

ROOT = Path(__file__).parents[2]

#: Which graph holds which of the weights below.
HELD = {
    "audio_encoder": {"audio_encoder.wav2vec2.layer"},
    "conditioning": {"audio_projection", "backbone.attn_audio.to_k"},
    "vae_encoder": {"vae.autoencoder.encoder"},
    "reference_net": {"reference_net", "backbone.attn2.to_k"},
    "time_embedding": {"backbone.time_embedding"},
    **{name: {"backbone.conv_in"} for name in STEP_GRAPHS},
    "vae_decoder": {"vae.autoencoder.decoder"},
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Files in a checkpoint's layout, one tiny weight for each name above."""
    rng = np.random.default_rng(0)
    for file, prefix in WEIGHT_FILES.items():
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
    sources = read_sources(checkpoint, BuildOptions())
    record = {}
    for name in GRAPH_NAMES:
        (directory / f"{name}.onnx").write_text(name)
        record[name] = record_entry({f"{name}.onnx": file_sha256(directory / f"{name}.onnx")}, HELD[name], sources)
    write_record(directory, sources, record)
    return directory


def change_weight(path: Path, name: str) -> None:
    """One bit of it."""
    weights = load_file(path)
    weights[name].view(np.uint16)[0] ^= 1
    save_file(weights, path)


def test_parts_are_all_graphs_of_a_bundle() -> None:
    assert sorted(name for part in GRAPH_PARTS for name in part) == sorted(GRAPH_NAMES)


def test_nothing_changed_is_nothing_to_do(checkpoint: Path, built: Path) -> None:
    assert outdated_graphs(built, read_sources(checkpoint, BuildOptions())) == {}


def test_without_a_bundle_all_is_to_do(checkpoint: Path, tmp_path: Path) -> None:
    reasons = outdated_graphs(tmp_path / "nowhere", read_sources(checkpoint, BuildOptions()))
    assert reasons == dict.fromkeys(GRAPH_NAMES, "there is none yet")


@pytest.mark.parametrize(
    ("file", "weight", "graphs"),
    [
        ("vae/diffusion_pytorch_model.safetensors", "decoder", ["vae_decoder"]),
        ("wav2vec2/model.safetensors", "layer", ["audio_encoder"]),
        ("model.safetensors", "reference_net", ["reference_net"]),
        ("model.safetensors", "backbone.conv_in", list(STEP_GRAPHS)),
        ("model.safetensors", "backbone.attn_audio.to_k", ["conditioning"]),
    ],
)
def test_a_changed_bit_concerns_the_graphs_that_hold_it(
    checkpoint: Path, built: Path, file: str, weight: str, graphs: list[str]
) -> None:
    change_weight(checkpoint / file, weight)
    reasons = outdated_graphs(built, read_sources(checkpoint, BuildOptions()))
    assert list(reasons) == graphs
    assert all(reason.endswith(f"{weight} changed") for reason in reasons.values())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (BuildOptions("fp16"), "precision changed"),
        (BuildOptions(clip_frames=24), "clip frames changed"),
        (BuildOptions(resolution=64), "resolution changed"),
        (BuildOptions(backend="openvino"), "backend changed"),
    ],
)
def test_another_option_concerns_all_graphs(checkpoint: Path, built: Path, options: BuildOptions, reason: str) -> None:
    assert outdated_graphs(built, read_sources(checkpoint, options)) == dict.fromkeys(GRAPH_NAMES, reason)


def test_the_config_concerns_all_graphs_where_they_hold_it(checkpoint: Path, built: Path) -> None:
    config = checkpoint / "config.json"
    config.write_text(json.dumps({"resolution": 32, "steps": 8}))
    assert outdated_graphs(built, read_sources(checkpoint, BuildOptions())) == {}
    config.write_text(json.dumps({"resolution": 64, "steps": 8}))
    assert set(outdated_graphs(built, read_sources(checkpoint, BuildOptions())).values()) == {
        "the config's resolution changed"
    }


def test_another_version_of_the_exporter_or_its_code_concerns_all_graphs(
    checkpoint: Path, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = read_sources(checkpoint, BuildOptions())
    newer = replace(sources, settings={**sources.settings, "torch": "99.0"})
    assert set(outdated_graphs(built, newer).values()) == {"torch changed"}
    monkeypatch.setattr(sources_module, "_code_hash", lambda folders: f"other {folders}")
    (reason,) = set(outdated_graphs(built, read_sources(checkpoint, BuildOptions())).values())
    assert reason == "the code of the graphs or of the model changed"


@pytest.mark.parametrize("damage", ["altered", "missing"])
def test_a_damaged_file_is_made_again(checkpoint: Path, built: Path, damage: str) -> None:
    path = built / "guided_backbone.onnx"
    path.write_text("other") if damage == "altered" else path.unlink()
    reasons = outdated_graphs(built, read_sources(checkpoint, BuildOptions()))
    assert reasons == dict.fromkeys(STEP_GRAPHS, "guided_backbone.onnx is missing or was altered")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"settings": 1, "runtime": {}, "graphs": {}}'])
def test_a_broken_record_is_none(checkpoint: Path, built: Path, content: str) -> None:
    (built / RECORD_NAME).write_text(content)
    assert len(outdated_graphs(built, read_sources(checkpoint, BuildOptions()))) == len(GRAPH_NAMES)


def test_a_checkpoint_that_is_none_is_named(checkpoint: Path) -> None:
    path = checkpoint / "vae" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"diffusion_pytorch_model\.safetensors cannot be read"):
        read_sources(checkpoint, BuildOptions())
    path.unlink()
    with pytest.raises(FileNotFoundError, match="is no checkpoint: it has no vae"):
        read_sources(checkpoint, BuildOptions())


def imported_files(path: Path, root: Path) -> Iterator[str]:
    """The project's files that a file imports, as paths from the root."""
    for node in ast.walk(ast.parse(path.read_text())):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        for file in (f"{module.replace('.', '/')}.py" for module in modules):
            if (root / file).is_file():
                yield file


def unwatched_imports(root: Path) -> set[tuple[str, str]]:
    """Imports, by watched files, of project files whose changes no build would notice; the runtime's are left out."""
    watched = tuple(f"{folder}/" for folder in (*GRAPH_CODE, *CALIBRATION_CODE))
    return {
        (str(path.relative_to(root)), file)
        for folder in watched
        for path in (root / folder).rglob("*.py")
        for file in imported_files(path, root)
        if not file.startswith((*watched, "emo_rt/"))
    }


def test_the_code_that_is_watched_is_all_that_makes_a_graph() -> None:
    assert all(list((ROOT / folder).glob("*.py")) for folder in (*GRAPH_CODE, *CALIBRATION_CODE))
    assert unwatched_imports(ROOT) == set()


def test_only_calibration_follows_from_the_speakers() -> None:
    """Builds without 8 bits do not watch them."""
    speakers = tuple(f"{folder}/" for folder in CALIBRATION_CODE)
    importing = {
        path.name
        for folder in GRAPH_CODE
        for path in (ROOT / folder).rglob("*.py")
        if any(file.startswith(speakers) for file in imported_files(path, ROOT))
    }
    assert importing == {"calibrate.py"}


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("from export.validate import validate", "export/validate.py"),
        ("from training.stages import losses", "training/stages/losses.py"),
        ("import export.manifest", "export/manifest.py"),
        ("from emo_rt.bundle import Bundle", None),
        ("from training.model.model import EmoModel", None),
    ],
)
def test_code_that_is_not_watched_is_found(line: str, file: str | None, tmp_path: Path) -> None:
    for name in (
        "export/validate",
        "export/manifest",
        "training/stages/losses",
        "emo_rt/bundle",
        "training/model/model",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.py").write_text("")
    (tmp_path / "export" / "graphs").mkdir()
    (tmp_path / "export" / "graphs" / "one.py").write_text(f"def late() -> None:\n    {line}\n")
    assert unwatched_imports(tmp_path) == ({("export/graphs/one.py", file)} if file else set())


def test_a_change_to_watched_code_is_noticed(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder within a folder, too; the people of the calibration concern 8 bits alone."""
    for folder in (*GRAPH_CODE, *CALIBRATION_CODE):
        (tmp_path / folder / "inner").mkdir(parents=True)
        (tmp_path / folder / "inner" / "code.py").write_text("one")
    monkeypatch.setattr(sources_module, "_CHECKOUT", tmp_path)

    def changed(precision: str, folder: str) -> bool:
        before = read_sources(checkpoint, BuildOptions(precision)).settings
        path = tmp_path / folder / "inner" / "code.py"
        path.write_text(path.read_text() + "more")
        return read_sources(checkpoint, BuildOptions(precision)).settings != before

    assert all(changed("fp32", folder) for folder in GRAPH_CODE)
    assert not any(changed("fp32", folder) for folder in CALIBRATION_CODE)
    assert all(changed("int8", folder) for folder in (*GRAPH_CODE, *CALIBRATION_CODE))


def test_sources_need_no_pytorch() -> None:
    for module in (sources_module, options_module):
        tree = ast.parse(Path(module.__file__ or "").read_text())
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not {name for name in names | modules if str(name).split(".")[0] in ("torch", "training")}


def test_a_record_says_what_it_was_made_of(tmp_path: Path) -> None:
    sources = BuildSources({"torch": "1"}, {"a": "00", "b": "11"}, {"steps": 4})
    write_record(
        tmp_path, sources, {"backbone": record_entry({"backbone.onnx": "22"}, {"a", "of no checkpoint"}, sources)}
    )
    assert read_record(tmp_path) == {
        "settings": {"torch": "1"},
        "runtime": {"steps": 4},
        "graphs": {"backbone": {"files": {"backbone.onnx": "22"}, "weights": {"a": "00"}}},
    }
