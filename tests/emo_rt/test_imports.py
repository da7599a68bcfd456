"""The direction of imports: the runtime knows nothing of training, export or PyTorch."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import emo_rt

ALLOWED = {"emo_rt", "numpy", "onnxruntime", "av", "PIL", "cv2", "tqdm", "__future__"}


def imports(path: Path) -> Iterator[str]:
    """Top-level packages that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute"
            yield (node.module or "").split(".")[0]


def test_the_runtime_imports_only_what_it_may() -> None:
    files = sorted(Path(emo_rt.__file__).parent.rglob("*.py"))
    assert len(files) > 8
    for path in files:
        extra = {name for name in imports(path) if name not in ALLOWED | sys.stdlib_module_names}
        assert not extra, f"{path.name} imports {extra}"
