"""Metadata messages inside coded packets: SEI of H.264 and H.265, metadata OBUs of AV1, user data of MPEG-2."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

Family = Literal["h264", "hevc", "av1", "mpeg2"]

# payloadType of H.274 8.1 and H.264 D.1.1
T35, FRAME_PACKING, MASTERING, LIGHT, AMBIENT = 4, 45, 137, 144, 148

START_CODE = b"\0\0\1"
SEI_UNIT = {"h264": 6, "hevc": 39}  # nal_unit_type, H.264 table 7-1; PREFIX_SEI_NUT, H.265 table 7-1
SEI_HEADER = {"h264": b"\x06", "hevc": b"\x4e\x01"}
MOST = 10_000  # messages of a packet; two bytes can claim to be one
STOP = b"\x80"  # rbsp_trailing_bits behind whole bytes

OBU_FRAME_HEADER, OBU_METADATA, OBU_FRAME = 3, 5, 6  # AV1 6.2.2
METADATA_TYPES = {LIGHT: 1, MASTERING: 2, T35: 4}  # AV1 6.7.1
USER_DATA = b"\0\0\1\xb2"  # ISO/IEC 13818-2 6.2.2.2.2
USA, ATSC = b"\xb5", b"\x00\x31"  # ITU-T T.35 country and provider that ATSC A/53 messages begin with


@dataclass(frozen=True)
class Message:
    """One message: payloadType and payload as in an SEI."""

    kind: int
    payload: bytes


def family_of(codec: str) -> Family | None:
    """The bitstream that an encoder or decoder of FFmpeg's name deals with, where it can hold messages."""
    if codec in ("libx264", "h264") or codec.startswith("h264_"):
        return "h264"
    if codec in ("libx265", "hevc") or codec.startswith("hevc_"):
        return "hevc"
    if codec in ("libsvtav1", "libdav1d", "libaom-av1", "av1") or codec.startswith("av1_"):
        return "av1"
    return "mpeg2" if codec == "mpeg2video" else None


def insert(packet: bytes, family: Family, messages: Iterable[Message]) -> bytes:
    """The packet of one frame with the messages in front of its picture.

    Args:
        packet: NAL units with start codes (H.264 and H.265 annex B), or OBUs with sizes.
    """
    if family == "av1":
        place, coded = _before_last_frame(packet), [_obu(message) for message in messages]
    else:
        place, coded = _before_picture(packet, family), [_nal(message, family) for message in messages]
    return packet[:place] + b"".join(coded) + packet[place:]


def read(packet: bytes, family: Family, length_size: int) -> list[Message]:
    """The messages of one packet, in order; what is damaged ends the list, and so do `MOST` from NAL units.

    Args:
        length_size: bytes of the length in front of each NAL unit, 0 where start codes divide them (`length_size`).
    """
    if family == "av1":
        return [message for kind, body in _obus(packet) if kind == OBU_METADATA for message in _av1_message(body)]
    if family == "mpeg2":
        units = packet.split(USER_DATA)[1:]
        return [Message(T35, USA + ATSC + unit.partition(START_CODE)[0]) for unit in units]
    coded = _prefixed(memoryview(packet), length_size) if length_size else _divided(packet)
    said = (bytes(unit) for unit in coded if _unit_type(unit, family) == SEI_UNIT[family])
    header = len(SEI_HEADER[family])
    found = (message for unit in said for message in _messages(unit[header:].replace(b"\0\0\3", b"\0\0")))
    return list(islice(found, MOST))


def length_size(family: Family, extradata: bytes) -> int:
    """Bytes of a NAL unit's length in the track's packets, ISO/IEC 14496-15 5.3.3.1 and 8.3.3.1; 0 for start codes."""
    place = {"h264": 4, "hevc": 21}.get(family, 0)
    if not place or len(extradata) <= place:
        return 0
    # start codes begin with two zeros; early muxers of H.265 left the version at 0
    boxed = extradata[0] == 1 or family == "hevc" and (extradata[:2] != b"\0\0" or extradata[2] > 1)
    return (extradata[place] & 3) + 1 if boxed else 0


def _unit_type(unit: bytes | memoryview, family: Family) -> int:
    if not unit:
        return -1
    return unit[0] & 31 if family == "h264" else unit[0] >> 1 & 63


