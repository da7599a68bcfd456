"""NVIDIA's own parser and builder take every graph; running the engines is left to machines with a GPU."""

import platform
import sys
from pathlib import Path
from types import ModuleType

import onnx
import pytest
from nvidia import load_tensorrt
from onnx import TensorProto, helper

from emo_rt.bundle import GRAPH_NAMES
from emo_rt.errors import BundleError
from export import graphs
from export.build import OPSET, export_graph
from export.float16 import to_float16
from export.storage import compact
from export.tensorrt_engine import build_engine
from training.model import EmoModel

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the wheels are there for Linux on x86-64 alone"
)
BUNDLED = Path(__file__).parents[2] / "models" / "emo-tiny"


@pytest.fixture(scope="session")
def tensorrt(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return load_tensorrt(tmp_path_factory.mktemp("tensorrt"))


@pytest.fixture(scope="module")
def bundles(fp32: Path, fp16: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Directories with the graphs, by model and precision."""
    tiny = tmp_path_factory.mktemp("tiny")
    model = EmoModel.load(BUNDLED)
    for name, graph in graphs.graphs(to_float16(model)).items():
        export_graph(graph, tiny / f"{name}.onnx")
        compact(tiny / f"{name}.onnx")
    return {"emo-test fp32": fp32, "emo-test fp16": fp16, "emo-tiny fp32": BUNDLED / "bundle", "emo-tiny fp16": tiny}


@pytest.mark.parametrize("bundle", ["emo-test fp32", "emo-test fp16", "emo-tiny fp32", "emo-tiny fp16"])
@pytest.mark.parametrize("name", GRAPH_NAMES)
def test_tensorrt_builds_an_engine_of_every_graph(
    bundles: dict[str, Path], bundle: str, name: str, tensorrt: ModuleType
) -> None:
    assert len(build_engine(bundles[bundle] / f"{name}.onnx", tensorrt)) > 10_000


def test_a_graph_that_tensorrt_does_not_take_is_named(tensorrt: ModuleType, tmp_path: Path) -> None:
    """uint8 between two nodes."""
    nodes = [
        helper.make_node("Cast", ["x"], ["y"], to=TensorProto.UINT8, name="inside"),
        helper.make_node("Cast", ["y"], ["z"], to=TensorProto.FLOAT),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("x", "z")]
    graph = helper.make_graph(nodes, "bytes", ends[:1], ends[1:])
    path = tmp_path / "bytes.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10), path)
    with pytest.raises(BundleError, match=r"bytes\.onnx: TensorRT does not take this graph: inside \(Cast\): .*UINT8"):
        build_engine(path, tensorrt)
