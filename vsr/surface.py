"""Pictures that stay in a GPU's memory from the decoder to the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from vsr.frame import Lease, Planes

THROUGH_MEMORY = "decoded pictures go through memory"


@dataclass(frozen=True)
class Rows:
    """A plane in a GPU's memory: where its first row begins, bytes from there to the next, bytes of a row, and rows."""

    address: int
    pitch: int
    nbytes: int
    count: int


class Surface(Protocol):
    """A decoded picture on a GPU, in 4:2:0 of even size: Y, then U and V in pairs (see `PlanarFormat.shapes`).

    Attributes:
        rows: its two planes, complete, and left alone by the decoder until `close()`.
    """

    @property
    def rows(self) -> tuple[Rows, Rows]: ...

    def land(self, planes: Planes) -> None:
        """Copies its samples to ordinary memory. Raises SurfaceError."""

    def close(self) -> None:
        """Gives it back to the decoder, which overwrites it: nothing enqueued may read it any more."""


class SurfaceLease(Lease):
    """A frame's right to its surface, and to the buffer that its samples would land in."""

    def __init__(self, lease: Lease, close: Callable[[], None]) -> None:
        self.buffer = lease.buffer
        self._lease, self._close = lease, close

    def release(self) -> None:
        self._close()
        self._lease.release()
