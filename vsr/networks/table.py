"""The networks of the zoo in one plain table: no torch here, so that command lines and tests can read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from types import MappingProxyType
from typing import Literal

Family = Literal["mxcy", "srcnn", "fsrcnn", "espcn", "vdsr", "edsr", "srresnet", "dbpn", "srmd", "sparse", "cubic"]

CUBIC_RADIUS = 2  # low-resolution pixels that cubic interpolation reads on each side


@dataclass(frozen=True)
class Network:
    """What is known of a network without building it.

    Args:
        family: module of this package that has it.
        shape: what tells it from others of its family, as its module takes it.
        low, high: radii of the convolutions, in pixels before and after upscaling.
        paper: where it comes from, with the section.
    """

    name: str
    family: Family
    shape: tuple[int, ...]
    low: int
    high: int
    paper: str
    scales: tuple[int, ...] = (2, 3, 4)
    licence: str = "Apache-2.0"  # of the code here; a weight file states its own in engines/manifest.json

    def radius(self, scale: int) -> int:
        """Receptive radius in low-resolution pixels."""
        return self.low + ceil(self.high / scale)


_ECBSR = "Zhang et al., Edge-oriented Convolution Block for Real-time Super Resolution, ACM MM 2021, section 3"
_SRCNN = "Dong et al., Image Super-Resolution Using Deep Convolutional Networks, TPAMI 2016, section 3"
_FSRCNN = "Dong et al., Accelerating the Super-Resolution Convolutional Neural Network, ECCV 2016, section 3.2"
_ESPCN = (
    "Shi et al., Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel CNN, "
    "CVPR 2016, section 3.1"
)
_VDSR = "Kim et al., Accurate Image Super-Resolution Using Very Deep Convolutional Networks, CVPR 2016, section 3"
_EDSR = "Lim et al., Enhanced Deep Residual Networks for Single Image Super-Resolution, CVPRW 2017, section 3"
_SRGAN = (
    "Ledig et al., Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, "
    "CVPR 2017, section 2.1"
)
_DBPN = "Haris et al., Deep Back-Projection Networks for Super-Resolution, CVPR 2018, section 3"
_SRMD = (
    "Zhang et al., Learning a Single Convolutional Super-Resolution Network for Multiple Degradations, "
    "CVPR 2018, section 3.3"
)
_ZSSR = "Shocher et al., Zero-Shot Super-Resolution Using Deep Internal Learning, CVPR 2018, section 3"
_SCSR = "Yang et al., Image Super-Resolution via Sparse Representation, TIP 2010, section III"
_KEYS = "Keys, Cubic Convolution Interpolation for Digital Image Processing, 1981, equation 4"


def _mxcy(body: int, channels: int, *, block: int = 1) -> Network:
    name = f"m{body}c{channels}" if block == 1 else f"u{block}-m{body}c{channels}"
    low = block * (body + 2) + block - 1
    return Network(name, "mxcy", (body, channels, block), low, 0, _ECBSR)


def _srcnn(name: str, middle: int, last: int) -> Network:
    return Network(name, "srcnn", (middle, last), CUBIC_RADIUS, (8 + middle + last - 2) // 2, _SRCNN)


def _fsrcnn(name: str, channels: int, shrunk: int, mapping: int) -> Network:
    return Network(name, "fsrcnn", (channels, shrunk, mapping), 4 + mapping, 0, _FSRCNN)


def _dbpn(name: str, *shape: int) -> Network:
    return Network(name, "dbpn", shape, 2 + 4 * 3 * shape[-1], 1, _DBPN)


NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        network.name: network
        for network in (
            _mxcy(4, 8),
            _mxcy(4, 16),
            _mxcy(10, 16),
            _mxcy(4, 32),
            _mxcy(10, 32),
            _mxcy(3, 32, block=2),
            _mxcy(4, 32, block=2),
            _srcnn("srcnn-915", 1, 5),
            _srcnn("srcnn", 5, 5),
            _fsrcnn("fsrcnn", 56, 12, 4),
            _fsrcnn("fsrcnn-s", 32, 5, 1),
            Network("espcn", "espcn", (), 4, 0, _ESPCN),
            Network("vdsr", "vdsr", (20,), CUBIC_RADIUS, 20, _VDSR),
            Network("zssr", "vdsr", (8,), CUBIC_RADIUS, 8, _ZSSR),
            Network("edsr", "edsr", (16,), 1 + 33 + 2, 1, _EDSR),
            Network("srresnet", "srresnet", (16,), 4 + 33 + 2, 4, _SRGAN),
            Network("srgan", "srresnet", (16,), 4 + 33 + 2, 4, _SRGAN),
            _dbpn("dbpn", 256, 64, 7),
            _dbpn("dbpn-s", 128, 32, 2),
            Network("srmd", "srmd", (12, 1), 12, 0, _SRMD),
            Network("srmdnf", "srmd", (12, 0), 12, 0, _SRMD),
            Network("scsr", "sparse", (), 6, 0, _SCSR),
            Network("cubic", "cubic", (-50,), CUBIC_RADIUS, 0, _KEYS),
            Network("cubic-sharp", "cubic", (-75,), CUBIC_RADIUS, 0, _KEYS),
        )
    }
)
