"""The eight experiments: which variants each compares, for how long, and how it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.papers import draw
from benchmarks.papers.runs import Pictures, Result, Variant, enlarged, together
from benchmarks.papers.shapes import Deep, Plain, Residual, Skipless, Upsampled
from vsr.networks.mxcy import MxCy
from vsr.training.data import Dataset
from vsr.training.recipe import Loss, Stage

SMALL = (4, 16, 1, 2)  # M4C16 at x2


@dataclass(frozen=True)
class Experiment:
    """Args: steps of each run. seeds: a run each. draw: into a PNG file."""

    variants: Callable[[Pictures], Iterator[Variant]]
    steps: int
    seeds: tuple[int, ...]
    draw: Callable[[list[Result], Path], None] = draw.curves


def _stage(rate: float, *, loss: Loss = "l1", patch: int = 24) -> Stage:
    return Stage(steps=1, rate=rate, warmup=100, loss=loss, batch=8, patch=patch)


def residual(pictures: Pictures) -> Iterator[Variant]:
    """Kim et al. 2016, section 3.2 and table 1: learn what cubic misses, or the picture."""
    data = enlarged(pictures, 2)
    for skip in (True, False):
        for rate in (1e-2, 1e-3, 1e-4):
            label = f"{'residual' if skip else 'direct'} {rate:g}"
            stage = _stage(rate, loss="l2")
            yield Variant(label=label, build=partial(Deep, skip=skip), data=data, judged={2: data}, stage=stage)


def scales(pictures: Pictures) -> Iterator[Variant]:
    """Kim et al. 2016, section 3.3 and table 2: one network for x2, x3 and x4 against one for each."""
    judged = {scale: enlarged(pictures, scale) for scale in (2, 3, 4)}
    one = {"x2, x3, x4": together(*judged.values())}
    for label, data in (one | {f"x{scale}": data for scale, data in judged.items()}).items():
        yield Variant(label=label, build=partial(Deep, skip=True), data=data, judged=judged, stage=_stage(1e-3))


def sizes(pictures: Pictures) -> Iterator[Variant]:
    """Dong et al. 2016, section 4.3: widths and filter sizes, x3."""
    for taps, widths in (
        ((9, 1, 5), (32, 16)),
        ((9, 1, 5), (64, 32)),
        ((9, 1, 5), (128, 64)),
        ((11, 1, 7), (64, 32)),
        ((9, 3, 5), (64, 32)),
        ((9, 5, 5), (64, 32)),
    ):
        yield _plain(pictures, f"{'-'.join(map(str, taps))}, {widths[0]}/{widths[1]}", partial(Plain, taps, widths))


def filters(pictures: Pictures) -> Iterator[Variant]:
    """Dong et al. 2016, section 4.1 and figure 5: the first layer of a 9-1-5 network for x3."""
    yield _plain(pictures, "first layer started at 0.001", partial(Plain, tiny=1))
    yield _plain(pictures, "all layers started at 0.001, as the paper", partial(Plain, tiny=3))


def _plain(pictures: Pictures, label: str, build: Callable[[], Plain]) -> Variant:
    data = enlarged(pictures, 3, build().context)
    return Variant(label=label, build=build, data=data, judged={3: data}, stage=_stage(1e-3, loss="l2"))


def upsampling(pictures: Pictures) -> Iterator[Variant]:
    """Shi et al. 2016, section 3.2, and Dong et al. 2016 (FSRCNN), section 3.2: sub-pixel or deconvolution, x3."""
    data = pictures.low(3, Upsampled.context)
    builds: dict[str, Callable[[], Upsampled]] = {
        "sub-pixel": partial(Upsampled, deconvolution=False),
        "deconvolution, same start": lambda: Upsampled(deconvolution=False).as_deconvolution(),
        "deconvolution, own start": partial(Upsampled, deconvolution=True),
    }
    for label, build in builds.items():
        yield Variant(label=label, build=build, data=data, judged={3: data}, stage=_stage(1e-3, loss="l2"))


def normalisation(pictures: Pictures) -> Iterator[Variant]:
    """Lim et al. 2017, section 3.1: residual blocks with batch normalisation, as SRResNet's, and without."""
    data = pictures.low(2)
    for normalised in (False, True):
        label, build = "batch norm" if normalised else "none", partial(Residual, normalised=normalised)
        yield Variant(label=label, build=build, data=data, judged={2: data}, stage=_stage(1e-3, patch=20))


def skip(pictures: Pictures) -> Iterator[Variant]:
    """Zhang et al. 2021 (ECBSR), section 3.1: the luma is added before depth-to-space, or not."""
    data = pictures.low(2, MxCy(*SMALL).context)
    for rate in (2e-3, 5e-4):
        yield _mxcy(data, f"input skip {rate:g}", lambda: MxCy(*SMALL).expanded(), rate)
        yield _mxcy(data, f"none {rate:g}", lambda: Skipless(*SMALL).expanded(), rate)


def branches(pictures: Pictures) -> Iterator[Variant]:
    """Zhang et al. 2021 (ECBSR), section 3.2: sums of branches while training, or the plain layers they collapse to."""
    data = pictures.low(2, MxCy(*SMALL).context)
    yield _mxcy(data, "branches", lambda: MxCy(*SMALL).expanded(), 2e-3)
    yield _mxcy(data, "plain", lambda: MxCy(*SMALL).expanded().collapsed(), 2e-3)


def _mxcy(data: Dataset, label: str, build: Callable[[], MxCy], rate: float) -> Variant:
    stage = _stage(rate, patch=32)
    return Variant(label=label, build=build, data=data, judged={2: data}, stage=stage)


EXPERIMENTS = {
    "residual": Experiment(residual, 800, (1,)),
    "scales": Experiment(scales, 800, (1,), draw.by_scale),
    "sizes": Experiment(sizes, 800, (1,)),
    "filters": Experiment(filters, 3000, (1,), draw.filters),
    "upsampling": Experiment(upsampling, 1500, (1, 2)),
    "normalisation": Experiment(normalisation, 800, (1, 2)),
    "skip": Experiment(skip, 2000, (1, 2)),
    "branches": Experiment(branches, 800, (1, 2)),
}
