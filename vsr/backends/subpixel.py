"""The end of a description as CPUs like it: sub-pixels side by side, put in place by NumPy.

Depth-to-space moves single samples and costs OpenVINO as much as half a convolution; NumPy moves the `scale` samples of
a row at once, in a tenth of that. `benchmarks/engine.py` measures it.
"""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vsr.frame import Plane

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

SUFFIX = "_subpixels"
_COLUMNS = 4  # the width is rounded up to a multiple of this, for `vsr.backends.lanes`
_POINTWISE = ("Mul", "Round", "Clip", "Cast")  # with constants of one number
_LOCAL = (  # operators of networks whose results stay where they are when the picture gets wider
    *("Add", "Cast", "Clip", "Conv", "DepthToSpace", "DequantizeLinear", "LeakyRelu", "Mul", "PRelu", "Pad"),
    *("QuantizeLinear", "Relu", "Round", "Slice", "Sub"),
)


def shuffle(samples: npt.NDArray[Any], plane: Plane) -> None:
    """Depth-to-space: `plane[s * i + dy, s * j + dx] = samples[i, j, s * dy + dx]`; what lies outside is left out.

    Args:
        samples: (rows, columns, s^2), dense, of the plane's dtype.
        plane: at most (s * rows, s * columns); its rows may be padded.
    """
    rows, columns, subpixels = samples.shape
    scale = isqrt(subpixels)
    run = scale * samples.itemsize
    if run in (2, 4, 8) and plane.shape[1] % scale == 0:
        runs = samples.reshape(rows, -1).view(f"u{run}").reshape(rows, columns, scale)
        for dy in range(scale):
            lines = plane[dy::scale].view(f"u{run}")
            lines[:] = runs[: lines.shape[0], : lines.shape[1], dy]
        return
    for dy, dx in np.ndindex(scale, scale):
        target = plane[dy::scale, dx::scale]
        target[:] = samples[: target.shape[0], : target.shape[1], dy * scale + dx]


def subpixels(described: ModelProto, scale: int) -> ModelProto:
    """The same description with outputs (1, rows * columns, scale^2) for `shuffle`, their names ending in `SUFFIX`.

    `described` has "planes" edges; `columns` may be rounded up. An output that doesn't end in a convolution, pointwise
    operators and depth-to-space stays a plane.
    """
    from onnx import checker, shape_inference

    result = shape_inference.infer_shapes(described)
    local = _only_local(result.graph)
    for index in range(len(result.graph.output)):
        ending = _Ending(result.graph, index, scale, widens=local)
        if ending.found():
            ending.rewrite()
    del result.graph.value_info[:]
    checker.check_model(result)
    return result


def _only_local(graph: GraphProto) -> bool:
    """Whether more edge padding on the right leaves the picture as it is: local operators that pad by edges alone."""
    ends = {output.name for output in graph.output}
    for node in graph.node:
        pads = [value for a in node.attribute if a.name == "pads" for value in a.ints]
        modes = [a.s for a in node.attribute if a.name in ("mode", "auto_pad")]
        if node.op_type not in _LOCAL or node.op_type == "Conv" and (any(pads) or modes):
            return False
        if node.op_type == "Pad" and modes != [b"edge"] or node.op_type == "Slice" and node.output[0] not in ends:
            return False
    return True


class _Ending:
    """The last nodes of one output: convolution, pointwise chain, depth-to-space, perhaps a slice."""

    def __init__(self, graph: GraphProto, index: int, scale: int, *, widens: bool) -> None:
        self.graph, self.subpixels = graph, scale * scale
        self.output, self.entrance = graph.output[index], graph.input[index].name
        self.makers = {name: node for node in graph.node for name in node.output}
        self.arrays = {tensor.name: tensor for tensor in graph.initializer}
        self.shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.value_info}
        *_, self.rows, self.columns = (d.dim_value for d in graph.input[index].type.tensor_type.shape.dim)
        self.extra = -self.columns % _COLUMNS if widens else 0
        self.chain: list[NodeProto] = []
        self.dropped: list[NodeProto] = []

    def found(self) -> bool:
        """Walks back from the output; whether `self.last` is the convolution everything begins with."""
        node = self.makers[self.output.name]
        if node.op_type == "Slice":
            self.dropped.append(node)
            node = self.makers[node.input[0]]
        if node.op_type != "DepthToSpace":
            return False
        self.dropped.append(node)
        node = self.makers[node.input[0]]
        while (before := self._before(node)) is not None:
            self.chain.insert(0, node)
            node = before
        self.last = node
        read = [name for user in self.graph.node for name in user.input]
        return all([node.op_type == "Conv", *(read.count(made.output[0]) == 1 for made in [node, *self.chain])])

    def _before(self, node: NodeProto) -> NodeProto | None:
        """The node a pointwise one works on; None when `node` isn't pointwise, or joins more than the skip."""
        features = [name for name in node.input if name not in self.arrays]
        constants = [name for name in node.input if name in self.arrays]
        if any(self.arrays[name].dims not in ([], [1]) for name in constants):
            return None
        if node.op_type in _POINTWISE and len(features) == 1:
            return self.makers.get(features[0])
        if node.op_type != "Add" or len(features) != 2:
            return None
        wide = [name for name in features if self.shapes.get(name, [0] * 4)[1] == self.subpixels]
        skip = [name for name in features if self.shapes.get(name) == [1, 1, self.rows, self.columns]]
        return self.makers.get(wide[0]) if len(wide) == len(skip) == 1 else None

    def rewrite(self) -> None:
        """Puts the chain behind the transposed convolution; nodes stay in topological order."""
        from onnx import helper

        for node in [self.last, *self.chain, *self.dropped]:
            self.graph.node.remove(node)
        columns = self.columns + self.extra
        if self.extra:
            self._widen()
        self.graph.node.append(self.last)
        shape = [1, self.rows * columns, self.subpixels]
        value = self._append("Reshape", self._append("Transpose", self.last.output[0], perm=[0, 2, 3, 1]), shape)
        for node in self.chain:
            inputs = [name if name in self.arrays else value for name in node.input]
            if node.op_type == "Add":
                skip = next(name for name in node.input if self.shapes[name][1] == 1)
                inputs = [value, self._append("Reshape", skip, [1, self.rows * columns, 1])]
            node.input[:] = inputs
            self.graph.node.append(node)
            value = node.output[0]
        name = self.output.name + SUFFIX
        self.graph.node[-1].output[0] = name
        kind = self.output.type.tensor_type.elem_type
        self.output.CopyFrom(helper.make_tensor_value_info(name, kind, shape))

    def _widen(self) -> None:
        """Edge padding on the right, behind the cast of the plane."""
        from onnx import helper

        at = next(i for i, node in enumerate(self.graph.node) if self.entrance in node.input)
        cast = self.graph.node[at]
        narrow = f"{cast.output[0]}.narrow"
        pads = self._constant([0] * 7 + [self.extra])
        pad = helper.make_node("Pad", [narrow, pads], [cast.output[0]], mode="edge", name=narrow)
        cast.output[0] = narrow
        self.graph.node.insert(at + 1, pad)

    def _append(self, operator: str, value: str, shape: list[int] | None = None, **attributes: Any) -> str:
        from onnx import helper

        inputs = [value] if shape is None else [value, self._constant(shape)]
        name = f"{value}.{operator}"
        self.graph.node.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def _constant(self, values: list[int]) -> str:
        from onnx import numpy_helper

        name = f"subpixels.{values}"
        if name not in {tensor.name for tensor in self.graph.initializer}:
            self.graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name
