"""EDSR (Lim et al., CVPRW 2017, section 3): residual blocks without normalisation, then sub-pixel convolutions."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

WIDTH = 64
MEAN = 0.45  # of the training pictures' luma, taken off before the first layer


class Block(nn.Module):
    """Two 3x3 convolutions with a ReLU between them, added to their input (figure 2c)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.second = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.second(functional.relu(self.first(x)))
        return x + added


class EDSR(nn.Module):
    """(N, 1, H, W) float32 luma 0..1 -> (N, 1, scale H, scale W), unclipped; convolutions pad with zeros.

    The paper's baseline has 16 `blocks` of 64 channels; it takes RGB, this takes luma.
    """

    def __init__(self, blocks: int, scale: int) -> None:
        super().__init__()
        self.context = 0
        self.scale = scale
        self.head = nn.Conv2d(1, WIDTH, 3, padding=1)
        self.body = nn.Sequential(*(Block() for _ in range(blocks)), nn.Conv2d(WIDTH, WIDTH, 3, padding=1))
        self.upsampling = nn.Sequential(*sub_pixel(scale))
        self.tail = nn.Conv2d(WIDTH, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x - MEAN)
        result: Tensor = self.tail(self.upsampling(x + self.body(x)))
        return result + MEAN


def sub_pixel(scale: int, *, prelu: bool = False) -> list[nn.Module]:
    """Sub-pixel convolutions of 64 channels: by 2, by 3, or twice by 2."""
    modules: list[nn.Module] = []
    for step in (3,) if scale == 3 else (2,) * (scale // 2):
        modules += [nn.Conv2d(WIDTH, WIDTH * step**2, 3, padding=1), nn.PixelShuffle(step)]
        modules += [nn.PReLU()] if prelu else []
    return modules
