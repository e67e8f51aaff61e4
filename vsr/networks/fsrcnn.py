"""FSRCNN (Dong et al., ECCV 2016, section 3.2): shrink, map, expand at low resolution, then a 9x9 deconvolution."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from vsr.networks.warm import see_edges

TAPS = 9  # of the deconvolution
REACH = 2  # low-resolution pixels it reads on each side, at most (scale 2)


class FSRCNN(nn.Module):
    """(N, 1, H + 2r, W + 2r) float32 luma 0..1, edge-padded by r = 4 + mapping -> (N, 1, scale H, scale W), unclipped.

    FSRCNN(d, s, m) of the paper's notation: `channels` d, `shrunk` s, `mapping` m; PReLU after every convolution.
    """

    def __init__(self, channels: int, shrunk: int, mapping: int, scale: int) -> None:
        super().__init__()
        self.context = 4 + mapping
        self.scale = scale
        layers = [(5, 1, channels), (1, channels, shrunk), *[(3, shrunk, shrunk)] * mapping, (1, shrunk, channels)]
        features = [(nn.Conv2d(i, o, taps), nn.PReLU(o)) for taps, i, o in layers]
        self.features = nn.Sequential(*(module for pair in features for module in pair))
        self.deconvolution = nn.ConvTranspose2d(channels, 1, TAPS, stride=scale)

    def forward(self, x: Tensor) -> Tensor:
        x = self.deconvolution(self.features(x))
        # output pixel o of the inner picture is pixel o + TAPS // 2 counted from the first input's centre tap
        start = self.scale * REACH + TAPS // 2
        end = TAPS - self.scale + REACH * self.scale - TAPS // 2
        return x[:, :, start:-end, start:-end]

    @torch.no_grad()
    def warm(self) -> None:
        """Start as linear interpolation: one channel passes luma, the others add little."""
        convolutions = [layer for layer in self.features if isinstance(layer, nn.Conv2d)]
        see_edges(convolutions[0])
        for layer in convolutions:
            middle = layer.kernel_size[0] // 2
            layer.weight[0], layer.weight[0, 0, middle, middle] = 0, 1
            cast(Tensor, layer.bias)[0] = 0
        weight = self.deconvolution.weight
        weight.zero_()
        centre = TAPS // 2 + (self.scale - 1) / 2
        across = (1 - (torch.arange(TAPS) - centre).abs() / self.scale).clamp(min=0)
        for phase in range(self.scale):
            across[phase :: self.scale] /= across[phase :: self.scale].sum()
        weight[0, 0] = across[:, None] * across
        cast(Tensor, self.deconvolution.bias)[:] = 0

    def sub_pixel(self) -> nn.Sequential:
        """The same function with the deconvolution as a 5x5 convolution and depth-to-space.

        Shi et al., Is the deconvolution layer the same as a convolutional layer?, 2016. OpenVINO takes ten times as
        long for the former.
        """
        transposed = self.deconvolution.weight.detach()
        s, taps = self.scale, 2 * REACH + 1
        convolution = nn.Conv2d(transposed.shape[0], s * s, taps)
        weight = torch.zeros(s * s, transposed.shape[0], taps, taps)
        for row, kernel_rows in enumerate(_phases(s)):
            for column, kernel_columns in enumerate(_phases(s)):
                for y, v in kernel_rows:
                    for x, u in kernel_columns:
                        weight[row * s + column, :, y, x] = transposed[:, 0, v, u]
        convolution.weight.data.copy_(weight)
        bias = cast(Tensor, self.deconvolution.bias)
        cast(Tensor, convolution.bias).data.copy_(bias.detach().expand(s * s))
        return nn.Sequential(*self.features, convolution, nn.PixelShuffle(s))


def _phases(scale: int) -> list[list[tuple[int, int]]]:
    """For each output phase, (tap of the sub-pixel convolution, tap of the deconvolution) along one axis."""
    phases = []
    for phase in range(scale):
        taps = [(d + REACH, phase - scale * d + TAPS // 2) for d in range(-REACH, REACH + 1)]
        phases.append([(tap, source) for tap, source in taps if 0 <= source < TAPS])
    return phases
