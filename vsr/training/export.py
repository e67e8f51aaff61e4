"""Luma networks as ONNX files: float32, and int8 in the shifted signed form ("s8v").

Contract of a shipped model: opset 17, one float32 input `luma` (1, 1, height, width), one float32 output `upscaled`
(1, 1, scale height, scale width), neither clipped nor rounded. The input is edge-padded inside, once, by the receptive
radius, and every convolution is valid. `metadata_props` tell network, scale, radius, precision and peak, the value of
white: 1 for float32, 255 for int8, whose input is the 8-bit code.

s8v: an activation with the unsigned 8-bit scale s_i is held as value - c_i with c_i = 128 s_i, in signed 8 bit with
zero point 0, so that saturation at -128 is the ReLU and all 8 bits are used. The shift goes into the biases,
b'_i = b_i + c_(i-1) sum(W_i) - c_i, with c = 128 at the input (scale 1, exact) and 0 after the last layer. Runtimes
that know signed symmetric int8 only (TensorRT) and those that prefer unsigned (OpenVINO) both run it fully in int8.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from vsr.networks import NETWORKS
from vsr.networks.fsrcnn import FSRCNN

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


@dataclass(frozen=True)
class QuantisedKernel:
    """One valid convolution in int8, in units of 8-bit codes at the network's input and output."""

    codes: NDArray[np.int8]  # (outputs, inputs, taps, taps), -127..127
    scales: Array  # (outputs,)
    bias: Array  # (outputs,), float32
    activation: float | None  # scale of the unsigned 8-bit result; None: stays float32 (the last layer)

    @property
    def taps(self) -> int:
        return int(self.codes.shape[-1])

    @property
    def sums(self) -> NDArray[np.float64]:
        """Sum of the dequantised weights per output."""
        return np.asarray(self.scales * self.codes.sum(axis=(1, 2, 3), dtype=np.float64))


