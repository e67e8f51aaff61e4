"""A frame that several hold at once: the network reads it, a window shows it, the next one is compared with it."""

from __future__ import annotations

import threading
from dataclasses import replace

from vsr.frame import Frame, Lease


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
