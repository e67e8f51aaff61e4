"""Packets to frames: a packet that can't be decoded is skipped and counted, time is carried over."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import av

from vsr import sidedata
from vsr.changes import Changes
from vsr.convert import copy_in, planar_format
from vsr.demux import READ_ERRORS
from vsr.frame import Colour, Frame, FramePools, Memory, PlanarFormat, TrackFacts
from vsr.report import Report
from vsr.surface import Surface, SurfaceLease

if TYPE_CHECKING:
    from av.packet import Packet
    from av.stream import Stream
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
SurfaceOf = Callable[["VideoFrame", PlanarFormat, Colour | None], Surface | None]
SLIP = 16  # frames; a time farther back is no slip but another clock


def is_hidden(codec: str, packet: Packet[Stream]) -> bool:
    """Whether a packet holds a frame that is never shown, only predicted from (show_frame of RFC 6386 9.1, VP9 7.2).

    VP9 keeps such a frame in the packet of a shown one (a superframe) or, where the writer didn't, by itself.
    """
    content = memoryview(packet)
    if codec == "vp8":
        return not content[0] & 0x10
    if codec != "vp9" or content[0] >> 6 != 2 or content[-1] >> 5 == 6:
        return False
    deep = (content[0] >> 4 & 3) == 3  # profile 3 has one bit more
    again, _, shown = (content[0] >> place - deep & 1 for place in (3, 2, 1))
    return not again and not shown


def pictures(
    stream: VideoStream,
    packets: Iterable[Packet[Stream]],
    report: Report,
    since: int | None = None,
    *,
    alpha: bool = False,
) -> Iterator[VideoFrame]:
    """Decoded pictures in presentation order, the ones still inside the decoder at the end included.

    What is wrong with packets shown before `since` (ticks) is not told: they only lead in.

    Args:
        alpha: with the alpha that VP8 and VP9 keep apart from the picture.
    """
    decoder = _with_alpha(stream) if alpha and keeps_alpha_apart(stream) else stream.codec_context
    for packet in packets:
        leads_in = since is not None and packet.pts is not None and packet.pts < since
        with report.stage("decode"):
            decoded = _decode(decoder, packet, Report() if leads_in else report)
        yield from decoded
    yield from _decode(decoder, None, report)


def keeps_alpha_apart(stream: VideoStream) -> bool:
    """Whether a track has alpha that FFmpeg's own decoders of VP8 and VP9 pass over: as Matroska's AlphaMode says."""
    modes = {value for key, value in stream.metadata.items() if key.lower() == "alpha_mode"}
    return "1" in modes and stream.codec_context.name in ALPHA_DECODERS


def _with_alpha(stream: VideoStream) -> VideoCodecContext:
    """The decoder that gives alpha, bound by the limits of the track's own."""
    own = stream.codec_context
    decoder: VideoCodecContext = av.CodecContext.create(ALPHA_DECODERS[own.name], "r")  # type: ignore[assignment]
    decoder.extradata, decoder.options, decoder.thread_count = own.extradata, dict(own.options), 0
    return decoder


def _decode(decoder: VideoCodecContext, packet: Packet[Stream] | None, report: Report) -> list[VideoFrame]:
    try:
        return decoder.decode(packet)
    except READ_ERRORS as error:
        where = "at the end" if packet is None else f"packet at pts {packet.pts}"
        report.damaged(f"{where}: {getattr(error, 'strerror', None) or error}")
        return []


class Timeline:
    """Gives every picture its pts and duration.

    pts is the decoder's, else its dts, else the previous frame's end. The result rises strictly: a frame that repeats
    the last one's time or falls a little behind it comes one tick later, so that the frames after it keep theirs; one
    that falls far behind (spliced or reset clocks) follows at the end of the last. Where the container
    keeps no usable timestamps (`rate` given) a frame's number over the rate is the only truth.

    Args:
        time_base: seconds per tick.
        rate: frames per second when timestamps are not to be used, else None.
        nominal: duration in ticks of a frame that carries none.
    """

    def __init__(self, time_base: Fraction, rate: Fraction | None, nominal: int) -> None:
        self.time_base, self._rate, self._nominal = time_base, rate, nominal
        self._end: int | None = None
        self._last: int | None = None
        self._count = 0
        self.repaired = 0

    def stamp(self, pts: int | None, dts: int | None, duration: int) -> tuple[int, int]:
        """(pts, duration) of the next picture, in ticks."""
        if self._rate is not None:
            start, end = (round(n / self._rate / self.time_base) for n in (self._count, self._count + 1))
            self._count += 1
            return start, end - start
        given = pts if pts is not None else dts if dts is not None else self._end if self._end is not None else 0
        if self._last is not None and given <= self._last:
            slipped = self._last - given < SLIP * self._nominal
            given = self._last + 1 if slipped else max(self._last + 1, self._end or 0)
            self.repaired += 1
        length = duration or self._nominal
        self._last, self._end = given, given + length
        return given, length


