"""What is kept of a file's packets to compare them."""

from __future__ import annotations

from array import array
from fractions import Fraction

import pytest

from vsr.verify.recording import Recording, without_adts, without_layout


def recorded(tick: Fraction, *ticks: int) -> Recording:
    return Recording(tick, array("q", ticks))


@pytest.mark.parametrize("shift", [Fraction(0), Fraction(1, 7)])
def test_the_packet_farthest_off(shift: Fraction) -> None:
    planned, found = recorded(Fraction(1001, 30000), 0, 1, 2, 3), recorded(Fraction(1, 1000), 0, 33, 80, 100)
    apart = [abs(b * found.tick - a * planned.tick - shift) for a, b in zip(planned.ticks, found.ticks, strict=True)]
    assert found.off(planned, shift) == (max(apart), apart.index(max(apart)))
    assert recorded(Fraction(1)).off(recorded(Fraction(1)), shift) == (0, 0)


def test_only_a_coarser_tick_rounds() -> None:
    fine, coarse = recorded(Fraction(1, 90000)), recorded(Fraction(1, 1000))
    assert fine.rounding(coarse) == 0
    assert coarse.rounding(fine) == Fraction(1, 2000)
    assert coarse.rounding(coarse) == 0


def test_aac_with_and_without_its_header() -> None:
    raw = bytes(range(16))
    assert without_adts(b"\xff\xf1" + bytes(5) + raw) == without_adts(b"\xff\xf0" + bytes(7) + raw) == raw
    assert without_adts(raw) == raw


def test_aac_with_and_without_its_layout() -> None:
    raw = bytes(range(16))
    # 4.0 at 44.1 kHz: two pairs in front, none elsewhere, no mixdown, a comment of three letters
    fields = "101 0000 01 0100 0010 0000 0000 00 000 0000 0 0 0 10000 10001"
    bits = fields.replace(" ", "")
    layout = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8))
    assert without_layout(layout + b"\3abc" + raw) == raw
    assert without_layout(raw) == raw
    assert without_layout(b"\xa0") == b""
