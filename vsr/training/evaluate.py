"""Scores of models by the protocol of the papers, computed with OpenVINO next to the run's own bicubic row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import openvino
from numpy.typing import NDArray

from vsr.metrics import imresize, modcrop, psnr, ssim, to_uint8
from vsr.training.data import Plane, pictures, read_luma

Upscaler = Callable[[Plane], NDArray[np.floating]]  # 8-bit luma -> luma scale times as large, peak 255, unrounded


@dataclass(frozen=True)
class Score:
    """Means over the pictures of a set: dB, and 0..1."""

    psnr: float
    ssim: float


def score(upscale: Upscaler, planes: Sequence[Plane], *, scale: int) -> Score:
    """Reduce each plane by `scale`, upscale it again and compare, `scale` pixels left out on every side."""
    results = []
    for plane in planes:
        reference = modcrop(plane, scale)
        result = to_uint8(upscale(to_uint8(imresize(reference, 1 / scale))))
        results.append((psnr(result, reference, border=scale), ssim(result, reference, border=scale)))
    mean = np.mean(results, axis=0)
    return Score(float(mean[0]), float(mean[1]))


def bicubic(scale: int) -> Upscaler:
    """MATLAB's bicubic, the row every table begins with."""
    return lambda plane: imresize(plane, scale)


def upscaler(model: onnx.ModelProto) -> Upscaler:
    """A shipped luma model on the CPU; int8 graphs run in int8, everything else in float32."""
    peak = float(next(prop.value for prop in model.metadata_props if prop.key == "vsr.peak"))
    core = openvino.Core()
    loaded = core.read_model(model.SerializeToString())
    compiled = core.compile_model(loaded, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def upscale(plane: Plane) -> NDArray[np.floating]:
        luma = plane[None, None].astype(np.float32) * np.float32(peak / 255)
        return np.asarray(compiled([luma])[0][0, 0]) * (255 / peak)

    return upscale


def read_planes(folder: Path) -> list[Plane]:
    """The luma of every picture under `folder`, in the order of their names."""
    return [read_luma(path) for path in pictures(folder)]
