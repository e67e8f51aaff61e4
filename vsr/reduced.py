"""A video's first frames to judge a network by: reduced by MATLAB's bicubic, and coded in between on request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from vsr.convert import copy_out, samples
from vsr.errors import InputError
from vsr.frame import SUBSAMPLING, Frame, PlanarFormat, Planes
from vsr.metrics import imresize, to_uint8
from vsr.pipeline import decoded
from vsr.probe import probe
from vsr.report import Report
from vsr.settings import RunSettings

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext

Luma = NDArray[np.uint8]

EVEN = 2  # sides of what is coded are multiples of it


@dataclass(frozen=True)
class ReducedClip:
    """Luma of neighbouring frames in 8 bit: `high` as in the video, `low` one `scale`-th as large each way."""

    low: tuple[Luma, ...]
    high: tuple[Luma, ...]
    times: tuple[float, ...]  # seconds from the video's first frame
    bits: float = 0.0  # per pixel of `low` that coding it took; 0 where it wasn't coded


def reduced(path: str, scale: int, *, frames: int, crf: float | None = None) -> ReducedClip:
    """The first `frames` frames, cut to multiples of 2 `scale` and reduced; with `crf`, what x264 makes of these.

    All planes are reduced, so that the encoder sees colour too. Deeper samples are rounded to 8 bit first. Raises
    InputError for what can't be read or is smaller than that.
    """
    job = probe(RunSettings(input=path, output="", sink="null"))
    format = PlanarFormat(chroma=job.source.format.chroma)
    with decoded(job, Report()) as shown, closing(shown):
        times, high = zip(*((frame.pts, _cut(frame, scale)) for frame in _each(shown, frames)), strict=True)
    low, bits = [tuple(to_uint8(imresize(plane, 1 / scale)) for plane in planes) for planes in high], 0
    if crf is not None:
        low, bits = coded(low, format, crf=crf, rate=job.source.rate)
    lumas, references = (tuple(planes[0] for planes in clip) for clip in (low, high))
    seconds = tuple(float((pts - times[0]) * job.source.time_base) for pts in times)
    return ReducedClip(lumas, references, seconds, bits / sum(luma.size for luma in lumas))


def coded(
    frames: Sequence[Planes], format: PlanarFormat, *, crf: float, rate: Fraction, preset: str = "medium"
) -> tuple[list[Any], int]:
    """The planes of 8-bit frames of even sides, coded by x264 in one thread and decoded again, and the bits it took."""
    encoder: VideoCodecContext = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width = frames[0][0].shape
    encoder.pix_fmt, encoder.time_base, encoder.framerate = format.pix_fmt, 1 / rate, rate
    encoder.options, encoder.thread_count = {"crf": f"{crf:g}", "preset": preset}, 1
    decoder: VideoCodecContext = av.CodecContext.create("h264", "r")
    pictures = [*(_picture(planes, format, number) for number, planes in enumerate(frames)), None]
    packets = [packet for picture in pictures for packet in encoder.encode(picture)]
    shown = [picture for packet in [*packets, None] for picture in decoder.decode(packet)]
    planes = [tuple(np.array(plane) for plane in samples(picture, format)) for picture in shown]
    return planes, 8 * sum(packet.size for packet in packets)


def _picture(planes: Planes, format: PlanarFormat, number: int) -> VideoFrame:
    picture = VideoFrame(planes[0].shape[1], planes[0].shape[0], format.pix_fmt)
    copy_out(planes, picture)
    picture.pts = number
    return picture


def _each(frames: Iterator[Frame], count: int) -> Iterator[Frame]:
    """The first frames, each released when the next is asked for. Raises InputError where their size changes."""
    first = None
    for number, frame in enumerate(islice(frames, count)):
        first = first or (frame.width, frame.height)
        if (frame.width, frame.height) != first:
            raise InputError(f"the video's size changes at frame {number}; judge by those before (--frames {number})")
        yield frame
        frame.release()


def _cut(frame: Frame, scale: int) -> Planes:
    """Its planes without opacity in 8 bit, in memory of their own, the luma's sides multiples of `2 scale`."""
    width, height = (side - side % (EVEN * scale) for side in (frame.width, frame.height))
    if not width or not height:
        raise InputError(f"frames of {frame.width}x{frame.height} are too small to be reduced by {scale}")
    shift, format = frame.format.depth - 8, frame.format.opaque
    across, down = SUBSAMPLING.get(format.chroma, (1, 1))
    sides = [(height, width), *[(height // down, width // across)] * 2]
    half = (1 << shift) >> 1
    return tuple(
        np.minimum((plane[:rows, :columns].astype(np.uint32) + half) >> shift, 255).astype(np.uint8)
        for plane, (rows, columns) in zip(frame.planes, sides, strict=False)
    )