def _before_picture(packet: bytes, family: Family) -> int:
    """Where the first unit of the picture itself starts, its start code included."""
    pictures = range(1, 6) if family == "h264" else range(32)
    place = packet.find(START_CODE)
    while place >= 0:
        if _unit_type(packet[place + 3 : place + 4], family) in pictures:
            return place - 1 if place and not packet[place - 1] else place
        place = packet.find(START_CODE, place + 3)
    return len(packet)


def _nal(message: Message, family: Family) -> bytes:
    body = _counted(message.kind) + _counted(len(message.payload)) + message.payload + STOP
    escaped = re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", body)  # emulation_prevention_three_byte
    return b"\0" + START_CODE + SEI_HEADER[family] + escaped


def _counted(number: int) -> bytes:
    return b"\xff" * (number // 255) + bytes([number % 255])


def _divided(packet: bytes) -> Iterator[memoryview]:
    view, place = memoryview(packet), packet.find(START_CODE)
    while place >= 0:
        end = packet.find(START_CODE, place + 3)
        yield view[place + 3 : end if end >= 0 else None]
        place = end


def _prefixed(packet: memoryview, size: int) -> Iterator[memoryview]:
    place = 0
    while place + size <= len(packet):
        length = int.from_bytes(packet[place : place + size], "big")
        yield packet[place + size : place + size + length]
        place += size + length


def _messages(body: bytes) -> Iterator[Message]:
    """sei_message of H.264 7.3.2.3.1 until only the stop bit is left."""
    place = 0
    while len(body) - place > 2:
        kind, place = _number(body, place)
        size, place = _number(body, place)
        if place + size > len(body):
            return
        yield Message(kind, body[place : place + size])
        place += size


def _number(body: bytes, place: int) -> tuple[int, int]:
    """A number in steps of 255 and the place behind it."""
    total = 0
    while place < len(body) and body[place] == 255:
        total, place = total + 255, place + 1
    return total + (body[place] if place < len(body) else 0), place + 1


def _obus(packet: bytes) -> Iterator[tuple[int, bytes]]:
    for kind, _, body in _placed_obus(packet):
        yield kind, body


def _placed_obus(packet: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, place and content of every OBU, AV1 5.3; one without a size lasts to the end."""
    place = 0
    while place < len(packet):
        start, head = place, packet[place]
        place += 2 if head & 4 else 1
        size = len(packet) - place
        if head & 2:
            size, place = _leb128(packet, place)
        yield head >> 3 & 15, start, packet[place : place + size]
        place += size


def _leb128(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        byte = data[place + index] if place + index < len(data) else 0
        value |= (byte & 127) << 7 * index
        if byte < 128:
            break
    return value, place + index + 1


def _before_last_frame(packet: bytes) -> int:
    """A packet ends with the one frame it shows; what comes before is hidden and would swallow the messages."""
    places = [place for kind, place, _ in _placed_obus(packet) if kind in (OBU_FRAME, OBU_FRAME_HEADER)]
    return places[-1] if places else len(packet)


def _obu(message: Message) -> bytes:
    payload = _to_av1(message.payload) if message.kind == MASTERING else message.payload
    body = bytes([METADATA_TYPES[message.kind]]) + payload + STOP
    size = bytearray()
    rest = len(body)
    while rest > 127:
        size.append(rest & 127 | 128)
        rest >>= 7
    return bytes([OBU_METADATA << 3 | 2, *size, rest]) + body


def _av1_message(body: bytes) -> Iterator[Message]:
    """The message of a metadata OBU, of the kinds in use here; colour volumes are read by the decoder instead."""
    if body[:1] == bytes([METADATA_TYPES[T35]]):
        yield Message(T35, body[1:].rstrip(b"\0")[:-1])


def _to_av1(payload: bytes) -> bytes:
    """SMPTE ST 2086 from H.265 D.2.28's units to AV1 5.8.4's: red first, fixed points of 16, 8 and 14 bits."""
    *chromaticity, most, least = struct.unpack(">8H2I", payload)
    green, blue, red, white = (chromaticity[index : index + 2] for index in range(0, 8, 2))
    fixed = (min(65535, round(value * 65536 / 50000)) for value in (*red, *green, *blue, *white))
    return struct.pack(">8H2I", *fixed, round(most * 256 / 10000), round(least * 16384 / 10000))


def kept_by_av1(mastering: tuple[int, ...]) -> tuple[int, ...]:
    """What reading back gives: the maximum luminance has steps of 1/256, all else is finer than H.265's units."""
    *others, most, least = mastering
    return (*others, round(round(most * 256 / 10000) * 10000 / 256), least)
