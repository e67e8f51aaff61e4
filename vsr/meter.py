"""Luma PSNR, SSIM and flicker of a video's frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from vsr.errors import InputError
from vsr.frame import Plane
from vsr.metrics import SSIM_WINDOW, psnr, ssim

IDENTICAL = 100.0  # dB that stand for frames without any difference
REACH = 8  # pixels around one that have to stand still too before it counts as static
PERCENTILES = (5, 50)


@dataclass(frozen=True)
class Scores:
    """Of frames in order, one value each.

    Args:
        times: seconds.
        psnr: dB; IDENTICAL at most.
        ssim: up to 1.
        flicker: mean absolute change of the result's luma since the frame before, in 8-bit codes, over the pixels that
            are static in the reference: whose luma, and that of all pixels up to REACH rows and columns away, is
            exactly what it was in the frame before. 0 for a result that stands still where the reference does, as the
            reference itself; None where nothing is static, and for the first frame of a size.
        static: share of such pixels, 0..1.
        vmaf: 0..100, by the name of VMAF's model.
    """

    times: list[float] = field(default_factory=list)
    psnr: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)
    flicker: list[float | None] = field(default_factory=list)
    static: list[float] = field(default_factory=list)
    vmaf: dict[str, list[float]] = field(default_factory=dict)

    @property
    def whole_flicker(self) -> float | None:
        """Over the static pixels of all frames; None where there are none."""
        moved = [(change, share) for change, share in zip(self.flicker, self.static, strict=True) if change is not None]
        return sum(change * share for change, share in moved) / sum(share for _, share in moved) if moved else None


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean, minimum and PERCENTILES of what a video's frames score."""
    percentiles = np.percentile(values, PERCENTILES)
    named = {f"p{rank}": float(value) for rank, value in zip(PERCENTILES, percentiles, strict=True)}
    return {"mean": float(np.mean(values)), "minimum": float(np.min(values)), **named}


class Meter:
    """Scores frames against references in the order they are given.

    Args:
        depth: bits of all planes.
        border: pixels left out on every side.
    """

    def __init__(self, *, depth: int = 8, border: int = 0) -> None:
        self.scores = Scores()
        self._depth, self._border = depth, border
        self._last: tuple[Plane, Plane] | None = None

    def add(self, time: float, reference: Plane, result: Plane) -> None:
        """One frame of luma; the planes are kept until the next one. Raises InputError for too small ones."""
        if min(reference.shape) < SSIM_WINDOW + 2 * self._border:
            height, width = reference.shape
            raise InputError(f"{width}x{height} is too small to be compared: SSIM looks at {SSIM_WINDOW} pixels a side")
        peak, scores = (1 << self._depth) - 1, self.scores
        scores.times.append(time)
        scores.psnr.append(min(IDENTICAL, psnr(result, reference, border=self._border, peak=peak)))
        scores.ssim.append(ssim(result, reference, border=self._border, peak=peak))
        flicker, static = self._flicker(reference, result)
        scores.flicker.append(flicker)
        scores.static.append(static)
        self._last = reference, result

    def _flicker(self, reference: Plane, result: Plane) -> tuple[float | None, float]:
        if self._last is None or self._last[0].shape != reference.shape:
            return None, 0.0
        still = static(*(plane[_inside(plane, self._border)] for plane in (self._last[0], reference)))
        if not still.any():
            return None, 0.0
        before, now = (plane[_inside(plane, self._border)].astype(np.int32) for plane in (self._last[1], result))
        return float(np.abs(now - before)[still].mean()) / (1 << (self._depth - 8)), float(still.mean())


def static(before: Plane, now: Plane) -> NDArray[np.bool_]:
    """Where two frames agree exactly, REACH pixels each way included; what lies outside the picture agrees."""
    agreeing = (before == now).astype(np.uint8)
    return cv2.erode(agreeing, np.ones((2 * REACH + 1,) * 2, np.uint8)).astype(bool)


def _inside(plane: Plane, border: int) -> tuple[slice, slice]:
    height, width = plane.shape
    return slice(border, height - border), slice(border, width - border)
