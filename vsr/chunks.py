"""Chunks: where a track is cut so that each piece can be encoded by itself."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from vsr.frame import Frame


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Frames with start <= pts < end, in ticks of the track; `end` None: to the end of the track.

    `packet` is the number of the track's packet, in file order, from which a decoder has to be fed to give these
    frames as if it had been fed from the beginning.
    """

    index: int
    start: int
    end: int | None
    packet: int = 0

    def holds(self, pts: int) -> bool:
        return self.start <= pts and (self.end is None or pts < self.end)


@dataclass(frozen=True)
class Key:
    """A key frame: when it is shown, and the number of its packet in file order."""

    pts: int
    packet: int


def cut(keys: Sequence[Key], start: int, end: int | None, length: int, settled: int) -> tuple[Chunk, ...]:
    """Cuts [start, end) at key frames, each piece at least `length` ticks long but the last.

    Args:
        keys: the track's key frames, rising, found by a packet scan (an index may lie).
        start, end: range of the job; `end` None: to the end of the track.
        settled: no cut before this pts.
    """
    starts = [start]
    for key in keys:
        if key.pts >= max(starts[-1] + length, settled) and (end is None or key.pts < end):
            starts.append(key.pts)
    bounds = zip(starts, [*starts[1:], end], strict=True)
    return tuple(Chunk(index=i, start=a, end=b, packet=_lead_in(keys, a)) for i, (a, b) in enumerate(bounds))


def _lead_in(keys: Sequence[Key], start: int) -> int:
    """The packet to decode from: the last but one key frame not after `start`.

    The key frame itself wouldn't do: frames coded after it and shown before it refer further back (open GOP), and so
    does a filter that looks at the frame before.
    """
    at = bisect_right(keys, start, key=lambda key: key.pts)
    return 0 if at < 2 else min(key.packet for key in keys[at - 2 : at])


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
