"""A video's first frames to judge a network by: reduced by MATLAB's bicubic, and coded in between on request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from vsr.errors import InputError
from vsr.frame import Frame
from vsr.metrics import imresize, to_uint8
from vsr.pipeline import decoded
from vsr.probe import probe
from vsr.report import Report
from vsr.settings import RunSettings
from vsr.training.coding import Coding, with_chroma

Luma = NDArray[np.uint8]

EVEN = 2  # sides of what is coded are multiples of it
PRESET = "medium"


@dataclass(frozen=True)
class ReducedClip:
    """Luma of neighbouring frames in 8 bit: `high` as in the video, `low` one `scale`-th as large each way."""

    low: tuple[Luma, ...]
    high: tuple[Luma, ...]
    times: tuple[float, ...]  # seconds from the video's first frame
    frames: tuple[Luma, ...]  # reduced, in 4:2:0, as an encoder takes them (`Coding.packets`)
    rate: Fraction  # frames a second
    bits: float = 0.0  # per pixel of `low` that coding it took; 0 where it wasn't coded

    def coded(self, coding: Coding) -> ReducedClip:
        """With what a player shows of `frames` as `low`."""
        packets = list(coding.packets(self.frames))
        low = tuple(frame.luma for frame in coding.decoded(iter(packets)))
        return replace(self, low=low, bits=8 * sum(packet.size for packet in packets) / sum(luma.size for luma in low))


def reduced(path: str, scale: int, *, frames: int, crf: float | None = None) -> ReducedClip:
    """The first `frames` frames, cut to multiples of 2 `scale` and reduced; with `crf`, what x264 makes of these.

    The encoder sees colour too where the video is 4:2:0. Deeper samples are rounded to 8 bit first. Raises InputError
    for what can't be read, is smaller than that or changes its size.
    """
    job = probe(RunSettings(input=path, output="", sink="null"))
    with decoded(job, Report()) as shown, closing(shown):
        times, planes = zip(*((frame.pts, _cut(frame, scale)) for frame in _each(shown, frames)), strict=True)
    small = [tuple(to_uint8(imresize(plane, 1 / scale)) for plane in each) for each in planes]
    high, low = (tuple(each[0] for each in clip) for clip in (planes, small))
    seconds = tuple(float((pts - times[0]) * job.source.time_base) for pts in times)
    clip = ReducedClip(low, high, seconds, tuple(map(_packed, small)), job.source.rate)
    return clip if crf is None else clip.coded(Coding("libx264", {"crf": f"{crf:g}", "preset": PRESET}, clip.rate))


def _packed(planes: tuple[Luma, ...]) -> Luma:
    """(3/2 height, width): one above the other, without colour where there is none."""
    if len(planes) == 1:
        return with_chroma(planes[0])
    return np.concatenate([plane.ravel() for plane in planes]).reshape(-1, planes[0].shape[1])


def _each(frames: Iterator[Frame], count: int) -> Iterator[Frame]:
    """The first frames, each released when the next is asked for. Raises InputError where their size changes."""
    first = None
    for number, frame in enumerate(islice(frames, count)):
        first = first or (frame.width, frame.height)
        if (frame.width, frame.height) != first:
            raise InputError(f"the video's size changes at frame {number}; judge by those before (--frames {number})")
        yield frame
        frame.release()


def _cut(frame: Frame, scale: int) -> tuple[Luma, ...]:
    """Its planes in 8 bit, in memory of their own: Y, U, V of 4:2:0, else Y; luma's sides multiples of 2 `scale`."""
    width, height = (side - side % (EVEN * scale) for side in (frame.width, frame.height))
    if not width or not height:
        raise InputError(f"frames of {frame.width}x{frame.height} are too small to be reduced by {scale}")
    shift, coloured = frame.format.depth - 8, frame.format.chroma == "420"
    sides = [(height, width), *[(height // 2, width // 2)] * (2 * coloured)]
    half = (1 << shift) >> 1
    return tuple(
        np.minimum((plane[:rows, :columns].astype(np.uint32) + half) >> shift, 255).astype(np.uint8)
        for plane, (rows, columns) in zip(frame.planes, sides, strict=False)
    )
