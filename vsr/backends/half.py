"""A description's network in half precision: its body in fp16, its ends in float32.

Rounding a sample to its final code in fp16 moves 2 to 17% of them by one; so what adds the skip, and all that comes
after, stays float32, as does the way of the luma that is added. TensorRT and torch take each operator's precision from
the types in the graph, so the graph says it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vsr.errors import InputError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

_MOVES = (  # samples go elsewhere and stay what they are
    *("Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Slice", "SpaceToDepth"),
    *("Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
)
_SCALES = ("Add", "Clip", "Div", "Max", "Min", "Mul", "Sub")
_ENLARGES = ("Conv", "Resize", "Upsample")  # a convolution of one channel
_ONLY_FIRST = ("Resize", "Upsample")  # whose other inputs aren't samples
_LARGEST = 65504  # of fp16


def halved(described: ModelProto) -> ModelProto:
    """The same description with the network computed in fp16, weights included; what stands around it is untouched.

    Float32 stay: the entry and its scaling, the last addition with the way of the luma added there, scaling, rounding,
    clipping, and all of the chroma. A quantised network (QuantizeLinear, DequantizeLinear) comes back as it is.

    Raises:
        InputError: a weight too large for fp16.
    """
    from onnx import ModelProto, checker

    result = ModelProto()
    result.CopyFrom(described)
    if not any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in described.graph.node):
        _Halver(result).rewrite()
        checker.check_model(result, full_check=True)
    return result


class _Halver:
    """Decides which nodes compute in fp16, then writes that into the graph."""

    def __init__(self, model: ModelProto) -> None:
        self.graph = model.graph
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer}
        network = {node.output[0]: node for node in self.graph.node if _of_network(node)}
        own = {name for node in network.values() for name in node.output}
        self.samples = {name for node in self.graph.node if node.output[0] not in own for name in node.output}
        working = [node for node in network.values() if self._works_on_samples(node)]
        self.body = {name: node for node in working for name in node.output}
        for node in self.graph.node:
            if node.output[0] not in network:
                for name in own.intersection(node.input):
                    self._keep_tail(name)
        floats = _floats(model)
        self.half = floats & self.body.keys()
        self.single = floats - self.half

    def _works_on_samples(self, node: NodeProto) -> bool:
        """Whether samples of the picture go in and come out; sizes and constants aren't samples."""
        works = node.op_type not in ("Shape", "Size") and any(name in self.samples for name in node.input)
        self.samples.update(node.output if works else ())
        return works

    def _keep_tail(self, name: str) -> None:
        """Takes what leads to `name` out of the body, back to the last addition and along the skip to its start."""
        while not self._keep_skip(name) and (node := self.body[name]).op_type in (*_MOVES, *_SCALES):
            self._drop(node)
            name, *others = (value for value in node.input if value in self.samples)
            if others:
                for value in (name, *others):
                    self._keep_skip(value)
                return

    def _keep_skip(self, name: str) -> bool:
        """Takes what makes `name` of luma out of the body, if that only moves, scales or enlarges; whether it does."""
        nodes: list[NodeProto] = []
        pending = [name]
        while pending:
            node = self.body.get(pending.pop())
            if node is not None and node not in nodes:
                nodes.append(node)
                pending += [value for value in node.input if value in self.samples]
        simple = all(node.op_type in (*_MOVES, *_SCALES, *_ENLARGES) for node in nodes)
        kernels = [node.input[1] for node in nodes if node.op_type == "Conv"]
        if not simple or len(kernels) > 1 or any(self._channels(kernel) != 1 for kernel in kernels):
            return False
        for node in nodes:
            self._drop(node)
        return True

    def _drop(self, node: NodeProto) -> None:
        for name in node.output:
            self.body.pop(name, None)

    def _channels(self, kernel: str) -> int:
        return self.weights[kernel].dims[1] if kernel in self.weights else 0

    def rewrite(self) -> None:
        """Nodes stay in order, each Cast before its first reader; weights no longer read are dropped."""
        from onnx import TensorProto

        nodes = list(self.graph.node)
        del self.graph.node[:]
        for node in nodes:
            in_half = node.output[0] in self.body
            for index, name in enumerate(node.input):
                half = in_half and not (index and node.op_type in _ONLY_FIRST)
                if name in (self.single if half else self.half):
                    node.input[index] = self._converted(name, TensorProto.FLOAT16 if half else TensorProto.FLOAT)
            for attribute in node.attribute:
                if in_half and node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
                    attribute.i = TensorProto.FLOAT16
            self.graph.node.append(node)
        read = {name for node in nodes for name in node.input}
        kept = [tensor for tensor in self.graph.initializer if tensor.name in read]
        del self.graph.initializer[:], self.graph.value_info[:]
        self.graph.initializer.extend(kept)

    def _converted(self, name: str, kind: int) -> str:
        from onnx import helper

        new = f"{name}.{'half' if name in self.single else 'single'}"
        if name in self.weights and new not in self.weights:
            self.weights[new] = _half(self.weights[name], new)
            self.graph.initializer.append(self.weights[new])
        elif new not in {made for node in self.graph.node for made in node.output} | self.weights.keys():
            self.graph.node.append(helper.make_node("Cast", [name], [new], name=new, to=kind))
        return new


def _of_network(node: NodeProto) -> bool:
    """By `vsr.graph`'s prefix; the node before the network bears a name without it."""
    return node.output[0].startswith("luma/") and (not node.name or node.name.startswith("luma/"))


def _floats(model: ModelProto) -> set[str]:
    """The names of all that is float32."""
    from onnx import TensorProto, shape_inference

    graph = shape_inference.infer_shapes(model).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    found = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return found | {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}


def _half(weight: TensorProto, name: str) -> TensorProto:
    from onnx import numpy_helper

    values = numpy_helper.to_array(weight)
    if (np.abs(values) > _LARGEST).any():
        raise InputError(f"{weight.name.removeprefix('luma/')} goes beyond fp16's {_LARGEST}; use precision float32")
    return numpy_helper.from_array(values.astype(np.float16), name)
