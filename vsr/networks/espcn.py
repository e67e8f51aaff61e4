"""ESPCN (Shi et al., CVPR 2016, section 3.1): three convolutions at low resolution and depth-to-space."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr.networks.cubic import interpolation
from vsr.networks.warm import see_edges


class ESPCN(nn.Module):
    """(N, 1, H + 8, W + 8) float32 luma 0..1, edge-padded by 4 -> (N, 1, scale H, scale W), unclipped.

    The paper's f1 = 5, n1 = 64, f2 = 3, n2 = 32, f3 = 3 with tanh, the sub-pixel convolution of equation 4 at the end.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.context = 4
        self.scale = scale
        self.features = nn.Conv2d(1, 64, 5)
        self.mapping = nn.Conv2d(64, 32, 3)
        self.sub_pixel = nn.Conv2d(32, scale**2, 3)

    @torch.no_grad()
    def warm(self) -> None:
        """Start near linear interpolation: one channel passes luma where tanh is nearly straight, others see edges."""
        small = 0.1
        see_edges(self.features, gain=6)  # an edge of a fifth of the range reaches where tanh bends
        self.mapping.weight[1:] *= 4
        self.features.weight[0], self.mapping.weight[0], self.sub_pixel.weight[:] = 0, 0, self.sub_pixel.weight * 0.01
        self.features.weight[0, 0, 2, 2], self.mapping.weight[0, 0, 1, 1] = small, 1
        cast(Tensor, self.features.bias)[0], cast(Tensor, self.mapping.bias)[0] = -small / 2, 0
        self.sub_pixel.weight[:, 0] = interpolation(self.scale, 1) / small
        cast(Tensor, self.sub_pixel.bias)[:] = 0.5

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.features(x))
        x = torch.tanh(self.mapping(x))
        return functional.pixel_shuffle(self.sub_pixel(x), self.scale)
