"""Picture quality by the protocol of the papers: MATLAB's bicubic `imresize`, luma PSNR and SSIM. NumPy only.

Planes are (height, width) arrays with peak 255. The protocol: cut the reference to a multiple of the scale, reduce it
with `imresize`, round to 8 bit, upscale, round to 8 bit, leave `scale` pixels out on every side, average over pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.floating]

SSIM_WINDOW = 11  # pixels a side


@dataclass(frozen=True)
class Kernel:
    """An interpolation kernel: its weight at distances in samples, and the distance from which on it is 0."""

    weight: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    radius: float


def luma(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """BT.601 studio-range luma 16..235 of an (height, width, 3) RGB picture, rounded as MATLAB's `rgb2ycbcr` does."""
    weighted = rgb.astype(np.float64) @ (np.array([65.481, 128.553, 24.966]) / 255)
    return np.asarray(np.floor(weighted + 16.5), np.uint8)


def modcrop(plane: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """The top left part whose sides are multiples of `scale`."""
    height, width = plane.shape
    return plane[: height - height % scale, : width - width % scale]


def cubic(x: NDArray[np.float64], a: float = -0.5) -> NDArray[np.float64]:
    """The kernel of cubic convolution (Keys 1981, equation 4) at distances `x`."""
    x = np.abs(x)
    inner = (a + 2) * x**3 - (a + 3) * x**2 + 1
    outer = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, inner, np.where(x <= 2, outer, 0.0))


BICUBIC = Kernel(cubic, 2)


def imresize(plane: NDArray[np.generic], factor: float, kernel: Kernel = BICUBIC) -> NDArray[np.float64]:
    """MATLAB's `imresize`, bicubic with a = -0.5 by default: antialiased when reducing, symmetric edges; unrounded."""
    result = plane.astype(np.float64)
    for axis in (0, 1):
        result = _resize_axis(result, axis, factor, kernel)
    return result


def reduction(length: int, scale: int, kernel: Kernel = BICUBIC) -> NDArray[np.float64]:
    """(length / scale, length): the matrix by which `imresize` reduces columns of `length` samples."""
    return _resize_axis(np.eye(length), 0, 1 / scale, kernel)


def to_uint8(plane: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Rounded half up and clipped to 0..255."""
    return np.asarray(np.clip(np.floor(plane + 0.5), 0, 255), np.uint8)


def psnr(a: NDArray[np.generic], b: NDArray[np.generic], *, border: int = 0, peak: int = 255) -> float:
    """Peak signal-to-noise ratio in dB, `border` pixels left out on every side."""
    x, y = _inside(a, border), _inside(b, border)
    error = float(np.mean((x - y) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(peak**2 / error))


def ssim(a: NDArray[np.generic], b: NDArray[np.generic], *, border: int = 0, peak: int = 255) -> float:
    """Structural similarity (Wang et al., IEEE TIP 2004, equation 13): 11x11 Gaussian of sigma 1.5, valid positions.

    Planes are at least SSIM_WINDOW samples a side inside the border.
    """
    x, y = _inside(a, border), _inside(b, border)
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    mean_x, mean_y = _blur(x), _blur(y)
    var_x = _blur(x * x) - mean_x**2
    var_y = _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    numerator = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float(np.mean(numerator / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))))


def _inside(plane: NDArray[np.generic], border: int) -> NDArray[np.float64]:
    height, width = plane.shape
    return plane[border : height - border, border : width - border].astype(np.float64)


def _blur(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    middle = SSIM_WINDOW // 2
    taps = np.exp(-((np.arange(SSIM_WINDOW) - middle) ** 2) / (2 * 1.5**2))
    taps /= taps.sum()
    for axis in (0, 1):
        windows = np.lib.stride_tricks.sliding_window_view(plane, SSIM_WINDOW, axis=axis)
        plane = windows @ taps
    return plane


def _resize_axis(plane: NDArray[np.float64], axis: int, factor: float, kernel: Kernel) -> NDArray[np.float64]:
    length = plane.shape[axis]
    shrink = min(factor, 1.0)  # antialiasing stretches the kernel by 1 / factor
    centres = (np.arange(int(np.ceil(length * factor))) + 0.5) / factor - 0.5
    taps = int(np.ceil(2 * kernel.radius / shrink)) + 2
    positions = np.floor(centres - kernel.radius / shrink).astype(int)[:, None] + np.arange(taps)
    weights = kernel.weight((centres[:, None] - positions) * shrink)
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = positions % (2 * length)
    mirrored = np.where(mirrored < length, mirrored, 2 * length - 1 - mirrored)
    source = np.moveaxis(plane, axis, 0)
    result = sum(weights[:, k, None] * source[mirrored[:, k]] for k in range(taps))
    return np.moveaxis(np.asarray(result), 0, axis)
