"""Side data as messages in coded packets, and back.

PyAV can't hand a frame's side data to an encoder, so what a frame carries is put into its packet after encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from av.packet import Packet

from vsr import hdrplus, sei
from vsr.frame import TrackFacts
from vsr.sei import Family, Message
from vsr.sidedata import ACTIVE_FORMAT, AMBIENT, CAPTIONS, CHANGING, HDR10_PLUS, LIGHT, MASTERING, STEREO

if TYPE_CHECKING:
    from av.video.stream import VideoStream

    from vsr.job import Encoder

# How the captions of DVDs and of cable (SCTE 20) begin in MPEG-2; only the decoder reads these forms.
OTHER_CAPTIONS = (b"CC\x01\xf8", b"\x03\x01", b"\x03\x81")
CAPTION_SIZE, MOST_CAPTIONS = 3, 31  # bytes each, and how many one message holds: CTA-708 4.4


def speaking(
    coded: Iterable[Packet[Any]], encoder: Encoder, facts: TrackFacts, said: dict[int, list[Message]]
) -> Iterator[Packet[Any]]:
    """The encoder's packets with the messages of their frames, and in front of key frames those of the track.

    Args:
        said: messages of the frames by pts; taken out.
    """
    family = sei.family_of(encoder.codec)
    for packet in coded:
        messages = said.pop(packet.pts or 0)
        if packet.is_keyframe:
            messages = static_messages(encoder.side_data, facts, family) + messages
        yield _rewritten(packet, sei.insert(bytes(packet), family, messages)) if family and messages else packet


def _rewritten(packet: Packet[Any], content: bytes) -> Packet[Any]:
    new: Packet[Any] = Packet(content)
    new.pts, new.dts, new.time_base = packet.pts, packet.dts, packet.time_base
    new.is_keyframe = packet.is_keyframe
    return new


def static_messages(kinds: Iterable[str], facts: TrackFacts, family: Family | None) -> list[Message]:
    """What is said once in front of every key frame."""
    forms = (
        (MASTERING, sei.MASTERING, ">8H2I", facts.mastering),
        (LIGHT, sei.LIGHT, ">2H", facts.light),
        (AMBIENT, sei.AMBIENT, ">I2H", facts.ambient),
    )
    said = [
        Message(kind, struct.pack(form, *values))
        for name, kind, form, values in forms
        if name in kinds and values is not None
    ]
    if STEREO in kinds and facts.stereo is not None:
        said.append(Message(sei.FRAME_PACKING, _frame_packing(facts.stereo, family)))
    return said


def _frame_packing(stereo: tuple[int, ...], family: Family | None) -> bytes:
    """frame_packing_arrangement, H.264 D.1.26 and H.265 D.2.16: no flags, grids at 0, valid on."""
    arrangement, interpretation = stereo
    lasting = "010" if family == "h264" else "1"  # repetition period 1, or persistence
    bits = f"10{arrangement:07b}0{interpretation:06b}" + "0" * 30 + lasting + "0"
    bits += "1" if len(bits) % 8 else ""
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def frame_messages(kinds: Iterable[str], side_data: Mapping[str, bytes]) -> list[Message]:
    """What is said in front of one frame."""
    said = [name for name in CHANGING if name in kinds and name in side_data]
    return [Message(sei.T35, payload) for name in said for payload in _t35(name, side_data[name])]


def _t35(name: str, data: bytes) -> list[bytes]:
    if name == HDR10_PLUS:
        return [hdrplus.t35(data)]
    if name == ACTIVE_FORMAT:
        return [active_format_t35(data)]
    step = CAPTION_SIZE * MOST_CAPTIONS
    return [captions_t35(data[place : place + step]) for place in range(0, len(data), step)]


def captions_t35(triplets: bytes) -> bytes:
    """ATSC A/53 part 4 6.2.3: the bytes of cc_data, wrapped."""
    count = len(triplets) // CAPTION_SIZE
    return sei.USA + sei.ATSC + b"GA94\x03" + bytes([0xC0 | count, 0xFF]) + triplets + b"\xff"


def active_format_t35(data: bytes) -> bytes:
    """ETSI TS 101 154 B.3, as ATSC A/72 6.4.2 puts it into H.264."""
    return sei.USA + sei.ATSC + b"DTG1" + bytes([0x41, 0xF0 | data[0] & 15])


def in_packet(packet: Packet[Any], family: Family | None, length_size: int) -> dict[str, bytes]:
    """What a coded packet says that may differ from frame to frame, by kind; nothing is decoded.

    Args:
        family, length_size: of its track, see `track_form`.
    """
    messages = sei.read(bytes(packet), family, length_size) if family else []
    if packet.has_sidedata("dynamic_hdr10_plus"):  # Matroska keeps it beside the picture
        messages.append(Message(sei.T35, hdrplus.t35(bytes(packet.get_sidedata("dynamic_hdr10_plus")))))
    return contents(messages)


def contents(messages: Iterable[Message]) -> dict[str, bytes]:
    """What messages say that may differ from frame to frame, by kind; zeros at the end of HDR10+ tell nothing."""
    said: dict[str, bytes] = {}
    payloads = (message.payload for message in messages if message.kind == sei.T35)
    for kind, content in filter(None, map(_in_message, payloads)):
        said[kind] = said.get(kind, b"") + content if kind == CAPTIONS else content
    return said


def track_form(stream: VideoStream) -> tuple[Family | None, int]:
    """The family of a track's bitstream, and the bytes of the length in front of its NAL units."""
    context = stream.codec_context
    family = sei.family_of(context.name)
    return family, sei.length_size(family, context.extradata or b"") if family else 0


def _in_message(payload: bytes) -> tuple[str, bytes] | None:
    """Kind and content of a T.35 message: caption triplets, the active format's byte, HDR10+ from its version on."""
    atsc = sei.USA + sei.ATSC
    if payload.startswith(atsc + b"GA94\x03") and len(payload) > 10 and payload[8] & 0x40 and payload[8] & 31:
        return CAPTIONS, payload[10 : 10 + (payload[8] & 31) * CAPTION_SIZE]
    if payload.startswith(tuple(atsc + begin for begin in OTHER_CAPTIONS)):
        return CAPTIONS, payload
    if payload.startswith(atsc + b"DTG1") and len(payload) > 8 and payload[7] & 0x40:
        return ACTIVE_FORMAT, bytes([payload[8] & 15])
    if payload.startswith(hdrplus.HEADER):
        return HDR10_PLUS, payload[len(hdrplus.HEADER) :].rstrip(b"\0")
    return None
