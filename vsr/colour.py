"""Colour tags, HDR metadata, aspect and rotation of a track: read from the decoder, written on, never converted."""

from __future__ import annotations

import struct
from fractions import Fraction
from math import hypot
from typing import TYPE_CHECKING

from vsr import sidedata
from vsr.convert import is_rgb
from vsr.frame import Colour, TrackFacts
from vsr.siting import read_location

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

BT709, UNSPECIFIED = 1, 2  # matrix coefficients, H.273 table 4
GREY = ("gray", "ya", "mono")  # as FFmpeg's names of such formats begin
ROUNDING = 2  # in 65536
UPRIGHT = (65536, 0, 0, 0, 65536, 0, 0, 0, 1073741824)


def read_facts(stream: VideoStream, frame: VideoFrame) -> TrackFacts:
    """Facts of a track from its first decoded frame.

    What the decoder leaves open the container may say: libvpx passes over primaries and transfer. FFmpeg's `yuvj`
    formats mean full range, and so does grey that nobody tagged: FFmpeg shows it so. RGB frames are described as what
    `convert.copy_in` makes of them.
    """
    full = frame.format.name.startswith("yuvj") or frame.format.name.startswith(GREY) and not int(frame.color_range)
    rgb, said, track = is_rgb(frame.format), sidedata.raw(frame), stream.codec_context
    return TrackFacts(
        colour=Colour(
            range=1 if rgb else 2 if full else int(frame.color_range),
            primaries=_known(frame.color_primaries, track.color_primaries),
            transfer=_known(frame.color_trc, track.color_trc),
            matrix=BT709 if rgb else _known(frame.colorspace, track.colorspace),
            chroma_location=read_location(stream, frame),
        ),
        aspect=aspect(stream),
        display_matrix=_display_matrix(said.get("DISPLAYMATRIX")),
        mastering=sidedata.mastering(said.get(sidedata.MASTERING)),
        light=sidedata.light(said.get(sidedata.LIGHT)),
        ambient=sidedata.ambient(said.get(sidedata.AMBIENT)),
        stereo=sidedata.stereo(said.get(sidedata.STEREO)),
    )


def _known(decoded: int, stated: int) -> int:
    """What the decoder says, else the container. 0 is reserved; as a matrix it is RGB, and grey PNG says that."""
    return int(stated if decoded == UNSPECIFIED else decoded) or UNSPECIFIED


def aspect(stream: VideoStream) -> Fraction:
    """Sample aspect ratio as the container says, else the codec; 1 where neither does."""
    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    return Fraction(aspect) if aspect and aspect > 0 else Fraction(1)


def _display_matrix(data: bytes | None) -> tuple[int, ...] | None:
    if data is None:
        return None
    matrix = struct.unpack("=9i", data[:36])
    return None if matrix == UPRIGHT or not any(turn(matrix) or UPRIGHT) else matrix  # zeros say nothing


def moved(matrix: tuple[int, ...] | None, across: Fraction, down: Fraction) -> tuple[int, ...] | None:
    """The display matrix for a picture resized by these factors: turned alike, its shift in pixels resized."""
    if matrix is None:
        return None
    return (*matrix[:6], _fitting(matrix[6] * across), _fitting(matrix[7] * down), matrix[8])


def _fitting(value: Fraction) -> int:
    """The nearest number of 32 bits."""
    return max(-(1 << 31), min(round(value), (1 << 31) - 1))


def turn(matrix: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The part of a display matrix that turns and mirrors, None for upright; not every container keeps the shift."""
    part = None if matrix is None else (*matrix[0:2], *matrix[3:5])
    return None if part == (*UPRIGHT[0:2], *UPRIGHT[3:5]) else part


def is_rigid(matrix: tuple[int, ...] | None) -> bool:
    """Whether a display matrix only turns and mirrors, without stretching, to the precision of sines in 16.16."""
    a, b, c, d = turn(matrix) or (*UPRIGHT[0:2], *UPRIGHT[3:5])
    long = all(abs(hypot(*row) - UPRIGHT[0]) <= ROUNDING for row in ((a, b), (c, d)))
    return long and abs(a * c + b * d) <= ROUNDING * UPRIGHT[0]


def write_tags(context: VideoCodecContext, colour: Colour) -> None:
    """Sets range, primaries, transfer and matrix of an encoder that isn't open yet."""
    context.color_range = colour.range
    context.color_primaries = colour.primaries
    context.color_trc = colour.transfer
    context.colorspace = colour.matrix


def tag_frame(frame: VideoFrame, colour: Colour) -> None:
    """Puts the tags on a frame too: several encoders read them there."""
    frame.color_range = colour.range
    frame.color_primaries = colour.primaries
    frame.color_trc = colour.transfer
    frame.colorspace = colour.matrix
