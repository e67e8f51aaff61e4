"""Training pictures: luma pairs decoded once into one file, and patches drawn from them by step number.

Large pictures are also taken at half size. The low resolution of clean pairs is MATLAB-style bicubic, rounded to 8 bit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vsr.errors import InputError
from vsr.metrics import imresize, modcrop, to_uint8
from vsr.training.pictures import Plane, read_luma, with_holdout

LARGE = 500_000  # pixels from which a picture is also taken at half size


class Sample(NamedTuple):
    """What one pair of planes is stored as: 8-bit luma, `high` so many times as large, held out or not."""

    low: Plane
    high: Plane
    held: bool


@dataclass(frozen=True)
class Pair:
    """A low-resolution plane, edge-padded by the context, and its reference, `scale` times as large inside."""

    low: Tensor  # uint8, as is `high`
    high: Tensor


@dataclass(frozen=True)
class Planes:
    """Planes of many sizes one after the other in one tensor, so that patches of all of them are one gather.

    Args:
        samples: uint8, on the device that trains.
        starts, widths, heights: per plane.
    """

    samples: Tensor
    starts: NDArray[np.int64]
    widths: NDArray[np.int64]
    heights: NDArray[np.int64]

    @classmethod
    def of(cls, planes: Sequence[Plane]) -> Self:
        sizes = np.array([plane.shape for plane in planes], np.int64)
        ends = np.cumsum(sizes.prod(1))
        flat = torch.from_numpy(np.concatenate([plane.ravel() for plane in planes]))
        return cls(flat, np.concatenate([[0], ends[:-1]]), sizes[:, 1], sizes[:, 0])

    def cut(
        self, chosen: NDArray[np.int64], y: NDArray[np.int64], x: NDArray[np.int64], side: int, turn: NDArray[np.int64]
    ) -> Tensor:
        """(n, 1, side, side): the patches at (y, x) of the `chosen` planes, `turn` one of the square's 8 symmetries."""
        device = self.samples.device
        corner, stride, turns = (
            torch.from_numpy(values)[:, None, None].to(device)
            for values in (self.starts[chosen] + y * self.widths[chosen] + x, self.widths[chosen], turn)
        )
        along = torch.arange(side, device=device)
        rows, columns = along[None, :, None], along[None, None, :]
        rows = torch.where((turns & 1).bool(), side - 1 - rows, rows)
        columns = torch.where((turns & 2).bool(), side - 1 - columns, columns)
        straight = corner + rows * stride + columns
        lying = corner + columns.mT * stride + rows.mT
        return self.samples[torch.where((turns & 4).bool(), lying, straight)][:, None]


@dataclass(frozen=True)
class Dataset:
    """Everything patches are drawn from."""

    low: Planes  # edge-padded by `context`
    high: Planes
    holdout: tuple[Pair, ...]
    scale: int
    context: int

    def batch(self, step: int, *, seed: int, size: int, patch: int) -> tuple[Tensor, Tensor]:
        """(size, 1, patch + 2c, patch + 2c) and (size, 1, scale patch, scale patch), uint8, by seed and step.

        A picture's share grows with the square root of its area; each patch is one of the eight flips and rotations.
        """
        rng, outer, s = np.random.default_rng((seed, step)), patch + 2 * self.context, self.scale
        large = np.flatnonzero(np.minimum(self.low.widths, self.low.heights) >= outer)
        if not large.size:
            raise InputError(f"no training picture has {patch} low-resolution pixels per side; give larger pictures")
        shares = np.sqrt(self.low.widths[large] * self.low.heights[large])
        chosen = rng.choice(large, size, p=shares / shares.sum())
        y, x = (
            (rng.random(size) * (sides[chosen] - outer + 1)).astype(np.int64)
            for sides in (self.low.heights, self.low.widths)
        )
        turn = rng.integers(0, 8, size)
        return self.low.cut(chosen, y, x, outer, turn), self.high.cut(chosen, s * y, s * x, s * patch, turn)

    def to(self, device: torch.device) -> Self:
        """The same with all training planes on `device`."""
        low, high = (replace(planes, samples=planes.samples.to(device)) for planes in (self.low, self.high))
        return replace(self, low=low, high=high)


def load(folder: Path, cache: Path, *, scale: int, context: int) -> Dataset:
    """The pictures under `folder`, reduced by bicubic and nothing else; `cache` as in `kept`."""
    return kept(partial(_clean, folder), cache, scale=scale, context=context)


def kept(samples: Callable[[int], Iterator[Sample]], cache: Path, *, scale: int, context: int) -> Dataset:
    """What `samples(scale)` gives, kept in `cache` (an .npz file) from the first call on. Delete it to make it anew."""
    if not cache.exists():
        _store(samples(scale), cache)
    with np.load(cache) as stored:
        high, low, sides, held = stored["high"], stored["low"], stored["sizes"], stored["held"]
    lows: dict[bool, list[Plane]] = {True: [], False: []}
    highs: dict[bool, list[Plane]] = {True: [], False: []}
    at = 0
    for (height, width), aside in zip(sides.tolist(), held.tolist(), strict=True):
        end = at + height * width
        lows[aside].append(np.pad(low[at:end].reshape(height, width), context, "edge"))
        highs[aside].append(high[at * scale**2 : end * scale**2].reshape(height * scale, width * scale))
        at = end
    holdout = tuple(
        Pair(torch.from_numpy(a), torch.from_numpy(b)) for a, b in zip(lows[True], highs[True], strict=True)
    )
    return Dataset(Planes.of(lows[False]), Planes.of(highs[False]), holdout, scale, context)


def _clean(folder: Path, scale: int) -> Iterator[Sample]:
    for path, held in with_holdout(folder):
        for plane in sizes(read_luma(path)):
            high = modcrop(plane, scale)
            yield Sample(to_uint8(imresize(high, 1 / scale)), high, held)


def _store(samples: Iterator[Sample], cache: Path) -> None:
    highs, lows, sides, held = [], [], [], []
    for low, high, holdout in samples:
        highs.append(high.ravel())
        lows.append(low.ravel())
        sides.append(low.shape)
        held.append(holdout)
    cache.parent.mkdir(parents=True, exist_ok=True)
    partial = cache.with_suffix(f".{os.getpid()}.npz")  # several runs may begin together
    np.savez(partial, high=np.concatenate(highs), low=np.concatenate(lows), sizes=np.array(sides), held=np.array(held))
    partial.replace(cache)


def sizes(plane: Plane) -> Iterator[Plane]:
    """The plane, and half of it where it is LARGE."""
    yield plane
    if plane.size >= LARGE:
        yield to_uint8(imresize(plane, 0.5))
