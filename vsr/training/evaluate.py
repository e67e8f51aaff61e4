"""Scores of models by the protocol of the papers, computed with OpenVINO next to the run's own bicubic row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from math import prod
from pathlib import Path
from statistics import fmean, median
from time import perf_counter
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from vsr.backends import openvino_core
from vsr.backends.openvino import running_precision
from vsr.errors import InputError, UsageError
from vsr.meter import Meter, Scores
from vsr.metrics import SSIM_WINDOW, imresize, modcrop, psnr, ssim, to_uint8
from vsr.models import BF16_FLAGS, processor_flags
from vsr.reduced import ReducedClip, reduced
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
class Candidate:
    """A model to be measured; without a file it is bicubic."""

    scale: int
    path: Path | None = None

    @property
    def name(self) -> str:
        return self.path.stem if self.path else "bicubic"


@dataclass(frozen=True)
class Row:
    """One line of the table `vsr-eval` prints."""

    name: str  # file name without suffix, or "bicubic"
    scale: int
    score: Score
    frames: Scores | None = None  # of a video, one by one
    weights: str | None = None  # what the file holds: float32 or int8
    macs: float | None = None  # per low-resolution pixel
    milliseconds: float | None = None  # of the network alone
    runs_in: str | None = None  # what its convolutions computed in while it was timed


Judge = Callable[[Upscaler, int], tuple[Score, Scores | None]]  # what an upscaler by a scale is worth


def on_pictures(planes: Sequence[Plane]) -> Judge:
    """Judges by pictures, as the papers do."""
    return lambda upscale, scale: (score(upscale, planes, scale=scale), None)


def on_clip(path: str, *, frames: int, crf: float | None = None) -> Judge:
    """Judges by a video's first frames, reduced and with `crf` also coded before they are upscaled."""

    @lru_cache(maxsize=1)
    def clip(scale: int) -> ReducedClip:
        return reduced(path, scale, frames=frames, crf=crf)

    def judge(upscale: Upscaler, scale: int) -> tuple[Score, Scores | None]:
        given, meter = clip(scale), Meter(border=scale)
        for time, low, high in zip(given.times, given.low, given.high, strict=True):
            meter.add(time, high, to_uint8(upscale(low)))
        return Score(fmean(meter.scores.psnr), fmean(meter.scores.ssim)), meter.scores

    return judge


def candidates(engines: Path, *, networks: Sequence[str], scales: Sequence[int]) -> list[Candidate]:
    """Per scale bicubic, then every shipped model of `networks`; "all", or none, means all that ship.

    Raises UsageError for one that doesn't ship at any of `scales`.
    """
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
    return [Candidate(scale, path) for scale, paths in found.items() for path in (None, *paths)]


def measured(
    candidate: Candidate, judge: Judge, *, size: tuple[int, int] = FRAME, step: Callable[[], None] = lambda: None
) -> Row:
    """Scores and times a candidate; `step` is called after each picture. `size`: rows, columns of what is timed."""
    scale = candidate.scale
    model = onnx.load(candidate.path) if candidate.path else None
    upscale = upscaler(model) if model else bicubic(scale)

    def counted(plane: Plane) -> NDArray[np.floating]:
        result = upscale(plane)
        step()
        return result

    row = Row(candidate.name, scale, *judge(counted, scale))
    if model is None:
        return row
    weights = _property(model, "vsr.precision")
    time, runs_in = milliseconds(model, size)
    return replace(row, weights=weights, macs=macs(model), milliseconds=time, runs_in=runs_in)


def score(upscale: Upscaler, planes: Sequence[Plane], *, scale: int) -> Score:
    """Reduce each plane by `scale`, upscale it again and compare, `scale` pixels left out on every side."""
    results = []
    for plane in planes:
        reference = modcrop(plane, scale)
        if min(reference.shape) < SSIM_WINDOW + 2 * scale:
            raise InputError(f"a picture of {plane.shape[1]}x{plane.shape[0]} is too small to judge x{scale} by")
        result = to_uint8(upscale(to_uint8(imresize(reference, 1 / scale))))
        results.append((psnr(result, reference, border=scale), ssim(result, reference, border=scale)))
    mean = np.mean(results, axis=0)
    return Score(float(mean[0]), float(mean[1]))


def bicubic(scale: int) -> Upscaler:
    """MATLAB's bicubic, the row every table begins with."""
    return lambda plane: imresize(plane, scale)


def upscaler(model: onnx.ModelProto) -> Upscaler:
    """A shipped luma model on the CPU; int8 graphs run in int8, everything else in float32."""
    peak = float(_property(model, "vsr.peak"))

    @lru_cache(maxsize=1)
    def compiled(height: int, width: int) -> Any:
        return _compiled(model, (height, width), "f32")

    def upscale(plane: Plane) -> NDArray[np.floating]:
        luma = plane[None, None].astype(np.float32) * np.float32(peak / 255)
        return np.asarray(compiled(*plane.shape)([luma])[0][0, 0]) * (255 / peak)

    return upscale


def milliseconds(model: onnx.ModelProto, size: tuple[int, int] = FRAME, *, seconds: float = 1.0) -> tuple[float, str]:
    """(median time of the network alone on `size` luma samples, what its convolutions compute in).

    Float models run in bfloat16 where the processor has it, as `vsr-run` runs them. Runs of `seconds` in all, three at
    least.
    """
    bf16 = _property(model, "vsr.precision") == "float32" and BF16_FLAGS & processor_flags()
    compiled = _compiled(model, size, "bf16" if bf16 else "f32")
    luma, times = np.zeros((1, 1, *size), np.float32), list[float]()
    compiled([luma])
    while len(times) < 3 or sum(times) < seconds:
        begin = perf_counter()
        compiled([luma])
        times.append(perf_counter() - begin)
    return 1000 * median(times), running_precision(compiled)


def _compiled(model: onnx.ModelProto, size: tuple[int, int], hint: str) -> Any:
    core = openvino_core()
    sized = core.read_model(model.SerializeToString())
    sized.reshape([1, 1, *size])
    return core.compile_model(sized, "CPU", {"INFERENCE_PRECISION_HINT": hint})


def _property(model: onnx.ModelProto, key: str) -> str:
    """What a shipped model says of itself."""
    return str(next(entry.value for entry in model.metadata_props if entry.key == key))


def macs(model: onnx.ModelProto) -> float:
    """Multiply-accumulates per low-resolution pixel, the border's extra ones left out."""
    small, large = (_convolved(model, side) for side in (60, 120))
    return sum(weights * ((b - a) / 60) ** 2 for (weights, a), (_, b) in zip(small, large, strict=True))


def _convolved(model: onnx.ModelProto, side: int) -> list[tuple[int, int]]:
    """(weights, positions per side) of every convolution for an input of `side` x `side`."""
    sized = openvino_core().read_model(model.SerializeToString())
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
