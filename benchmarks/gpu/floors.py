"""What a frame costs at least: operations and bytes counted from the description, over measured ceilings."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from vsr.graph import FrameSpec

HALF, FLOAT = 2, 4  # bytes of a sample: inside the network, in the chroma kernel


@dataclass(frozen=True)
class Work:
    """Of one frame.

    Args:
        flops: multiplications and additions of the convolutions.
        planes: bytes of the decoded planes and of the upscaled ones; no version moves less.
        layers: bytes when every convolution reads its input once and writes its result once, all else fused into it.
    """

    flops: int
    planes: int
    layers: int

    def milliseconds(self, copied: float, multiplied: float) -> tuple[float, float]:
        """(all fused, layer by layer): the larger time of bytes and operations, at so many of them a second."""
        arithmetic = self.flops / multiplied
        return 1000 * max(self.planes / copied, arithmetic), 1000 * max(self.layers / copied, arithmetic)


def work(described: ModelProto, spec: FrameSpec, scale: int) -> Work:
    """Counted over a whole-frame description for `spec`, with its chroma."""
    shapes, flops, layers = sizes(described), 0, 0
    for node in described.graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            given, result = prod(shapes[node.input[0]]), prod(shapes[node.output[0]])
            kernel = shapes[node.input[1]]
            positions = result // kernel[0] if node.op_type == "Conv" else given // kernel[0]
            flops += 2 * positions * prod(kernel)
            layers += (given + result) * (FLOAT if node.input[1] == "chroma_kernel" else HALF)
    planes = spec.format.nbytes(spec.width, spec.height) + spec.format.nbytes(spec.width * scale, spec.height * scale)
    return Work(flops, planes, layers + planes)


def sizes(described: ModelProto) -> dict[str, list[int]]:
    """Shape of every value, what the description computes from shapes computed."""
    known = _inferred(described)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in described.graph.initializer}
    folded = ModelProto()
    folded.CopyFrom(described)
    for node in described.graph.node:
        if (value := _value(node, values, known)) is not None:
            values[node.output[0]] = value
            folded.graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
    computed = {tensor.name for tensor in folded.graph.initializer}
    del folded.graph.node[:]
    folded.graph.node.extend(node for node in described.graph.node if node.output[0] not in computed)
    return _inferred(folded)


def _value(node: NodeProto, values: dict[str, np.ndarray], known: dict[str, list[int]]) -> np.ndarray | None:
    """The result of a node that depends on shapes alone."""
    if node.op_type == "Shape" and all(known.get(node.input[0], [0])):
        return np.array(known[node.input[0]], np.int64)
    if all(name in values for name in node.input):
        return np.asarray(ReferenceEvaluator(node).run(None, {name: values[name] for name in node.input})[0])
    return None


def _inferred(model: ModelProto) -> dict[str, list[int]]:
    graph = shape_inference.infer_shapes(model).graph
    constants = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    return constants | {
        value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in [*graph.input, *graph.value_info, *graph.output]
    }
