"""How much memory an engine will take, read off the graph, and how much there is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from vsr.backends.subpixel import subpixels
from vsr.graph import FrameSpec, Part, describe
from vsr.models import Exact, LumaModel

if TYPE_CHECKING:
    from onnx import ModelProto

_NEW = ("Conv", "ConvTranspose", "Pad", "Concat", "Resize", "DepthToSpace", "SpaceToDepth", "MatMul", "Gather")
_SIZES = {"int8": 4, "bf16": 2, "fp16": 2, "float32": 4}  # bytes of a convolution's result that nothing quantises


def predicted(model: LumaModel, spec: FrameSpec, precision: Exact, *, streams: int, requests: int) -> int:
    """Bytes of an OpenVINO engine's activations and result buffers, at their highest; frames of the caller don't count.

    OpenVINO fuses pointwise operators into the convolution before them and reuses a buffer once its last reader is
    done, so at any time the live results of the other operators are what counts.
    """
    parts: list[Part] = ["luma"] if spec.format.chroma == "grey" else ["luma", "chroma"]
    results = spec.format.nbytes(spec.width * model.scale, spec.height * model.scale)
    described = {part: subpixels(describe(model, spec, part=part), model.scale) for part in parts}
    return requests * results + streams * sum(
        _highest(graph, _SIZES[precision] if part == "luma" else 4) for part, graph in described.items()
    )


def _highest(described: ModelProto, size: int) -> int:
    """Bytes live at once, at most, in one pass over the nodes; `size` bytes for a sample that nothing quantises."""
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(described).graph
    samples = {v.name: prod(d.dim_value for d in v.type.tensor_type.shape.dim) for v in graph.value_info}
    entrances = {value.name for value in graph.input}
    quantised = {node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    exact = {node.input[0] for node in graph.node if node.op_type == "Transpose"}
    buffers: dict[str, _Buffer] = {}  # by every name that shares one
    for index, node in enumerate(graph.node):
        for name in node.input:
            if name in buffers:
                buffers[name].last = index
        result = node.output[0]
        entering = node.op_type == "Cast" and node.input[0] in entrances
        if node.op_type in _NEW or entering:
            width = 1 if result in quantised else 4 if entering or result in exact else size
            buffers[result] = _Buffer(width * samples.get(result, 0), index, index)
        elif node.input[0] in buffers:
            buffers[result] = buffers[node.input[0]]
    own = {id(buffer): buffer for buffer in buffers.values()}.values()
    return max(sum(b.size for b in own if b.first <= index <= b.last) for index in range(len(graph.node)))


@dataclass
class _Buffer:
    """Bytes, and the nodes that write it first and read it last."""

    size: int
    first: int
    last: int


def available() -> int:
    """Bytes this process may still take: what the system has free, or its control group's limit if that is less."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):
        return free
    return min(free, limit - used)
