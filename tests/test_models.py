"""Which model and precision a run gets, and what a user's own model must be."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, load_model, numpy_helper

from strong import luma_model
from vsr.contract import inspect, receptive_radius
from vsr.errors import InputError, UsageError
from vsr.models import DEFAULT_NETWORK, Runner, load, models_folder, processor_flags, resolve
from vsr.networks import NETWORKS
from vsr.settings import EngineSettings, Precision

FAST = frozenset({"avx512_vnni", "avx512_bf16"})
SHIPPED = sorted(models_folder().glob("*.onnx"))


@pytest.mark.parametrize(
    ("depth", "flags", "wanted", "expected"),
    [
        (8, FAST, "auto", "int8"),
        (8, {"avx_vnni"}, "auto", "int8"),
        (8, {"avx512_bf16"}, "auto", "bf16"),
        (8, {"avx2"}, "auto", "float32"),
        (10, FAST, "auto", "bf16"),
        (10, {"avx2"}, "auto", "float32"),
        (8, FAST, "float32", "float32"),
        (8, FAST, "bf16", "bf16"),
        (8, {"avx2"}, "int8", "int8"),  # slow, but asked for
    ],
)
def test_precision(depth: int, flags: set[str], wanted: Precision, expected: str) -> None:
    choice = resolve(EngineSettings(precision=wanted), depth, processor=flags)
    assert choice.precision == expected
    assert choice.network == DEFAULT_NETWORK
    assert choice.path.name.endswith("_int8.onnx") == (expected == "int8")
    assert choice.peak == (255 if expected == "int8" else 1)
    assert choice.why
    assert load(choice).scale == 2


@pytest.mark.parametrize(
    ("settings", "depth", "flags", "message"),
    [
        (EngineSettings(precision="int8"), 10, FAST, r"8-bit video, this is 10 bit; use bf16 or float32"),
        (EngineSettings(precision="int8"), 10, {"avx2"}, r"use float32"),
        (EngineSettings(precision="bf16"), 8, {"avx2"}, r"this processor has no bfloat16; use float32 or int8"),
        (EngineSettings(precision="bf16", backend="pytorch"), 8, FAST, r"pytorch on the CPU has no bfloat16"),
        (EngineSettings(precision="fp16"), 8, FAST, r"fp16: needs a GPU, openvino has none; use bf16"),
        (EngineSettings(precision="fp16", backend="pytorch"), 8, FAST, r"pytorch on the CPU has none; use float32"),
        (
            EngineSettings(precision="bf16", backend="tensorrt"),
            8,
            FAST,
            r"tensorrt has no bfloat16; use fp16",
        ),
        (EngineSettings(precision="int8", backend="tensorrt"), 10, FAST, r"this is 10 bit; use fp16 or float32"),
        (EngineSettings(backend="tensorrt"), 16, FAST, r"no type for samples of 16 bits; use --backend pytorch"),
        (EngineSettings(network="m4c17"), 8, FAST, r"no network 'm4c17'; known: m4c8, m4c16"),
        (
            EngineSettings(network="dbpn", scale=4),
            8,
            FAST,
            r"no weights of dbpn at scale 4; shipped: ",
        ),
    ],
)
def test_what_cant_be_had(settings: EngineSettings, depth: int, flags: set[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve(settings, depth, processor=flags)


def test_pytorch_runs_float32_by_itself() -> None:
    assert resolve(EngineSettings(backend="pytorch"), 8, processor=FAST).precision == "float32"


@pytest.mark.parametrize("runner", [Runner("tensorrt", 0), Runner("pytorch", 1)], ids=str)
def test_precision_on_a_gpu(runner: Runner) -> None:
    """fp16 at every depth; the rest where it is asked for."""
    for depth in (8, 10):
        choice = resolve(EngineSettings(), depth, runner=runner, processor=FAST)
        assert (choice.precision, choice.runner, choice.network) == ("fp16", runner, DEFAULT_NETWORK)
        assert resolve(EngineSettings(precision="float32"), depth, runner=runner).precision == "float32"
    quantised = resolve(EngineSettings(precision="int8"), 8, runner=runner)
    assert quantised.path.name.endswith("_int8.onnx")
    assert resolve(EngineSettings(backend="tensorrt", devices=(3,)), 8).runner == Runner("tensorrt", 3)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_models_keep_the_contract(path: Path) -> None:
    facts = inspect(path)
    network = NETWORKS[path.stem.partition("_x")[0].removesuffix("-stream")]
    radius = network.radius(facts.scale)
    assert f"_x{facts.scale}" in path.stem
    assert facts.int8 == path.stem.endswith("_int8")
    assert facts.radius == radius
    model = load_model(path)
    bound = receptive_radius(model)
    assert (bound is None) == any(node.op_type == "Slice" for node in model.graph.node)  # which isn't followed
    assert bound is None or radius <= bound <= radius + 1


def test_a_shipped_file_that_changed_is_refused(tmp_path: Path) -> None:
    for name in (f"{DEFAULT_NETWORK}_x2.onnx", "manifest.json"):
        shutil.copy(models_folder() / name, tmp_path)
    settings = EngineSettings(precision="float32")
    assert resolve(settings, 8, folder=tmp_path).path.parent == tmp_path
    model = tmp_path / f"{DEFAULT_NETWORK}_x2.onnx"
    model.write_bytes(model.read_bytes() + b"\0")
    with pytest.raises(InputError, match="SHA-256 differs"):
        resolve(settings, 8, folder=tmp_path)


def test_a_model_that_changed_since_is_refused(tmp_path: Path) -> None:
    path = own(tmp_path, luma_model().proto)
    choice = resolve(EngineSettings(model=path), 8)
    path.write_bytes(luma_model(seed=1).proto.SerializeToString())
    with pytest.raises(InputError, match="changed since"):
        load(choice)


def test_choosing_needs_no_openvino() -> None:
    program = (
        "import sys; from vsr.models import resolve; from vsr.settings import EngineSettings;"
        "resolve(EngineSettings(), 8, processor={'avx512_vnni'}); sys.exit('openvino' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_this_processor_has_flags() -> None:
    assert {"fpu", "fp"} & processor_flags()


def own(folder: Path, proto: ModelProto) -> Path:
    path = folder / "own.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_own_model_without_metadata(tmp_path: Path, scale: int) -> None:
    path = own(tmp_path, luma_model(scale).proto)
    choice = resolve(EngineSettings(model=path, scale=scale), 10, processor=FAST)
    assert (choice.network, choice.scale, choice.precision, choice.peak) == ("own", scale, "bf16", 1)
    assert choice.radius in (4, 5)
    with pytest.raises(UsageError, match=f"give --scale {scale}"):
        resolve(EngineSettings(model=path, scale=2 if scale != 2 else 3), 8)


def test_own_int8_model(tmp_path: Path) -> None:
    proto = luma_model(int8=True).proto
    helper.set_model_props(proto, {"vsr.precision": "int8", "vsr.peak": "255", "vsr.radius": "4"})
    path = own(tmp_path, proto)
    assert resolve(EngineSettings(model=path), 8).precision == "int8"
    with pytest.raises(UsageError, match="8-bit video, this is 10 bit"):
        resolve(EngineSettings(model=path), 10)
    with pytest.raises(UsageError, match="needs a float model"):
        resolve(EngineSettings(model=path, precision="bf16"), 8)


def broken(change: Callable[[ModelProto], None]) -> ModelProto:
    proto = luma_model().proto
    change(proto)
    return proto


def _two_outputs(proto: ModelProto) -> None:
    proto.graph.output.append(helper.make_tensor_value_info("sum", TensorProto.FLOAT, [1, 4, "H", "W"]))


def _fixed_size(proto: ModelProto) -> None:
    proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("luma", TensorProto.FLOAT, [1, 1, 48, 64]))


def _colour(proto: ModelProto) -> None:
    proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("luma", TensorProto.FLOAT, [1, 3, "H", "W"]))


def _external(proto: ModelProto) -> None:
    tensor = next(t for t in proto.graph.initializer if t.name == "weight0")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def _foreign(proto: ModelProto) -> None:
    proto.graph.node[-2].domain = "com.example"
    proto.opset_import.append(helper.make_opsetid("com.example", 1))


def _infinite(proto: ModelProto) -> None:
    tensor = next(t for t in proto.graph.initializer if t.name == "bias3")
    tensor.CopyFrom(numpy_helper.from_array(np.full(4, np.inf, np.float32), "bias3"))


def _not_upscaling(proto: ModelProto) -> None:
    proto.graph.node[-1].CopyFrom(helper.make_node("ReduceMean", ["sum"], ["upscaled"], axes=[1]))


def _peak(proto: ModelProto) -> None:
    helper.set_model_props(proto, {"vsr.peak": "bright"})


def _dark(proto: ModelProto) -> None:
    helper.set_model_props(proto, {"vsr.peak": "0"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_two_outputs, "needs one input and one output, has 1 and 2"),
        (_fixed_size, "luma of free size"),
        (_colour, "luma of free size"),
        (_external, "external data|not a valid ONNX"),
        (_foreign, "only plain ONNX operators are taken, not com.example"),
        (_infinite, "not finite"),
        (_not_upscaling, "scale must be 2, 3, 4"),
        (_peak, "must be numbers"),
        (_dark, "must be above 0"),
    ],
)
def test_own_model_that_breaks_the_contract(tmp_path: Path, change: Callable[[ModelProto], None], message: str) -> None:
    path = own(tmp_path, broken(change))
    with pytest.raises(InputError, match=message) as caught:
        inspect(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_files_that_are_no_models(tmp_path: Path) -> None:
    for content in (b"", b"not a model", b"\x08" * 100):
        path = tmp_path / "x.onnx"
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"ONNX|needs one input"):
            inspect(path)
    with pytest.raises(InputError, match="No such file"):
        inspect(tmp_path / "missing.onnx")
    with path.open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(InputError, match="64 MiB"):
        inspect(path)


STEPS = {
    "valid": [("Conv", 3, {"pads": [0] * 4})],
    "same": [("Conv", 5, {"pads": [2] * 4}), ("Relu", 0, {}), ("Conv", 3, {"pads": [1] * 4})],
    "one-sided": [("Conv", 3, {"pads": [0, 0, 2, 2]})],
    "padded": [("Pad", 0, {"mode": "edge"}), ("Conv", 4, {})],
    "dilated": [("Conv", 3, {"pads": [3] * 4, "dilations": [3, 3]})],
    "auto": [("Conv", 4, {"auto_pad": "SAME_UPPER"})],
    "strided": [("Conv", 4, {"pads": [1] * 4, "strides": [2, 2]}), ("DepthToSpace", 0, {"blocksize": 2})],
    "s2d": [
        ("SpaceToDepth", 0, {"blocksize": 2}),
        ("Conv", 3, {"pads": [1] * 4}),
        ("DepthToSpace", 0, {"blocksize": 2}),
    ],
    "transposed": [("Conv", 3, {"pads": [1] * 4}), ("ConvTranspose", 9, {"pads": [4, 4, 3, 3], "strides": [2, 2]})],
    "resized": [("Conv", 3, {"pads": [1] * 4}), ("Resize", 0, {"mode": "cubic"}), ("Conv", 3, {"pads": [1] * 4})],
}


@pytest.mark.parametrize("name", STEPS)
def test_receptive_radius_is_never_too_small(name: str) -> None:
    """Against what really happens to the result when one pixel changes."""
    proto = _network(STEPS[name])
    radius = receptive_radius(proto)
    assert radius is not None
    seen = _seen(proto)
    assert seen <= radius <= seen + 4


def test_an_operator_that_sees_everything_has_no_radius() -> None:
    assert receptive_radius(_network([("Conv", 3, {"pads": [1] * 4}), ("GlobalAveragePool", 0, {})])) is None


def _network(steps: list[tuple[str, int, dict[str, object]]]) -> ModelProto:
    """Positive weights, so that no influence cancels out."""
    nodes, constants, channels, value = [], [], 1, "luma"
    for index, (operator, taps, attributes) in enumerate(steps):
        inputs, name = [value], f"v{index}"
        if operator == "Conv":
            outputs = 4 if any(s[0] == "DepthToSpace" for s in steps[index:]) else 1
            outputs *= channels if any(s[0] == "SpaceToDepth" for s in steps) else 1
            weight = np.full((outputs, channels, taps, taps), 0.1, np.float32)
            channels = outputs
        elif operator == "ConvTranspose":
            weight = np.full((channels, 1, taps, taps), 0.1, np.float32)
        if operator.startswith("Conv"):
            constants.append(numpy_helper.from_array(weight, f"w{index}"))
            inputs.append(f"w{index}")
        elif operator == "Pad":
            constants.append(numpy_helper.from_array(np.array([0, 0, 3, 3, 0, 0, 0, 0]), f"w{index}"))
            inputs.append(f"w{index}")
        elif operator == "Resize":
            constants.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), f"w{index}"))
            inputs += ["", f"w{index}"]
        channels = {"SpaceToDepth": channels * 4, "DepthToSpace": channels // 4}.get(operator, channels)
        nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        value = name
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, None, None, None]) for n in ("luma", value)]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _seen(proto: ModelProto) -> int:
    """How far from a changed pixel, in input pixels, the result changes."""
    import torch

    from vsr.backends.pytorch.evaluator import Evaluator

    evaluator, size, farthest = Evaluator(proto), 64, 0.0
    flat = torch.ones(1, 1, size, size)
    before = evaluator(flat)[0]
    scale = before.shape[-1] / size
    for pixel in range(28, 36):
        changed = flat.clone()
        changed[0, 0, pixel, pixel] = 9
        where = (evaluator(changed)[0] - before).abs().sum((0, 1)).nonzero().double()
        farthest = max(farthest, float((where / scale - pixel).abs().max()))
    return int(np.ceil(farthest))
