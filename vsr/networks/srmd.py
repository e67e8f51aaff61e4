"""SRMD (Zhang et al., CVPR 2018, section 3): what blurred the picture and how noisy it is are inputs too."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 128
SIDE = 15  # pixels of a blur kernel
MEASURES = 15  # principal components of it, section 3.2


class SRMD(nn.Module):
    """(N, 1, H, W) float32 luma 0..1 -> (N, 1, scale H, scale W), unclipped; convolutions pad with zeros.

    The degradation is a vector per picture (15 components of the blur kernel and the standard deviation of the noise,
    0..1) that is stretched over it (figure 1); as a shipped model it is the constant `assumed`.

    Args:
        depth: of the network; 12 in the paper.
        noise: with the noise map. Without it this is the paper's SRMDNF.
    """

    assumed: Tensor
    components: Tensor  # (15, 225): a blur kernel's measures are its products with these

    def __init__(self, depth: int, scale: int, *, noise: bool = True) -> None:
        super().__init__()
        self.context = 0
        self.scale = scale
        self.noise = noise
        self.register_buffer("assumed", torch.zeros(MEASURES + noise))
        self.register_buffer("components", torch.zeros(MEASURES, SIDE**2))
        widths = [1 + MEASURES + noise, *[WIDTH] * (depth - 1)]
        inner = [nn.Conv2d(i, WIDTH, 3, padding=1) for i in widths[:-1]]
        self.inner = nn.Sequential(*(module for layer in inner for module in (layer, nn.ReLU(inplace=True))))
        self.last = nn.Conv2d(WIDTH, scale**2, 3, padding=1)
        for layer in (*inner, self.last):  # as He et al. 2015 do; torch's own lets twelve layers fade
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(cast(Tensor, layer.bias))

    def forward(self, x: Tensor, degradation: Tensor | None = None) -> Tensor:
        given = self.assumed[None] if degradation is None else degradation
        maps = 0 * x + given[:, :, None, None]
        return functional.pixel_shuffle(self.last(self.inner(torch.cat([x, maps], 1))), self.scale)
