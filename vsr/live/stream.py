"""Source: a camera, a stream or a file at its own pace, with its sound; a stream that breaks off is connected again."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from threading import Event
from typing import TYPE_CHECKING, Any

from vsr.colour import read_facts
from vsr.decode import Timeline
from vsr.demux import READ_ERRORS, video_stream
from vsr.errors import InputError
from vsr.limits import LIMITS, check_size
from vsr.live.feeds import Feed, why
from vsr.live.intake import Intake
from vsr.live.playout import Playout
from vsr.live.protocol import RATE, Captured, Sound
from vsr.prefetch import prefetch
from vsr.report import Report
from vsr.settings import Limits

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from vsr.frame import TrackFacts

FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0  # seconds between attempts to connect again; doubled each time
PATIENCE = 60.0  # seconds without a frame after which a lost stream is given up
LATE = 0.5  # seconds behind its pace after which a file begins it anew
MOST = 480  # frames a second
AHEAD = 512  # packets of a network that may wait for their time


class Broken(Exception):
    """A connection ended, or said nothing for too long."""


@dataclass(frozen=True)
class Join:
    """Where one connection's time goes on from the one's before.

    Args:
        seconds: presentation time of its last packet.
        at: when that had come.
    """

    seconds: Fraction
    at: float


class StreamSource:
    """Frames and sound of a feed, as `vsr.live.protocol.Source`.

    Args:
        limits: its `timeout` is how long a stream may say nothing.
        say: is told of every break, and of damage, once each.
        patience: seconds without a frame after which a stream is given up.

    Raises:
        InputError: it can't be opened, or has no video.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        limits: Limits = LIMITS,
        say: Callable[[str], None] = lambda line: None,
        patience: float = PATIENCE,
    ) -> None:
        self._feed, self._limits, self._say, self._patience = feed, limits, say, patience
        self._container: InputContainer | None = feed.open()
        video = video_stream(self._container, feed.label, limits)
        rate = video.average_rate
        self.rate = Fraction(rate) if rate and rate <= MOST else None  # some name the ticks of their clock
        width, height = video.codec_context.width, video.codec_context.height
        self.label = f"{feed.label} {width}x{height}" if width else feed.label  # not known before a key frame
        self.sound: Any = next(iter(self._container.streams.audio), None)
        self._paced = feed.paced or not feed.lasting and bool(self._container.duration)  # of a known end, it isn't live
        self._intake, self._closed, self._report = Intake(), Event(), Report()
        self._number = 0
        self._join: Join | None = None
        self._start: tuple[float, float] | None = None  # of a paced one: when it began, and at which time
        self._playout = Playout()

    @property
    def leased(self) -> int:
        """Frames nobody has released yet."""
        return self._intake.leased

    def frames(self) -> Iterator[Captured | Sound]:
        """Ends within the timeout after `close`. Raises InputError after `patience` seconds in vain."""
        while (container := self._container or self._again()) is not None:
            try:
                yield from self._connection(container)
                if not self._feed.lasting:
                    return
                raise Broken("the sender has ended")
            except Broken as broken:
                if not self._feed.lasting:
                    raise InputError(f"{self._feed.label}: {broken}") from broken
                if not self._closed.is_set():
                    self._say(f"{self._feed.label}: {broken}; connecting again")
            finally:
                container.close()
                self._container = None

    def _again(self) -> InputContainer | None:
        """A new connection; None once the source is closed. Raises InputError when patience is at its end."""
        begin, wait = time.monotonic(), FIRST_WAIT
        while not self._closed.wait(wait):
            try:
                container = self._feed.open()
            except InputError as error:
                if time.monotonic() - begin > self._patience:
                    raise InputError(f"{error}; given up after {self._patience:g} s") from error
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                self._say(f"{self._feed.label}: connected again")
                return container
        return None

    def _connection(self, container: InputContainer) -> Iterator[Captured | Sound]:
        video = video_stream(container, self._feed.label, self._limits)
        sound = next(iter(container.streams.audio), None) if self.sound is not None else None
        track = _Track(video, self._feed.label, self._limits)
        coming = self._packets(container, [video, *([sound] if sound else [])])
        with closing(prefetch(coming, AHEAD if self._feed.sent else 0)) as packets:
            for packet in packets:
                if packet.stream is not video:
                    yield Sound(packet, time.monotonic())
                    continue
                for picture in self._decoded(video, packet):
                    yield self._captured(track, picture)
        for picture in self._decoded(video, None):
            yield self._captured(track, picture)

    def _packets(self, container: InputContainer, streams: list[Any]) -> Generator[Packet[Any]]:
        """Of one connection, their times going on from the last one's."""
        times, coming = _Times(self._join, lasting=self._feed.lasting), container.demux(streams)
        while not self._closed.is_set():
            try:
                packet = next(coming, None)
            except READ_ERRORS as error:
                raise Broken(why(error, self._limits)) from error
            if packet is None:
                return
            if packet.size and times.place(packet):
                self._join = times.join
                if packet.stream.type == "video" and packet.pts is not None:
                    self._playout.came(float(packet.pts * packet.time_base), time.monotonic())
                yield packet

    def _decoded(self, video: VideoStream, packet: Packet[Any] | None) -> list[VideoFrame]:
        try:
            return video.codec_context.decode(packet)
        except READ_ERRORS as error:
            if not self._report.damaged_packets:
                self._say(f"{self._feed.label}: damaged ({why(error, self._limits)}); going on")
            self._report.damaged(f"frame {self._number}")
            return []

    def _captured(self, track: _Track, picture: VideoFrame) -> Captured:
        self._pace(track.seconds(picture))
        at, number = time.monotonic(), self._number
        self._number += 1
        pts, duration = track.stamp(picture)
        frame = self._intake.frame(picture, track.facts(picture), pts, track.timeline.time_base, duration)
        return Captured(frame, at, number)

    def _pace(self, seconds: Fraction | None) -> None:
        """Waits until a frame of a file or a network is due."""
        if seconds is not None and self._paced:
            self._closed.wait(self._until_due(float(seconds), time.monotonic()))
        elif seconds is not None and self._feed.sent:
            self._closed.wait(self._playout.wait(float(seconds), time.monotonic()))

    def _until_due(self, seconds: float, now: float) -> float:
        """Of a file's frame, by its own clock."""
        if self._start is None or self._start[0] + seconds - self._start[1] < now - LATE:  # nobody asked for a while
            self._start = now, seconds
        begin, first = self._start
        return max(0.0, begin + seconds - first - now)

    def close(self) -> None:
        self._closed.set()


