"""int8 without loss: quantisation-aware training in the unsigned form, export in the shifted signed form ("s8v").

Training (`QuantisedMxCy`): activations are unsigned 8 bit with one learned scale s_i per layer, zero point 0, so that
saturation at 0 is the ReLU; weights are symmetric int8 per output channel; gradients pass straight through (Bengio et
al. 2013; the learned scale is that of Esser et al., LSQ, ICLR 2020, section 2).

Export (`int8_model`): every activation holds value - c_i with c_i = 128 s_i, signed 8 bit, zero point 0, so that
saturation at -128 is the ReLU and all 8 bits are used; the shift goes into the biases,
b'_i = b_i + c_(i-1) sum(W_i) - c_i. The input is the 8-bit code minus 128, exact at scale 1. Runtimes that have signed
symmetric int8 only (TensorRT) and those that prefer unsigned (OpenVINO) both run this graph fully in int8.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vsr.networks.mxcy import MxCy
from vsr.training.data import Dataset
from vsr.training.export import Array, Graph, array
from vsr.training.train import as_input

CALIBRATION = 64  # patches
PERCENTILE = 0.9999  # of a layer's activations that the first scale covers


@dataclass(frozen=True)
class QuantisedKernel:
    """One valid convolution: int8 codes (outputs, inputs, taps, taps), their scale per output, float32 bias, and the
    scale of the unsigned 8-bit result; None where the result stays in float32 (the last layer)."""

    codes: NDArray[np.int8]
    scales: Array
    bias: Array
    activation: float | None

    @property
    def taps(self) -> int:
        return int(self.codes.shape[-1])

    @property
    def weight(self) -> Array:
        return self.codes * self.scales[:, None, None, None]


class QuantisedMxCy(nn.Module):
    """A collapsed MxCy with fake quantisers: (N, 1, H + 2r, W + 2r) 8-bit luma / 255 -> (N, 1, scale H, scale W)."""

    def __init__(self, model: MxCy) -> None:
        super().__init__()
        plain = model.collapsed()
        self.radius, self.scale, self.convolutions = plain.radius, plain.scale, plain.convolutions
        self.log_scales = nn.Parameter(torch.zeros(len(self.convolutions) - 1))

    @property
    def layers(self) -> list[nn.Conv2d]:
        """The convolutions in order."""
        return cast(list[nn.Conv2d], list(self.convolutions))

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Set the activation scales from the float network's activations on `x`."""
        for index, layer in enumerate(self.layers[:-1]):
            x = functional.relu(layer(x))
            self.log_scales[index] = (_percentile(x) / 255).log()

    def forward(self, x: Tensor) -> Tensor:
        r = self.radius
        luma = x[:, :, r:-r, r:-r]
        for layer, log_scale in zip(self.layers[:-1], self.log_scales, strict=True):
            x = _unsigned(functional.conv2d(x, _symmetric(layer.weight), layer.bias), log_scale.exp())
        last = self.layers[-1]
        return functional.pixel_shuffle(functional.conv2d(x, _symmetric(last.weight), last.bias) + luma, self.scale)

    @torch.no_grad()
    def kernels(self) -> list[QuantisedKernel]:
        """The integers and scales as they ship, in units of 8-bit codes at input and output."""
        steps: list[float | None] = [*self.log_scales.exp().tolist(), None]
        gains = [1 / 255, *[1.0] * (len(steps) - 2), 255.0]  # 0..1 becomes 0..255 at both ends
        return [_kernel(layer, step, gain) for layer, step, gain in zip(self.layers, steps, gains, strict=True)]


def prepare(model: MxCy, dataset: Dataset, *, seed: int) -> QuantisedMxCy:
    """The quantised network before training, calibrated on patches of the training pictures."""
    quantised = QuantisedMxCy(model)
    low, _ = dataset.batch(0, seed=seed, size=CALIBRATION, patch=48)
    quantised.calibrate(as_input(low))
    return quantised


def int8_model(layers: Sequence[QuantisedKernel], *, network: str, scale: int) -> onnx.ModelProto:
    """Pad, Sub 128, Q/DQ and Conv in turn, the luma added, depth to space; white is 255."""
    graph = Graph()
    radius = sum(layer.taps // 2 for layer in layers)
    graph.constant("zero", np.zeros((), np.int8))
    middle = graph.constant("middle", np.array(128, np.float32))
    x = _quantised(graph, graph.add("Sub", graph.padded(radius), middle, name="centred"), 1.0)
    shift = 128.0
    for index, layer in enumerate(layers):
        name = f"conv{index}"
        held = 0.0 if layer.activation is None else 128 * layer.activation
        sums = layer.weight.astype(np.float64).sum(axis=(1, 2, 3))
        bias = (layer.bias + shift * sums - held).astype(np.float32)
        x = graph.convolution(x, _weight(graph, layer, name), bias, taps=layer.taps, name=name)
        if layer.activation is not None:
            x = _quantised(graph, x, layer.activation)
        shift = held
    return graph.model(x, network=network, scale=scale, radius=radius, precision="int8", peak=255)


def _kernel(layer: nn.Conv2d, step: float | None, gain: float) -> QuantisedKernel:
    scales = _channel_scales(layer.weight)
    codes = np.asarray(array((layer.weight / scales).round()), np.int8)
    bias = array(cast(Tensor, layer.bias))
    return QuantisedKernel(codes, array(scales.flatten() * gain), bias * (1.0 if step else 255.0), step)


def _quantised(graph: Graph, x: str, step: float) -> str:
    scale = graph.constant(f"{x}_scale", np.array(step, np.float32))
    codes = graph.add("QuantizeLinear", x, scale, "zero", name=f"{x}_codes")
    return graph.add("DequantizeLinear", codes, scale, "zero", name=f"{x}_values")


def _weight(graph: Graph, layer: QuantisedKernel, name: str) -> str:
    codes = graph.constant(f"{name}_weight", layer.codes)
    scales = graph.constant(f"{name}_weight_scale", layer.scales)
    zeros = graph.constant(f"{name}_weight_zero", np.zeros(len(layer.scales), np.int8))
    return graph.add("DequantizeLinear", codes, scales, zeros, name=f"{name}_weight_values", axis=0)


def _channel_scales(weight: Tensor) -> Tensor:
    return weight.detach().abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12) / 127


def _symmetric(weight: Tensor) -> Tensor:
    scales = _channel_scales(weight)
    return weight + ((weight / scales).round() * scales - weight).detach()


def _unsigned(x: Tensor, step: Tensor) -> Tensor:
    codes = (x / step).clamp(0, 255)
    return (codes + (codes.round() - codes).detach()) * step


def _percentile(x: Tensor) -> Tensor:
    values = x.flatten()
    return values.kthvalue(max(1, int(PERCENTILE * values.numel()))).values.clamp_min(1e-6)