def in_memory(picture: VideoFrame, format: PlanarFormat, colour: Colour | None) -> None:
    """No picture stays on a GPU."""


class FrameSource:
    """Pictures to frames in planar buffers of its own.

    Args:
        timeline: gives pts and durations.
        facts: what holds for the whole track.
        report: counts frames, time and damage.
        format: of every frame, in the range and matrix of `facts`, whatever the pictures change to; None: each
            picture's own, without alpha.
        changes: is told of every picture.
        memory: where samples go; None: any.
        surface_of: the surface of a picture that stays on a GPU, None of one whose samples are to be copied.
    """

    def __init__(
        self,
        timeline: Timeline,
        facts: TrackFacts,
        report: Report,
        format: PlanarFormat | None = None,
        changes: Changes | None = None,
        memory: Memory | None = None,
        surface_of: SurfaceOf = in_memory,
    ) -> None:
        self._timeline, self._facts, self._report, self._format = timeline, facts, report, format
        self._colour = facts.colour if format else None
        self._changes = changes or Changes(report, lambda: facts.aspect)
        self._pools, self._surface_of = FramePools(memory), surface_of

    def frames(self, pictures: Iterable[VideoFrame]) -> Iterator[Frame]:
        """One frame a picture, in order; the consumer releases each."""
        try:
            for index, picture in enumerate(pictures):
                format = self._format or planar_format(picture.format)
                with self._report.stage("copy in"):
                    surface = self._surface_of(picture, format, self._colour)
                    planes, lease = self._pools.take(format, picture.width, picture.height)
                    if surface is None:
                        copy_in(picture, format, planes, self._colour)
                    else:
                        lease = SurfaceLease(lease, surface.close)
                pts, duration = self._timeline.stamp(picture.pts, picture.dts, picture.duration)
                aspect = self._changes.seen(picture, index, float(pts * self._timeline.time_base))
                self._report.frames_decoded += 1
                yield Frame(
                    format=format,
                    width=picture.width,
                    height=picture.height,
                    planes=planes,
                    pts=pts,
                    duration=duration,
                    time_base=self._timeline.time_base,
                    index=index,
                    key=bool(picture.key_frame),
                    corrupt=bool(picture.is_corrupt),
                    interlaced=bool(picture.interlaced_frame),
                    side_data=sidedata.changing(picture),
                    facts=self._facts if aspect == self._facts.aspect else replace(self._facts, aspect=aspect),
                    lease=lease,
                    surface=surface,
                )
        finally:
            self._changes.close()
            if self._timeline.repaired:
                what = "of the frames came without one, or with one not later than the frame before"
                self._report.note(f"times repaired: {self._timeline.repaired} {what}")

    def close(self) -> None:
        """Frees the buffers; RuntimeError when a frame was never released."""
        self._pools.close()


def in_range(frames: Iterable[Frame], begin: int, end: int | None, report: Report) -> Generator[Frame]:
    """The frames with begin <= pts < end; damage in others isn't told."""
    for frame in frames:
        if frame.pts < begin:
            frame.release()
        elif end is not None and frame.pts >= end:
            frame.release()
            return
        else:
            if frame.corrupt:
                report.damaged(f"frame at pts {frame.pts} is damaged; kept as the decoder concealed it")
            yield frame


def lasting(frames: Iterable[Frame], end: int | None) -> Generator[Frame]:
    """The same frames, each lasting until the next one, the last until `end` (as it is where that is None).

    A packet's own duration can't be trusted: MP4 keeps the distance to the packet decoded next, not to the frame shown
    next, and Matroska often none.
    """
    held: Frame | None = None
    try:
        for frame in frames:
            ready, held = held, frame
            if ready is not None:
                yield replace(ready, duration=frame.pts - ready.pts)
        if held is not None:
            ready, held = held, None
            yield ready if end is None or end <= ready.pts else replace(ready, duration=end - ready.pts)
    finally:
        if held is not None:
            held.release()
