"""Messages in coded packets: written, read back, damaged."""

from __future__ import annotations

import struct

import numpy as np
import pytest

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


def test_half_known_displays() -> None:
    numbers = [1, 2] * 10
    assert sidedata.mastering(struct.pack("=22i", *numbers, 1, 0)) == (25000,) * 8 + (0, 0)
    assert sidedata.mastering(struct.pack("=22i", *numbers, 0, 1)) == (0,) * 8 + (5000, 5000)
    assert sidedata.mastering(struct.pack("=22i", *numbers, 0, 0)) is None
    assert sidedata.mastering(b"short") is None


def test_static_messages() -> None:
    facts = TrackFacts(mastering=DISPLAY, light=LIGHT)
    found = messages.static_messages(sidedata.HELD["hevc"], facts, "hevc")
    assert [(m.kind, m.payload.hex()) for m in found] == [
        (137, "21349baa199608fc8a4839083d134042" + "0098968000000032"),
        (144, "03e80190"),
    ]
