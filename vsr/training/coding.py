"""What frames are after a real encoder and decoder, in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from av.video.frame import PictureType
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av.packet import Packet
    from av.stream import Stream
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame

Plane = NDArray[np.uint8]

DECODERS = {"libx264": "h264", "libx265": "hevc", "libsvtav1": "libdav1d"}
NEUTRAL = 128
# One thread each and nothing on standard error: the same bits at every run. With AVX-512 x264's macroblock tree reads
# what nobody wrote; SSE2 is in every x86-64.
QUIET: Mapping[str, Mapping[str, str]] = {
    "libx264": {"x264-params": "asm=SSE2"},
    "libx265": {"x265-params": "log-level=error:pools=none:frame-threads=1"},
    "libsvtav1": {"svtav1-params": "lp=1"},
}


@dataclass(frozen=True)
class Decoded:
    """A frame as a decoder shows it.

    Args:
        index: its place among the frames that were coded.
        type: I, P or B as the stream says; AV1 calls all that isn't I a P.
        luma: as large as what was coded.
    """

    index: int
    type: str
    luma: Plane


@dataclass(frozen=True)
class Coding:
    """An encoder of DECODERS and its options."""

    encoder: str
    options: Mapping[str, str] = field(default_factory=dict)
    rate: Fraction = Fraction(25)

    def packets(self, frames: Sequence[Plane]) -> Iterator[Packet[Stream]]:
        """The stream of 4:2:0 `frames`, as `with_chroma` makes them; pts count frames."""
        os.environ.setdefault("SVT_LOG", "1")
        encoder = cast("VideoCodecContext", av.CodecContext.create(self.encoder, "w"))
        rows, encoder.width = frames[0].shape
        encoder.height, encoder.pix_fmt = rows * 2 // 3, "yuv420p"
        encoder.time_base, encoder.framerate = 1 / self.rate, self.rate
        encoder.thread_count = 1
        encoder.options = {**QUIET[self.encoder], **self.options}
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="yuv420p")
            picture.pts, picture.time_base = index, 1 / self.rate
            yield from encoder.encode(picture)
        yield from encoder.encode(None)

    def decoded(self, packets: Iterator[Packet[Stream]]) -> Iterator[Decoded]:
        """What a player shows of the stream, in the order of presentation."""
        decoder = cast("VideoCodecContext", av.CodecContext.create(DECODERS[self.encoder], "r"))
        decoder.thread_count = 1
        for packet in packets:
            yield from map(_decoded, decoder.decode(packet))
        yield from map(_decoded, decoder.decode(None))


def with_chroma(luma: Plane) -> Plane:
    """(3/2 height, width): a plane of even sides as 4:2:0 without colour."""
    height, width = luma.shape
    return np.concatenate([luma, np.full((height // 2, width), NEUTRAL, np.uint8)])


def luma_of(frame: VideoFrame) -> Plane:
    """The luma of a frame of 8-bit 4:2:0."""
    plane = frame.planes[0]
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width].copy()


def _decoded(frame: VideoFrame) -> Decoded:
    assert frame.pts is not None
    return Decoded(frame.pts, PictureType(frame.pict_type).name, luma_of(frame))
