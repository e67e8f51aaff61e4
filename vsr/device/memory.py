"""Page-locked memory for `FramePool`: frames decoded into it, or downloaded into it, need no copy of the CPU's."""

from __future__ import annotations

import threading
from bisect import bisect_right, insort
from typing import Any

import numpy.typing as npt

from vsr.device.protocol import Bytes, Device, PinnedBuffer, run_all


class PinnedMemory:
    """What `FramePool` takes as `memory`. Buffers stay its own until `close()`; using one again is the pool's business.

    Any thread may call any method.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._spans: list[tuple[int, int]] = []  # addresses, first and past the last, in order
        self._buffers: list[PinnedBuffer] = []

    def __call__(self, nbytes: int) -> Bytes:
        """So many zeros, 256-byte aligned. Raises DeviceMemoryError.

        What pads a plane is never written again, and is 0 as the other half of an odd plane's last pair of samples has
        to be where samples go in pairs (`vsr.graph`).
        """
        with self._device.current():
            buffer = self._device.pinned(nbytes)
        buffer.array[:] = 0
        start = address_of(buffer.array)
        with self._lock:
            self._buffers.append(buffer)
            insort(self._spans, (start, start + nbytes))
        return buffer.array[:nbytes]

    def owns(self, array: Bytes) -> bool:
        """Whether all of a dense array lies in one of its buffers."""
        start = address_of(array)
        with self._lock:
            index = bisect_right(self._spans, start, key=lambda span: span[0])
            return index > 0 and start + array.nbytes <= self._spans[index - 1][1]

    def close(self) -> None:
        """Frees the buffers: nobody may touch an array of it afterwards, nor may anything enqueued."""
        with self._lock:
            buffers, self._buffers, self._spans = self._buffers, [], []
        with self._device.current():
            run_all(buffer.close for buffer in reversed(buffers))


def address_of(array: npt.NDArray[Any]) -> int:
    """Of the first byte."""
    return int(array.__array_interface__["data"][0])
