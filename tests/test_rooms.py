"""Who may import whom: the runtime nobody of ours, training the runtime, export both."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"emo_rt", "training", "export", "benchmarks", "tests"}
MAY_IMPORT = {
    "emo_rt": set(),
    "training": {"emo_rt"},
    "export": {"emo_rt", "training"},
    "benchmarks": {"emo_rt", "training", "export"},
}
#: All that the runtime may need from others: never PyTorch.
RUNTIME_PACKAGES = {"PIL", "av", "cv2", "filelock", "numpy", "onnxruntime", "platformdirs", "tqdm"}
#: What only a backend of its own may need: one file each, which is imported when it is asked for.
BACKEND_PACKAGES = {"openvino_engine": {"openvino"}, "tensorrt_engine": {"cuda"}, "sign": {"c2pa"}}


def imports(path: Path) -> Iterator[str]:
    """Top-level packages that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    for path in files:
        wrong = set(imports(path)) & OURS - MAY_IMPORT[room] - {room}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_the_runtime_needs_few_packages() -> None:
    files = sorted((ROOT / "emo_rt").rglob("*.py"))
    assert files
    for path in files:
        allowed = RUNTIME_PACKAGES | BACKEND_PACKAGES.get(path.stem, set())
        extra = set(imports(path)) - allowed - sys.stdlib_module_names - {"emo_rt"}
        assert not extra, f"{path.relative_to(ROOT)} imports {extra}"


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_is_flat_and_its_files_are_named_by_what_they_are_about(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        assert path.parent == ROOT / room
        assert path.stem not in ("utils", "util", "common", "helpers", "misc", "manager")
