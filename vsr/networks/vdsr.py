"""VDSR (Kim et al., CVPR 2016, section 3): twenty 3x3 convolutions at high resolution learn what cubic misses."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from vsr.networks.cubic import Cubic
from vsr.networks.table import CUBIC_RADIUS

WIDTH = 64


class VDSR(nn.Module):
    """(N, 1, H + 4, W + 4) float32 luma 0..1, edge-padded by 2 -> (N, 1, scale H, scale W), unclipped.

    Convolutions pad with zeros, as the paper's.

    Its weights fit every scale: one network for all of them is what section 3.3 of the paper trains, where `forward` is
    told the scale of its input.
    """

    def __init__(self, depth: int, scale: int) -> None:
        super().__init__()
        self.context = CUBIC_RADIUS
        self.scale = scale
        self.enlarged = Cubic(scale)
        inner = [nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in range(depth - 2)]
        convolutions = [nn.Conv2d(1, WIDTH, 3, padding=1), *inner, nn.Conv2d(WIDTH, 1, 3, padding=1)]
        self.residual = nn.Sequential(*_with_relu(convolutions))
        for layer in convolutions:  # as He et al. 2015 do; the last one small, so that it starts as interpolation
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(cast(Tensor, layer.bias))
        nn.init.normal_(convolutions[-1].weight, std=1e-4)

    def forward(self, x: Tensor, scale: int | None = None) -> Tensor:
        enlarge = self.enlarged if scale is None else Cubic(scale).to(x.device)
        enlarged: Tensor = enlarge(x)
        residual: Tensor = self.residual(enlarged)
        return enlarged + residual


def _with_relu(convolutions: list[nn.Conv2d]) -> list[nn.Module]:
    *inner, last = convolutions
    return [*(module for layer in inner for module in (layer, nn.ReLU(inplace=True))), last]
