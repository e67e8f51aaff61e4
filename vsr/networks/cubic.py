"""Cubic convolution interpolation (Keys 1981, equation 4) as one fixed convolution and depth-to-space."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vsr.metrics import cubic
from vsr.networks.table import CUBIC_RADIUS


class Cubic(nn.Module):
    """(N, 1, H + 4, W + 4), edge-padded by 2 -> (N, 1, scale H, scale W), unclipped; nothing in it is learned.

    Args:
        a: the kernel's free parameter: -0.5 is MATLAB's, -0.75 that of torch and OpenCV.
    """

    taps: Tensor

    def __init__(self, scale: int, a: float = -0.5) -> None:
        super().__init__()
        self.context = CUBIC_RADIUS
        self.scale = scale
        across = cubic(_distances(scale, CUBIC_RADIUS), a)
        self.register_buffer("taps", _separable(across)[:, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # what the rest is added to stays exact
            return functional.pixel_shuffle(functional.conv2d(x, self.taps), self.scale)


def interpolation(scale: int, radius: int) -> Tensor:
    """Linear interpolation as (scale^2, 2 radius + 1, 2 radius + 1) weights, phases in depth-to-space order."""
    return _separable(np.maximum(0, 1 - np.abs(_distances(scale, radius))))


def _distances(scale: int, radius: int) -> NDArray[np.float64]:
    """(phases, taps): from where an output pixel is to the input pixels around."""
    phases = (np.arange(scale) + 0.5) / scale - 0.5
    return np.asarray(phases[:, None] - np.arange(-radius, radius + 1))


def _separable(across: NDArray[np.float64]) -> Tensor:
    phases, taps = across.shape
    return torch.from_numpy(np.einsum("py,qx->pqyx", across, across).reshape(phases**2, taps, taps)).float()