def float_model(kernels: Sequence[Kernel], *, network: str, scale: int, block: int = 1) -> onnx.ModelProto:
    """Pad, Conv and Relu in turn, the luma added, depth to space; `block` as that of `MxCy`."""
    graph = _Graph(network, scale, block, padding=sum(kernel.taps // 2 for kernel in kernels))
    x = graph.entered()
    for index, kernel in enumerate(kernels):
        weight = graph.constant(f"conv{index}_weight", kernel.weight)
        x = graph.convolution(x, weight, kernel.bias, taps=kernel.taps, name=f"conv{index}")
        if index < len(kernels) - 1:
            x = graph.add("Relu", x, name=f"relu{index}")
    return graph.left(x, precision="float32", peak=1)


def int8_model(kernels: Sequence[QuantisedKernel], *, network: str, scale: int, block: int = 1) -> onnx.ModelProto:
    """Pad, Sub 128, then Q/DQ and Conv in turn, the luma added, depth to space."""
    graph = _Graph(network, scale, block, padding=sum(kernel.taps // 2 for kernel in kernels))
    graph.constant("zero", np.zeros((), np.int8))
    middle = graph.constant("middle", np.array(128, np.float32))
    x = graph.quantised(graph.add("Sub", graph.entered(), middle, name="centred"), 1.0)
    shift = 128.0
    for index, kernel in enumerate(kernels):
        held = 0.0 if kernel.activation is None else 128 * kernel.activation
        bias = (kernel.bias + shift * kernel.sums - held).astype(np.float32)
        weight = graph.dequantised_weight(kernel, name=f"conv{index}_weight")
        x = graph.convolution(x, weight, bias, taps=kernel.taps, name=f"conv{index}")
        if kernel.activation is not None:
            x = graph.quantised(x, kernel.activation)
        shift = held
    return graph.left(x, precision="int8", peak=255)


def save(model: onnx.ModelProto, path: Path) -> None:
    """Written beside its place and renamed, so that a reader never sees half a model."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(model.SerializeToString())
    partial.replace(path)


class _Graph:
    """Nodes and initialisers in the order they are added; every method returns the name of its result."""

    def __init__(self, network: str, scale: int, block: int, *, padding: int) -> None:
        self.network, self.scale, self.block, self.padding = network, scale, block, block * padding
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: list[onnx.TensorProto] = []

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.initialisers.append(numpy_helper.from_array(value, name))
        return name

    def add(self, operator: str, *inputs: str, name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def entered(self) -> str:
        """The input, edge-padded; with blocks, up to whole ones and as their channels."""
        pads = self.constant("pads", np.array([0, 0, self.padding, self.padding] * 2, np.int64))
        if self.block == 1:
            return self.add("Pad", "luma", pads, name="padded", mode="edge")
        size = self.add("Shape", "luma", name="size")
        block = self.constant("block", np.array([1, 1, self.block, self.block], np.int64))
        missing = self.add("Mod", self.add("Neg", size, name="less"), block, name="missing")
        none = self.constant("none", np.zeros(4, np.int64))
        more = self.add("Concat", none, missing, name="more", axis=0)
        x = self.add("Pad", "luma", self.add("Add", pads, more, name="whole_pads"), name="padded", mode="edge")
        self.add("Pad", "luma", more, name="whole", mode="edge")
        return self.add("SpaceToDepth", x, name="blocks", blocksize=self.block)

    def convolution(self, x: str, weight: str, bias: Array, *, taps: int, name: str) -> str:
        """A valid convolution; `weight` is the name of an initialiser or of what dequantises one."""
        bias_name = self.constant(f"{name}_bias", bias)
        return self.add("Conv", x, weight, bias_name, name=name, kernel_shape=[taps, taps], pads=[0, 0, 0, 0])

    def quantised(self, x: str, step: float) -> str:
        """`x` rounded to multiples of `step` from -128 to 127."""
        scale = self.constant(f"{x}_scale", np.array(step, np.float32))
        codes = self.add("QuantizeLinear", x, scale, "zero", name=f"{x}_codes")
        return self.add("DequantizeLinear", codes, scale, "zero", name=f"{x}_values")

    def dequantised_weight(self, kernel: QuantisedKernel, *, name: str) -> str:
        codes = self.constant(name, kernel.codes)
        scales = self.constant(f"{name}_scale", kernel.scales)
        zeros = self.constant(f"{name}_zero", np.zeros(len(kernel.scales), np.int8))
        return self.add("DequantizeLinear", codes, scales, zeros, name=f"{name}_values", axis=0)

    def left(self, x: str, *, precision: str, peak: int) -> onnx.ModelProto:
        """Close the graph: the luma added to `x`, depth to space, contract, check."""
        self.add("Add", x, self._skipped(), name="residual_added")
        name = "upscaled" if self.block == 1 else "upscaled_whole"
        self.add("DepthToSpace", "residual_added", name=name, blocksize=self.block * self.scale, mode="CRD")
        if self.block > 1:
            self._cropped(name)
        graph = helper.make_graph(
            self.nodes,
            f"{self.network}_x{self.scale}",
            [helper.make_tensor_value_info("luma", TensorProto.FLOAT, [1, 1, "height", "width"])],
            [helper.make_tensor_value_info("upscaled", TensorProto.FLOAT, _sides(self.scale))],
            self.initialisers,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="vsr"
        )
        radius = self.padding + self.block - 1  # a pixel may be the first of its block or the last
        describe(model, network=self.network, scale=self.scale, radius=radius, precision=precision, peak=peak)
        onnx.checker.check_model(model, full_check=True)
        return model

    def _skipped(self) -> str:
        """What is added: the luma, for all of a pixel's outputs alike."""
        if self.block == 1:
            return "luma"
        place = np.arange(self.block * self.scale) // self.scale
        order = self.constant("repeats", (place[:, None] * self.block + place).ravel().astype(np.int64))
        blocks = self.add("SpaceToDepth", "whole", name="luma_blocks", blocksize=self.block)
        return self.add("Gather", blocks, order, name="repeated", axis=1)

    def _cropped(self, x: str) -> None:
        scale = self.constant("scale", np.array([1, 1, self.scale, self.scale], np.int64))
        ends = self.add("Mul", "size", scale, name="ends")
        self.add("Slice", x, "none", ends, name="upscaled")


def _sides(scale: int) -> list[int | str]:
    return [1, 1, f"{scale}*height", f"{scale}*width"]


def describe(model: onnx.ModelProto, **properties: str | int) -> None:
    """Enters what a shipped model says of itself."""
    helper.set_model_props(model, {f"vsr.{key}": str(value) for key, value in properties.items()})


def runtime_form(module: nn.Module) -> nn.Module:
    """What is exported of a network: itself, or what equals it and runs faster."""
    return module.sub_pixel() if isinstance(module, FSRCNN) else module


def exported(module: nn.Module, *, network: str, scale: int) -> onnx.ModelProto:
    """Any network of the zoo as a float32 model, by torch's exporter; the contract is that of the others."""
    context = cast(int, module.context)
    module = runtime_form(module).eval()
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls itself deprecated; its successor needs a package more
        torch.onnx.export(
            module,
            (torch.zeros(1, 1, 32 + 2 * context, 36 + 2 * context),),
            buffer,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=OPSET,
            input_names=["padded" if context else "luma"],
            output_names=["upscaled"],
            dynamic_axes={"padded" if context else "luma": {2: "height", 3: "width"}},
        )
    model = onnx.load_model_from_string(buffer.getvalue())
    _hold_constants(model.graph)
    if context:
        pads = numpy_helper.from_array(np.array([0, 0, context, context] * 2, np.int64), "pads")
        model.graph.initializer.append(pads)
        model.graph.node.insert(0, helper.make_node("Pad", ["luma", "pads"], ["padded"], name="padded", mode="edge"))
    luma = helper.make_tensor_value_info("luma", TensorProto.FLOAT, [1, 1, "height", "width"])
    upscaled = helper.make_tensor_value_info("upscaled", TensorProto.FLOAT, _sides(scale))
    for held, info in ((model.graph.input, luma), (model.graph.output, upscaled)):
        del held[:]
        held.append(info)
    model.ir_version, model.producer_name, model.producer_version = IR_VERSION, "vsr", ""
    radius = NETWORKS[network].radius(scale)
    describe(model, network=network, scale=scale, radius=radius, precision="float32", peak=1)
    onnx.checker.check_model(model, full_check=True)
    return model


def _hold_constants(graph: onnx.GraphProto) -> None:
    """Constants as initialisers, which is where every other model has them."""
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        if node.op_type == "Constant":
            value = numpy_helper.to_array(node.attribute[0].t)
            graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
        else:
            graph.node.append(node)
