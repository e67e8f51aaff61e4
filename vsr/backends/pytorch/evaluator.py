"""A small evaluator of ONNX models in torch: the oracle of every fast path, and the way onto any CUDA device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vsr.backends.pytorch.operators import OPERATORS
from vsr.backends.pytorch.resize import Attributes
from vsr.errors import InputError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


class Evaluator:
    """A model ready to run.

    Args:
        model: plain operators, one domain.
        device: torch's name; weights are put there.

    Raises:
        InputError: an operator that isn't here, by name.
    """

    def __init__(self, model: ModelProto, device: str = "cpu") -> None:
        from onnx import helper, numpy_helper

        unknown = sorted({node.op_type for node in model.graph.node} - OPERATORS.keys())
        if unknown:
            raise InputError(f"the pytorch backend has no operator {', '.join(unknown)}; use --backend openvino")
        self.device = device
        self.inputs = [value.name for value in model.graph.input]
        self.outputs = [value.name for value in model.graph.output]
        self._constants = {
            tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()).to(device)
            for tensor in model.graph.initializer
        }
        self._steps: list[tuple[NodeProto, Attributes]] = [
            (node, {a.name: helper.get_attribute_value(a) for a in node.attribute}) for node in model.graph.node
        ]
        readers = {name: index for index, node in enumerate(model.graph.node) for name in node.input}
        kept = {"", *self._constants, *self.outputs}
        self._read_last = [
            [name for name in node.input if name not in kept and readers[name] == index]
            for index, node in enumerate(model.graph.node)
        ]

    @torch.inference_mode()
    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """The outputs, in the model's order."""
        values = {**self._constants, **dict(zip(self.inputs, inputs, strict=True))}
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for (node, attributes), done in zip(self._steps, self._read_last, strict=True):
                arguments = [values[name] if name else None for name in node.input]
                result = OPERATORS[node.op_type](attributes, *arguments)
                results = result if isinstance(result, tuple) else (result,)
                values.update(zip(node.output, results, strict=False))
                for name in done:
                    values.pop(name, None)
        return [values[name] for name in self.outputs]
