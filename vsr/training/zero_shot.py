"""ZSSR (Shocher et al., CVPR 2018, section 3): a network learnt from the one picture or clip it is for.

The input is its own teacher: reduced, it is the low resolution of which the input is the high one.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from vsr import __version__
from vsr.backends import cache_folder
from vsr.errors import InputError, UsageError
from vsr.job import identity
from vsr.metrics import imresize, modcrop, to_uint8
from vsr.networks.table import CUBIC_RADIUS
from vsr.pipeline import decoded
from vsr.probe import probe
from vsr.report import Report
from vsr.settings import RunSettings
from vsr.stills import is_still
from vsr.training.data import Dataset, Pair, Planes
from vsr.training.export import save
from vsr.training.learn import fit
from vsr.training.pictures import Plane, read_luma
from vsr.training.quantise import as_float
from vsr.training.recipe import find
from vsr.training.train import start

NETWORK = "zssr"
SIZES = (1.0, 0.9, 0.8, 0.7)  # of the fathers, section 3.2
FRAMES, APART = 4, 12  # of a clip
LEAST = 16  # low-resolution pixels a side of the smallest son


def prepared(settings: RunSettings, say: Callable[[str], None], *, steps: int | None = None) -> RunSettings:
    """The settings with the network learnt from their input; it is kept for the next run of the same input.

    Args:
        steps: of training, instead of the recipe's.

    Raises:
        UsageError: the input is standard input or a folder. InputError: it is too small to learn from.
    """
    path, scale = settings.input, settings.engine.scale
    if path == "-" or not Path(path).is_file():
        raise UsageError(f"{NETWORK} learns from one picture or clip; {path} is none")
    name = hashlib.sha256(repr((__version__, str(Path(path).resolve()), identity(path), scale)).encode()).hexdigest()
    target = (cache_folder() or Path(tempfile.mkdtemp())) / f"{NETWORK}_{name[:16]}_x{scale}.onnx"
    if not target.exists():
        say(f"{NETWORK} learns from {path} first; this takes minutes")
        learn(_luma(settings), scale, target, steps=steps, say=say)
    return replace(settings, engine=replace(settings.engine, network="auto", model=target))


def learn(
    planes: list[Plane], scale: int, target: Path, *, steps: int | None = None, say: Callable[[str], None]
) -> None:
    """Trains on 8-bit luma planes and writes the model. Raises InputError for planes too small."""
    recipe = find(f"{NETWORK}_x{scale}")
    recipe = recipe if steps is None else recipe.shortened(steps)
    dataset = own_dataset(planes, scale)
    largest = int(min(dataset.low.widths.min(), dataset.low.heights.min()))
    if largest < LEAST:
        raise InputError(f"{NETWORK}: the input is too small to learn from; take a network that ships")
    with tempfile.TemporaryDirectory() as work:
        model = fit(
            start(recipe, Path(work)),
            dataset,
            tuple(replace(stage, patch=min(stage.patch, largest - 2 * dataset.context)) for stage in recipe.stages),
            seed=recipe.seed,
            average=recipe.average,
            checkpoint=Path(work) / recipe.name,
            every=500,
            log=say,
        )
    save(as_float(model, NETWORK), target)


def own_dataset(planes: list[Plane], scale: int) -> Dataset:
    """Pairs of the planes at some sizes and what these are reduced; the first pair is also what is validated by."""
    fathers = [modcrop(to_uint8(imresize(plane, size)), scale) for plane in planes for size in SIZES]
    padded = [np.pad(to_uint8(imresize(father, 1 / scale)), CUBIC_RADIUS, "edge") for father in fathers]
    first = Pair(torch.from_numpy(padded[0]), torch.from_numpy(fathers[0]))
    return Dataset(Planes.of(padded), Planes.of(fathers), (first,), scale, CUBIC_RADIUS)


def _luma(settings: RunSettings) -> list[Plane]:
    """Of the picture, or of some frames of the clip, in 8 bit."""
    if is_still(settings.input):
        return [read_luma(Path(settings.input))]
    engine = replace(settings.engine, network="auto")
    job = probe(replace(settings, engine=engine, output="", sink="null", partial=False))
    planes = []
    with decoded(job, Report()) as frames:
        for number, frame in enumerate(islice(frames, FRAMES * APART)):
            if number % APART == 0:
                planes.append((frame.planes[0] >> (frame.format.depth - 8)).astype(np.uint8))
            frame.release()
    return planes
