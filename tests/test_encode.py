"""Which encoder is chosen, and the times it gives its packets."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from vsr.encode import DecodeTimes, choose_encoder, even, output_aspect
from vsr.errors import OutputError, UsageError
from vsr.frame import PlanarFormat
from vsr.settings import EncodeSettings
from vsr.tracks import container_for


def chosen(samples: str, output: str, **settings: str) -> tuple[str, str]:
    format = PlanarFormat.of(samples)
    assert format is not None
    return choose_encoder(format, container_for(output), EncodeSettings(**settings), output)[:2]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pix_fmt", "output", "codec", "stored"),
    [
        ("yuv420p", "a.mp4", "libx264", "yuv420p"),
        ("yuv422p10le", "a.mkv", "libx264", "yuv422p10le"),
        ("yuv420p9le", "a.mp4", "libx264", "yuv420p10le"),
        ("yuv420p12le", "a.mp4", "libx265", "yuv420p12le"),
        ("yuv444p12le", "a.ts", "libx265", "yuv444p12le"),
        ("gray", "a.mp4", "libx264", "gray"),
        ("gray12le", "a.mp4", "libx265", "gray12le"),
        ("yuv444p16le", "a.mkv", "ffv1", "yuv444p16le"),
        ("yuv420p", "a.webm", "libvpx-vp9", "yuv420p"),
        ("yuv444p", "a.webm", "libvpx-vp9", "yuv444p"),
        ("yuv420p10le", "a.webm", "libsvtav1", "yuv420p10le"),
    ],
)
def test_the_encoder_keeps_depth_and_chroma(pix_fmt: str, output: str, codec: str, stored: str) -> None:
    assert chosen(pix_fmt, output) == (codec, stored)


@pytest.mark.parametrize(
    ("pix_fmt", "output"), [("yuv444p16le", "a.mp4"), ("yuv422p10le", "a.webm"), ("gray16le", "a.ts")]
)
def test_no_encoder_is_said_before_the_run(pix_fmt: str, output: str) -> None:
    with pytest.raises(OutputError, match=f"{output}: no encoder for {pix_fmt} in this container; .mkv takes it"):
        chosen(pix_fmt, output)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"codec": "libx266"}, "no encoder named libx266 here"),
        ({"codec": "libsvtav1"}, "libsvtav1 can't store yuv444p"),
        ({"pix_fmt": "yuv999p"}, "libx264 can't store yuv999p"),
        ({"codec": "aac"}, "aac can't store yuv444p"),
    ],
)
def test_a_choice_that_cannot_be(settings: dict[str, str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        chosen("yuv444p", "a.mp4", **settings)


def test_options_reach_the_encoder() -> None:
    container, format = container_for("a.mp4"), PlanarFormat()
    options = choose_encoder(format, container, EncodeSettings(crf=21.5, preset="slow", options={"tune": "film"}), "")[
        2
    ]
    assert options == {"preset": "slow", "crf": "21.5", "tune": "film"}
    settings = EncodeSettings(codec="libvpx-vp9", preset="3", options={"crf": "9"})
    options = choose_encoder(format, container, settings, "")[2]
    assert (options["cpu-used"], options["crf"]) == ("3", "9")
    assert "preset" not in options


@pytest.mark.parametrize(
    ("size", "codec", "pix_fmt", "expected"),
    [
        ((47, 33), "libx264", "yuv420p", (48, 34)),
        ((47, 33), "libx265", "yuv422p10le", (48, 33)),
        ((47, 33), "libx264", "yuv444p", (47, 33)),
        ((47, 33), "libx264", "gray", (47, 33)),
        ((47, 33), "libvpx-vp9", "yuv420p", (47, 33)),
        ((47, 33), "ffv1", "yuv420p", (47, 33)),
        ((48, 34), "libx264", "yuv420p", (48, 34)),
        ((47, 33), "prores_ks", "yuva444p10le", (48, 34)),
    ],
)
def test_even_sizes_only_where_they_must(
    size: tuple[int, int], codec: str, pix_fmt: str, expected: tuple[int, int]
) -> None:
    assert even(size, codec, pix_fmt) == expected


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
