"""Frames too large for the memory allowed, in overlapping tiles of one size: the same samples as in one piece."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from vsr.backends.engine import Engine, QueuedEngine, Ticket
from vsr.errors import MemoryLimitError
from vsr.frame import SUBSAMPLING, Frame, FramePool, PlanarFormat, Plane, Planes
from vsr.graph import CHROMA_RADIUS, FrameSpec

ALIGNMENT = 8  # tiles start at multiples of this: whole chroma samples, and whole groups of a grouped convolution
SMALLEST = 16  # pixels of a tile that are kept, per side


@dataclass(frozen=True)
class Place:
    """Where a tile is cut (`x`, `y`) and which part of its result is kept, in luma pixels of the frame."""

    x: int
    y: int
    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A frame cut into parts of `width` x `height`, each computed from a tile with a margin of at least `halo`."""

    spec: FrameSpec
    width: int
    height: int
    halo: int

    @property
    def tile(self) -> FrameSpec:
        """What the engine of the tiles is opened for; never larger than the frame."""
        width, height = _outer(self.spec.width, self.width, self.halo), _outer(self.spec.height, self.height, self.halo)
        return replace(self.spec, width=width, height=height)

    def places(self) -> Iterator[Place]:
        tile = self.tile
        for top in range(0, self.spec.height, self.height):
            for left in range(0, self.spec.width, self.width):
                yield Place(
                    x=min(max(0, left - self.halo), self.spec.width - tile.width),
                    y=min(max(0, top - self.halo), self.spec.height - tile.height),
                    left=left,
                    top=top,
                    right=min(left + self.width, self.spec.width),
                    bottom=min(top + self.height, self.spec.height),
                )


def _outer(size: int, inner: int, halo: int) -> int:
    """Side of a tile: the rest of the frame is a multiple of the alignment, so that the last tile starts on one."""
    outer = min(size, inner + 2 * halo)
    return outer + (size - outer) % ALIGNMENT


def choose(spec: FrameSpec, radius: int | None, fits: Callable[[FrameSpec], bool], limit: str) -> Grid | None:
    """The coarsest grid whose tiles fit, found by halving the longer side; None when the frame fits as it is.

    Args:
        radius: receptive radius in luma pixels; None allows no tiles.
        fits: whether an engine for such frames stays within the memory allowed.
        limit: that memory, for the message.

    Raises:
        MemoryLimitError: not even the smallest tile fits.
    """
    if fits(spec):
        return None
    if radius is None:
        raise MemoryLimitError(f"{spec} needs more than {limit}, and this model sees too far for tiles; allow more")
    margin = halo(spec, radius)
    width, height = _aligned(spec.width), _aligned(spec.height)
    while max(width, height) > SMALLEST:
        width, height = (_aligned(width / 2), height) if width >= height else (width, _aligned(height / 2))
        grid = Grid(spec=spec, width=width, height=height, halo=margin)
        if fits(grid.tile):
            return grid
    raise MemoryLimitError(f"{spec} needs more than {limit} even in tiles of {grid.tile}; allow more memory")


