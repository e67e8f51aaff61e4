"""Narrow convolutions, several pixels at a time.

A register of AVX-512 holds 16 sums; a convolution with 8 outputs leaves half of it empty, one with 4 three quarters. So
`group` neighbouring pixels are computed by one convolution of stride `group` whose kernel is that much wider: the same
sums plus some by zero. In memory (rows, columns / group, group x outputs) is (rows, columns, outputs), and OpenVINO
drops the transpositions that say so. The last convolution of a x2 network takes half the time, all of an 8-channel
network two thirds. `benchmarks/engine.py` measures it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

_PLAIN = {"strides": [1, 1], "dilations": [1, 1], "group": 1, "auto_pad": b"NOTSET"}
_POINTWISE = ("Relu", "LeakyRelu", "Clip", "QuantizeLinear", "DequantizeLinear")  # with constants of one number


def fill_lanes(model: ModelProto, lanes: int) -> ModelProto:
    """The same function; convolutions of at most `lanes / 2` outputs whose result is divisible by as many columns are
    grouped. `model` has fixed shapes."""
    from onnx import checker

    result = _Rewriter(model, lanes).rewritten()
    checker.check_model(result)
    return result


class _Rewriter:
    def __init__(self, model: ModelProto, lanes: int) -> None:
        from onnx import ModelProto as Model
        from onnx import shape_inference

        self.result = Model()
        self.result.CopyFrom(model)
        self.lanes, self.nodes = lanes, list(model.graph.node)
        self.arrays: dict[str, TensorProto] = {tensor.name: tensor for tensor in model.graph.initializer}
        self.makers = {name: node for node in self.nodes for name in node.output}
        inferred = shape_inference.infer_shapes(model).graph.value_info
        self.shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in inferred}

    def rewritten(self) -> ModelProto:
        graph = self.result.graph
        del graph.node[:]
        ends: dict[str, list[int]] = {}  # tensors to be turned back: (1, rows, columns, outputs)
        for node in self.nodes:
            group = self._group(node)
            if group > 1:
                batch, outputs, rows, columns = self.shapes[node.output[0]]
                ends[self._end_of_chain(node.output[0])] = [batch, rows, columns, outputs]
                self._add_grouped(node, group)
            else:
                graph.node.append(node)
            name = node.output[0]
            if name in ends:
                graph.node[-1].output[0] = f"{name}.grouped"
                self._add_restored(name, ends[name])
        return self.result

    def _group(self, node: NodeProto) -> int:
        """How many neighbouring pixels one convolution can compute."""
        from onnx import helper

        if node.op_type != "Conv" or node.output[0] not in self.shapes:
            return 1
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        plain = all(attributes.get(name, value) == value for name, value in _PLAIN.items())
        _, outputs, _, columns = self.shapes[node.output[0]]
        group = max(1, self.lanes // outputs)
        known = columns > 0 and columns % group == 0
        return group if plain and known and self._constants(node) else 1

    def _constants(self, node: NodeProto) -> list[str]:
        """The convolution's constants: kernel, or int8 kernel with scales and zero points; then the bias."""
        _, kernel, *bias = node.input
        maker = self.makers.get(kernel)
        names = [*(maker.input if maker is not None and maker.op_type == "DequantizeLinear" else [kernel]), *bias]
        return names if all(name in self.arrays for name in names) else []

    def _end_of_chain(self, name: str) -> str:
        """The last of the pointwise results that follow, one reader each, so that they stay beside the convolution."""
        readers = [node for node in self.nodes if name in node.input]
        outputs = {output.name for output in self.result.graph.output}
        if len(readers) != 1 or name in outputs or readers[0].op_type not in _POINTWISE:
            return name
        constants = [self.arrays.get(other) for other in readers[0].input if other not in (name, "")]
        if any(tensor is None or tensor.dims not in ([], [1]) for tensor in constants):
            return name
        return self._end_of_chain(readers[0].output[0])

    def _add_grouped(self, node: NodeProto, group: int) -> None:
        from onnx import helper, numpy_helper

        graph = self.result.graph
        features, kernel, *bias = node.input
        names = {}
        for name in self._constants(node):
            array = numpy_helper.to_array(self.arrays[name])
            wide = _beside(array, group) if array.ndim == 4 else np.tile(array, group if array.ndim else 1)
            names[name] = f"{node.output[0]}.{name}"
            graph.initializer.append(numpy_helper.from_array(wide, names[name]))
        maker = self.makers.get(kernel)
        if maker is not None:
            names[kernel] = f"{node.output[0]}.{kernel}"
            quantised = [names[name] for name in maker.input]
            graph.node.append(helper.make_node("DequantizeLinear", quantised, [names[kernel]], axis=0))
        inputs = [features, *(names[name] for name in (kernel, *bias))]
        convolution = helper.make_node("Conv", inputs, list(node.output), name=node.name, strides=[1, group])
        convolution.attribute.extend(a for a in node.attribute if a.name == "pads")
        graph.node.append(convolution)

    def _add_restored(self, name: str, shape: list[int]) -> None:
        """(1, group x outputs, rows, columns / group) to (1, outputs, rows, columns)."""
        from onnx import helper, numpy_helper

        graph, shape_name = self.result.graph, f"{name}.shape"
        graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), shape_name))
        steps = [f"{name}.grouped", f"{name}.last", f"{name}.apart", name]
        graph.node.append(helper.make_node("Transpose", steps[:1], steps[1:2], perm=[0, 2, 3, 1]))
        graph.node.append(helper.make_node("Reshape", [steps[1], shape_name], steps[2:3]))
        graph.node.append(helper.make_node("Transpose", steps[2:3], steps[3:], perm=[0, 3, 1, 2]))


def _beside(kernel: npt.NDArray[Any], group: int) -> npt.NDArray[Any]:
    """(outputs, inputs, rows, columns) to (group * outputs, inputs, rows, columns + group - 1), each shifted by one."""
    outputs, inputs, rows, columns = kernel.shape
    wide = np.zeros((group, outputs, inputs, rows, columns + group - 1), kernel.dtype)
    for pixel in range(group):
        wide[pixel, ..., pixel : pixel + columns] = kernel
    return wide.reshape(group * outputs, inputs, rows, -1)
