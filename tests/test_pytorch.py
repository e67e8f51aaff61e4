"""The evaluator's operators against ONNX's own reference implementation, and the engine on it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from strong import assert_close, chosen, frame, luma_model, spec
from vsr.backends.pytorch.engine import PyTorchEngine
from vsr.backends.pytorch.evaluator import Evaluator
from vsr.backends.pytorch.operators import OPERATORS
from vsr.errors import InputError
from vsr.graph import describe
from vsr.models import Runner

I64, F32 = np.int64, np.float32


def array(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(0, 2, shape).astype(F32)


X = array(1, 4, 6, 5)
POSITIVE = np.abs(X) + 0.1
CODES = np.random.default_rng(0).integers(-128, 128, (4, 2, 3, 3)).astype(np.int8)
CASES: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("Abs", [X], {}),
    ("Add", [X, array(4, 1, 1)], {}),
    ("BatchNormalization", [X, array(4), array(4), array(4), np.abs(array(4))], {}),
    ("Cast", [X], {"to": TensorProto.INT32}),
    ("Clip", [X, F32(-1), F32(1)], {}),
    ("Clip", [X], {}),
    ("Concat", [X, X], {"axis": 1}),
    ("Constant", [], {"value": numpy_helper.from_array(array(2, 3))}),
    ("Constant", [], {"value_ints": [1, 2]}),
    ("Conv", [X, array(3, 4, 3, 3), array(3)], {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    ("Conv", [X, array(4, 1, 3, 2)], {"group": 4, "dilations": [2, 1]}),
    ("Conv", [X, array(3, 4, 4, 3)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Conv", [X, array(3, 4, 4, 3)], {"auto_pad": "SAME_LOWER"}),
    ("ConvTranspose", [X, array(4, 2, 5, 5), array(2)], {"strides": [2, 2], "pads": [2, 1, 1, 2]}),
    ("ConvTranspose", [X, array(4, 2, 3, 3)], {"strides": [3, 3], "output_padding": [1, 2]}),
    ("DepthToSpace", [X], {"blocksize": 2, "mode": "CRD"}),
    ("DepthToSpace", [array(1, 8, 3, 2)], {"blocksize": 2}),
    ("DequantizeLinear", [CODES, np.abs(array(4)), np.zeros(4, np.int8)], {"axis": 0}),
    ("DequantizeLinear", [CODES, F32(0.5), np.int8(3)], {}),
    ("Div", [X, POSITIVE], {}),
    ("Div", [np.array([7, -7, 65537], np.int32), np.array([2, 2, 65536], np.int32)], {}),
    ("Erf", [X], {}),
    ("Exp", [X], {}),
    ("Expand", [array(4, 1, 1), np.array([1, 4, 2, 3], I64)], {}),
    ("Floor", [X], {}),
    ("Gather", [X, np.array([[0, -1], [2, 2]], I64)], {"axis": 1}),
    ("Gelu", [X], {}),
    ("Gelu", [X], {"approximate": "tanh"}),
    ("GlobalAveragePool", [X], {}),
    ("HardSigmoid", [X], {"alpha": 0.3}),
    ("HardSwish", [X], {}),
    ("Identity", [X], {}),
    ("LeakyRelu", [X], {"alpha": 0.3}),
    ("MatMul", [X, array(5, 3)], {}),
    ("Max", [X, array(4, 1, 1), -X], {}),
    ("Min", [X, array(4, 1, 1)], {}),
    ("Mod", [np.array([-7, 7, 4], I64), np.array([2, 2, 3], I64)], {}),
    ("Mod", [X, F32(0.7)], {"fmod": 1}),
    ("Mul", [X, array(5)], {}),
    ("Neg", [X], {}),
    ("PRelu", [X, array(4, 1, 1)], {}),
    ("Pad", [X, np.array([0, 0, 2, 1, 0, 0, 3, 2], I64)], {"mode": "edge"}),
    ("Pad", [X, np.array([0, 0, 2, 1, 0, 0, 3, 2], I64)], {"mode": "reflect"}),
    ("Pad", [X, np.array([0, 1, 2, 0, 0, 0, 1, 2], I64), F32(1.5)], {"mode": "constant"}),
    ("Pad", [X, np.array([1, 2, 0, 1], I64), F32(0), np.array([2, -1], I64)], {}),
    ("Pow", [POSITIVE, F32(0.5)], {}),
    ("QuantizeLinear", [X * 100, F32(0.7), np.int8(-5)], {}),
    ("QuantizeLinear", [X * 100, np.abs(array(4)), np.zeros(4, np.uint8)], {"axis": 1}),
    ("QuantizeLinear", [np.array([0.5, 1.5, 2.5, -0.5, -1.5], F32), F32(1), np.int8(0)], {}),
    ("ReduceMean", [X, np.array([2, 3], I64)], {"keepdims": 1}),
    ("Relu", [X], {}),
    ("Reshape", [X, np.array([0, -1, 10], I64)], {}),
    ("Round", [np.array([0.5, 1.5, 2.5, -0.5, 2.4], F32)], {}),
    ("Shape", [X], {}),
    ("Sigmoid", [X], {}),
    ("Slice", [X, np.array([1, -4], I64), np.array([2**31, -1], I64), np.array([1, 2], I64)], {}),
    ("Slice", [X, np.array([4], I64), np.array([-9], I64), np.array([3], I64), np.array([-2], I64)], {}),
    ("Softmax", [X], {"axis": 1}),
    ("SpaceToDepth", [array(1, 2, 6, 4)], {"blocksize": 2}),
    ("Split", [X, np.array([1, 3], I64)], {"axis": 1}),
    ("Split", [X], {"axis": 3, "num_outputs": 2}),
    ("Sqrt", [POSITIVE], {}),
    ("Squeeze", [X, np.array([0], I64)], {}),
    ("Squeeze", [X], {}),
    ("Sub", [X, array(5)], {}),
    ("Tanh", [X], {}),
    ("Transpose", [X], {"perm": [0, 2, 3, 1]}),
    ("Unsqueeze", [X, np.array([1, -1], I64)], {}),
]
RESIZES = [
    ("Resize", [X, np.zeros(0, F32), np.array([1, 1, *factors], F32)], {"mode": mode, **extra})
    for factors, (mode, extras) in product(
        [(2, 2), (3, 2.4), (0.5, 1)],
        [
            ("cubic", [{}, {"cubic_coeff_a": -0.5}, {"exclude_outside": 1}]),
            ("linear", [{"coordinate_transformation_mode": m} for m in ("half_pixel", "align_corners", "asymmetric")]),
            ("nearest", [{"nearest_mode": m} for m in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")]),
        ],
    )
    for extra in extras
]
RESIZES.append(("Resize", [X, np.zeros(0, F32), np.zeros(0, F32), np.array([1, 4, 9, 7], I64)], {"mode": "linear"}))


def model(operator: str, inputs: list[Any], attributes: dict[str, Any]) -> ModelProto:
    """One node; what is not the first input is a constant, as in networks."""
    names = [f"i{index}" if np.asarray(value).size else "" for index, value in enumerate(inputs)]
    outputs = ["out", "more"] if operator == "Split" else ["out"]
    node = helper.make_node(operator, names, outputs, **attributes)
    constants = [numpy_helper.from_array(np.asarray(v), n) for v, n in zip(inputs, names, strict=True) if n][1:]
    given = (
        [helper.make_tensor_value_info("i0", helper.np_dtype_to_tensor_dtype(inputs[0].dtype), None)] if inputs else []
    )
    ends = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs]
    graph = helper.make_graph([node], "one", given, ends, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes"), CASES + RESIZES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_operator(operator: str, inputs: list[Any], attributes: dict[str, Any]) -> None:
    proto = model(operator, inputs, attributes)
    expected = ReferenceEvaluator(proto).run(None, {"i0": inputs[0]} if inputs else {})
    got = Evaluator(proto)(*[torch.from_numpy(inputs[0])] if inputs else [])
    for one, wanted in zip(got, expected, strict=True):
        assert tuple(one.shape) == np.shape(wanted)
        assert one.numpy().dtype == np.asarray(wanted).dtype
        np.testing.assert_allclose(one.numpy(), wanted, rtol=1e-4, atol=1e-4 if one.is_floating_point() else 0)


def test_every_operator_is_tried() -> None:
    assert {case[0] for case in CASES + RESIZES} == set(OPERATORS)


def test_unknown_operators_are_named() -> None:
    with pytest.raises(InputError, match=r"no operator Sinh; use --backend openvino"):
        Evaluator(model("Sinh", [X], {}))


@pytest.mark.parametrize("attributes", [{"antialias": 1}, {"coordinate_transformation_mode": "tf_crop_and_resize"}])
def test_resizes_that_are_not_here(attributes: dict[str, Any]) -> None:
    proto = model("Resize", [X, np.zeros(0, F32), np.array([1, 1, 2, 2], F32)], {"mode": "linear", **attributes})
    with pytest.raises(InputError, match="Resize with"):
        Evaluator(proto)(torch.from_numpy(X))


@pytest.mark.parametrize("int8", [False, True])
def test_description_agrees_with_onnx(int8: bool) -> None:
    """The whole description, evaluated by ONNX's reference: what the product's oracle itself is measured by."""
    network, what = luma_model(2, int8=int8), spec("420", 8, (13, 9))
    described, given = describe(network, what), frame(what).planes
    described.opset_import[0].version = 21  # the reference has int8 from 19; nothing used here changed meaning
    feeds = {name: plane[None, None] for name, plane in zip("yuv", given, strict=True)}
    expected = [plane[0, 0] for plane in ReferenceEvaluator(described).run(None, feeds)]
    got = [plane[0, 0].numpy() for plane in Evaluator(described)(*[torch.from_numpy(p[None, None]) for p in given])]
    assert_close(got[:1], expected[:1], codes=1, share=0.005)
    assert_close(got[1:], expected[1:])


def test_label_says_what_runs(tmp_path: Path) -> None:
    engine = PyTorchEngine(chosen(tmp_path, luma_model(int8=True), "int8"), spec())
    assert engine.label.startswith("pytorch int8 in float32 arithmetic, ")
    engine.close()


def test_without_torch_the_way_out_is_named(tmp_path: Path) -> None:
    choice = replace(chosen(tmp_path, luma_model(), "float32"), runner=Runner(library="pytorch"))
    program = f"""
import sys
sys.modules["torch"] = None
from pathlib import PosixPath
from vsr.backends import open_engine
from vsr.errors import UsageError
from vsr.frame import PlanarFormat
from vsr.graph import FrameSpec
from vsr.models import ModelChoice, Runner
from vsr.settings import EngineSettings
try:
    open_engine(EngineSettings(backend="pytorch"), {choice!r}, FrameSpec(format=PlanarFormat(), width=8, height=8))
except UsageError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert run.stdout == "backend pytorch needs torch: pip install torch\n"
