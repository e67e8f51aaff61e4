"""What every experiment is made of: pictures, variants of a network, and runs of the product's own training loop."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vsr.metrics import imresize, to_uint8
from vsr.training.data import Dataset, Pair, Planes, load
from vsr.training.evaluate import PictureSet, Upscaler, score
from vsr.training.learn import as_input, fit, validate
from vsr.training.pictures import Plane
from vsr.training.recipe import Stage
from vsr.training.train import SHORT_AVERAGE

ENLARGED = 100  # pictures of the data that are enlarged before training, at most: evenly chosen
POINTS = 5  # of a curve


@dataclass(frozen=True)
class Pictures:
    """A folder of pictures to learn from, and a folder for what they are decoded to."""

    data: Path
    cache: Path

    def low(self, scale: int, context: int = 0) -> Dataset:
        return load(self.data, self.cache / f"x{scale}.npz", scale=scale, context=context)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One line of a plot.

    Args:
        build: makes the untrained network; the random state is set before.
        judged: by scale, the held-out pictures to report on.
    """

    label: str
    build: Callable[[], nn.Module]
    data: Dataset
    judged: Mapping[int, Dataset]
    stage: Stage


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run of a variant gave: PSNR in dB by scale, and the held-out PSNR of its own scale by step."""

    label: str
    seed: int
    parameters: int
    curve: tuple[tuple[int, float], ...]
    holdout: Mapping[int, float]
    test: Mapping[int, float]
    model: nn.Module


def run(variant: Variant, test: PictureSet, *, seed: int, steps: int) -> Result:
    """Trains once and judges."""
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        model = fit(
            variant.build(),
            variant.data,
            (replace(variant.stage, steps=steps),),
            seed=seed,
            average=SHORT_AVERAGE,
            checkpoint=Path(folder) / "run",
            every=max(1, steps // POINTS),
            log=lambda line: print(f"{variant.label}, seed {seed}: {line}", flush=True),
        ).eval()
        curve = np.loadtxt(Path(folder) / "run.csv", delimiter=",", skiprows=1, ndmin=2)
    return Result(
        label=variant.label,
        seed=seed,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        curve=tuple((int(step), float(psnr)) for step, _, psnr in curve),
        holdout={scale: validate(model, data) for scale, data in variant.judged.items()},
        test={scale: score(upscaler(model, scale), test.planes, scale=scale).psnr for scale in variant.judged},
        model=model,
    )


def upscaler(model: nn.Module, scale: int) -> Upscaler:
    """A torch network as what is judged; one of scale 1 gets its pictures enlarged first."""

    @torch.no_grad()
    def upscale(plane: Plane) -> NDArray[np.floating]:
        given = enlarge(plane, scale) if model.scale == 1 else plane
        padded = torch.from_numpy(np.pad(given, cast(int, model.context), "edge"))
        result: Tensor = model(as_input(padded[None, None]))[0, 0]
        return 255 * result.numpy()

    return upscale


def enlarge(plane: Plane, scale: int) -> Plane:
    return to_uint8(imresize(plane, scale))


@cache
def enlarged(pictures: Pictures, scale: int, context: int = 0) -> Dataset:
    """Some of the pictures for networks that begin with cubic interpolation: scale 1, low as large as high."""
    data = pictures.low(scale)
    lows, highs = each(data.low), each(data.high)
    chosen = slice(None, None, max(1, len(lows) // ENLARGED))
    large = [np.pad(enlarge(plane, scale), context, "edge") for plane in lows[chosen]]
    holdout = (
        Pair(torch.from_numpy(np.pad(enlarge(pair.low.numpy(), scale), context, "edge")), pair.high)
        for pair in data.holdout
    )
    return Dataset(Planes.of(large), Planes.of(highs[chosen]), tuple(holdout), 1, context)


def together(*datasets: Dataset) -> Dataset:
    """All of them as one, for training; the first one's held-out pictures make its curve."""
    low = Planes.of([plane for data in datasets for plane in each(data.low)])
    high = Planes.of([plane for data in datasets for plane in each(data.high)])
    return replace(datasets[0], low=low, high=high)


def each(planes: Planes) -> list[Plane]:
    """The planes one by one."""
    samples = planes.samples.numpy()
    return [
        samples[start : start + width * height].reshape(height, width)
        for start, width, height in zip(planes.starts, planes.widths, planes.heights, strict=True)
    ]
