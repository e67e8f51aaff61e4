"""Scores of models by the protocol of the papers, computed with OpenVINO next to the run's own bicubic row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from math import prod
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from vsr.backends import import_openvino
from vsr.errors import UsageError
from vsr.metrics import imresize, modcrop, psnr, ssim, to_uint8
from vsr.training.pictures import Plane, holdout_places, pictures, read_luma

FRAME = (540, 960)  # rows, columns

Upscaler = Callable[[Plane], NDArray[np.floating]]  # 8-bit luma -> luma scale times as large, peak 255, unrounded


@dataclass(frozen=True)
class PictureSet:
    """Luma planes to judge by, and what the set is called."""

    name: str
    planes: tuple[Plane, ...]

    @classmethod
    def read(cls, folder: Path) -> PictureSet:
        """Every picture under `folder`, in the order of their names."""
        return cls(folder.name, tuple(map(read_luma, pictures(folder))))

    @classmethod
    def held_out(cls, folder: Path) -> PictureSet:
        """The pictures under `folder` that training leaves out."""
        found = pictures(folder)
        return cls(f"held out of {folder.name}", tuple(read_luma(found[index]) for index in holdout_places(len(found))))


@dataclass(frozen=True)
class Score:
    """Means over the pictures of a set: dB, and 0..1."""

    psnr: float
    ssim: float


@dataclass(frozen=True)
class Row:
    """One line of the table `vsr-eval` prints."""

    name: str  # file name without suffix, or "bicubic"
    scale: int
    score: Score
    macs: float | None = None  # per low-resolution pixel
    milliseconds: float | None = None  # of the network alone, a frame of FRAME


def rows(folder: Path, engines: Path, *, networks: Sequence[str], scales: Sequence[int]) -> Iterator[Row]:
    """Scores on the pictures in `folder`: per scale the bicubic row, then every shipped model of `networks`.

    "all", or no networks, means all that ship. Raises UsageError for one that doesn't ship at any of `scales`.
    """
    planes = PictureSet.read(folder).planes
    networks = [] if "all" in networks else networks
    found = {scale: _models(engines, networks, scale) for scale in scales}
    missing = [
        name for name in networks if not any(path.stem.startswith(f"{name}_x") for path in chain(*found.values()))
    ]
    if missing or not any(found.values()):
        known = ", ".join(sorted(path.stem for path in engines.glob("*.onnx"))) or "none"
        raise UsageError(
            f"no model of {', '.join(missing) or 'any network'} at these scales in {engines}; there: {known}"
        )
    for scale, paths in found.items():
        yield Row("bicubic", scale, score(bicubic(scale), planes, scale=scale))
        for path in paths:
            model = onnx.load(path)
            result = score(upscaler(model), planes, scale=scale)
            yield Row(path.stem, scale, result, macs(model), milliseconds(model))


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
    core, data = import_openvino().Core(), model.SerializeToString()

    @lru_cache(maxsize=1)
    def compiled(height: int, width: int) -> Any:
        sized = core.read_model(data)
        sized.reshape([1, 1, height, width])
        return core.compile_model(sized, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def upscale(plane: Plane) -> NDArray[np.floating]:
        luma = plane[None, None].astype(np.float32) * np.float32(peak / 255)
        return np.asarray(compiled(*plane.shape)([luma])[0][0, 0]) * (255 / peak)

    return upscale


def milliseconds(model: onnx.ModelProto, *, seconds: float = 1.0) -> float:
    """Median time of the network alone on a frame of FRAME luma samples, runs of `seconds` in all, at least three."""
    upscale, plane, times = upscaler(model), np.zeros(FRAME, np.uint8), list[float]()
    upscale(plane)
    while len(times) < 3 or sum(times) < seconds:
        begin = perf_counter()
        upscale(plane)
        times.append(perf_counter() - begin)
    return 1000 * median(times)


def macs(model: onnx.ModelProto) -> float:
    """Multiply-accumulates per low-resolution pixel, the border's extra ones left out."""
    small, large = (_convolved(model, side) for side in (60, 120))
    return sum(weights * ((b - a) / 60) ** 2 for (weights, a), (_, b) in zip(small, large, strict=True))


def _convolved(model: onnx.ModelProto, side: int) -> list[tuple[int, int]]:
    """(weights, positions per side) of every convolution for an input of `side` x `side`."""
    sized = import_openvino().Core().read_model(model.SerializeToString())
    sized.reshape([1, 1, side, side])
    found = {"Convolution": lambda op: op.output(0), "ConvolutionBackpropData": lambda op: op.input_value(0)}
    return [
        (prod(op.input_value(1).shape), found[op.get_type_name()](op).shape[-1])
        for op in sized.get_ordered_ops()
        if op.get_type_name() in found
    ]


def _models(engines: Path, networks: Sequence[str], scale: int) -> list[Path]:
    names = networks or sorted({path.stem.partition("_x")[0] for path in engines.glob("*.onnx")})
    paths = [engines / f"{name}_x{scale}{suffix}.onnx" for name in names for suffix in ("", "_int8")]
    return [path for path in paths if path.is_file()]
