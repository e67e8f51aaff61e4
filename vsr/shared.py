"""A frame that several hold at once: the network reads it, a window shows it, the next one is compared with it."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np

from vsr.frame import Frame, Lease, Planes

COARSE = 8  # every so many rows and columns are compared first


class SharedLease(Lease):
    """Gives a buffer back once all who hold it have released it.

    Args:
        lease: of the frame; None where its planes belong to someone else.
        holders: who will release, one by one.
    """

    def __init__(self, lease: Lease | None, holders: int) -> None:
        self._lease, self._holders = lease, holders
        self._lock = threading.Lock()

    def release(self) -> None:
        with self._lock:
            if self._holders == 0:
                raise RuntimeError("frame released twice")
            self._holders -= 1
            last = self._holders == 0
        if last and self._lease is not None:
            self._lease.release()

    def hold(self) -> None:
        """One more holder; only while there is one."""
        with self._lock:
            if self._holders == 0:
                raise RuntimeError("frame held after its release")
            self._holders += 1


def shared(frame: Frame, holders: int = 1) -> Frame:
    """The frame, to be released as often as it has holders."""
    return replace(frame, lease=SharedLease(frame.lease, holders))


def held(frame: Frame) -> Frame:
    """The shared frame, with one more holder."""
    assert isinstance(frame.lease, SharedLease)
    frame.lease.hold()
    return frame


def same(one: Planes, other: Planes) -> bool:
    """Whether planes of one kind have the same samples: a few of them are looked at first."""
    coarse = np.array_equal(one[0][::COARSE, ::COARSE], other[0][::COARSE, ::COARSE])
    return coarse and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
