"""Tags, aspect and rotation as a decoder tells them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from clips import Clip
from vsr.colour import UPRIGHT, is_rigid, moved, read_facts, turn
from vsr.decode import pictures
from vsr.frame import Colour, TrackFacts
from vsr.report import Report

QUARTER = (0, 65536, 0, -65536, 0, 0, 32 << 16, 0, 1 << 30)


def facts_of(clip: Clip, path: Path) -> TrackFacts:
    with av.open(str(clip.write(path))) as container:
        stream = container.streams.video[0]
        return read_facts(stream, next(container.decode(stream)))


@pytest.mark.parametrize("matrix", [2, 1, 5, 9])
@pytest.mark.parametrize("range", [0, 1, 2])
def test_tags_are_read(tmp_path: Path, range: int, matrix: int) -> None:
    colour = Colour(range=range, primaries=9, transfer=14, matrix=matrix)
    found = facts_of(Clip(colour=colour, pts=[0]), tmp_path / "a.mp4").colour
    assert (found.range or 1, found.primaries, found.transfer, found.matrix) == (range or 1, 9, 14, matrix)


def test_yuvj_means_full_range(tmp_path: Path) -> None:
    assert facts_of(Clip(codec="mjpeg", pix_fmt="yuvj420p", pts=[0]), tmp_path / "a.mov").colour.range == 2


@pytest.mark.parametrize(("range", "means"), [(0, 2), (1, 1), (2, 2)])
def test_grey_that_nobody_tagged_means_full_range(tmp_path: Path, range: int, means: int) -> None:
    clip = Clip(codec="ffv1", pix_fmt="gray", pts=[0], colour=Colour(range=range))
    assert facts_of(clip, tmp_path / "a.mkv").colour.range == means


def test_rgb_is_described_as_what_it_becomes(tmp_path: Path) -> None:
    found = facts_of(Clip(codec="png", pix_fmt="rgb24", pts=[0]), tmp_path / "a.mov").colour
    assert (found.range, found.matrix, found.chroma_location) == (1, 1, "unspecified")


def test_tags_that_the_decoder_passes_over_are_the_containers(tmp_path: Path) -> None:
    colour = Colour(range=1, primaries=9, transfer=14, matrix=9)
    clip = Clip(codec="libvpx-vp9", pix_fmt="yuva420p", pts=range(2), colour=colour)
    with av.open(str(clip.write(tmp_path / "a.mkv"))) as container:
        stream = container.streams.video[0]
        first = next(pictures(stream, container.demux(stream), Report(), alpha=True))
        assert (first.format.name, int(first.color_primaries)) == ("yuva420p", 2)
        found = read_facts(stream, first).colour
    assert (found.range, found.primaries, found.transfer, found.matrix) == (1, 9, 14, 9)


@pytest.mark.parametrize("aspect", [Fraction(1), Fraction(64, 45), Fraction(80, 33)])
def test_aspect(tmp_path: Path, aspect: Fraction) -> None:
    assert facts_of(Clip(aspect=aspect, pts=[0]), tmp_path / "a.mp4").aspect == aspect


@pytest.mark.parametrize("matrix", [None, UPRIGHT, QUARTER])
def test_rotation(tmp_path: Path, matrix: tuple[int, ...] | None) -> None:
    found = facts_of(Clip(matrix=matrix, pts=[0]), tmp_path / "a.mp4").display_matrix
    assert found == (QUARTER if matrix == QUARTER else None)


def test_what_says_nothing_is_nothing(tmp_path: Path) -> None:
    found = facts_of(
        Clip(matrix=(0,) * 9, colour=Colour(range=1, primaries=0, transfer=0), pts=[0]), tmp_path / "a.mp4"
    )
    assert (found.display_matrix, found.colour.primaries, found.colour.transfer) == (None, 2, 2)


@pytest.mark.parametrize(
    ("matrix", "rigid"),
    [
        (UPRIGHT, True),
        (QUARTER, True),
        ((46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30), True),
        ((-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30), True),
        ((131072, 0, 0, 0, 131072, 0, 0, 0, 1 << 30), False),
        ((65536, 20000, 0, 0, 65536, 0, 0, 0, 1 << 30), False),
    ],
)
def test_turned_but_not_stretched(matrix: tuple[int, ...], rigid: bool) -> None:
    assert is_rigid(matrix) is rigid


def test_a_larger_picture_turns_alike_and_shifts_farther() -> None:
    assert moved(QUARTER, Fraction(2), Fraction(3)) == (*QUARTER[:6], 64 << 16, 0, 1 << 30)
    assert moved((*UPRIGHT[:6], 3, 5, 1 << 30), Fraction(3, 2), Fraction(2)) == (*UPRIGHT[:6], 4, 10, 1 << 30)
    assert moved(None, Fraction(2), Fraction(2)) is None
    far = (*UPRIGHT[:6], 2**31 - 1, -(2**31), 1 << 30)
    assert moved(far, Fraction(4), Fraction(4)) == far


def test_turn_is_blind_to_the_shift() -> None:
    assert turn(QUARTER) == turn(moved(QUARTER, Fraction(7), Fraction(7)))
    assert turn(QUARTER) != turn(UPRIGHT)
    assert turn(None) is None
    assert turn((*UPRIGHT[:6], 5, 5, 1 << 30)) is None
