"""NVIDIA's ONNX parser and engine builder on a machine without a GPU.

TensorRT's Python module is a small wheel of its own. Libraries for it, which build engines on any machine, come with
ONNX Runtime's plugin for TensorRT-RTX. Building an engine needs no GPU, running it does.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

#: The module loads a library with this function and never needs it: none of the graphs has a plugin.
_NO_PLUGINS = "#include <stdbool.h>\nbool initLibNvInferPlugins(void *logger, const char *name) { return true; }\n"


def load_tensorrt(directory: Path) -> ModuleType:
    """Import TensorRT from the wheels that are installed for the tests.

    Args:
        directory: empty directory for links to the module's files; it must stay while Python runs
    """
    package = directory / "tensorrt_bindings"
    package.mkdir()
    for file in _installed("tensorrt_bindings").iterdir():
        (package / file.name).symlink_to(file)
    libraries = _installed("onnxruntime_ep_nv_tensorrt_rtx")
    (builder,) = libraries.glob("libtensorrt_rtx.so.1.*")
    (parser,) = libraries.glob("libtensorrt_onnxparser_rtx.so.1.*")
    for name, library in (
        ("libnvinfer.so.11", builder),
        ("libtensorrt_rtx.so.1", builder),
        ("libnvonnxparser.so.11", parser),
    ):
        (package / name).symlink_to(library)
    source = directory / "no_plugins.c"
    source.write_text(_NO_PLUGINS)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", package / "libnvinfer_plugin.so.11", source], check=True)
    sys.path.insert(0, str(directory))
    try:
        return importlib.import_module("tensorrt_bindings")
    finally:
        sys.path.remove(str(directory))


def _installed(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None, f"{package} is not installed: pip install -e '.[dev]'"
    assert spec.origin is not None
    return Path(spec.origin).parent
