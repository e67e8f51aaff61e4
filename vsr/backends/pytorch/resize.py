"""ONNX Resize in torch: separable, one matrix per axis, straight from the specification; an oracle, not a fast path."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vsr.errors import InputError

Attributes = Mapping[str, Any]
Weights = npt.NDArray[np.float64]


def resize(
    at: Attributes, x: Tensor, roi: Tensor | None = None, scales: Tensor | None = None, sizes: Tensor | None = None
) -> Tensor:
    """Separable, one matrix per axis that changes; antialias and cropping aren't here."""
    if at.get("antialias", 0) or at.get("axes") or at.get("keep_aspect_ratio_policy", b"stretch") != b"stretch":
        raise InputError("Resize with antialias, axes or an aspect policy isn't in the pytorch backend")
    given = sizes is not None and sizes.numel() > 0
    wanted = [int(n) for n in sizes.tolist()] if given and sizes is not None else []
    factors = [] if given or scales is None else [float(s) for s in scales.tolist()]
    for axis in range(x.dim()):
        before = x.shape[axis]
        after = wanted[axis] if wanted else int(before * factors[axis])
        if after != before:
            kind = tuple(sorted((name, value) for name, value in at.items() if isinstance(value, (bytes, float, int))))
            scale = factors[axis] if factors else after / before
            matrix = _matrix_on(x.device, x.dtype, kind, before, after, scale)
            x = torch.tensordot(x, matrix, dims=([axis], [1])).movedim(-1, axis)
    return x


@lru_cache(maxsize=64)
def _matrix_on(
    device: torch.device, dtype: torch.dtype, kind: tuple[tuple[str, Any], ...], before: int, after: int, scale: float
) -> Tensor:
    """Made once, so that it isn't copied to a device for every picture."""
    return torch.from_numpy(_resize_matrix(dict(kind), before, after, scale)).to(device, dtype)


def _resize_matrix(at: Attributes, before: int, after: int, scale: float) -> Weights:
    """(after, before) weights, as the ONNX specification of Resize defines coordinates and kernels."""
    index = np.arange(after, dtype=np.float64)
    place = at.get("coordinate_transformation_mode", b"half_pixel").decode()
    if place == "align_corners":
        position = index * (before - 1) / max(1, after - 1)
    elif place == "asymmetric":
        position = index / scale
    elif place == "half_pixel" or (place == "pytorch_half_pixel" and after > 1):
        position = (index + 0.5) / scale - 0.5
    else:
        raise InputError(f"Resize with coordinates {place} isn't in the pytorch backend")
    matrix = np.zeros((after, before))
    first = np.floor(position)
    for tap in range(-1, 3):
        distance = np.abs(position - first - tap)
        weight = _resize_weight(at, position, first + tap, distance)
        column = np.clip(first + tap, 0, before - 1).astype(int)
        if at.get("exclude_outside", 0):
            weight = np.where((first + tap < 0) | (first + tap >= before), 0, weight)
        np.add.at(matrix, (np.arange(after), column), weight)
    weights: Weights = matrix / matrix.sum(1, keepdims=True)
    return weights


def _resize_weight(at: Attributes, position: Any, sample: Any, distance: Any) -> Any:
    mode = at.get("mode", b"nearest")
    if mode == b"linear":
        return np.maximum(0, 1 - distance)
    if mode == b"cubic":
        a = at.get("cubic_coeff_a", -0.75)
        near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
        far = a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
        return np.where(distance < 1, near, np.where(distance < 2, far, 0))
    rule = at.get("nearest_mode", b"round_prefer_floor").decode()
    rules = {
        "round_prefer_floor": np.ceil(position - 0.5),
        "round_prefer_ceil": np.floor(position + 0.5),
        "floor": np.floor(position),
        "ceil": np.ceil(position),
    }
    return (rules[rule] == sample).astype(np.float64)
