"""A small evaluator of ONNX models in torch: the oracle of every fast path, and the way onto any CUDA device."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vsr.backends.pytorch.fused import IN_PLACE, ConvRelu
from vsr.backends.pytorch.operators import OPERATORS, SETTINGS, Operator
from vsr.backends.pytorch.resize import Attributes
from vsr.errors import InputError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


_MAKERS = ("Add", "Clip", "Conv", "Mul", "Round")
_CUDNN = threading.Lock()  # its flags are the whole process's, and threads may drive a GPU each


class Evaluator:
    """A model ready to run. What depends on no input is computed here, once.

    Args:
        model: plain operators, one domain.
        device: torch's name; weights are put there.
        tuned: let cuDNN try its kernels at the first run, and lay fp16 convolutions out as tensor cores like it.
        fused: let one kernel do what several operators say.

    Raises:
        InputError: an operator that isn't here, by name.
    """

    def __init__(self, model: ModelProto, device: str = "cpu", *, tuned: bool = False, fused: bool = False) -> None:
        unknown = sorted({node.op_type for node in model.graph.node} - OPERATORS.keys())
        if unknown:
            raise InputError(f"the pytorch backend has no operator {', '.join(unknown)}; use --backend openvino")
        self.device, self._tuned = device, tuned
        self.inputs = [value.name for value in model.graph.input]
        self.outputs = [value.name for value in model.graph.output]
        constants, nodes = folded(model)
        steps = [_Step.of(node, constants) for node in nodes]
        steps = _fused(steps, self.outputs) if fused else steps
        self._steps = [step.put(device, channels_last=tuned) for step in steps]
        self._constants = {name: constants[name].to(device) for name in self.outputs if name in constants}
        readers = {name: index for index, step in enumerate(self._steps) for name in step.names}
        self._read_last = [
            [name for name in step.names if readers[name] == index and name not in self.outputs]
            for index, step in enumerate(self._steps)
        ]

    @torch.inference_mode()
    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """The outputs, in the model's order."""
        values = {**self._constants, **dict(zip(self.inputs, inputs, strict=True))}
        with nullcontext() if self.device == "cpu" else _cudnn(self._tuned):
            for step, done in zip(self._steps, self._read_last, strict=True):
                arguments = [values[given] if isinstance(given, str) else given for given in step.inputs]
                result = step.operator(step.attributes, *arguments)
                results = result if isinstance(result, tuple) else (result,)
                values.update(zip(step.outputs, results, strict=False))
                for name in done:
                    values.pop(name, None)
        return [values[name] for name in self.outputs]


@dataclass(frozen=True)
class _Step:
    """One operator; an input is the name of a value, a constant, or None where it is left out."""

    kind: str
    operator: Operator
    attributes: Attributes
    inputs: tuple[str | Tensor | None, ...]
    outputs: tuple[str, ...]

    @classmethod
    def of(cls, node: NodeProto, constants: dict[str, Tensor]) -> _Step:
        from onnx import helper

        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        inputs = tuple(constants.get(name, name) if name else None for name in node.input)
        return cls(node.op_type, OPERATORS[node.op_type], attributes, inputs, tuple(node.output))

    @property
    def names(self) -> list[str]:
        return [given for given in self.inputs if isinstance(given, str)]

    def put(self, device: str, *, channels_last: bool) -> _Step:
        """With its constants where they are read: settings stay on the CPU."""
        if self.kind in SETTINGS:
            return self
        inputs = [given.to(device) if isinstance(given, Tensor) else given for given in self.inputs]
        if channels_last and self.kind == "Conv" and isinstance(inputs[1], Tensor) and inputs[1].dtype == torch.float16:
            inputs[1] = _channels_last(inputs[1])
        return replace(self, inputs=tuple(inputs))


def folded(model: ModelProto) -> tuple[dict[str, Tensor], list[NodeProto]]:
    """What is known before any input is: weights, what nodes make of them alone, and shapes; and the other nodes."""
    from onnx import numpy_helper, shape_inference

    tensors = model.graph.initializer
    constants = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in tensors}
    inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    dimensions = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in [*inferred.input, *inferred.value_info]
        if value.type.tensor_type.HasField("shape")
    }
    nodes = []
    for node in model.graph.node:
        shape = dimensions.get(node.input[0], [0]) if node.op_type == "Shape" else [0]
        if all(shape) and not node.attribute:
            constants[node.output[0]] = torch.tensor(shape, dtype=torch.int64)
        elif all(not name or name in constants for name in node.input):
            constants.update(_computed(node, constants))
        else:
            nodes.append(node)
    return constants, nodes


def _computed(node: NodeProto, constants: dict[str, Tensor]) -> Iterable[tuple[str, Tensor]]:
    step = _Step.of(node, constants)
    result = step.operator(step.attributes, *step.inputs)
    return zip(step.outputs, result if isinstance(result, tuple) else (result,), strict=False)


def _fused(steps: list[_Step], outputs: list[str]) -> list[_Step]:
    """With each Relu that alone reads a convolution's result made part of it, and with what can be done in place.

    What the operators of `_MAKERS` return is memory of its own, so whoever alone reads it may write there: the next
    kernel finds it in the cache.
    """
    reads = [name for step in steps for name in step.names] + outputs
    made = {step.outputs[0]: index for index, step in enumerate(steps) if step.kind in _MAKERS}
    result: list[_Step | None] = list(steps)
    for index, step in enumerate(steps):
        given = step.inputs[0] if step.inputs else None
        if not isinstance(given, str) or given not in made or reads.count(given) > 1:
            continue
        if step.kind == "Relu" and steps[made[given]].kind == "Conv":
            result[index] = replace(steps[made[given]], operator=ConvRelu(), outputs=step.outputs)
            result[made[given]] = None
        elif step.kind in IN_PLACE and all(isinstance(other, Tensor) and not other.dim() for other in step.inputs[1:]):
            result[index] = replace(step, operator=IN_PLACE[step.kind])
    return [step for step in result if step is not None]


@contextmanager
def _cudnn(benchmark: bool) -> Iterator[None]:
    with _CUDNN, torch.backends.cudnn.flags(enabled=True, benchmark=benchmark, allow_tf32=False):
        yield


def _channels_last(weight: Tensor) -> Tensor:
    """In that order, and with strides that say so also where a side of one leaves them open (`contiguous` doesn't)."""
    _, inputs, rows, columns = weight.shape
    dense = weight.permute(0, 2, 3, 1).contiguous()
    return dense.as_strided(weight.shape, (inputs * rows * columns, 1, inputs * columns, inputs))
