"""What of a frame is as it was in the last one, and whether looking for it pays."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from math import inf
from statistics import mean, median

import numpy as np
import numpy.typing as npt

from vsr.backends.tiled import ALIGNMENT, Grid, Place, halo, seen
from vsr.frame import Planes
from vsr.graph import FrameSpec
from vsr.report import Clock

ACROSS = 8  # tiles each way at most
SIDE = 64  # luma pixels of a tile that are kept, at least: of smaller ones the margins cost more than they spare
MOST = 0.75  # of a frame's time that tiles may take; above, the frame is computed in one piece
PERIOD, WATCHED = 16, 4  # while comparing doesn't pay, only so many frames out of so many are compared
SPARSE = 8  # of so many rows one is compared first, which shows a picture that moves everywhere
REMEMBERED = 8  # comparisons that tell whether it does
OPENING = 0.25  # seconds that opening the engine of the tiles takes, about: it is opened when it would have spared them


def grid_of(spec: FrameSpec, radius: int) -> Grid | None:
    """How frames are cut to find what changed; None where that spares nothing."""
    width, height = (max(SIDE, -(-size // (ACROSS * ALIGNMENT)) * ALIGNMENT) for size in (spec.width, spec.height))
    grid = Grid(spec=spec, width=width, height=height, halo=halo(spec, radius))
    return grid if area(grid, 1) < MOST else None


def changed(grid: Grid, now: Planes, before: Planes) -> list[Place]:
    """The places where a sample that the tile is computed from isn't what it was."""
    places, cuts = _cuts(grid)
    found = np.zeros((len(cuts[0].tops), len(cuts[0].lefts)), bool)
    for plane, old, cut, step in [
        (now[0], before[0], cuts[0], SPARSE),
        *zip(now, before, cuts, repeat(1), strict=False),
    ]:
        differing = plane[::step] != old[::step]
        for row, top in enumerate(cut.tops if differing.any() else ()):
            columns = np.cumsum(differing[-(-top // step) : -(-(top + cut.height) // step)].any(axis=0))
            until = np.concatenate([[0], columns])  # how many differ to the left of each column
            found[row] |= until[cut.lefts + cut.width] > until[cut.lefts]
        if found.all():
            break
    return [place for place, differs in zip(places, found.flat, strict=True) if differs]


@dataclass(frozen=True)
class _Cut:
    """Where the tiles of a grid begin in a plane, and their size there."""

    tops: list[int]
    lefts: npt.NDArray[np.intp]
    height: int
    width: int


@cache
def _cuts(grid: Grid) -> tuple[list[Place], list[_Cut]]:
    """A grid's places, row by row, and what that means in each plane."""
    places, tile, cuts = list(grid.places()), grid.tile, []
    for index, (height, width) in enumerate(tile.format.shapes(tile.width, tile.height)):
        seen_at = [seen(place, tile.format, index, (height, width)) for place in places]
        across = sum(place.top == 0 for place in places)
        lefts = np.array([columns.start for _, columns in seen_at[:across]])
        cuts.append(_Cut([rows.start for rows, _ in seen_at[::across]], lefts, height, width))
    return places, cuts


def area(grid: Grid, tiles: int) -> float:
    """What is computed for so many tiles, as a share of the frame."""
    return tiles * grid.tile.width * grid.tile.height / (grid.spec.width * grid.spec.height)


class Watch:
    """Whether comparing a frame with the last one pays: the time it takes against the time it spares.

    Args:
        clock: seconds.
        always: compare whatever it costs, and take tiles at `tile` whatever they do.
        tile: share of a frame's time that a tile takes at least; what it really takes is timed.
    """

    def __init__(self, clock: Clock, *, always: bool, tile: float) -> None:
        self.clock, self._always, self._tile, self._timed = clock, always, tile, 0.0
        self._gains: deque[tuple[float, float]] = deque(maxlen=REMEMBERED)  # share spared, seconds of comparing
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)  # that a whole frame took
        self._frames, self._begin, self._last = -1, 0.0, 0.0
        self._missed = 0.0  # seconds that tiles would have spared

    def looks(self) -> bool:
        """Whether the next frame is to be compared; the time that takes begins."""
        self._frames, self._begin = self._frames + 1, self.clock()
        return self._always or self._frames % PERIOD < WATCHED or self.pays

    @property
    def pays(self) -> bool:
        if not self._gains or not self._seconds:
            return True
        spared, spent = zip(*self._gains, strict=True)
        return bool(mean(spared) * self._frame() > median(spent))

    def cost(self, tiles: int) -> float:
        """Their time, as a share of a frame's."""
        return tiles * max(self._tile, self._timed)

    def compared(self, tiles: int | None) -> None:
        """What came of it: so many are to be computed, or all of the frame."""
        self._gains.append((0.0 if tiles is None else 1 - self.cost(tiles), self.clock() - self._begin))

    def missed(self, tiles: int) -> bool:
        """So few would have done; whether that, with what would have before, makes it worth to open their engine."""
        self._missed += (1 - self.cost(tiles)) * self._frame()
        return self._always or self._missed > OPENING

    def tried(self, tiles: int, seconds: float) -> None:
        """That is what they took; the least of what is told so counts."""
        if self._seconds and not self._always:
            self._timed = min(self._timed or inf, seconds / tiles / self._frame())

    def finished(self, *, whole: bool) -> None:
        """A frame did, with all of it computed or not; from one whole frame to the next is what one takes."""
        now = self.clock()
        if whole and self._last:
            self._seconds.append(now - self._last)
        self._last = now if whole else 0.0

    def _frame(self) -> float:
        """Seconds that a whole one takes."""
        return median(self._seconds) if self._seconds else 0.0
