"""The shape of the house: who may import whom, how large a folder, a file and a function may be, and names."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("emo_rt", "training", "export", "benchmarks")
#: From the bottom up: a module imports only what stands before its own line, or in its own wing. What stands in one
#: line does not know each other. The doors of a room, its top-level modules that are not named, come last.
WINGS = (
    ("emo_rt.errors", "emo_rt.atomic", "emo_rt.bundled", "emo_rt.limits", "emo_rt.stopping"),
    ("emo_rt.manifest",),
    ("emo_rt.bundle",),
    ("emo_rt.engines", "emo_rt.media"),
    ("emo_rt.cascade",),
    ("emo_rt.planning",),
    ("emo_rt.jobs", "emo_rt.live"),
    ("emo_rt.cluster",),
    ("emo_rt",),
    ("emo_rt.serve",),
    ("training.clips", "training.model"),
    ("training.speakers",),
    ("training.samples",),
    ("training.stages",),
    ("training.evaluation",),
    ("training.footage",),
    ("training",),
    ("export.graphs",),
    ("export",),
    ("benchmarks",),
)
LARGEST_FOLDER, LARGEST_FILE, LARGEST_FUNCTION = 15, 400, 60
#: All that the runtime may need from others: never PyTorch.
RUNTIME_PACKAGES = {"PIL", "av", "cv2", "filelock", "numpy", "onnxruntime", "platformdirs", "tqdm"}
#: What only one file may need, which is imported when it is asked for.
OPTIONAL_PACKAGES = {
    "emo_rt.bundle_signature": {"cryptography"},
    "emo_rt.engines.openvino": {"openvino"},
    "emo_rt.engines.tensorrt": {"cuda"},
    "emo_rt.media.credentials": {"c2pa"},
    "emo_rt.media.picture_file": {"pillow_heif"},
    "emo_rt.serve.live.livekit": {"livekit"},
}
#: What a wing may need beside that, which is imported when it is asked for.
WING_PACKAGES = {
    "emo_rt.cluster": {"ray"},
    "emo_rt.serve": {
        "aiortc",
        "anyio",
        "fastapi",
        "prometheus_client",
        "pydantic",
        "python_multipart",
        "starlette",
        "uvicorn",
    },
}
#: Names that every file of their kind has.
COMMON_NAMES = {"main"}


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Every module of the rooms by its dotted name, parsed."""
    paths = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    assert len(paths) > 100
    return {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(module: str) -> Iterator[tuple[str, str | None]]:
    """What a module imports, wherever in it: the module, and the name that is taken from it."""
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            assert node.module
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole, None) if whole in modules() else (node.module, alias.name)


def own_imports(module: str) -> Iterator[str]:
    """The modules of the project that a module imports."""
    yield from (name for name, _ in imports(module) if name in modules() and name != module)


def wing(module: str) -> str:
    """The longest beginning of a module's name that is a wing."""
    parts = module.split(".")
    known = {name for line in WINGS for name in line}
    return next(name for end in range(len(parts), 0, -1) if (name := ".".join(parts[:end])) in known)


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_follow_the_order_of_rooms_and_wings(module: str) -> None:
    level = {name: index for index, line in enumerate(WINGS) for name in line}
    own = wing(module)
    wrong = [name for name in own_imports(module) if wing(name) != own and level[wing(name)] >= level[own]]
    assert not wrong, f"{module} imports {wrong}"


def test_there_is_no_circle_of_imports() -> None:
    order = TopologicalSorter({module: set(own_imports(module)) for module in modules()})
    assert list(order.static_order())


def test_no_module_takes_a_private_name_of_another() -> None:
    wrong = [
        f"{module} takes {name} of {other}"
        for module in modules()
        for other, name in imports(module)
        if name and name.startswith("_") and not name.startswith("__") and other in modules()
    ]
    assert not wrong


def test_the_runtime_needs_few_packages() -> None:
    for module in modules():
        if module.split(".")[0] == "emo_rt":
            optional = OPTIONAL_PACKAGES.get(module, set()) | WING_PACKAGES.get(wing(module), set())
            allowed = RUNTIME_PACKAGES | optional | {"emo_rt"} | sys.stdlib_module_names
            extra = {name.split(".")[0] for name, _ in imports(module)} - allowed
            assert not extra, f"{module} imports {extra}"


def test_no_module_imports_the_one_for_livekit() -> None:
    assert "emo_rt.serve.live.livekit" in modules()
    assert not [module for module in modules() if "emo_rt.serve.live.livekit" in own_imports(module)]


def test_folders_files_and_functions_are_small() -> None:
    wrong = []
    for folder in {path.parent for room in (*ROOMS, "tests") for path in (ROOT / room).rglob("*.py")}:
        files = sorted(folder.glob("*.py"))
        if len(files) > LARGEST_FOLDER:
            wrong.append(f"{folder.relative_to(ROOT)} holds {len(files)} files")
        for path in files:
            text = path.read_text(encoding="utf-8")
            if (lines := text.count("\n")) > LARGEST_FILE:
                wrong.append(f"{path.relative_to(ROOT)} has {lines} lines")
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    assert node.end_lineno
                    if (lines := node.end_lineno - node.lineno + 1) > LARGEST_FUNCTION:
                        wrong.append(f"{path.relative_to(ROOT)}: {node.name} has {lines} lines")
    assert not wrong


def test_folders_are_wings_and_files_are_named_by_what_they_are_about() -> None:
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            assert path.stem not in ("utils", "util", "common", "helpers", "misc", "manager", "base"), path
            if path.name == "__init__.py" and path.parent != ROOT / "emo_rt":
                assert path.read_text() == "", f"{path} is not empty"


def test_a_public_name_means_one_thing() -> None:
    """No two modules define the same public class, function or constant."""
    defined: dict[str, set[str]] = defaultdict(set)
    for module, tree in modules().items():
        if module == "emo_rt":  # the public API gives other modules' names
            continue
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                defined[node.name].add(module)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for name in (name for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)):
                    defined[name.id].add(module)
    twice = {
        name: sorted(where)
        for name, where in defined.items()
        if not name.startswith("_") and name not in COMMON_NAMES and len(where) > 1
    }
    assert not twice


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("emo_rt", {"av", "cv2", "onnxruntime", "numpy"}),
        ("emo_rt.run", {"torch", "diffusers", "transformers", "training", "export"}),
    ],
)
def test_an_import_loads_little(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert module in loaded.split()
    assert not absent & set(loaded.split())
