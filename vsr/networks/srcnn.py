"""SRCNN (Dong et al., TPAMI 2016, section 3): cubic interpolation, then three convolutions at high resolution."""

from __future__ import annotations

from math import ceil
from typing import cast

import torch
from torch import Tensor, nn

from vsr.networks.cubic import Cubic
from vsr.networks.table import CUBIC_RADIUS
from vsr.networks.warm import see_edges


class SRCNN(nn.Module):
    """(N, 1, H + 2c, W + 2c) float32 luma 0..1, edge-padded by c = `context` -> (N, 1, scale H, scale W), unclipped.

    The paper's f1 = 9, n1 = 64, n2 = 32; f2 = `middle` and f3 = `last`: 9-1-5 and 9-5-5.
    """

    def __init__(self, middle: int, last: int, scale: int) -> None:
        super().__init__()
        margin = 4 + middle // 2 + last // 2
        self.context = CUBIC_RADIUS + ceil(margin / scale)
        self.scale = scale
        self.surplus = (self.context - CUBIC_RADIUS) * scale - margin
        self.enlarged = Cubic(scale)
        self.features = nn.Conv2d(1, 64, 9)
        self.mapping = nn.Conv2d(64, 32, middle)
        self.reconstruction = nn.Conv2d(32, 1, last)

    @torch.no_grad()
    def warm(self) -> None:
        """Start as cubic interpolation: one channel passes luma, the others add little."""
        see_edges(self.features)
        self.reconstruction.weight *= 0.01
        for layer in (self.features, self.mapping, self.reconstruction):
            middle = layer.kernel_size[0] // 2
            if layer is not self.reconstruction:
                layer.weight[0] = 0
            layer.weight[0, 0, middle, middle] = 1
            cast(Tensor, layer.bias)[0] = 0

    def forward(self, x: Tensor) -> Tensor:
        x = self.enlarged(x)
        if s := self.surplus:
            x = x[:, :, s:-s, s:-s]
        x = torch.relu(self.features(x))
        result: Tensor = self.reconstruction(torch.relu(self.mapping(x)))
        return result
