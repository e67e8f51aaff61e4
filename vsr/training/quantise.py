"""Quantisation-aware training in the unsigned form; `export.int8_model` writes the result in the signed one.

Activations are unsigned 8 bit with one learned scale per layer and zero point 0, so that saturation at 0 is the ReLU;
weights are symmetric int8 per output channel. Gradients pass straight through the rounding (Bengio et al. 2013); the
learned scale is that of LSQ (Esser et al., ICLR 2020, section 2), kept as its logarithm.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr.networks.mxcy import MxCy
from vsr.training.export import Array, Kernel, QuantisedKernel, exported, float_model, int8_model

PERCENTILE = 0.99999  # of a layer's activations that its first scale covers


class QuantisedMxCy(nn.Module):
    """A collapsed MxCy with fake quantisers: (N, 1, H + 2r, W + 2r) 8-bit luma / 255 -> (N, 1, scale H, scale W)."""

    def __init__(self, model: MxCy) -> None:
        super().__init__()
        plain = model.collapsed()
        self.context, self.scale, self.convolutions = plain.context, plain.scale, plain.convolutions
        self.block, self.repeated = plain.block, plain.repeated
        self.log_scales = nn.Parameter(torch.zeros(len(self.convolutions) - 1))

    @property
    def layers(self) -> list[nn.Conv2d]:
        """The convolutions in order."""
        return cast(list[nn.Conv2d], list(self.convolutions))

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Set the activation scales from the float network's activations on `x`."""
        x = functional.pixel_unshuffle(x, self.block)
        for index, layer in enumerate(self.layers[:-1]):
            x = functional.relu(layer(x))
            self.log_scales[index] = (_percentile(x) / 255).log()

    def forward(self, x: Tensor) -> Tensor:
        c = self.context
        skipped = self.repeated(x[:, :, c:-c, c:-c])
        x = functional.pixel_unshuffle(x, self.block)
        *inner, last = self.layers
        for layer, log_scale in zip(inner, self.log_scales, strict=True):
            x = _unsigned(functional.conv2d(x, _symmetric(layer.weight), layer.bias), log_scale.exp())
        x = functional.conv2d(x, _symmetric(last.weight), last.bias) + skipped
        return functional.pixel_shuffle(x, self.scale * self.block)


def as_float(model: nn.Module, network: str) -> onnx.ModelProto:
    """The float32 model of any network of the zoo."""
    scale = cast(int, model.scale)
    if isinstance(model, MxCy):
        return float_model(float_kernels(model), network=network, scale=scale, block=model.block)
    return exported(model, network=network, scale=scale)


def as_int8(model: QuantisedMxCy, network: str) -> onnx.ModelProto:
    """The int8 model of a quantised network."""
    return int8_model(int8_kernels(model), network=network, scale=model.scale, block=model.block)


def float_kernels(model: MxCy) -> list[Kernel]:
    """The collapsed convolutions of a network, in order."""
    return [Kernel(_array(layer.weight), _array(layer.bias)) for layer in model.collapsed().layers]


def int8_kernels(model: QuantisedMxCy) -> list[QuantisedKernel]:
    """The integers and scales as they ship."""
    steps: list[float | None] = [*model.log_scales.exp().tolist(), None]
    gains = [1 / 255, *[1.0] * (len(steps) - 2), 255.0]  # 0..1 becomes 0..255 at both ends
    return [_int8_kernel(layer, step, gain) for layer, step, gain in zip(model.layers, steps, gains, strict=True)]


def _int8_kernel(layer: nn.Conv2d, step: float | None, gain: float) -> QuantisedKernel:
    scales = _channel_scales(layer.weight)
    codes = np.asarray(_array((layer.weight / scales).round()), np.int8)
    bias = _array(layer.bias) * np.float32(255 if step is None else 1)
    return QuantisedKernel(codes, _array(scales.flatten() * gain), bias, step)


def _array(tensor: Tensor | None) -> Array:
    return np.ascontiguousarray(cast(Tensor, tensor).detach().numpy(), np.float32)


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
