"""SRResNet and SRGAN's two networks (Ledig et al., CVPR 2017, section 2.1 and figure 4)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from vsr.networks.edsr import WIDTH, sub_pixel

PATCH = 96  # high-resolution pixels a side that the discriminator judges


class Block(nn.Module):
    """Convolution, normalisation, PReLU, convolution, normalisation, added to the input."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_normalised(), nn.PReLU(), *_normalised())

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.layers(x)
        return x + added


class SRResNet(nn.Module):
    """(N, 1, H, W) float32 luma 0..1 -> (N, 1, scale H, scale W), unclipped; convolutions pad with zeros.

    The paper's generator, 16 `blocks`; it takes RGB, this takes luma. SRGAN is the same network, trained otherwise.
    """

    def __init__(self, blocks: int, scale: int) -> None:
        super().__init__()
        self.context = 0
        self.scale = scale
        self.head = nn.Sequential(nn.Conv2d(1, WIDTH, 9, padding=4), nn.PReLU())
        self.body = nn.Sequential(*(Block() for _ in range(blocks)), *_normalised())
        self.upsampling = nn.Sequential(*sub_pixel(scale, prelu=True))
        self.tail = nn.Conv2d(WIDTH, 1, 9, padding=4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        result: Tensor = self.tail(self.upsampling(x + self.body(x)))
        return result


class Discriminator(nn.Module):
    """(N, 1, 96, 96) luma 0..1 -> (N, 1), the logarithm of the odds that a picture wasn't upscaled."""

    def __init__(self) -> None:
        super().__init__()
        widths = (64, 64, 128, 128, 256, 256, 512, 512)
        modules: list[nn.Module] = [nn.Conv2d(1, 64, 3, padding=1), nn.LeakyReLU(0.2)]
        for index, (inputs, outputs) in enumerate(pairwise(widths)):
            stride = 2 - index % 2
            modules += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
        self.features = nn.Sequential(*modules)
        self.verdict = nn.Sequential(
            nn.Flatten(), nn.Linear(512 * (PATCH // 16) ** 2, 1024), nn.LeakyReLU(0.2), nn.Linear(1024, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        verdict: Tensor = self.verdict(self.features(x))
        return verdict


def _normalised() -> list[nn.Module]:
    return [nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH)]
