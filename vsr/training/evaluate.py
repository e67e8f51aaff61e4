"""Scores of models by the protocol of the papers, computed with OpenVINO next to the run's own bicubic row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from vsr.backends import import_openvino
from vsr.errors import UsageError
from vsr.metrics import imresize, modcrop, psnr, ssim, to_uint8
from vsr.training.data import Plane, is_held_out, pictures, read_luma

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
        kept = (path for index, path in enumerate(pictures(folder)) if is_held_out(index))
        return cls(f"held out of {folder.name}", tuple(map(read_luma, kept)))


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


def rows(folder: Path, engines: Path, *, networks: Sequence[str], scales: Sequence[int]) -> Iterator[Row]:
    """Scores on the pictures in `folder`: per scale the bicubic row, then every shipped model of `networks`.

    No networks means all that ship. Raises UsageError for one that doesn't ship at any of `scales`.
    """
    planes = PictureSet.read(folder).planes
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
            yield Row(path.stem, scale, score(upscaler(onnx.load(path)), planes, scale=scale))


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
    core = import_openvino().Core()
    loaded = core.read_model(model.SerializeToString())
    compiled = core.compile_model(loaded, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def upscale(plane: Plane) -> NDArray[np.floating]:
        luma = plane[None, None].astype(np.float32) * np.float32(peak / 255)
        return np.asarray(compiled([luma])[0][0, 0]) * (255 / peak)

    return upscale


def _models(engines: Path, networks: Sequence[str], scale: int) -> list[Path]:
    names = networks or sorted({path.stem.partition("_x")[0] for path in engines.glob("*.onnx")})
    paths = [engines / f"{name}_x{scale}{suffix}.onnx" for name in names for suffix in ("", "_int8")]
    return [path for path in paths if path.is_file()]
