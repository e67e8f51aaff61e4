"""vsr-bench's page: well formed, complete by itself, and every plot there is data for."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import pytest

from vsr.bench import svg
from vsr.bench.page import page
from vsr.bench.result import Absent, Case, Measured, Quality, Result, Round, Stage

DONE = Round(fps=40.0, seconds=3.0, first_frame=0.6, peak_mib=300.0)
GOOD = Quality(frames=5, psnr=36.0, ssim=0.95, bicubic_psnr=33.0, bicubic_ssim=0.9)
SPREAD = Stage(calls=9, p50=1.0, p95=2.0, p99=3.0, share=0.5)


def measured(case: Case) -> Measured:
    stages = {"decode": SPREAD, "net<work>": SPREAD}
    timeline = [("net<work>", 0.0, 2.0), ("decode", 1.0, 9.0)]
    return Measured(case=case, frames=9, rounds=[DONE], stages=stages, timeline=timeline, quality=GOOD)


def shown(*cases: Case) -> str:
    result = Result(vsr="0", machine={"cores": 2, "mhz": {"now": 1.0}, "extensions": ["avx2"]}, clip="<clip>.mp4")
    result.measured = [measured(case) for case in cases]
    result.absent = [Absent(case=Case(network="edsr"), why="no <weights>")]
    return page(result)


def test_the_page_is_whole_and_its_drawings_well_formed() -> None:
    text = shown(Case(network="m4c8"), Case(network="m4c16", sink="x264"))
    drawings = re.findall(r"<svg.*?</svg>", text)
    for drawing in drawings:
        ElementTree.fromstring(drawing)
    assert len(drawings) == 5  # speed, PSNR, shares, two timelines
    assert not re.search(r"(src|href)=|url\(|@import", text)
    assert "&lt;clip&gt;.mp4" in text
    assert "no &lt;weights&gt;" in text
    assert "<clip>" not in text


@pytest.mark.parametrize(
    ("cases", "title"),
    [
        ([Case(network="m4c8", threads=n) for n in (1, 2)], "Scaling by threads"),
        ([Case(network="m4c8", size=size) for size in ("360p", "720p")], "Scaling by size"),
    ],
)
def test_scaling_is_drawn_where_there_are_several(cases: list[Case], title: str) -> None:
    drawn = re.findall(rf"<h2>{title}</h2>.*?(?=<h2>)", shown(*cases))
    assert len(drawn) == 1
    series = cases[0].name.replace(" 1 thread", "").replace(" 360p", "")
    assert set(re.findall(r"<title>(.*?)</title>", drawn[0])) == {series}, "named by what its points have in common"
    assert "Scaling" not in shown(cases[0])


def test_a_stage_has_one_colour_on_the_page() -> None:
    text = shown(Case(network="m4c8"))
    shares, stretch = (re.search(rf"<h2>{title}.*?</svg>", text) for title in ("Where", "A stretch"))
    assert shares
    assert stretch
    paint = [set(re.findall(r'fill="(#\w+)"><title>(\S+) ', found[0])) for found in (shares, stretch)]
    assert len(paint[0]) == 2
    assert paint[0] == paint[1]


@pytest.mark.parametrize("drawn", [svg.bars, lambda rows, _: svg.stacks([(name, {}) for name, _ in rows], {})])
def test_no_label_is_cut(drawn: Callable[[list[tuple[str, float]], str], str]) -> None:
    longest = Case(network="u2-m4c32", size="1080p", precision="float32", threads=16, backend="openvino").name
    rights = re.findall(r'<text x="([\d.]+)"[^>]*text-anchor="end"', drawn([("a", 1), (longest, 4)], "fps"))
    assert {float(right) >= svg.LETTER * len(longest) for right in rights} == {True}


@pytest.mark.parametrize(
    ("low", "high", "written"),
    [
        (0, 9.3, ["0", "2", "4", "6", "8"]),
        (35.77, 36.52, ["35.8", "36.0", "36.2", "36.4"]),
        (7.36, 96.9, ["20", "40", "60", "80"]),
        (0, 0.04, ["0.00", "0.01", "0.02", "0.03", "0.04"]),
        (0, 2600, ["0", "1000", "2000"]),
    ],
)
def test_ticks_are_round(low: float, high: float, written: list[str]) -> None:
    ticks = svg.ticks(low, high)
    assert [text for _, text in ticks] == written
    assert all(float(text) == pytest.approx(value) for value, text in ticks)
    assert [text for _, text in svg.ticks(0, 2.1, whole=True)] == ["0", "1", "2"]


def test_bars_are_as_long_as_their_values() -> None:
    widths = [
        float(width) for width in re.findall(r'<rect[^>]* width="([\d.]+)"', svg.bars([("a", 1), ("b", 4)], "fps"))
    ]
    assert widths[1] == pytest.approx(4 * widths[0], abs=0.5)  # as written, to a tenth


def test_points_stand_where_their_values_say() -> None:
    drawn = svg.lines({"a": [(0.0, 0.0), (1.0, 2.0)]}, "x", "y")
    (x, y), (right, up) = ((float(a), float(b)) for a, b in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', drawn))
    assert x < right
    assert up < y
    assert svg.lines({}, "x", "y") == ""
