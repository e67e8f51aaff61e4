"""Half precision: the network's body in fp16, everything else as it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, load_model, numpy_helper, shape_inference

from strong import luma_model, planes, spec
from vsr.backends.half import halved
from vsr.backends.pytorch.evaluator import Evaluator
from vsr.errors import InputError
from vsr.frame import Planes
from vsr.graph import FrameSpec, describe
from vsr.models import LumaModel, models_folder

FLOATING = sorted(path.stem for path in models_folder().glob("*.onnx") if not path.stem.endswith("_int8"))


def shipped(name: str) -> LumaModel:
    proto = load_model(models_folder() / f"{name}.onnx")
    facts = {entry.key: entry.value for entry in proto.metadata_props}
    return LumaModel(proto=proto, scale=int(facts["vsr.scale"]), radius=None, peak=float(facts["vsr.peak"]))


def run(described: ModelProto, given: Planes) -> list[npt.NDArray[Any]]:
    results = Evaluator(described)(*[torch.tensor(plane[None, None]) for plane in given])
    return [result[0, 0].numpy().astype(np.int64) for result in results]


def both(model: LumaModel, spec: FrameSpec) -> tuple[list[npt.NDArray[Any]], list[npt.NDArray[Any]]]:
    described, given = describe(model, spec), planes(spec)
    return run(described, given), run(halved(described), given)


def types(described: ModelProto) -> dict[str, int]:
    graph = shape_inference.infer_shapes(described).graph
    inferred = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    return inferred | {tensor.name: tensor.data_type for tensor in graph.initializer}


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("name", FLOATING)
def test_what_ships_stays_within_the_promise(name: str, depth: int) -> None:
    """Of the GPU path, on samples far harder than a picture's: 2 codes, 99.9% within 1, 55 dB; four times at 10 bit."""
    (exact,), (half,) = both(shipped(name), spec("grey", depth, (26, 18)))
    difference, code = np.abs(exact - half), 2 ** (depth - 8)
    assert difference.max() <= 2 * code
    assert np.mean(difference > code) <= 0.001
    assert 10 * np.log10((2**depth - 1) ** 2 / max(1e-9, np.mean(difference**2))) >= 55


@pytest.mark.parametrize("scale", [2, 3])
def test_the_tail_and_the_skip_are_float32(scale: int) -> None:
    """A 12-bit sample times 1 / 4095 isn't exact in fp16: the picture comes through only where nothing rounds it."""
    exact, half = both(luma_model(scale, zero=True), spec("420", 12))
    for one, other in zip(exact, half, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("edges", ["planes", "tensorrt"])
def test_the_body_is_half_and_nothing_else_is(edges: str) -> None:
    described = halved(describe(luma_model(2, body=3), spec("420", 10), edges=edges))  # type: ignore[arg-type]
    kinds = types(described)
    convolutions = [node for node in described.graph.node if node.op_type == "Conv"]
    assert [[kinds[name] for name in node.input] for node in convolutions] == [[TensorProto.FLOAT16] * 3] * 5 + [
        [TensorProto.FLOAT] * 2
    ] * 2
    ends = [node for node in described.graph.node if node.op_type in ("Round", "Clip")]
    assert {kinds.get(node.input[0]) for node in ends} == {TensorProto.FLOAT}
    assert not {tensor.name for tensor in described.graph.initializer} & {"luma/weight0", "luma/bias0"}


def test_a_quantised_network_is_left_alone() -> None:
    described = describe(luma_model(2, int8=True), spec())
    assert halved(described) == described


def test_what_was_given_stays_as_it_was() -> None:
    described = describe(luma_model(2), spec())
    before = described.SerializeToString()
    halved(described)
    assert described.SerializeToString() == before


def test_a_weight_beyond_fp16_is_named() -> None:
    model = luma_model(2)
    weight = next(tensor for tensor in model.proto.graph.initializer if tensor.name == "bias1")
    weight.CopyFrom(numpy_helper.from_array(np.full(8, 1e5, np.float32), "bias1"))
    with pytest.raises(InputError, match="bias1 goes beyond fp16"):
        halved(describe(model, spec()))


def own(nodes: Sequence[Any], constants: dict[str, Any], scale: int = 2) -> LumaModel:
    """A user's model: the result of the last node, from "x"."""
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, *sides])
        for name, sides in (("x", "HW"), (nodes[-1].output[0], "ab"))
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "own", ends[:1], ends[1:], tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return LumaModel(proto=proto, scale=scale, radius=None, peak=1.0)


def test_a_users_skip_by_resize_with_sizes_computed() -> None:
    """Sizes go through float32 in old exports: in fp16 those above 2048 would be wrong."""
    node, random = helper.make_node, np.random.default_rng(0)
    nodes = [
        node("Constant", [], ["two"], value_float=2.0),
        node("Shape", ["x"], ["shape"]),
        node("Cast", ["shape"], ["size"], to=TensorProto.FLOAT),
        node("Mul", ["size", "factors"], ["larger"]),
        node("Cast", ["larger"], ["sizes"], to=TensorProto.INT64),
        node("Resize", ["x", "", "", "sizes"], ["enlarged"], mode="linear"),
        node("Conv", ["x", "first"], ["features"], pads=[1, 1, 1, 1]),
        node("Mul", ["features", "two"], ["twice"]),
        node("Split", ["twice"], ["a", "b"], axis=1, num_outputs=2),
        node("Relu", ["a"], ["c"]),
        node("Concat", ["c", "b"], ["d"], axis=1),
        node("Conv", ["d", "last"], ["details"], pads=[1, 1, 1, 1]),
        node("DepthToSpace", ["details"], ["shuffled"], blocksize=2, mode="CRD"),
        node("Add", ["shuffled", "enlarged"], ["y"]),
    ]
    constants = {"factors": np.array([1, 1, 2, 2], np.float32)}
    first, last = (random.normal(0, 0.1, shape).astype(np.float32) for shape in ((8, 1, 3, 3), (4, 8, 3, 3)))
    (exact,), (half,) = both(own(nodes, {**constants, "first": first, "last": last}), spec("grey", 12))
    assert np.abs(exact - half).max() <= 4  # of 4095
    (exact,), (half,) = both(own(nodes, {**constants, "first": first, "last": 0 * last}), spec("grey", 12))
    assert np.array_equal(exact, half)
    kinds = types(halved(describe(own(nodes, {**constants, "first": first, "last": last}), spec("grey"))))
    names = ("size", "larger", "enlarged", "features", "twice", "c", "details", "shuffled")
    assert [kinds[f"luma/{name}"] for name in names] == [1, 1, 1, 10, 10, 10, 10, 10]


def test_features_enlarged_by_resize() -> None:
    """Resize in the body: its factors stay float32, as ONNX has them."""
    node, random = helper.make_node, np.random.default_rng(0)
    nodes = [
        node("Conv", ["x", "first"], ["features"], pads=[1, 1, 1, 1]),
        node("Resize", ["features", "", "factors"], ["enlarged"], mode="nearest"),
        node("Conv", ["enlarged", "last"], ["y"], pads=[1, 1, 1, 1]),
    ]
    first, last = (random.normal(0, 0.1, shape).astype(np.float32) for shape in ((8, 1, 3, 3), (1, 8, 3, 3)))
    factors = np.array([1, 1, 2, 2], np.float32)
    model = own(nodes, {"first": first, "last": last, "factors": factors})
    assert types(halved(describe(model, spec("grey"))))["luma/enlarged"] == TensorProto.FLOAT16
    (exact,), (half,) = both(model, spec("grey"))
    assert np.abs(exact - half).max() <= 1
