"""Every frame falls into one chunk, and chunks begin at key frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from vsr.chunks import Chunk, Key, cut, split
from vsr.frame import Frame, PlanarFormat

GREY = PlanarFormat(chroma="grey")


def frame(pts: int) -> Frame:
    return Frame(format=GREY, width=1, height=1, planes=(np.zeros((1, 1), np.uint8),), pts=pts)


def at(*times: int) -> list[Key]:
    return [Key(pts, 10 * number) for number, pts in enumerate(times)]


def bounds(chunks: Sequence[Chunk]) -> list[tuple[int, int | None]]:
    return [(chunk.start, chunk.end) for chunk in chunks]


@pytest.mark.parametrize(
    ("keys", "start", "end", "length", "expected"),
    [
        ([], 0, None, 10, [(0, None)]),
        ([0, 10, 20], 0, None, 10, [(0, 10), (10, 20), (20, None)]),
        ([0, 9, 18, 30], 0, None, 10, [(0, 18), (18, 30), (30, None)]),  # 9 is too near
        ([0, 10, 20], 0, 20, 10, [(0, 10), (10, 20)]),  # a key frame at the end begins nothing
        ([0, 10, 20], 5, 25, 10, [(5, 20), (20, 25)]),  # the range begins between key frames
        ([-30, -20, 0], -25, None, 5, [(-25, -20), (-20, 0), (0, None)]),
        ([100], 0, 50, 10, [(0, 50)]),
    ],
)
def test_where_it_is_cut(
    keys: list[int], start: int, end: int | None, length: int, expected: list[tuple[int, int | None]]
) -> None:
    chunks = cut(at(*keys), start, end, length, start)
    assert bounds(chunks) == expected
    assert [chunk.index for chunk in chunks] == list(range(len(expected)))


def test_the_end_belongs_to_the_next() -> None:
    chunk = Chunk(index=0, start=5, end=8)
    assert [pts for pts in range(12) if chunk.holds(pts)] == [5, 6, 7]
    assert Chunk(index=0, start=5, end=None).holds(10**12)


def test_each_frame_is_in_one_chunk_in_order() -> None:
    times = np.cumsum(np.random.default_rng(0).integers(1, 40, 200)).tolist()
    chunks = cut(at(*times[::7]), times[0], None, 90, times[0])
    assert len(chunks) > 10
    parts = [(chunk, [f.pts for f in frames]) for chunk, frames in split(map(frame, times), chunks)]
    assert [pts for _, part in parts for pts in part] == times
    assert [chunk for chunk, _ in parts] == list(chunks)
    assert all(chunk.holds(pts) for chunk, part in parts for pts in part)
    assert all(part[0] == chunk.start for chunk, part in parts)


def test_chunks_without_frames_do_not_appear() -> None:
    parts = split([frame(1), frame(25)], cut(at(0, 10, 20), 0, None, 10, 0))
    assert [(chunk.index, [f.pts for f in frames]) for chunk, frames in parts] == [(0, [1]), (2, [25])]
    assert list(split([], cut(at(0), 0, None, 10, 0))) == []


def test_frames_are_taken_one_at_a_time() -> None:
    asked: list[int] = []

    def source() -> object:
        for pts in range(4):
            asked.append(pts)
            yield frame(pts)

    (_, part), *_ = ((c, next(iter(f))) for c, f in split(source(), cut([], 0, None, 10, 0)))  # type: ignore[arg-type]
    assert part.pts == 0


@pytest.mark.parametrize("times", [[50], [3, 12], [8, 3]])
def test_a_frame_outside_every_chunk_is_an_error(times: list[int]) -> None:
    with pytest.raises(ValueError, match=rf"pts {times[-1]}"):
        [list(part) for _, part in split(map(frame, times), cut(at(0, 5), 0, 10, 5, 0))]


def test_decoding_begins_a_group_of_pictures_earlier() -> None:
    chunks = cut(at(0, 100, 200, 300, 400), 0, None, 150, 0)
    assert [(chunk.start, chunk.packet) for chunk in chunks] == [(0, 0), (200, 10), (400, 30)]
    assert cut(at(0, 100, 200, 300), 250, None, 1000, 0)[0].packet == 10  # between key frames
    assert cut([Key(0, 0), Key(100, 30), Key(200, 20)], 200, None, 1000, 0)[0].packet == 20  # falling in the file


def test_no_cut_before_it_has_settled() -> None:
    assert bounds(cut(at(0, 10, 20, 30), 0, None, 5, 15)) == [(0, 20), (20, 30), (30, None)]
