"""Interlaced pictures: told from whole ones by FFmpeg's idet, made whole by its bwdif, one frame for each."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING, Any, Literal

import av.error
from av.filter import Graph

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

# How pictures are scanned: whole; as each one's flag says; all woven, the top or the bottom field first.
Fields = Literal["", "flagged", "tff", "bff"]

LINES = frozenset({480, 486, 512, 576, 608, 1080, 1088})  # of interlaced standards, with what some codecs add
RATES = (Fraction(25), Fraction(30000, 1001), Fraction(30))
FLAGGED_LATE = 8  # frames: field-coded H.264 may begin with a whole one
SAMPLED = 200  # frames that idet sees at most
ENOUGH = 48  # of them told apart, and it stops
SMALLEST = (6, 8)  # width, height that bwdif takes in 4:2:0
LEAST = 4  # woven ones that are no accident
# Tape and capture codecs, whose files often lack the flag; of the others only those in broadcast containers do.
TAPE = frozenset(
    {"mpeg2video", "dvvideo", "prores", "dnxhd", "rawvideo", "v210", "v410", "ffv1", "huffyuv", "ffvhuff", "utvideo"}
)
BROADCAST = frozenset({"mpegts", "mxf", "avi", "mpeg"})


def fields(pictures: Iterator[VideoFrame], codec: str, container: str, rate: Fraction, *, thorough: bool) -> Fields:
    """How the pictures of a track are scanned, by its first frames; as few are taken as tell.

    A frame flagged as interlaced decides. Where none is, pictures of interlaced standards from sources that often lose
    the flag are shown to idet; ordinary clips aren't, because it costs decoding them.

    Args:
        pictures: from the first one on.
        codec, container: FFmpeg's names.
        rate: frames per second.
        thorough: show any source to idet.
    """
    first = next(pictures, None)
    if first is None or first.interlaced_frame:
        return "flagged" if first is not None else ""
    standard = first.height in LINES and any(abs(rate / known - 1) < Fraction(1, 200) for known in RATES)
    early = [first, *islice(pictures, FLAGGED_LATE - 1)] if standard or thorough else [first]
    if any(picture.interlaced_frame for picture in early):
        return "flagged"
    suspect = standard and (codec in TAPE or container in BROADCAST)
    return woven(chain(early, pictures)) if suspect or thorough else ""


def woven(pictures: Iterable[VideoFrame]) -> Fields:
    """What idet sees in the first pictures of one size: "tff" or "bff" where a quarter of those it tells are woven.

    A quarter, because film stretched to 30 frames a second (3:2 pulldown) has two such frames in five.
    """
    counts = {"tff": 0.0, "bff": 0.0, "progressive": 0.0}
    _, alike = next(groupby(islice(pictures, SAMPLED), _layout), (None, ()))
    for picture in _filtered(alike, "idet", ""):
        counts = {kind: float(picture.metadata[f"lavfi.idet.multiple.{kind}"]) for kind in counts}
        if sum(counts.values()) >= ENOUGH:
            break
    combed = counts["tff"] + counts["bff"]
    if combed < LEAST or combed * 4 < sum(counts.values()):
        return ""
    return "tff" if counts["tff"] >= counts["bff"] else "bff"


def deinterlaced(pictures: Iterable[VideoFrame], scanned: Fields) -> Iterator[VideoFrame]:
    """The same pictures, whole: one for each, in order, at its own time; bwdif sees the one before and the one after.

    Pictures that aren't flagged as interlaced stay as they are, but for "tff" and "bff"; so do those too small for
    bwdif.
    """
    which = f"parity={scanned}:deint=all" if scanned in ("tff", "bff") else "parity=auto:deint=interlaced"
    for (width, height, _), alike in groupby(pictures, _layout):
        if width < SMALLEST[0] or height < SMALLEST[1]:
            yield from alike
        else:
            yield from _filtered(alike, "bwdif", f"mode=send_frame:{which}")


def _layout(picture: VideoFrame) -> tuple[int, int, str]:
    """What a filter graph is made for: another one would read past the end of a smaller picture."""
    return picture.width, picture.height, picture.format.name


def _filtered(pictures: Iterable[VideoFrame], filter: str, options: str) -> Iterator[VideoFrame]:
    """Pictures of one size and format through a filter that gives one for each, which gets its time back exactly."""
    graph, times = None, deque[tuple[Any, ...]]()
    for picture in pictures:
        graph = graph or _graph(picture, filter, options)
        times.append((picture.pts, picture.dts, picture.duration))
        graph.vpush(picture)
        yield from _ready(graph, times)
    if graph is not None:
        graph.vpush(None)
        yield from _ready(graph, times)


def _graph(like: VideoFrame, filter: str, options: str) -> Graph:
    graph = Graph()
    ticks = Fraction(1, 1000)  # of no account: every picture gets its own time back
    source = graph.add_buffer(width=like.width, height=like.height, format=like.format, time_base=ticks)
    graph.link_nodes(source, graph.add(filter, options), graph.add("buffersink")).configure()
    return graph


def _ready(graph: Graph, times: deque[tuple[Any, ...]]) -> Iterator[VideoFrame]:
    while True:
        try:
            picture = graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        picture.pts, picture.dts, picture.duration = times.popleft()
        yield picture
