"""The networks of the zoo in one plain table: no torch here, so that command lines and tests can read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

SUBPIXELS = 0  # as a layer's output channels: scale * scale of them, then depth-to-space


@dataclass(frozen=True)
class Layer:
    """One convolution: taps per side, input and output channels; `transposed` counts once per input pixel."""

    kernel: int
    inputs: int
    outputs: int
    transposed: bool = False

    def weights(self, scale: int) -> int:
        return self.kernel**2 * self.inputs * self.channels(scale)

    def channels(self, scale: int) -> int:
        return self.outputs if self.outputs != SUBPIXELS else scale**2


@dataclass(frozen=True)
class Network:
    """What is known of a network without building it. Everything counted follows from `layers`."""

    name: str
    layers: tuple[Layer, ...]
    paper: str  # where it comes from, with the section
    scales: tuple[int, ...] = (2, 3, 4)
    radius: int = 0  # receptive radius, low-resolution pixels
    prelu: bool = False  # one learned slope per channel after each layer but the last
    skip: bool = False  # input luma repeated scale * scale times, added before depth-to-space
    past: int = 0  # frames before the current one
    future: int = 0  # frames after it
    licence: str = "Apache-2.0"  # of the code here; a weight file states its own in engines/manifest.json

    @property
    def depth(self) -> int:
        """Number of convolutions."""
        return len(self.layers)

    def macs(self, scale: int) -> int:
        """Multiply-accumulates per low-resolution pixel."""
        return sum(layer.weights(scale) for layer in self.layers)

    def parameters(self, scale: int) -> int:
        """Learned numbers: weights, biases and slopes."""
        biases = sum(layer.channels(scale) for layer in self.layers)
        slopes = sum(layer.outputs for layer in self.layers[:-1]) if self.prelu else 0
        return self.macs(scale) + biases + slopes


def _mxcy(body: int, channels: int) -> Network:
    middle = (Layer(3, channels, channels),) * body
    return Network(
        name=f"m{body}c{channels}",
        layers=(Layer(3, 1, channels), *middle, Layer(3, channels, SUBPIXELS)),
        radius=body + 2,
        skip=True,
        paper="Zhang et al., Edge-oriented Convolution Block for Real-time Super Resolution, ACM MM 2021, section 3",
    )


def _fsrcnn(name: str, channels: int, shrunk: int, mapping: int) -> Network:
    return Network(
        name=name,
        layers=(
            Layer(5, 1, channels),
            Layer(1, channels, shrunk),
            *(Layer(3, shrunk, shrunk),) * mapping,
            Layer(1, shrunk, channels),
            Layer(9, channels, 1, transposed=True),
        ),
        radius=4 + mapping,
        prelu=True,
        paper="Dong et al., Accelerating the Super-Resolution Convolutional Neural Network, ECCV 2016, section 3.2",
    )


_ESPCN = Network(
    name="espcn",
    layers=(Layer(5, 1, 64), Layer(3, 64, 32), Layer(3, 32, SUBPIXELS)),
    radius=4,
    paper="Shi et al., Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel CNN, "
    "CVPR 2016, section 3.1",
)

NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        network.name: network
        for network in (
            _mxcy(4, 8),
            _mxcy(4, 16),
            _mxcy(10, 16),
            _mxcy(4, 32),
            _mxcy(10, 32),
            _fsrcnn("fsrcnn", 56, 12, 4),
            _fsrcnn("fsrcnn-s", 32, 5, 1),
            _ESPCN,
        )
    }
)
