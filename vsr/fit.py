"""Upscaled frames to what the encoder takes: its samples and its one size, whatever the input changes to on its way.

A picture of another size is stretched to the first one's, as players do, unless its shape (display aspect ratio)
differs by more than a hundredth: then it keeps its shape, and black is put around it, clear where there is alpha.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Protocol, cast

import numpy as np
from av.video.frame import VideoFrame

from vsr.colour import tag_frame
from vsr.convert import copy_out, relaid, rescaled, samples, with_chroma
from vsr.encoders import handed
from vsr.frame import FULL, SUBSAMPLING, Frame, PlanarFormat, Plane, Planes, TrackFacts
from vsr.job import Encoder

Size = tuple[int, int]
SAME_SHAPE = Fraction(1, 100)  # beyond this a change of shape is seen


class First(Protocol):
    """The first frame of the source."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def facts(self) -> TrackFacts: ...


class Aim(Protocol):
    """What frames are fitted to; a Job is one. See there."""

    @property
    def source(self) -> First: ...
    @property
    def encoder(self) -> Encoder | None: ...
    @property
    def upscaled(self) -> Size: ...
    @property
    def size(self) -> Size: ...


def picture(frame: Frame, job: Aim) -> VideoFrame:
    """The frame as the job's encoder takes it, tags on."""
    encoder = job.encoder
    assert encoder is not None
    stored = PlanarFormat.of(encoder.pix_fmt)
    assert stored is not None
    made = _made(frame, job, stored, (encoder.width, encoder.height))
    tag_frame(made, frame.facts.colour)
    samples_as = handed(encoder.codec, encoder.pix_fmt)
    if made.format.name != samples_as:
        made = relaid(made, format=samples_as)
        tag_frame(made, frame.facts.colour)
    return made


def frame(given: Frame, job: Aim) -> Frame:
    """The frame at the job's size, for sinks that can't change size. It is the given one's to release."""
    (width, height), aspect = job.size, job.source.facts.aspect * Fraction(job.upscaled[0], job.upscaled[1])
    facts = replace(given.facts, aspect=aspect * Fraction(height, width))
    return replace(given, width=width, height=height, planes=planes(given, job), facts=facts)


def planes(frame: Frame, job: Aim) -> Planes:
    """The frame's samples at the job's size; its own where it has it."""
    if inside(frame, job, job.size) == job.size == (frame.width, frame.height):
        return frame.planes
    made = samples(_made(frame, job, frame.format, job.size), frame.format)
    return cast(Planes, tuple(np.ascontiguousarray(plane) for plane in made))


def inside(frame: Frame, job: Aim, size: Size) -> Size:
    """How large the frame is within a picture of `size`: all of it, unless its shape differs from the first frame's."""
    shape, first = (f.aspect * Fraction(w, h) for f, w, h in (
        (frame.facts, frame.width, frame.height),
        (job.source.facts, job.source.width, job.source.height),
    ))  # fmt: skip
    wider = shape / first
    if abs(wider - 1) <= SAME_SHAPE:
        return size
    across, down = (size[0], size[1] / wider) if wider > 1 else (size[0] * wider, size[1])
    return max(2, min(size[0], round(across / 2) * 2)), max(2, min(size[1], round(down / 2) * 2))


def _made(frame: Frame, job: Aim, format: PlanarFormat, size: Size) -> VideoFrame:
    """The frame as planes of `format` in a picture of `size`."""
    given = _in_colour(frame, format)
    inner, same = inside(frame, job, size), (frame.width, frame.height) == job.upscaled
    if given.format == format and same and inner == size and _padded(job.upscaled, size):
        whole = VideoFrame(*size, format.pix_fmt)
        copy_out(given.planes, whole)
        return whole
    resized = _resized(given, format.opaque, inner)
    if inner == size and not format.alpha:
        return resized
    whole = VideoFrame(*size, format.pix_fmt)
    _paint(samples(whole, format), format, full=frame.facts.colour.range == FULL)
    parts = samples(resized, format.opaque)
    if format.alpha:
        parts += (_opacity(given, format, inner),)
    left, top = ((outer - part) // 4 * 2 for outer, part in zip(size, inner, strict=True))  # even: chroma follows
    for target, part in zip(samples(whole, format), parts, strict=True):
        across, down = (1, 1) if part.shape == inner[::-1] else SUBSAMPLING[format.chroma]
        rows, columns = part.shape
        target[top // down :, left // across :][:rows, :columns] = part
    return whole


def _in_colour(frame: Frame, format: PlanarFormat) -> Frame:
    """Grey gets chroma planes where `format` has them."""
    if frame.format.chroma != "grey" or format.chroma == "grey":
        return frame
    made, planes = with_chroma(frame.format, frame.planes, format.chroma)
    return replace(frame, format=made, planes=planes)


def _resized(frame: Frame, format: PlanarFormat, size: Size) -> VideoFrame:
    """The picture without its opacity, by swscale where anything differs."""
    bare = VideoFrame(frame.width, frame.height, frame.format.opaque.pix_fmt)
    copy_out(frame.planes[: len(frame.planes) - frame.format.alpha], bare)
    tag_frame(bare, frame.facts.colour)
    return relaid(bare, width=size[0], height=size[1], format=format.pix_fmt, interpolation="LANCZOS")


def _opacity(frame: Frame, format: PlanarFormat, size: Size) -> Plane:
    """The opacity in bits of `format`, full where the frame has none; between its neighbours where it is resized."""
    depth = format.depth
    if not frame.format.alpha:
        return np.full(size[::-1], format.white, format.dtype)
    plane = rescaled(frame.planes[-1], frame.format.depth, depth)
    if size == (frame.width, frame.height):
        return plane
    grey = PlanarFormat(chroma="grey", depth=depth)
    before = VideoFrame(frame.width, frame.height, grey.pix_fmt)
    copy_out((plane,), before)
    return samples(before.reformat(*size, interpolation="BILINEAR", threads=1), grey)[0]


def _paint(planes: Planes, format: PlanarFormat, *, full: bool) -> None:
    """Black, and clear."""
    planes[0].fill(0 if full else 16 << (format.depth - 8))
    for plane in planes[1:3] if format.chroma != "grey" else ():
        plane.fill(1 << (format.depth - 1))
    if format.alpha:
        planes[-1].fill(0)


def _padded(given: Size, size: Size) -> bool:
    """Whether `size` is the one given, at most one sample larger to be even."""
    return size[0] - given[0] in (0, 1) and size[1] - given[1] in (0, 1)
