"""Text subtitles from one form into another: decoded to ASS events, shown at the same times, encoded again."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
from av.subtitles.subtitle import SubtitleSet

from vsr.demux import READ_ERRORS
from vsr.report import Report

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet
    from av.stream import Stream

    from vsr.job import Source

TEXT = frozenset({"srt", "subrip", "ass", "ssa", "mov_text", "webvtt", "text"})
ONE_AT_A_TIME = "mov_text"  # its samples follow one another: 3GPP TS 26.245 5.1
AT_ONCE = 64  # cues; no screen has room for as many, and each is repeated in all that overlap it
UNTIMED = Fraction(3)  # s that a cue is shown which says nothing of its end
EVENT = b"0,0,Default,,0,0,0,,"  # an ASS event's fields before its text, as FFmpeg writes them
OVERRIDE = re.compile(rb"\{\\[^}]*\}")
# What encoders would write as it is: a hard space, then what FFmpeg's WebVTT decoder makes of a brace and a backslash.
ESCAPED = {b"\\h": b"\xc2\xa0", b"\\{{}": b"{", b"\\\xe2\x81\xa0": b"\\"}
DRAWING = re.compile(rb"\\p[1-9]")


@dataclass(frozen=True)
class Cue:
    """Text in ASS's notation and when it is shown, in seconds."""

    start: Fraction
    end: Fraction
    text: bytes

    @property
    def plain(self) -> str:
        """What is read, without styles; lines and spaces as one space."""
        bare = OVERRIDE.sub(b"", self.text).replace(b"\\N", b" ").replace(b"\\n", b" ")
        return " ".join(bare.decode(errors="replace").split())


def decode(stream: Stream, packet: Packet[Any], report: Report) -> Cue | None:
    """The cue of a packet; None for one that shows nothing, draws, or can't be decoded, which is counted."""
    context: Any = stream.codec_context
    time = packet.pts if packet.pts is not None else packet.dts
    try:
        decoded = context.decode2(packet)
    except READ_ERRORS as error:
        report.damaged(f"track {stream.index}, packet at pts {time}: {getattr(error, 'strerror', None) or error}")
        return None
    if decoded is None or time is None:
        return None
    events = [rect.ass.split(b",", 8)[-1] for rect in decoded if rect.type == b"ass"]
    start = time * packet.time_base
    length = (packet.duration or 0) * packet.time_base or Fraction(decoded.end_display_time, 1000)
    text = b"\\N".join(event for event in events if not DRAWING.search(event))
    for escape, character in ESCAPED.items():
        text = text.replace(escape, character)
    cue = Cue(start, start + (length or UNTIMED), text)
    return cue if cue.plain else None


def cut(cue: Cue, source: Source) -> Cue | None:
    """What of a cue is shown in the job's range."""
    begin, end = source.range
    start, end = max(cue.start, begin or cue.start), min(cue.end, end or cue.end)
    return Cue(start, end, cue.text) if start < end else None


class Sequence:
    """Cues that may overlap as cues that don't: where several are shown at once, one with all their lines.

    Cues come in order of their start; `push` returns those that nothing can change any more, `drain` the rest. Of
    more than `AT_ONCE` at once the oldest ends.
    """

    def __init__(self) -> None:
        self._shown: list[Cue] = []
        self._now = Fraction(0)

    def push(self, cue: Cue) -> list[Cue]:
        done = self._until(cue.start)
        self._now = max(self._now, cue.start) if self._shown else cue.start
        if cue.end > self._now:
            self._shown = [*self._shown, cue][-AT_ONCE:]
        return done

    def drain(self) -> list[Cue]:
        return self._until(max((cue.end for cue in self._shown), default=self._now))

    def _until(self, time: Fraction) -> list[Cue]:
        done = []
        while self._shown and self._now < time:
            end = min(time, *(cue.end for cue in self._shown))
            done.append(Cue(self._now, end, b"\\N".join(cue.text for cue in self._shown)))
            self._now = end
            self._shown = [cue for cue in self._shown if cue.end > end]
        return done


def in_sequence(cues: Iterable[Cue]) -> list[Cue]:
    """All of them through a `Sequence`."""
    sequence = Sequence()
    return [done for cue in cues for done in sequence.push(cue)] + sequence.drain()


def add_track(target: OutputContainer, stream: Stream, encoder: str) -> Stream:
    """Adds a track of another form. Styles of the source's header stay behind: MP4 shows some of them as nothing."""
    plain: Any = av.CodecContext.create("subrip", "r")
    plain.open()
    added: Any = target.add_stream(encoder)
    added.time_base = added.codec_context.time_base = stream.time_base
    added.codec_context.subtitle_header = plain.subtitle_header
    return added  # type: ignore[no-any-return]


class Converter:
    """One track of text: packets in, packets out.

    Args:
        stream: of the source; its decoder is used.
        target: of the output, by `add_track`; its encoder is used.
        encoder: FFmpeg's name.
        source: gives range and origin.
        report: counts packets that can't be decoded or encoded.
    """

    def __init__(self, stream: Stream, target: Stream, encoder: str, source: Source, report: Report) -> None:
        self._stream, self._target, self._encoder, self._report = stream, target, encoder, report
        self._source = source
        self._sequence = Sequence() if encoder == ONE_AT_A_TIME else None

    def push(self, packet: Packet[Any]) -> list[Packet[Any]]:
        """Packets that `packet` completed."""
        cue = decode(self._stream, packet, self._report)
        cue = cut(cue, self._source) if cue else None
        if cue is None:
            return []
        return self._encoded(self._sequence.push(cue) if self._sequence else [cue])

    def drain(self) -> list[Packet[Any]]:
        """The rest."""
        return self._encoded(self._sequence.drain() if self._sequence else [])

    def _encoded(self, cues: list[Cue]) -> list[Packet[Any]]:
        base, coded = self._stream.time_base or Fraction(1, 1000), []
        for cue in cues:
            packet = self._packet(cue)
            if packet is not None:
                start, end = (round((time - self._source.origin) / base) for time in (cue.start, cue.end))
                packet.pts = packet.dts = start
                packet.duration, packet.time_base, packet.stream = max(1, end - start), base, self._target
                packet.is_keyframe = True
                coded.append(packet)
        return coded

    def _packet(self, cue: Cue) -> Packet[Any] | None:
        text, context = cue.text, self._target.codec_context
        if self._encoder == "webvtt":  # FFmpeg's encoder leaves it to others: WebVTT 4.2.2
            text = text.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;")
        try:
            return context.encode_subtitle(SubtitleSet.create(EVENT + text, 0, 1))  # type: ignore[attr-defined,no-any-return]
        except READ_ERRORS as error:
            reason = getattr(error, "strerror", None) or error
            self._report.damaged(f"cue at {float(cue.start):.3f} s can't be stored ({reason}): left out")
            return None
