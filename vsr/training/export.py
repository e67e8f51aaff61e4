"""Luma networks as ONNX files: one description of the graph for float32 and for int8.

Contract of a shipped model: opset 17, one float32 input `luma` (1, 1, height, width), one float32 output `upscaled`
(1, 1, scale height, scale width), neither clipped nor rounded. The input is edge-padded inside, once, by the receptive
radius, and every convolution is valid. `metadata_props` tell network, scale, radius, precision and peak, the value of
white: 1 for float32, 255 for int8.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from vsr.networks.mxcy import MxCy

OPSET = 17
IR_VERSION = 8

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Kernel:
    """One valid convolution in float32: weight (outputs, inputs, taps, taps) and bias (outputs,)."""

    weight: Array
    bias: Array

    @property
    def taps(self) -> int:
        return int(self.weight.shape[-1])


class Graph:
    """Nodes and initialisers in the order they are added; every method returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: list[onnx.TensorProto] = []

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.initialisers.append(numpy_helper.from_array(value, name))
        return name

    def add(self, operator: str, *inputs: str, name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def padded(self, radius: int) -> str:
        """The input, edge-padded by `radius`."""
        pads = self.constant("pads", np.array([0, 0, radius, radius] * 2, np.int64))
        return self.add("Pad", "luma", pads, name="padded", mode="edge")

    def convolution(self, x: str, weight: str, bias: Array, *, taps: int, name: str) -> str:
        """A valid convolution; `weight` is the name of an initialiser or of what dequantises one."""
        bias_name = self.constant(f"{name}_bias", bias)
        return self.add("Conv", x, weight, bias_name, name=name, kernel_shape=[taps, taps], pads=[0, 0, 0, 0])

    def model(
        self, features: str, *, network: str, scale: int, radius: int, precision: str, peak: int
    ) -> onnx.ModelProto:
        """Close the graph: add the luma to `features` (1, scale^2, H, W), depth to space, contract, check."""
        self.add("Add", features, "luma", name="residual_added")
        self.add("DepthToSpace", "residual_added", name="upscaled", blocksize=scale, mode="CRD")
        graph = helper.make_graph(
            self.nodes,
            f"{network}_x{scale}",
            [helper.make_tensor_value_info("luma", TensorProto.FLOAT, [1, 1, "height", "width"])],
            [helper.make_tensor_value_info("upscaled", TensorProto.FLOAT, [1, 1, f"{scale}*height", f"{scale}*width"])],
            self.initialisers,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="vsr"
        )
        properties = {"network": network, "scale": scale, "radius": radius, "precision": precision, "peak": peak}
        helper.set_model_props(model, {f"vsr.{key}": str(value) for key, value in properties.items()})
        onnx.checker.check_model(model, full_check=True)
        return model


def kernels(model: MxCy) -> list[Kernel]:
    """The collapsed convolutions of a network, in order."""
    return [Kernel(array(layer.weight), array(cast(Tensor, layer.bias))) for layer in model.collapsed().layers]


def array(tensor: Tensor) -> Array:
    """The tensor's values in NumPy's order."""
    return np.ascontiguousarray(tensor.detach().numpy(), np.float32)


def float_model(layers: Sequence[Kernel], *, network: str, scale: int) -> onnx.ModelProto:
    """Pad, Conv and Relu in turn, the luma added, depth to space; white is 1."""
    graph = Graph()
    radius = sum(layer.taps // 2 for layer in layers)
    x = graph.padded(radius)
    for index, layer in enumerate(layers):
        weight = graph.constant(f"conv{index}_weight", layer.weight)
        x = graph.convolution(x, weight, layer.bias, taps=layer.taps, name=f"conv{index}")
        if index < len(layers) - 1:
            x = graph.add("Relu", x, name=f"relu{index}")
    return graph.model(x, network=network, scale=scale, radius=radius, precision="float32", peak=1)


def save(model: onnx.ModelProto, path: Path) -> None:
    """Written beside its place and renamed, so that a reader never sees half a model."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(model.SerializeToString())
    partial.replace(path)
