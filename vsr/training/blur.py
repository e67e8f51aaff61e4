"""SRMD's degradations (Zhang et al., CVPR 2018, sections 3 and 4.1): blur, MATLAB's bicubic, noise, all known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vsr.metrics import cubic
from vsr.networks.srmd import MEASURES, SIDE, SRMD
from vsr.training.data import Dataset, Pair
from vsr.training.distil import inner

NARROWEST = 0.2  # standard deviation of round kernels, in pixels; the widest has as many as the scale
VARIANCES = {2: (0.5, 6.0), 3: (0.5, 8.0), 4: (0.5, 10.0)}  # of long ones, along and across
NOISE = 75  # standard deviation in 8-bit codes of the noisiest
SAMPLES = 10_000  # kernels whose principal components are taken

Array = NDArray[np.float64]


def hold(model: SRMD, seed: int) -> None:
    """Give the network the principal components of its scale's kernels; what it assumes is no blur and no noise."""
    sampled = kernels(np.random.default_rng((seed, model.scale)), SAMPLES, model.scale).reshape(SAMPLES, -1)
    _, vectors = np.linalg.eigh(sampled.T @ sampled)  # the largest last
    model.components.copy_(torch.from_numpy(vectors[:, : -MEASURES - 1 : -1].T.copy()))
    none = torch.from_numpy(gaussians(np.full((2, 1), NARROWEST**2), np.zeros(1))).float()
    model.assumed.copy_(measures(model.components, none, np.zeros(1) if model.noise else None)[0])


def kernels(rng: np.random.Generator, count: int, scale: int) -> Array:
    """(count, 15, 15) of sum 1: one half round, the other long and turned."""
    round_ones = rng.uniform(NARROWEST, scale, count) ** 2
    long_ones = rng.uniform(*VARIANCES[scale], (2, count))
    return gaussians(np.where(rng.random(count) < 0.5, round_ones, long_ones), rng.uniform(0, np.pi, count))


def gaussians(variances: Array, angles: Array) -> Array:
    """(n, 15, 15) of sum 1, from variances (2, n) along and across the angle (n) in radians."""
    along = np.arange(SIDE) - SIDE // 2
    cos, sin = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    u, v = cos * along + sin * along[:, None], cos * along[:, None] - sin * along
    weights = np.exp(-(u**2 / variances[0, :, None, None] + v**2 / variances[1, :, None, None]) / 2)
    return np.asarray(weights / weights.sum((1, 2), keepdims=True))


def measures(components: Tensor, blur: Tensor, noise: Array | None) -> Tensor:
    """(n, 15 or 16): what the network is told of kernels (n, 15, 15) and of noise in 8-bit codes."""
    projected = blur.flatten(1) @ components.to(blur.device).T
    if noise is None:
        return projected
    return torch.cat([projected, torch.from_numpy(noise / 255).to(projected)[:, None]], 1)


@dataclass(frozen=True)
class Blurred:
    """Patches of a dataset degraded anew in every batch, and the measures of that for the network."""

    dataset: Dataset
    components: Tensor
    noisy: bool

    @property
    def context(self) -> int:
        return self.dataset.context

    @property
    def holdout(self) -> tuple[Pair, ...]:
        return self.dataset.holdout

    def batch(self, step: int, *, seed: int, size: int, patch: int) -> tuple[Tensor, Tensor, Tensor]:
        """As that of `Dataset`, without context, and the measures; by seed and step."""
        scale = self.dataset.scale
        margin = ceil((SIDE // 2 + 2 * scale) / scale)  # what the edge of a patch would change
        _, high = self.dataset.batch(step, seed=seed, size=size, patch=patch + 2 * margin)
        rng = np.random.default_rng((seed, step, 2))
        blur = torch.from_numpy(kernels(rng, size, scale)).float().to(high.device)
        low = inner(reduced(blurred(high.float(), blur), scale), margin)
        noise = rng.uniform(0, NOISE, size) if self.noisy else None
        if noise is not None:
            grain = noise[:, None, None, None] * rng.standard_normal(low.shape)
            low = low + torch.from_numpy(grain).to(low)
        codes = low.round().clamp(0, 255).byte()
        return codes, inner(high, scale * margin), measures(self.components, blur, noise)

    def to(self, device: torch.device) -> Self:
        """The same with everything on `device`."""
        return replace(self, dataset=self.dataset.to(device), components=self.components.to(device))


def blurred(planes: Tensor, kernels: Tensor) -> Tensor:
    """(n, 1, H, W), each plane by its own kernel; zeros around."""
    result = functional.conv2d(planes.transpose(0, 1), kernels[:, None], padding=SIDE // 2, groups=len(kernels))
    return result.transpose(0, 1)


def reduced(planes: Tensor, scale: int) -> Tensor:
    """As `metrics.imresize` by 1 / scale, but with zeros around."""
    taps = cubic((np.arange(-2 * scale, 2 * scale) + (scale + 1) % 2 / 2) / scale)
    across = torch.from_numpy(taps / taps.sum()).to(planes)
    weights = (across[:, None] * across)[None, None]
    return functional.conv2d(planes, weights, stride=scale, padding=2 * scale - scale // 2)
