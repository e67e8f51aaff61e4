"""What is measured: a network at a size, and the frames it is fed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vsr.frame import Frame, PlanarFormat, Planes
from vsr.graph import FrameSpec

FRAMES = 8  # different ones, so that no cache holds them all


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network, its input's size and depth."""

    network: str
    width: int
    height: int
    depth: int = 8
    scale: int = 2

    @property
    def spec(self) -> FrameSpec:
        return FrameSpec(format=PlanarFormat(depth=self.depth), width=self.width, height=self.height)

    def __str__(self) -> str:
        size = f"{self.width}x{self.height} to {self.width * self.scale}x{self.height * self.scale}"
        return f"{self.network} {size} {self.depth} bit"


def frames(case: Case, decoded: Path | None) -> list[Frame]:
    """Frames of `case`: cut from those of `decoded`, an archive that `benchmarks.gpu.pack` wrote, or random."""
    made = _decoded(case, decoded) if decoded else _random(case)
    spec = case.spec
    return [
        Frame(format=spec.format, width=spec.width, height=spec.height, planes=planes, index=index)
        for index, planes in enumerate(made)
    ]


def _random(case: Case) -> list[Planes]:
    random, spec = np.random.default_rng(0), case.spec
    shapes = spec.format.shapes(spec.width, spec.height)
    return [
        tuple(random.integers(0, spec.format.white, shape, spec.format.dtype, endpoint=True) for shape in shapes)
        for _ in range(FRAMES)
    ]


def _decoded(case: Case, path: Path) -> list[Planes]:
    """The upper left of each frame; several pieces of it where there are fewer frames than wanted."""
    spec, found = case.spec, []
    with np.load(path) as archive:
        stored = [archive[f"{spec.format.pix_fmt}_{plane}"] for plane in range(3)]
    shapes = spec.format.shapes(spec.width, spec.height)
    for index in range(FRAMES):
        number = index % len(stored[0])
        found.append(
            tuple(np.roll(p[number], -16 * index, 1)[:h, :w].copy() for p, (h, w) in zip(stored, shapes, strict=True))
        )
    return found
