"""Writes a file's tracks again, with something wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av

from clips import end_of_picture

MUXERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".ts": "mpegts"}
TURNED = (0, 65536, 0, -65536, 0, 0, 32 << 16, 0, 1 << 30)  # a display matrix by 90 degrees
TURNED_TWICE = (*TURNED[:6], 64 << 16, 0, 1 << 30)  # and of a picture twice as large
Change = Callable[[int, int, Any], Sequence[Any]]  # stream, number in its stream, packet -> packets instead of it


def same(stream: int, number: int, packet: Any) -> Sequence[Any]:
    return (packet,)


@dataclass(frozen=True, kw_only=True)
class Rewriting:
    """What is otherwise than in the file read; by default nothing.

    Args:
        change: of packets.
        order: of the tracks but attachments; others are left out.
        languages, dispositions: of tracks.
        titles: of the file.
        chapters: None: those of the file.
        attachments: by name; None: those of the file.
        matrix: display matrix of the picture.
    """

    change: Change = same
    order: Sequence[int] | None = None
    languages: Mapping[int, str] = field(default_factory=dict)
    dispositions: Mapping[int, int] = field(default_factory=dict)
    titles: Mapping[str, str] | None = None
    chapters: list[Any] | None = None
    attachments: Mapping[str, bytes] | None = None
    matrix: tuple[int, ...] | None = None

    def write(self, path: Path, target: Path) -> Path:
        scale = {"movie_timescale": "144000000"} if path.suffix in (".mp4", ".mov") else {}
        with (
            av.open(str(path)) as one,
            av.open(str(target), "w", format=MUXERS[path.suffix], container_options=scale) as two,
        ):
            two.metadata.update(one.metadata if self.titles is None else self.titles)
            chapters = one.chapters() if self.chapters is None else self.chapters
            if chapters:
                two.set_chapters(chapters)
            streams = self._streams(one, two)
            for packet in self._packets(one, path, streams):
                two.mux_one(packet)
        return target

    def _streams(self, one: Any, two: Any) -> dict[int, Any]:
        streams = {}
        menu = {stream.index for stream in one.streams if stream.type == "data"}  # MP4's chapters, made anew
        for index in self.order or range(len(one.streams)):
            stream: Any = one.streams[index]
            if stream.type == "attachment" or index in menu:
                continue
            copy = two.add_stream_from_template(stream, opaque=True)
            copy.metadata.update(stream.metadata)
            copy.metadata["language"] = self.languages.get(index, stream.language or "und")
            copy.disposition = self.dispositions.get(index, stream.disposition)
            if stream.type == "video" and self.matrix:
                copy.set_display_matrix(self.matrix)
            streams[index] = copy
        kept = {s.metadata["filename"]: s.data for s in one.streams.attachments}
        for name, data in (kept if self.attachments is None else self.attachments).items():
            two.add_attachment(name, "application/x-truetype-font", data)
        return streams

    def _packets(self, one: Any, path: Path, streams: dict[int, Any]) -> Sequence[Any]:
        coded = [packet for packet in one.demux() if packet.size and packet.stream.index in streams]
        if path.suffix in (".mp4", ".mov"):
            _lasting([packet for packet in coded if packet.stream.index == 0], end_of_picture(path))
        ts = path.suffix == ".ts"
        origin = min((p.dts if p.dts is not None else p.pts) * p.time_base for p in coded) if ts else Fraction(0)
        counts, written = dict.fromkeys(streams, 0), []
        for packet in coded:
            index = packet.stream.index
            shift = round(origin / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, None if packet.dts is None else packet.dts - shift
            for changed in self.change(index, counts[index], packet):
                changed.stream = streams[index]
                written.append(changed)
            counts[index] += 1
        return written


def _lasting(coded: list[Any], end: Fraction) -> None:
    """Gives packets back the durations that MP4 doesn't keep."""
    shown = sorted(coded, key=lambda packet: packet.pts)
    for one, following in pairwise(shown):
        one.duration = following.pts - one.pts
    shown[-1].duration = round(end / shown[-1].time_base) - shown[-1].pts
    coded[-1].dts, coded[-1].duration = coded[-1].pts, round(end / coded[-1].time_base) - coded[-1].pts


def without(stream: int, number: int) -> Change:
    return lambda s, n, packet: () if (s, n) == (stream, number) else (packet,)


def later(stream: int, number: int, ticks: int) -> Change:
    def change(s: int, n: int, packet: Any) -> Sequence[Any]:
        if (s, n) == (stream, number):
            packet.pts += ticks
        return (packet,)

    return change


def moved(stream: int, seconds: Fraction) -> Change:
    def change(s: int, n: int, packet: Any) -> Sequence[Any]:
        if s == stream:
            packet.pts += round(seconds / packet.time_base)
            packet.dts = None if packet.dts is None else packet.dts + round(seconds / packet.time_base)
        return (packet,)

    return change


def twice(stream: int, number: int) -> Change:
    """A packet, and once more right after it."""

    def change(s: int, n: int, packet: Any) -> Sequence[Any]:
        if (s, n) != (stream, number):
            return (packet,)
        again = replaced(packet, bytes(packet))
        again.pts, again.dts = packet.pts + 1, packet.dts + 1
        return packet, again

    return change


def altered(stream: int, *numbers: int, change: Callable[[bytearray], None]) -> Change:
    """Packets whose payload `change` spoils."""

    def changed(s: int, n: int, packet: Any) -> Sequence[Any]:
        if s != stream or n not in numbers:
            return (packet,)
        data = bytearray(packet)
        change(data)
        return (replaced(packet, bytes(data)),)

    return changed


def replaced(packet: Any, payload: bytes) -> Any:
    """A packet with another payload."""
    new: Any = av.Packet(payload)
    new.pts, new.dts, new.duration, new.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
    new.is_keyframe = packet.is_keyframe
    return new
