"""The papers' networks in small, what an experiment changes as an argument; luma 0..1 as in `vsr.networks`."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr.networks.mxcy import MxCy


class Deep(nn.Module):
    """VDSR in small: 3x3 convolutions on an enlarged picture (N, 1, H, W) -> (N, 1, H, W).

    Args:
        skip: they learn what is missing in the picture, not the picture.
    """

    context, scale = 0, 1

    def __init__(self, *, skip: bool, depth: int = 8, width: int = 16) -> None:
        super().__init__()
        self.skip = skip
        widths = [1, *[width] * (depth - 1), 1]
        layers = [nn.Conv2d(i, o, 3, padding=1) for i, o in pairwise(widths)]
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(cast(Tensor, layer.bias))
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        *inner, last = self.layers
        features = x
        for layer in inner:
            features = functional.relu(layer(features), inplace=True)
        result: Tensor = last(features)
        return x + result if self.skip else result


class Plain(nn.Module):
    """SRCNN: three valid convolutions on an enlarged picture padded by `context`.

    Args:
        taps: f1, f2, f3. widths: n1, n2.
        tiny: so many layers begin with a deviation of 0.001, as the paper's, the others as He et al. 2015.
    """

    scale = 1

    def __init__(
        self, taps: tuple[int, int, int] = (9, 1, 5), widths: tuple[int, int] = (64, 32), tiny: int = 0
    ) -> None:
        super().__init__()
        self.context = sum(side // 2 for side in taps)
        shapes = zip(taps, pairwise((1, *widths, 1)), strict=True)
        layers = [nn.Conv2d(i, o, side) for side, (i, o) in shapes]
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(cast(Tensor, layer.bias))
        for layer in layers[:tiny]:
            nn.init.normal_(layer.weight, std=1e-3)
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        first, second, last = self.layers
        result: Tensor = last(torch.relu(second(torch.relu(first(x)))))
        return result


class Upsampled(nn.Module):
    """ESPCN's layers in half their width, upscaled at the end: (N, 1, H + 8, W + 8) -> (N, 1, 3 H, 3 W).

    Args:
        deconvolution: 9x9 with stride 3 instead of a 3x3 convolution to nine channels and depth-to-space.
    """

    context, scale = 4, 3

    def __init__(self, *, deconvolution: bool) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 32, 5), nn.Tanh(), nn.Conv2d(32, 16, 3), nn.Tanh())
        self.last: nn.Conv2d | nn.ConvTranspose2d
        if deconvolution:
            self.last = nn.ConvTranspose2d(16, 1, 9, stride=3, padding=6, bias=False)
        else:
            self.last = nn.Conv2d(16, 9, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.features(x))
        return functional.pixel_shuffle(x, 3) if isinstance(self.last, nn.Conv2d) else x

    @torch.no_grad()
    def as_deconvolution(self) -> Upsampled:
        """The same function by deconvolution: tap (y, x) of phase (v, u) becomes tap (6 - 3y + v, 6 - 3x + u)."""
        other = Upsampled(deconvolution=True)
        other.features = self.features
        phases = self.last.weight.reshape(3, 3, 16, 3, 3).flip(3, 4)  # v, u, channel, y, x
        other.last.weight.copy_(phases.permute(2, 3, 0, 4, 1).reshape(16, 1, 9, 9))
        return other


class Block(nn.Module):
    """EDSR's residual block, or SRResNet's with its two batch normalisations."""

    def __init__(self, width: int, *, normalised: bool) -> None:
        super().__init__()

        def convolution() -> list[nn.Module]:
            layer = nn.Conv2d(width, width, 3, padding=1, bias=not normalised)
            return [layer, nn.BatchNorm2d(width)] if normalised else [layer]

        self.layers = nn.Sequential(*convolution(), nn.ReLU(), *convolution())

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.layers(x)
        return x + added


class Residual(nn.Module):
    """EDSR in small, x2: residual blocks, one sub-pixel convolution; (N, 1, H, W) -> (N, 1, 2 H, 2 W)."""

    context, scale = 0, 2

    def __init__(self, *, normalised: bool, blocks: int = 4, width: int = 16) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, width, 3, padding=1)
        self.body = nn.Sequential(*(Block(width, normalised=normalised) for _ in range(blocks)))
        self.tail = nn.Sequential(nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2))
        self.last = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        result: Tensor = self.last(self.tail(x + self.body(x)))
        return result


class Skipless(MxCy):
    """MxCy without the luma added at its end."""

    def repeated(self, luma: Tensor) -> Tensor:
        return torch.zeros_like(super().repeated(luma))