def halo(spec: FrameSpec, radius: int) -> int:
    """How many luma pixels around it a tile needs, for the network and for the chroma."""
    across, down = SUBSAMPLING.get(spec.format.chroma, (1, 1))
    return -(-max(radius, CHROMA_RADIUS * across, CHROMA_RADIUS * down) // ALIGNMENT) * ALIGNMENT


def _aligned(size: float) -> int:
    return max(SMALLEST, int(-(-size // ALIGNMENT)) * ALIGNMENT)


class Tiles:
    """Runs an engine on tiles of frames; those of several frames may be on their way, in the order they were begun.

    What the engine raises is raised again until `reset`, as tiles that were on their way then are lost.

    Args:
        inner: for frames of `grid.tile`, of this scale.
    """

    def __init__(self, grid: Grid, inner: Engine, scale: int) -> None:
        self.grid, self._inner, self._scale, tile = grid, inner, scale, grid.tile
        self._pool = FramePool(tile.format, tile.width, tile.height)
        self._running: deque[tuple[Ticket, Place, Planes]] = deque()
        self._done = 0  # tiles, ever
        self._broken: BaseException | None = None

    def begin(self, planes: Planes, frame: Frame, places: Iterable[Place]) -> int:
        """Starts to upscale what is at `places` of `frame` into `planes`; what to ask `finish` for.

        `frame` isn't read any more after that.
        """
        with self._breaking():
            for place in places:
                if len(self._running) == self._inner.capacity:
                    self._paste(self._inner.wait(self._running[0][0]))
                tile = self._cut(frame, place)
                try:
                    self._running.append((self._inner.submit(tile), place, planes))
                except BaseException:
                    tile.release()
                    raise
        return self._done + len(self._running)

    def finish(self, begun: int, timeout: float | None = None) -> None:
        """Waits for what was begun. Raises TimeoutError after `timeout` seconds without a tile; ask again then."""
        with self._breaking():
            while self._done < begun:
                self._paste(self._inner.wait(self._running[0][0], timeout))

    def reset(self) -> None:
        """Drops what is on its way."""
        self._running.clear()
        self._broken = None
        self._inner.reset()

    def close(self) -> None:
        self._running.clear()
        self._inner.close()
        self._pool.close()

    @contextmanager
    def _breaking(self) -> Iterator[None]:
        if self._broken is not None:
            raise self._broken
        try:
            yield
        except TimeoutError:
            raise
        except BaseException as error:
            try:
                self.reset()
            finally:
                self._broken = error
            raise

    def _cut(self, frame: Frame, place: Place) -> Frame:
        tile = self.grid.tile
        planes, lease = self._pool.take()
        cut(frame, place, planes)
        return frame.like(format=frame.format, width=tile.width, height=tile.height, planes=planes, lease=lease)

    def _paste(self, tile: Frame) -> None:
        _, place, planes = self._running.popleft()
        self._done += 1
        for source, target in kept(tile, place, planes, self._scale):
            target[:] = source
        tile.release()


class TiledEngine(QueuedEngine[Frame]):
    """Engine that runs another one tile by tile; `submit` does the work.

    Equal to the untiled result to the bit, as a kept sample sees the same neighbours either way.
    """

    def __init__(self, grid: Grid, inner: Engine, scale: int) -> None:
        super().__init__(grid.spec, scale, 1)
        self._tiles, tile = Tiles(grid, inner, scale), grid.tile
        self.label = f"{inner.label}, in {len(list(grid.places()))} tiles of {tile.width}x{tile.height}"

    def _start(self, frame: Frame, out: Planes | None) -> Frame:
        result = self._result(frame, out)
        try:
            self._tiles.finish(self._tiles.begin(result.planes, frame, self._tiles.grid.places()))
        except BaseException:
            result.release()
            raise
        frame.release()
        return result

    def _finish(self, result: Frame, timeout: float | None) -> Frame:
        return result

    def reset(self) -> None:
        super().reset()
        self._tiles.reset()

    def close(self) -> None:
        self.reset()
        self._tiles.close()
        super().close()


def cut(frame: Frame, place: Place, planes: Planes) -> None:
    """Copies the tile at `place` to `planes`."""
    for index, (source, target) in enumerate(zip(frame.planes, planes, strict=True)):
        target[:] = source[seen(place, frame.format, index, target.shape)]


def seen(place: Place, format: PlanarFormat, plane: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """What of a frame's plane a tile is computed from, its own plane being of `shape`."""
    across, down = _subsampling(format, plane)
    x, y = place.x // across, place.y // down
    return slice(y, y + shape[0]), slice(x, x + shape[1])


def landing(place: Place, format: PlanarFormat, plane: int, scale: int) -> tuple[slice, slice]:
    """Where in the plane of the whole result the part of a tile that is kept goes."""
    across, down = _subsampling(format, plane)
    left, top = place.left * scale // across, place.top * scale // down
    return slice(top, -(-place.bottom * scale // down)), slice(left, -(-place.right * scale // across))


def kept(tile: Frame, place: Place, planes: Planes, scale: int) -> Iterator[tuple[Plane, Plane]]:
    """For each plane the part of a tile's result that is kept, and where that is in the planes of the whole result."""
    for index, (source, target) in enumerate(zip(tile.planes, planes, strict=True)):
        across, down = _subsampling(tile.format, index)
        x, y = place.x * scale // across, place.y * scale // down
        rows, columns = landing(place, tile.format, index, scale)
        yield source[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x], target[rows, columns]


def _subsampling(format: PlanarFormat, plane: int) -> tuple[int, int]:
    return SUBSAMPLING[format.chroma] if plane in (1, 2) and format.chroma != "grey" else (1, 1)
