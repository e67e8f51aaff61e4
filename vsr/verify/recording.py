"""Reading a file back: the packets of its tracks."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from vsr.demux import packets
from vsr.report import Report

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream

Place = Callable[["Packet[Any]"], Fraction | None]  # seconds at which a packet counts; None: it doesn't

ADTS_HEADER = 7  # bytes; 9 with a checksum
START_CODE = b"\0\0\1"  # of a NAL unit, H.264 annex B
NO_TEXT = b"\0\0"  # a sample of mov_text that shows nothing: MP4 fills gaps with them


@dataclass
class Recording:
    """One track's packets.

    Args:
        tick: seconds.
        times: seconds, of presentation.
        numbers: of each among those of its track that have a time.
        payloads: checksums of what each carries: equal packets have one in common.
        keys: how many can be decoded by themselves.
    """

    tick: Fraction
    times: list[Fraction] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    payloads: list[frozenset[int]] = field(default_factory=list)
    keys: int = 0


def record(container: InputContainer, indexes: Sequence[int], place: Place | None = None) -> dict[int, Recording]:
    """The packets of some tracks in file order.

    Args:
        place: tells which and when; without it all that have a time and aren't hidden.
    """
    found = {index: Recording(container.streams[index].time_base or Fraction(1)) for index in indexes}
    if not found:
        return found
    numbers = dict.fromkeys(indexes, -1)
    for packet in packets(container, [container.streams[index] for index in indexes], Report()):
        index = packet.stream.index
        numbers[index] += packet.pts is not None or packet.dts is not None
        time = (place or _shown)(packet)
        if time is None or packet.is_discard and packet.stream.type == "video" or _is_gap(packet):
            continue
        recording = found[index]
        recording.keys += packet.is_keyframe
        recording.times.append(time)
        recording.numbers.append(numbers[index])
        recording.payloads.append(checksums(bytes(packet), packet.stream))
    return found


def _shown(packet: Packet[Any]) -> Fraction | None:
    time = packet.pts if packet.pts is not None else packet.dts
    return None if time is None else time * packet.time_base


def _is_gap(packet: Packet[Any]) -> bool:
    context = packet.stream.codec_context
    return context is not None and context.name == "mov_text" and bytes(packet)[:2] == NO_TEXT


def checksums(payload: bytes, stream: Stream) -> frozenset[int]:
    """Checksums of a payload, and of what is in it however a container wraps it: AAC in ADTS, NAL units."""
    sums = {zlib.crc32(payload)}
    codec = stream.codec_context.name if stream.codec_context is not None else ""
    if has_adts(payload):
        sums |= {zlib.crc32(payload[header:]) for header in (ADTS_HEADER, ADTS_HEADER + 2)}
    if codec in ("h264", "hevc"):
        sums.add(zlib.crc32(b"".join(_slices(payload, codec, prefixed=_is_prefixed(stream)))))
    return frozenset(sums)


def has_adts(payload: bytes) -> bool:
    """Whether an AAC packet begins with the header of transport streams: ISO/IEC 13818-7 6.2, its sync word."""
    return len(payload) > ADTS_HEADER and int.from_bytes(payload[:2], "big") >> 4 == 0xFFF


def _is_prefixed(stream: Stream) -> bool:
    """Whether NAL units follow their length, as in MP4 and Matroska, instead of a start code."""
    return (stream.codec_context.extradata or b"")[:1] == b"\1"  # configurationVersion, ISO/IEC 14496-15 5.3.3.1


def _slices(payload: bytes, codec: str, *, prefixed: bool) -> Iterator[bytes]:
    """NAL units that carry pictures: H.264 table 7-1, types 1 to 5; H.265 table 7-1, types 0 to 31."""
    for unit in _prefixed(payload) if prefixed else payload.split(START_CODE)[1:]:
        kind = (unit[0] & 31 if codec == "h264" else unit[0] >> 1 & 63) if unit else -1
        if 1 <= kind <= 5 if codec == "h264" else 0 <= kind <= 31:
            yield unit.rstrip(b"\0")


def _prefixed(payload: bytes) -> Iterator[bytes]:
    at = 0
    while at + 4 <= len(payload):
        end = at + 4 + int.from_bytes(payload[at : at + 4], "big")
        yield payload[at + 4 : end]
        at = end
