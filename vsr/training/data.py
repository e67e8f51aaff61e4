"""Training pictures: luma pairs decoded once into one file, and patches drawn from them by step number.

Folders whose name contains "luma" hold luma already; other pictures are converted by `metrics.luma`. Large pictures are
also taken at half size. The low resolution is MATLAB-style bicubic, rounded to 8 bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vsr.errors import InputError
from vsr.metrics import imresize, luma, modcrop, to_uint8

Plane = NDArray[np.uint8]

HOLDOUT_EVERY = 50  # one picture in so many is kept for the validation curve
LARGE = 500_000  # pixels from which a picture is also taken at half size
TERMS = {  # by folder name: the licence as the pictures' source states it
    "T91": "none stated; research use",
    "BSDS400": "BSDS500 train and test; research use",
    "DIV2K_luma181": "DIV2K; academic use",
    "CID22": "CC BY-SA 4.0",
    "CLIC2025": "Unsplash licence",
    "photos": "CC0, CC BY-SA and Unsplash licences; one unstated",
    "games_screens": "GPL, AGPL and MIT projects; some unstated",
}
SUFFIXES = (".png", ".webp", ".jpg", ".jpeg", ".bmp")


@dataclass(frozen=True)
class Pair:
    """A low-resolution plane, edge-padded by the receptive radius, and its reference, `scale` times as large inside."""

    low: Plane
    high: Plane


@dataclass(frozen=True)
class Dataset:
    """Everything patches are drawn from."""

    train: tuple[Pair, ...]
    holdout: tuple[Pair, ...]
    scale: int
    radius: int

    def batch(self, step: int, *, seed: int, size: int, patch: int) -> tuple[Plane, Plane]:
        """(size, 1, patch + 2r, patch + 2r) and (size, 1, scale patch, scale patch); a function of seed and step.

        A picture's share grows with the square root of its area; each patch is one of the eight flips and rotations.
        """
        rng = np.random.default_rng((seed, step))
        pairs = [pair for pair in self.train if min(pair.low.shape) >= patch + 2 * self.radius]
        if not pairs:
            raise InputError(f"no training picture has {patch} low-resolution pixels per side; give larger pictures")
        shares = np.sqrt([pair.low.size for pair in pairs])
        chosen = rng.choice(len(pairs), size, p=shares / shares.sum())
        patches = [self._patch(pairs[index], patch, rng) for index in chosen]
        return np.stack([low for low, _ in patches])[:, None], np.stack([high for _, high in patches])[:, None]

    def _patch(self, pair: Pair, patch: int, rng: np.random.Generator) -> tuple[Plane, Plane]:
        outer, s = patch + 2 * self.radius, self.scale
        y, x = (int(rng.integers(0, side - outer + 1)) for side in pair.low.shape)
        low = pair.low[y : y + outer, x : x + outer]
        high = pair.high[s * y : s * (y + patch), s * x : s * (x + patch)]
        turn, flip = int(rng.integers(4)), bool(rng.integers(2))
        low, high = np.rot90(low, turn), np.rot90(high, turn)
        return (low[:, ::-1], high[:, ::-1]) if flip else (low, high)


def load(folder: Path, cache: Path, *, scale: int, radius: int) -> Dataset:
    """The pictures under `folder`, decoded into `cache` (an .npz file) at the first call. Delete it to decode anew."""
    if not cache.exists():
        _decode_all(folder, cache, scale)
    with np.load(cache) as stored:
        high, low, sizes, held = stored["high"], stored["low"], stored["sizes"], stored["held"]
    pairs: dict[bool, list[Pair]] = {True: [], False: []}
    at = 0
    for (height, width), holdout in zip(sizes.tolist(), held.tolist(), strict=True):
        end = at + height * width
        reduced = low[at:end].reshape(height, width)
        reference = high[at * scale**2 : end * scale**2].reshape(height * scale, width * scale)
        pairs[holdout].append(Pair(np.pad(reduced, radius, "edge"), reference))
        at = end
    return Dataset(tuple(pairs[False]), tuple(pairs[True]), scale, radius)


def pictures(folder: Path) -> list[Path]:
    """All picture files under `folder`, sorted."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise InputError(f"{folder}: no pictures ({', '.join(SUFFIXES)}); give a folder that holds some")
    return found


def is_held_out(index: int) -> bool:
    """Whether the picture of that place in `pictures` is kept for validation."""
    return index % HOLDOUT_EVERY == HOLDOUT_EVERY // 2


def sources(folder: Path) -> list[dict[str, str]]:
    """Name and terms of the sets under `folder`, for model cards."""
    names = sorted({path.relative_to(folder).parts[0] for path in pictures(folder)})
    return [{"name": name, "terms": TERMS.get(name, "unstated")} for name in names]


def read_luma(path: Path) -> Plane:
    """The picture's 8-bit luma."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise InputError(f"{path}: not a readable picture; remove it or convert it to PNG")
    colour = np.asarray(bgr, np.uint8)
    return colour[:, :, 0] if "luma" in path.parent.name else luma(colour[:, :, ::-1])


def _decode_all(folder: Path, cache: Path, scale: int) -> None:
    highs, lows, sizes, held = [], [], [], []
    for index, path in enumerate(pictures(folder)):
        for plane in _sizes(read_luma(path)):
            high = modcrop(plane, scale)
            low = to_uint8(imresize(high, 1 / scale))
            highs.append(high.ravel())
            lows.append(low.ravel())
            sizes.append(low.shape)
            held.append(is_held_out(index))
    cache.parent.mkdir(parents=True, exist_ok=True)
    partial = cache.with_suffix(".partial.npz")
    np.savez(partial, high=np.concatenate(highs), low=np.concatenate(lows), sizes=np.array(sizes), held=np.array(held))
    partial.replace(cache)


def _sizes(plane: Plane) -> Iterator[Plane]:
    yield plane
    if plane.size >= LARGE:
        yield to_uint8(imresize(plane, 0.5))
