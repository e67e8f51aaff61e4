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
    """(N, 1, 96, 96) luma 0..1 -> (N, 1), the logarithm of the odds that a picture wasn't upscaled.

    Args:
        width: channels of the first layer; the last has eight times as many.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        widths = [width * factor for factor in (1, 1, 2, 2, 4, 4, 8, 8)]
        modules: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1), nn.LeakyReLU(0.2)]
        for index, (inputs, outputs) in enumerate(pairwise(widths)):
            stride = 2 - index % 2
            modules += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
        self.features = nn.Sequential(*modules)
        self.verdict = nn.Sequential(
            nn.Flatten(),
            nn.Linear(widths[-1] * (PATCH // 16) ** 2, 16 * width),
            nn.LeakyReLU(0.2),
            nn.Linear(16 * width, 1),
        )

    def seen(self, x: Tensor) -> list[Tensor]:
        """What each of the eight convolutions makes of pictures."""
        found = []
        for module in self.features:
            x = module(x)
            if isinstance(module, nn.LeakyReLU):
                found.append(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        verdict: Tensor = self.verdict(self.features(x))
        return verdict


def _normalised() -> list[nn.Module]:
    return [nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH)]
