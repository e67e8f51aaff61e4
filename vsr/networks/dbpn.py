"""DBPN (Haris et al., CVPR 2018, section 3): up- and down-projections in turn, each given all that came before."""

from __future__ import annotations

import torch
from torch import Tensor, nn

GEOMETRY = {2: (6, 2, 2), 3: (7, 3, 2), 4: (8, 4, 2)}  # taps, stride, padding


class Projection(nn.Module):
    """Figure 3: there, back again, and the error of that there once more; `up` from low to high resolution."""

    def __init__(self, given: int, width: int, scale: int, *, up: bool) -> None:
        super().__init__()
        there, back = (nn.ConvTranspose2d, nn.Conv2d) if up else (nn.Conv2d, nn.ConvTranspose2d)
        self.squeeze = _active(nn.Conv2d(given, width, 1)) if given != width else nn.Identity()
        self.there = _active(there(width, width, *GEOMETRY[scale]))
        self.back = _active(back(width, width, *GEOMETRY[scale]))
        self.again = _active(there(width, width, *GEOMETRY[scale]))

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x)
        there: Tensor = self.there(x)
        missing: Tensor = self.again(self.back(there) - x)
        return there + missing


class DBPN(nn.Module):
    """(N, 1, H, W) float32 luma 0..1 -> (N, 1, scale H, scale W), unclipped; convolutions pad with zeros.

    D-DBPN of the paper: n0 = `first`, nR = `width`, T = `stages` up-projections; it takes RGB, this takes luma.
    """

    def __init__(self, first: int, width: int, stages: int, scale: int) -> None:
        super().__init__()
        self.context = 0
        self.scale = scale
        self.head = nn.Sequential(_active(nn.Conv2d(1, first, 3, padding=1)), _active(nn.Conv2d(first, width, 1)))
        seen = [width * max(1, stage) for stage in range(stages)]
        self.ups = nn.ModuleList(Projection(given, width, scale, up=True) for given in seen)
        self.downs = nn.ModuleList(Projection(given, width, scale, up=False) for given in seen[1:])
        self.tail = nn.Conv2d(width * stages, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        low: list[Tensor] = []
        high = [self.ups[0](self.head(x))]
        for up, down in zip(self.ups[1:], self.downs, strict=True):
            low.append(down(torch.cat(high, 1)))
            high.append(up(torch.cat(low, 1)))
        result: Tensor = self.tail(torch.cat(high, 1))
        return result


def _active(convolution: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.PReLU())
