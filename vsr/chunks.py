"""Chunks: where a track is cut so that each piece can be encoded by itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from vsr.frame import Frame

SECONDS = 30.0  # length aimed at: short enough to lose little, long enough that restarting the encoder costs nothing


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Frames with start <= pts < end, in ticks of the track; `end` None: to the end of the track."""

    index: int
    start: int
    end: int | None

    def holds(self, pts: int) -> bool:
        return self.start <= pts and (self.end is None or pts < self.end)


def cut(keys: Sequence[int], start: int, end: int | None, length: int) -> tuple[Chunk, ...]:
    """Cuts [start, end) at key frames, each piece at least `length` ticks long but the last.

    Args:
        keys: pts of the key frames, rising, found by a packet scan (an index may lie).
        start, end: range of the job; `end` None: to the end of the track.
    """
    starts = [start]
    for key in keys:
        if key >= starts[-1] + length and (end is None or key < end):
            starts.append(key)
    return tuple(
        Chunk(index=i, start=a, end=b) for i, (a, b) in enumerate(zip(starts, [*starts[1:], end], strict=True))
    )


def split(frames: Iterable[Frame], chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, Iterator[Frame]]]:
    """The frames of each chunk in turn; chunks without frames don't appear.

    Raises ValueError for a frame that falls back in pts or lies in no chunk.
    """
    left = deque(chunks)

    def chunk_of(frame: Frame) -> Chunk:
        while left and not left[0].holds(frame.pts):
            left.popleft()
        if not left:  # groupby would take a StopIteration from here for the end of the frames
            raise ValueError(f"no chunk holds a frame at pts {frame.pts}: frames must rise and lie in the job's range")
        return left[0]

    return groupby(frames, key=chunk_of)
