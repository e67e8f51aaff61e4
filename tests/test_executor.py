"""Torch as an executor of the slots, on a fake device, and what CUDA asks of it that can be seen on a CPU."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch.overrides import TorchFunctionMode

from slots import OnFake, pooled
from strong import assert_close, luma_model, planes, spec
from vsr.backends.cuda import SlotEngine
from vsr.backends.half import halved
from vsr.backends.pytorch.evaluator import Evaluator, folded
from vsr.backends.pytorch.executor import DenseNetwork
from vsr.device.fake import FakeDevice
from vsr.device.memory import PinnedMemory
from vsr.frame import FramePool, Planes
from vsr.graph import Edges, FrameSpec, describe

pytestmark = pytest.mark.usefixtures("one_thread")

SPECS = [
    spec("420", 8, (41, 27)),
    spec("420", 10, (33, 19)),
    spec("422", 8, (18, 13)),
    spec("422", 10, (17, 12)),
    spec("444", 8, (16, 9)),
    spec("444", 12, (9, 7)),
    spec("grey", 8, (20, 20)),
    spec("grey", 16, (13, 11)),
]


def evaluated(described: ModelProto, given: Planes) -> list[Any]:
    return [plane[0, 0].numpy() for plane in Evaluator(described)(*[torch.from_numpy(p[None, None]) for p in given])]


@pytest.mark.parametrize("what", SPECS, ids=str)
@pytest.mark.parametrize("half", [False, True])
def test_slots_give_what_the_evaluator_gives(what: FrameSpec, half: bool) -> None:
    model = luma_model(2)
    described, edges = describe(model, what), ["planes"] + ["tensorrt"] * (what.format.depth < 16)
    if half:
        described = halved(described)
    expected = [evaluated(described, planes(what, index)) for index in range(6)]
    for edge in edges:
        taken: Edges = edge  # type: ignore[assignment]
        description = describe(model, what, edges=taken)
        check(what, halved(description) if half else description, expected)


def check(what: FrameSpec, described: ModelProto, expected: list[list[Any]]) -> None:
    device = FakeDevice(7)
    pinned = PinnedMemory(device)
    pools = [FramePool(what.format, what.width, what.height, memory) for memory in (pinned, None)]
    engine = SlotEngine(device, OnFake(device, described), what, 2, pinned=pinned)
    flying = []
    for index, wanted in enumerate(expected):
        flying.append((engine.submit(pooled(pools[index % 2], what, index)), wanted))
        if len(flying) == engine.capacity or index == len(expected) - 1:
            for ticket, planned in flying:
                result = engine.wait(ticket)
                assert_close(result.planes, planned)
                result.release()
            flying.clear()
    engine.close()
    pinned.close()
    assert not +device.open
    assert not device.misuses


def test_fusing_changes_nothing_on_a_cpu() -> None:
    described = halved(describe(luma_model(2), SPECS[0]))
    given = [torch.from_numpy(plane[None, None]) for plane in planes(SPECS[0])]
    plain, fused = Evaluator(described), Evaluator(described, fused=True)
    assert len(fused._steps) == len(plain._steps) - 3, "a Relu wasn't made part of its convolution"
    for one, other in zip(plain(*given), fused(*given), strict=True):
        assert torch.equal(one, other)


def test_a_result_that_others_read_too_is_left_alone() -> None:
    """By a Relu that could be made part of the convolution, and by what could be done in place."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 4, 4]) for name in "xy"]
    constants = [numpy_helper.from_array(np.full((1, 1, 1, 1), -1.5, np.float32), "w")]
    constants.append(numpy_helper.from_array(np.float32(-2), "two"))
    given = torch.ones(1, 1, 4, 4)
    for last, expected in ((("Relu", ["a"]), -1.5), (("Mul", ["a", "two"]), 1.5), (("Round", ["a"]), -3.5)):
        steps = (("Conv", ["x", "w"], ["a"]), (*last, ["b"]), ("Add", ["a", "b"], ["y"]))
        nodes = [helper.make_node(*step) for step in steps]
        model = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], constants))
        assert torch.equal(Evaluator(model, fused=True)(given)[0], torch.full((1, 1, 4, 4), expected))
    nodes = [helper.make_node("Mul", ["x", "two"], ["y"])]
    model = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], constants[1:]))
    Evaluator(model, fused=True)(given)
    assert torch.equal(given, torch.ones(1, 1, 4, 4)), "an input was written to"


def test_what_depends_on_no_input_is_computed_once() -> None:
    """Quantised weights are plain weights by the first run; shapes known beforehand are numbers."""
    described = describe(luma_model(int8=True), SPECS[0])
    weights = [
        n for n in described.graph.node if n.op_type == "DequantizeLinear" and n.input[0].startswith("luma/codes")
    ]
    _, nodes = folded(described)
    assert weights
    assert len(nodes) == len(described.graph.node) - len(weights)


class _Calls(TorchFunctionMode):
    """Every torch function called, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        self.names.add(function.__name__)
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize("what", SPECS, ids=str)
def test_a_run_makes_no_tensor_from_python_and_reads_none(what: FrameSpec) -> None:
    """On a CUDA device either would wait or copy from memory that isn't pinned: no graph could be captured."""
    for model in (luma_model(2), luma_model(2, same=True), luma_model(3, int8=True)):
        network = DenseNetwork(halved(describe(model, what)), tuned=True, fused=True)
        buffers = [torch.zeros(size, dtype=torch.uint8) for size in (network.input_nbytes, network.output_nbytes)]
        run = network.between(*buffers)
        run()
        with _Calls() as calls:
            run()
        assert calls.names
        assert not calls.names & {"tensor", "as_tensor", "from_numpy", "nonzero", "__bool__", "to_numpy"}


def test_the_gpu_path_needs_neither_av_nor_openvino() -> None:
    program = """
import sys
for name in ("av", "openvino", "cv2", "pycuda", "cuda", "tensorrt"):
    sys.modules[name] = None
import vsr.backends.cuda, vsr.backends.half, vsr.backends.pytorch.executor, vsr.device.fake, vsr.device.memory
import vsr.graph, vsr.models
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_weights_lie_channels_last_even_where_a_side_is_one() -> None:
    from vsr.backends.pytorch.evaluator import _channels_last

    for shape in ((16, 1, 3, 3), (4, 16, 3, 3), (8, 8, 1, 1)):
        weight = torch.randn(shape)
        laid = _channels_last(weight)
        assert torch.equal(laid, weight)
        assert laid.stride() == (shape[1] * shape[2] * shape[3], 1, shape[3] * shape[1], shape[1])
