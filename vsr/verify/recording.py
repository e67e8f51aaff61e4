"""Reading a file back: the packets of its tracks."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from math import lcm
from typing import TYPE_CHECKING, Any

from vsr.demux import packets
from vsr.report import Report

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream

# Seconds at which a packet counts, or None if it doesn't; the number is its place among those of its track with a time.
Place = Callable[["Packet[Any]", int], Fraction | None]

START_CODE = b"\0\0\1"  # of a NAL unit, H.264 annex B
NO_TEXT = b"\0\0"  # a sample of mov_text that shows nothing: MP4 fills gaps with them


@dataclass
class Recording:
    """One track's packets, 12 bytes each: films have hundreds of thousands.

    Args:
        tick: seconds.
        ticks: when each is presented.
        payloads: CRC-32 of what each carries; none where they weren't asked for.
        keys: how many can be decoded by themselves.
    """

    tick: Fraction
    ticks: array[int] = field(default_factory=lambda: array("q"))
    payloads: array[int] = field(default_factory=lambda: array("I"))
    keys: int = 0

    def __len__(self) -> int:
        return len(self.ticks)

    @property
    def last(self) -> Fraction:
        """When the latest packet is presented, in seconds; 0 without packets."""
        return max(self.ticks, default=0) * self.tick

    def rounding(self, planned: Recording) -> Fraction:
        """Seconds by which times may be off: none where this track's tick divides the planned one, else half a tick."""
        return Fraction(0) if (planned.tick / self.tick).denominator == 1 else self.tick / 2

    def off(self, planned: Recording, shift: Fraction) -> tuple[Fraction, int]:
        """(seconds, number) of the packet farthest from its planned time moved by `shift`; as many are planned."""
        # in whole numbers: fractions take ten times as long
        unit = lcm(self.tick.denominator, planned.tick.denominator, shift.denominator)
        own, other, moved = (int(seconds * unit) for seconds in (self.tick, planned.tick, shift))
        pairs = enumerate(zip(self.ticks, planned.ticks, strict=True))
        worst, number = max(((abs(a * own - b * other - moved), n) for n, (a, b) in pairs), default=(0, 0))
        return Fraction(worst, unit), number


def record(
    container: InputContainer, indexes: Collection[int], place: Place | None = None, unread: int | None = None
) -> dict[int, Recording]:
    """The packets of some tracks in file order.

    Args:
        place: tells which and when; without it all that have a time and aren't hidden, at theirs.
        unread: a track whose payloads don't matter.
    """
    streams = [container.streams[index] for index in indexes]
    found = {stream.index: Recording(stream.time_base or Fraction(1)) for stream in streams}
    contents = {stream.index: content(stream) for stream in streams if stream.index != unread}
    numbers = dict.fromkeys(indexes, -1)
    for packet in packets(container, streams, Report()) if streams else ():
        index, recording = packet.stream.index, found[packet.stream.index]
        ticks = packet.pts if packet.pts is not None else packet.dts
        if ticks is None:
            continue
        numbers[index] += 1
        if packet.is_discard and packet.stream.type == "video" or _is_gap(packet):
            continue
        if place is not None:
            time = place(packet, numbers[index])
            if time is None:
                continue
            ticks = round(time / recording.tick)
        recording.keys += packet.is_keyframe
        recording.ticks.append(ticks)
        if index in contents:
            recording.payloads.append(zlib.crc32(contents[index](bytes(packet))))
    return found


def _is_gap(packet: Packet[Any]) -> bool:
    context = packet.stream.codec_context if packet.stream.type == "subtitle" else None
    return context is not None and context.name == "mov_text" and bytes(packet)[:2] == NO_TEXT


def content(stream: Stream) -> Callable[[bytes], bytes]:
    """What gives of a track's payloads that which stays the same however a container wraps it: AAC, NAL units."""
    codec = stream.codec_context.name if stream.codec_context is not None else ""
    if codec == "aac":
        return lambda payload: without_layout(without_adts(payload))
    if codec in ("h264", "hevc"):
        prefixed = (stream.codec_context.extradata or b"")[:1] == b"\1"  # ISO/IEC 14496-15 5.3.3.1; else start codes
        return lambda payload: b"".join(_slices(payload, codec, prefixed=prefixed)) or payload
    return lambda payload: payload


def without_adts(payload: bytes) -> bytes:
    """AAC without the header of transport streams: ISO/IEC 13818-7 6.2, its sync word, 7 bytes or 9 with a checksum."""
    if len(payload) < 9 or payload[0] != 0xFF or payload[1] >> 4 != 0xF:
        return payload
    return payload[7 if payload[1] & 1 else 9 :]


def without_layout(payload: bytes) -> bytes:
    """AAC without the program config element that it may begin with: muxers move it to the track's header.

    ISO/IEC 14496-3, table 4.2.
    """
    bits = f"{int.from_bytes(payload[:64].ljust(64, bytes(1))):0512b}"
    if bits[:3] != "101":
        return payload
    front, side, back = (int(bits[at : at + 4], 2) for at in (13, 17, 21))
    low, data, coupling = int(bits[25:27], 2), int(bits[27:30], 2), int(bits[30:34], 2)
    at = 34
    for mixdown in (4, 4, 3):
        at += 1 + mixdown * int(bits[at])
    comment = -(-(at + 5 * (front + side + back + coupling) + 4 * (low + data)) // 8)
    return payload[comment + 1 + sum(payload[comment : comment + 1]) :]


def _slices(payload: bytes, codec: str, *, prefixed: bool) -> Iterator[bytes]:
    """NAL units that carry pictures: H.264 table 7-1, types 1 to 5; H.265 table 7-1, types 0 to 31."""
    for unit in _prefixed(payload) if prefixed else payload.split(START_CODE)[1:]:
        kind = (unit[0] & 31 if codec == "h264" else unit[0] >> 1 & 63) if unit else -1
        if 1 <= kind <= 5 if codec == "h264" else 0 <= kind <= 31:
            yield unit.rstrip(b"\0")


def _prefixed(payload: bytes) -> Iterator[bytes]:
    """NAL units that follow their length, as in MP4 and Matroska."""
    at = 0
    while at + 4 <= len(payload):
        end = at + 4 + int.from_bytes(payload[at : at + 4], "big")
        yield payload[at + 4 : end]
        at = end
