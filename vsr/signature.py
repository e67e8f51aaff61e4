"""What a frame shows, in 64 bytes: enough to tell later whether a decoded picture shows it.

Taken when a frame goes to the encoder, a signature rides along with its packet; verification compares it with what the
finished file decodes to. Means over large blocks hardly change with coding, down to the worst quality.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from vsr.convert import samples
from vsr.frame import PlanarFormat, Plane

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame

GRID = 8  # blocks across and down
LINES = 128  # of a frame that are read


def signature(luma: Plane, depth: int) -> bytes:
    """Means of 8x8 blocks of a luma plane as 8-bit codes, in rows; every few lines are read. About 0.4 ms for 1080p."""
    height, width = luma.shape
    step = max(1, height // LINES)
    lines = luma[step // 2 :: step]
    down, across = (np.arange(GRID) * length // GRID for length in (len(lines), width))
    sums = np.add.reduceat(np.add.reduceat(lines, down, axis=0, dtype=np.uint32), across, axis=1)
    counts = np.outer(np.diff(down, append=len(lines)), np.diff(across, append=width))
    means = sums / np.maximum(counts, 1) / (1 << (depth - 8))
    codes: Plane = np.minimum(means.round(), 255).astype(np.uint8)
    return codes.tobytes()


def shown_signature(picture: VideoFrame) -> bytes | None:
    """The signature of a picture of FFmpeg's; None for RGB."""
    format = PlanarFormat.of(picture.format.name)
    return None if format is None else signature(samples(picture, format)[0], format.depth)


class Signatures:
    """Of a track's frames by their pts; 72 bytes a frame."""

    def __init__(self) -> None:
        self._pts, self._blocks = array("q"), bytearray()

    def __len__(self) -> int:
        return len(self._pts)

    def add(self, pts: int, signature: bytes) -> None:
        self._pts.append(pts)
        self._blocks += signature

    def seen(self, packets: Iterable[Packet[Any]]) -> Iterator[Packet[Any]]:
        """The same packets; the signature that each carries as `opaque` is noted."""
        for packet in packets:
            if isinstance(packet.opaque, bytes):
                self.add(packet.pts or 0, packet.opaque)
            yield packet

    def in_order(self) -> bytes:
        """All signatures, in order of presentation."""
        order = np.argsort(np.frombuffer(self._pts, np.int64), kind="stable")
        return np.frombuffer(bytes(self._blocks), np.uint8).reshape(-1, GRID * GRID)[order].tobytes()