class _Times:
    """Puts a connection's times behind those of the one before: the time nothing came counts.

    A stream's own beginning says nothing, and the first packets that come by RTSP may have no time at all: both go by
    when they arrived.
    """

    def __init__(self, join: Join | None, *, lasting: bool) -> None:
        self.join, self._lasting = join, lasting
        self._shift: Fraction | None = None
        self._timed: set[int] = set()  # tracks that have had a time

    def place(self, packet: Packet[Any]) -> bool:
        """Moves a packet's times; False for sound without one, which can't be placed exactly enough."""
        time_base, now = packet.time_base, time.monotonic()
        stamp = packet.pts if packet.pts is not None else packet.dts
        if self.join is None:
            self.join = Join(Fraction(0) if self._lasting or stamp is None else stamp * time_base, now)
        arrival = self.join.seconds + Fraction(now - self.join.at).limit_denominator(1000)
        if stamp is None:
            if packet.stream.index not in self._timed:
                packet.pts = packet.dts = round(arrival / time_base)
            return bool(packet.stream.type == "video")
        self._timed.add(packet.stream.index)
        if self._shift is None:
            self._shift = arrival - stamp * time_base
        ticks = round(self._shift / time_base)
        packet.pts, packet.dts = (t if t is None else t + ticks for t in (packet.pts, packet.dts))
        self.join = Join(stamp * time_base + self._shift, now)
        return True


class _Track:
    """What is to know of a connection's video track."""

    def __init__(self, video: VideoStream, name: str, limits: Limits) -> None:
        self._video, self._name, self._limits = video, name, limits
        time_base = video.time_base or Fraction(1, 90_000)
        rate = video.average_rate or RATE
        self.timeline = Timeline(time_base, None, max(1, round(1 / (rate * time_base))))
        self._facts: TrackFacts | None = None
        self._size = (0, 0)

    def facts(self, picture: VideoFrame) -> TrackFacts:
        """Read anew at each new size. Raises InputError for one that is over the limit."""
        size = (picture.width, picture.height)
        if self._facts is None or size != self._size:
            check_size(self._name, *size, self._limits)
            self._facts, self._size = read_facts(self._video, picture), size
        return self._facts

    def stamp(self, picture: VideoFrame) -> tuple[int, int]:
        return self.timeline.stamp(picture.pts, picture.dts, picture.duration)

    def seconds(self, picture: VideoFrame) -> Fraction | None:
        """When it is to be shown, as it says itself."""
        stamp = picture.pts if picture.pts is not None else picture.dts
        return None if stamp is None else stamp * self.timeline.time_base
