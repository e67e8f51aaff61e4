"""Messages in coded packets: written, read back, damaged."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from clips import picture
from telling import DISPLAY, LIGHT, caption, cc
from vsr import messages, sei, sidedata
from vsr.frame import TrackFacts
from vsr.sei import Message


@pytest.mark.parametrize("family", ["h264", "hevc", "av1"])
@pytest.mark.parametrize("seed", range(20))
def test_a_message_comes_back_as_it_was(family: sei.Family, seed: int) -> None:
    random = np.random.default_rng(seed)
    payload = b"\xb5" + random.choice([0, 0, 0, 1, 2, 3, 255], int(random.integers(1, 600))).astype(np.uint8).tobytes()
    picture = {"h264": b"\0\0\1\x65pic\0\0\3\1", "hevc": b"\0\0\1\x26\1pic", "av1": b"\x12\0\x32\3pic"}[family]
    before = {"h264": b"\0\0\0\1\x09\xf0", "hevc": b"\0\0\0\1\x46\1\x50", "av1": b""}[family]
    packet = sei.insert(before + picture, family, [Message(sei.T35, payload), Message(sei.T35, b"\xb5second")])
    assert sei.read(packet, family, 0) == [Message(sei.T35, payload), Message(sei.T35, b"\xb5second")]
    assert packet.startswith(before)
    assert packet.endswith(picture if family != "av1" else picture[2:])


@pytest.mark.parametrize(
    ("family", "extradata", "size"),
    [
        ("h264", b"\1\x64\0\x1f\xff\xe1", 4),
        ("h264", b"\1\x64\0\x1f\xfd\xe1", 2),
        ("h264", b"\0\0\0\1\x67\x64\0\x1f", 0),
        ("hevc", b"\1\2" + bytes(19) + b"\x0f", 4),
        ("hevc", b"\0\2" + bytes(19) + b"\x0f", 4),
        ("hevc", b"\0\0\0\1\x40\1" + bytes(20), 0),
        ("hevc", b"\0\0\1\x40\1" + bytes(20), 0),
        ("hevc", b"", 0),
        ("av1", b"\x81" + bytes(30), 0),
    ],
)
def test_how_units_are_divided(family: sei.Family, extradata: bytes, size: int) -> None:
    assert sei.length_size(family, extradata) == size


@pytest.mark.parametrize("seed", range(50))
def test_damaged_packets_are_read_without_errors(seed: int) -> None:
    noise = np.random.default_rng(seed)
    packet = noise.choice([0, 0, 1, 4, 6, 39 << 1, 0x2A, 0xB5, 255], 300).astype(np.uint8).tobytes()
    for family in ("h264", "hevc", "av1", "mpeg2"):
        for size in (0, 1, 4):
            messages.contents(sei.read(packet, family, size))
    messages.contents([Message(sei.T35, caption(cc(1))[: seed % 12])])


def test_a_flood_of_messages_ends() -> None:
    assert len(sei.read(b"\0\0\1\x06" + b"\4\0" * 20_000 + b"\x80", "h264", 0)) == sei.MOST


def display(numbers: Sequence[int], *known: int) -> tuple[int, ...] | None:
    """Of FFmpeg's structure: x, y of red, green, blue, white in 1/50000, least and most light in 1/10000."""
    units = [50000] * 8 + [10000] * 2
    pairs = [part for pair in zip(numbers, units, strict=True) for part in pair]
    return sidedata.mastering(struct.pack("=22i", *pairs, *known))


def test_half_known_displays() -> None:
    red_first, shown = (*DISPLAY[4:6], *DISPLAY[:4], *DISPLAY[6:8]), (DISPLAY[9], DISPLAY[8])
    assert display((*red_first, *shown), 1, 1) == DISPLAY
    assert display((*red_first, *shown), 1, 0) == (*DISPLAY[:8], 0, 0)
    assert display((*red_first, *shown), 0, 1) == (*(0,) * 8, *DISPLAY[8:])
    assert display((*red_first, *shown), 0, 0) is None
    assert sidedata.mastering(b"short") is None


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize(("place", "values"), [
    (0, (4, 5, 37000, 37001)), (1, (4, 5, 42000, 42001)),
    (8, (0, 50000, 50001)), (9, (49999, 50000, 100_000_000, 100_000_001, 2**31 - 1)),
])  # fmt: skip
def test_displays_beyond_the_ranges_are_unknown_as_to_decoders(codec: str, place: int, values: Sequence[int]) -> None:
    for value in values:
        numbers = [*DISPLAY[4:6], *DISPLAY[:4], *DISPLAY[6:8], DISPLAY[9], DISPLAY[8]]
        numbers[place] = value
        planned = display(numbers, 1, 1)
        written = (*numbers[2:6], *numbers[:2], *numbers[6:8], numbers[9], numbers[8])
        assert planned == decoded_display(codec, written)


def decoded_display(codec: str, said: Sequence[int]) -> tuple[int, ...] | None:
    """What FFmpeg's decoder makes of a message with these numbers."""
    family, options = sei.family_of(codec), {"x265-params": "log-level=error"} if codec == "libx265" else {}
    assert family is not None
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 64, "yuv420p", Fraction(1, 25)
    encoder.framerate, encoder.options = 25, options
    coded = b"".join(map(bytes, [*encoder.encode(picture("yuv420p", (64, 64), 0)), *encoder.encode(None)]))
    decoder: Any = av.CodecContext.create(family, "r")
    message = Message(sei.MASTERING, struct.pack(">8H2I", *said))
    (frame,) = [*decoder.decode(av.Packet(sei.insert(coded, family, [message]))), *decoder.decode(None)]
    return sidedata.mastering(sidedata.raw(frame)[sidedata.MASTERING])


def test_numbers_that_no_message_holds() -> None:
    """Matroska takes any."""
    facts = TrackFacts(
        light=sidedata.light(struct.pack("=2I", 2**32 - 1, 70000)),
        ambient=sidedata.ambient(struct.pack("=6i", *[2**31 - 1, 1] * 3)),
    )
    said = messages.static_messages(sidedata.HELD["hevc"], facts, "hevc")
    assert [message.payload for message in said] == [b"\xff" * 4, b"\xff" * 8]


def test_static_messages() -> None:
    facts = TrackFacts(mastering=DISPLAY, light=LIGHT)
    found = messages.static_messages(sidedata.HELD["hevc"], facts, "hevc")
    assert [(m.kind, m.payload.hex()) for m in found] == [
        (137, "21349baa199608fc8a4839083d134042" + "0098968000000032"),
        (144, "03e80190"),
    ]
