"""The one picture that all results of a run are fitted to where a target can't change its size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vsr.encode import encoder_threads
from vsr.encoders import even
from vsr.frame import Frame, TrackFacts
from vsr.job import Encoder

STORED = "yuv420p"  # what players, servers and cameras take


@dataclass(frozen=True)
class First:
    """What is to know of the first frame."""

    width: int
    height: int
    facts: TrackFacts


@dataclass(frozen=True)
class Goal:
    """See `vsr.fit.Aim`."""

    source: First
    encoder: Encoder | None = None

    @property
    def upscaled(self) -> tuple[int, int]:
        return self.source.width, self.source.height

    @property
    def size(self) -> tuple[int, int]:
        return (self.encoder.width, self.encoder.height) if self.encoder else self.upscaled


def plain(first: Frame) -> Goal:
    """Of results as they are."""
    return Goal(First(first.width, first.height, first.facts))


def coded(first: Frame, codec: str, options: Mapping[str, str]) -> Goal:
    """Of results that are encoded, in 8 bits and 4:2:0."""
    width, height = even((first.width, first.height), "libx264", STORED)
    encoder = Encoder(
        codec=codec,
        pix_fmt=STORED,
        width=width,
        height=height,
        aspect=first.facts.aspect,
        options=options,
        threads=encoder_threads(),
    )
    return Goal(First(first.width, first.height, first.facts), encoder)
