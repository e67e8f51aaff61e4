"""MxCy: plain 3x3 networks of x body layers and y channels, trained over-parameterised and collapsed exactly.

The family is that of ECBSR (Zhang et al., ACM MM 2021, section 3): 3x3 convolutions and ReLU on luma, the input
repeated scale^2 times added before depth-to-space. The parameterisation used while training is the sum of that paper's
branches (section 3.2: 3x3, expand-and-squeeze, Sobel, Laplacian) and the identity of SESR (Bhardwaj et al., MLSys 2022,
section 3.1), summed in weight space at every step, so that a step costs what the plain network costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from itertools import pairwise
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

EXPANSION = 32  # channels inside the 1x1 -> 3x3 -> 1x1 branch
_EDGES = torch.tensor(
    [
        [[1, 0, -1], [2, 0, -2], [1, 0, -1]],
        [[1, 2, 1], [0, 0, 0], [-1, -2, -1]],
        [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    ],
    dtype=torch.float32,
)  # Sobel x, Sobel y, Laplacian


class CollapsibleConv2d(nn.Module):
    """A valid 3x3 convolution whose weight is a sum of branches; `weight` is the one plain kernel."""

    edges: Tensor
    identity: Tensor

    def __init__(self, inputs: int, outputs: int, *, gain: float = 1.0) -> None:
        super().__init__()
        self.in_channels, self.out_channels = inputs, outputs
        deviation = gain * (2 / (9 * inputs)) ** 0.5
        self.direct = nn.Parameter(torch.randn(outputs, inputs, 3, 3) * deviation * 0.5)
        self.expand = nn.Parameter(torch.randn(EXPANSION, inputs) / inputs**0.5)
        self.spatial = nn.Parameter(torch.randn(EXPANSION, EXPANSION, 3, 3) / (9 * EXPANSION) ** 0.5)
        self.squeeze = nn.Parameter(torch.randn(outputs, EXPANSION) * gain * 0.5 / EXPANSION**0.5)
        self.edge = nn.Parameter(torch.randn(3, outputs, inputs) * deviation * 0.1)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("edges", _EDGES.clone(), persistent=False)
        identity = torch.zeros(outputs, inputs, 3, 3)
        if inputs == outputs:
            identity[:, :, 1, 1] = torch.eye(inputs)
        self.register_buffer("identity", identity, persistent=False)

    @property
    def weight(self) -> Tensor:
        """The plain kernel (outputs, inputs, 3, 3), differentiable."""
        inner = torch.tensordot(self.squeeze, self.spatial, dims=1)
        expanded = torch.einsum("oehw,ei->oihw", inner, self.expand)
        edges = torch.einsum("koi,khw->oihw", self.edge, self.edges)
        return self.direct + expanded + edges + self.identity

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight, self.bias)

    @torch.no_grad()
    def centre(self) -> None:
        """Kernels of sum 0: a flat input gives 0, so that every channel is positive somewhere."""
        self.direct.sub_(self.weight.mean((1, 2, 3), keepdim=True))

    def plain(self) -> nn.Conv2d:
        """The same function as one `Conv2d`."""
        weight = self.weight.detach()
        convolution = nn.Conv2d(weight.shape[1], weight.shape[0], 3)
        convolution.weight.data.copy_(weight)
        cast(nn.Parameter, convolution.bias).data.copy_(self.bias.detach())
        return convolution


Convolution = nn.Conv2d | CollapsibleConv2d


class MxCy(nn.Module):
    """(N, 1, H + 2c, W + 2c) float32 luma 0..1, edge-padded by c = `context` -> (N, 1, scale H, scale W), unclipped.

    Args:
        block: luma is taken in blocks of so many pixels a side, as channels; H and W are multiples of it. With 2 the
            convolutions work at half resolution.
    """

    def __init__(self, body: int, channels: int, block: int, scale: int) -> None:
        super().__init__()
        self.context = block * (body + 2)
        self.block = block
        self.scale = scale
        widths = [block**2, *[channels] * (body + 1), (block * scale) ** 2]
        self.convolutions = nn.ModuleList(nn.Conv2d(i, o, 3) for i, o in pairwise(widths))

    @property
    def layers(self) -> list[Convolution]:
        """The convolutions in order."""
        return cast(list[Convolution], list(self.convolutions))

    def expanded(self) -> Self:
        """A fresh over-parameterised network of the same shape, to be trained; it starts as pixel repeat."""
        model = deepcopy(self)
        *inner, last = self.layers
        convolutions = [CollapsibleConv2d(layer.in_channels, layer.out_channels) for layer in inner]
        convolutions[0].centre()
        convolutions.append(CollapsibleConv2d(last.in_channels, last.out_channels, gain=0.01))
        model.convolutions = nn.ModuleList(convolutions)
        return model

    def deepened(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The plain weights of a network of fewer layers for this one, which then does the same.

        What it has more of before its last layer is the identity, which the ReLUs leave as it is (Chen et al., Net2Net,
        ICLR 2016, section 2.3).
        """
        given, own = len(state) // 2, len(self.layers)
        middle = self.layers[1]
        identity = nn.init.dirac_(torch.empty_like(middle.weight)), torch.zeros(middle.out_channels)
        layers = [(state[f"convolutions.{i}.weight"], state[f"convolutions.{i}.bias"]) for i in range(given)]
        layers[-1:-1] = [identity] * (own - given)
        weights = {f"convolutions.{i}.weight": weight for i, (weight, _) in enumerate(layers)}
        return weights | {f"convolutions.{i}.bias": bias for i, (_, bias) in enumerate(layers)}

    def collapsed(self) -> Self:
        """The same function with one plain convolution per layer."""
        model = deepcopy(self)
        plain = [layer.plain() if isinstance(layer, CollapsibleConv2d) else deepcopy(layer) for layer in self.layers]
        model.convolutions = nn.ModuleList(plain)
        return model

    def forward(self, x: Tensor) -> Tensor:
        c = self.context
        luma = x[:, :, c:-c, c:-c]
        first, *middle, last = self.layers
        x = functional.pixel_unshuffle(x, self.block)
        x = functional.conv2d(x * 255, first.weight / 255, first.bias)  # 8-bit codes are exact in bfloat16, 0..1 not
        for convolution in middle:
            x = convolution(functional.relu(x, inplace=True))
        x = last(functional.relu(x, inplace=True)).float()
        return functional.pixel_shuffle(x + self.repeated(luma), self.scale * self.block)

    def repeated(self, luma: Tensor) -> Tensor:
        """(N, (block scale)^2, H / block, W / block): depth-to-space makes the luma of it, every pixel repeated."""
        place = torch.arange(self.block * self.scale, device=luma.device) // self.scale
        return functional.pixel_unshuffle(luma, self.block)[:, (place[:, None] * self.block + place).flatten()]
