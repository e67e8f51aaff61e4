"""Reading a file back: the packets of its tracks."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from vsr.demux import packets
from vsr.report import Report

if TYPE_CHECKING:
    from av.container import InputContainer


ADTS_HEADER = 7  # bytes; 9 with a checksum


@dataclass
class Recording:
    """One track's packets: times in seconds, checksums of what they carry, how many are keys."""

    tick: Fraction
    times: list[Fraction] = field(default_factory=list)
    payloads: list[frozenset[int]] = field(default_factory=list)
    keys: int = 0


def record(container: InputContainer, indexes: Sequence[int]) -> dict[int, Recording]:
    """Every packet of some tracks: times of presentation (rising) and, but for the first track, checksums."""
    found = {index: Recording(container.streams[index].time_base or Fraction(1)) for index in indexes}
    if not found:
        return found
    for packet in packets(container, [container.streams[index] for index in indexes], Report()):
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None or packet.is_discard and packet.stream.type == "video":
            continue
        recording = found[packet.stream.index]
        recording.keys += packet.is_keyframe
        recording.times.append(time * packet.time_base)
        if packet.stream.type != "video":
            recording.payloads.append(checksums(bytes(packet)))
    for recording in found.values():
        if not recording.payloads:
            recording.times.sort()
    return found


def checksums(payload: bytes) -> frozenset[int]:
    """Checksum of a payload; for AAC with its transport header, which MP4 doesn't store, also of what follows it."""
    sums = {zlib.crc32(payload)}
    if has_adts(payload):
        sums |= {zlib.crc32(payload[header:]) for header in (ADTS_HEADER, ADTS_HEADER + 2)}
    return frozenset(sums)


def has_adts(payload: bytes) -> bool:
    """Whether an AAC packet begins with the header of transport streams: ISO/IEC 13818-7 6.2, its sync word."""
    return len(payload) > ADTS_HEADER and int.from_bytes(payload[:2], "big") >> 4 == 0xFFF
