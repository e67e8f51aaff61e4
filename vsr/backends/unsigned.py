"""Signed int8 networks in unsigned codes, for processors whose dot product wants one factor unsigned.

AVX-512 VNNI multiplies unsigned by signed; signed activations are shifted by 128 each time they are read. A network in
the shifted signed form (`vsr.training.export`) holds `value - 128 s`; here it holds `value`, and the shifts leave the
biases. An 8-bit plane then already is what the first convolution reads. `benchmarks/engine.py` measures it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

ZERO = 128  # the signed code 0, as an unsigned one
_MOVES = ("Pad", "SpaceToDepth")  # which leave every sample as it is


def unsigned(model: ModelProto) -> ModelProto:
    """The same function but for rounding, with activations in uint8; as it is where `model` has another form.

    The form: every quantiser is int8 with zero point 0 and alone reads a convolution's result or, with scale 1, samples
    less 128; what is dequantised goes to convolutions without padding, with symmetric int8 kernels and a bias.
    """
    from onnx import checker

    result = type(model)()
    result.CopyFrom(model)
    form = _Shifted(result)
    if form.found():
        form.rewrite()
        checker.check_model(result)
    return result


class _Shifted:
    def __init__(self, model: ModelProto) -> None:
        from onnx import numpy_helper

        self.graph = model.graph
        self.arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.graph.initializer}
        self.makers = {name: node for node in self.graph.node for name in node.output}
        self.quantisers = [node for node in self.graph.node if node.op_type == "QuantizeLinear"]
        self.shifts: dict[str, float] = {}  # of quantisers' inputs and of what is dequantised from their codes

    def found(self) -> bool:
        return bool(self.quantisers) and all(self._fits(node) for node in self.quantisers)

    def _fits(self, node: NodeProto) -> bool:
        constants = [self.arrays.get(name) for name in node.input[1:]]
        if len(constants) != 2 or any(array is None or array.size != 1 for array in constants):
            return False
        scale, zero = (self.arrays[name] for name in node.input[1:])
        before, again = self.makers.get(node.input[0]), self._readers(node.output[0])
        return (
            zero.dtype == np.int8
            and not zero.any()
            and before is not None
            and (before.op_type == "Conv" or self._centres(before) and float(scale) == 1)
            and self._readers(node.input[0]) == [node]
            and all(reader.op_type == "DequantizeLinear" and reader.input[1:] == node.input[1:] for reader in again)
            and all(self._plain(user) for reader in again for user in self._readers(reader.output[0]))
        )

    def _centres(self, node: NodeProto) -> bool:
        middle = self.arrays.get(node.input[-1])
        return node.op_type == "Sub" and middle is not None and middle.size == 1 and float(middle) == ZERO

    def _plain(self, node: NodeProto) -> bool:
        """A convolution without padding, of a constant bias and a constant int8 kernel, symmetric for each output."""
        pads = [value for a in node.attribute if a.name == "pads" for value in a.ints]
        if node.op_type != "Conv" or any(pads) or len(node.input) != 3 or node.input[2] not in self.arrays:
            return False
        maker = self.makers.get(node.input[1])
        if maker is None or maker.op_type != "DequantizeLinear" or not {*maker.input} <= {*self.arrays}:
            return False
        codes, scales, *zeros = (self.arrays[name] for name in maker.input)
        by_output = scales.size == 1 or [a.i for a in maker.attribute if a.name == "axis"] == [0]
        return codes.dtype == np.int8 and by_output and not any(array.any() for array in zeros)

    def rewrite(self) -> None:
        for node in self.quantisers:
            held = [node.input[0], *(reader.output[0] for reader in self._readers(node.output[0]))]
            self.shifts |= dict.fromkeys(held, ZERO * float(self.arrays[node.input[1]]))
        for node in list(self.graph.node):
            if node.op_type == "Conv" and node.input[0] in self.shifts:
                node.input[2] = self._constant(f"{node.output[0]}.bias", self._bias(node))
        zero = self._constant("unsigned.zero", np.zeros((), np.uint8))
        for node in self.quantisers:
            for user in (node, *self._readers(node.output[0])):
                user.input[2] = zero
            before = self.makers[node.input[0]]
            if before.op_type == "Sub":
                node.input[0] = before.input[0]
                self._read_codes(node)
        self._drop_unread()

    def _bias(self, node: NodeProto) -> npt.NDArray[np.float32]:
        """Without what stood for the shift of the input, nor the shift of the result."""
        features, kernel, bias = node.input
        codes, scales = (self.arrays[name].astype(np.float64) for name in self.makers[kernel].input[:2])
        sums = scales * codes.sum(axis=(1, 2, 3))
        shifted = self.arrays[bias] - self.shifts[features] * sums + self.shifts.get(node.output[0], 0)
        return np.asarray(shifted, np.float32)

    def _read_codes(self, node: NodeProto) -> None:
        """Samples that were 8-bit codes needn't be made codes again: a quantiser reads them before they are cast."""
        chain: list[NodeProto] = []
        maker = self.makers[node.input[0]]
        while maker.op_type in _MOVES:
            chain.insert(0, maker)
            maker = self.makers[maker.input[0]]
        bytewise = [entrance.name for entrance in self.graph.input if entrance.type.tensor_type.elem_type == 2]  # UINT8
        if maker.op_type != "Cast" or maker.input[0] not in bytewise:
            return
        name, place = maker.input[0], list(self.graph.node).index(node)
        for moved in chain:
            copy = type(moved)()
            copy.CopyFrom(moved)
            copy.input[0], copy.output[0] = name, f"{moved.output[0]}.codes"
            copy.name = name = copy.output[0]
            self.graph.node.insert(place, copy)
            place += 1
        for reader in self._readers(node.output[0]):
            reader.input[0] = name

    def _drop_unread(self) -> None:
        ends = {output.name for output in self.graph.output}
        while unread := [n for n in self.graph.node if not ends & {*n.output} and not self._readers(n.output[0])]:
            for node in unread:
                self.graph.node.remove(node)

    def _readers(self, name: str) -> list[NodeProto]:
        return [node for node in self.graph.node if name in node.input]

    def _constant(self, name: str, array: npt.NDArray[np.generic]) -> str:
        from onnx import numpy_helper

        self.graph.initializer.append(numpy_helper.from_array(array, name))
        return name
