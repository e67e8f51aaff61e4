"""The times packets get, and the aspect that keeps the shape."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from vsr.encode import DecodeTimes, output_aspect


def test_the_aspect_keeps_the_shape() -> None:
    assert output_aspect(Fraction(1), (96, 64), (96, 64)) == 1
    assert output_aspect(Fraction(64, 45), (1440, 1152), (1920, 1080)) == Fraction(64, 45) * Fraction(
        1440 * 1080, 1152 * 1920
    )


@pytest.mark.parametrize(
    "aspect", [Fraction(36848, 25875), Fraction(25875, 36848), Fraction(10**6), Fraction(1, 10**6)]
)
def test_terms_of_the_aspect_stay_small(aspect: Fraction) -> None:
    small = output_aspect(aspect, (10, 10), (10, 10))
    assert 1 <= min(small.numerator, small.denominator) <= max(small.numerator, small.denominator) <= 4096
    assert abs(small / aspect - 1) < 0.0001 or max(aspect, 1 / aspect) > 4096


def reordered(count: int, depth: int, random: np.random.Generator) -> list[int]:
    """A coding order: the first frame first, then none more than `depth` places after its turn."""
    waiting, order = list(range(1, count)), [0]
    while waiting:
        due = len(order) - waiting[0] >= depth
        order.append(waiting.pop(0 if due else int(random.integers(0, min(4, len(waiting))))))
    return order


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_decoding_times_rise_across_pieces(depth: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    times, found, pts = DecodeTimes(), [], 100
    for _ in range(5):
        count = int(random.integers(20, 40))
        lengths = random.choice([1, 3, 40, 900], count).tolist()
        shown = [pts + sum(lengths[:i]) for i in range(count)]
        for time, length in zip(shown, lengths, strict=True):
            times.fed(time, length)
        for place, index in enumerate(reordered(count, depth, random)):
            own = shown[place - depth] if place >= depth else shown[place] - (shown[depth] - shown[0])  # as x264 does
            found.append((shown[index], times.next(shown[index], own)))
        pts = shown[-1] + lengths[-1]
    assert all(a < b for (_, a), (_, b) in pairwise(found))
    assert all(decode <= time for time, decode in found)
    assert found[0][0] - found[0][1] >= depth


def test_without_reordering_both_times_are_one() -> None:
    times = DecodeTimes()
    for pts in (5, 9, 30):
        times.fed(pts, 4)
    assert [times.next(pts, pts) for pts in (5, 9, 30)] == [5, 9, 30]


SAME_BITS = """
import sys, zlib
import os
import subprocess
import sys
from fractions import Fraction
import av, numpy as np
from vsr.encode import repeatable
width, checksum = int(sys.argv[1]), 0
context = av.CodecContext.create("libx264", "w")
context.width, context.height, context.pix_fmt, context.time_base = width, 128, "gray", Fraction(1, 25)
context.options, context.thread_count = repeatable({"preset": "veryfast"}, "libx264", width), 3
noise = np.random.default_rng(0).integers(0, 255, (24, width // 8 + 8)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
for number in range(26):
    frame = None
    if number < 25:
        frame = av.VideoFrame.from_ndarray(noise[number % 8 :][:128, number * 2 % 16 :][:, :width].copy(), "gray")
        frame.pts = number
    for packet in context.encode(frame):
        checksum = zlib.crc32(packet, checksum)
print(checksum)
"""


@pytest.mark.parametrize("width", [192, 320, 1280])
def test_the_same_frames_give_the_same_bits(width: int) -> None:
    """Whatever stands in memory that nobody wrote."""
    found = set()
    for byte in ("0", "1", "129", "255"):
        command = [sys.executable, "-c", SAME_BITS, str(width)]
        ran = subprocess.run(command, env=os.environ | {"MALLOC_PERTURB_": byte}, capture_output=True, check=True)
        found.add(ran.stdout)
    assert len(found) == 1
