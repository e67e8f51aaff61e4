"""Engine: what runs a network on whole frames. One contract for CPU requests, GPU slots, live and batch."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from vsr.frame import Frame, FramePool, Memory, Planes
from vsr.graph import FrameSpec


@dataclass(frozen=True)
class Ticket:
    """Receipt for one submitted frame; numbers count up from 0 in submission order."""

    number: int


class Engine(Protocol):
    """Upscales frames of one format and size; not thread-safe: one thread submits and collects.

    Results come back in submission order whatever order they complete in. `submit` takes the input frame over and
    releases it once its samples are no longer read. The result's planes are `out` where the caller gave it (the caller
    keeps owning that memory), otherwise a buffer of the engine's, returned by the result's `release()`.
    """

    @property
    def capacity(self) -> int:
        """How many frames may be in flight, now; one more `submit` raises RuntimeError."""

    @property
    def label(self) -> str:
        """Backend, device and the precision that really runs, for the screen and the report."""

    @property
    def leased(self) -> int:
        """How many results in the engine's own buffers were returned and not released yet."""

    @property
    def takes_surfaces(self) -> bool:
        """Whether frames that are on a GPU are read there; others' samples are brought to memory first."""

    def submit(self, frame: Frame, out: Planes | None = None) -> Ticket:
        """Starts one frame. Raises ValueError for another format or size, RuntimeError when `capacity` are in flight.

        Where it raises, the frame is still the caller's.

        Args:
            out: planes of the result's shapes and dtype to write to, rows dense.
        """

    def ready(self) -> list[Frame]:
        """Finished results, oldest first, without blocking; stops at the first one unfinished."""

    def wait(self, ticket: Ticket, timeout: float | None = None) -> Frame:
        """The result of `ticket`, which must be the oldest not yet returned (else ValueError).

        Raises TimeoutError after `timeout` seconds; the ticket stays valid.
        """

    def drain(self) -> list[Frame]:
        """Waits for all that is in flight; where that raises, results that were done are released."""

    def reset(self) -> None:
        """Drops what is in flight, releasing its frames; the engine can be used again (seek, size change)."""

    def close(self) -> None:
        """`reset()`, then frees everything. Raises RuntimeError when a result was never released."""


MAX_STREAMS = 4  # each stream holds a frame's activations of its own


def threads_and_streams(threads: int, streams: int = 0) -> tuple[int, int]:
    """CPU threads (0: every core this process may use) and inference streams they form (0: one each, up to four)."""
    threads = threads or len(os.sched_getaffinity(0))
    return threads, min(threads, streams or MAX_STREAMS)


Handle = TypeVar("Handle")


class InFlight(Generic[Handle]):
    """The queue every engine needs: hands out tickets, gives results back in submission order.

    Args:
        capacity: how many handles may be in flight.
        poll: whether a handle has finished, without blocking.
        finish: blocks until a handle has finished, or `timeout` seconds; the result, or TimeoutError.
    """

    def __init__(
        self, capacity: int, poll: Callable[[Handle], bool], finish: Callable[[Handle, float | None], Frame]
    ) -> None:
        self.capacity = capacity
        self._poll, self._finish = poll, finish
        self._handles: deque[tuple[Ticket, Handle]] = deque()
        self._next = 0
        self._later: RuntimeError | None = None

    def __len__(self) -> int:
        return len(self._handles)

    def check_room(self) -> None:
        """Raises RuntimeError when `capacity` are in flight."""
        self._tell()
        if len(self._handles) >= self.capacity:
            raise RuntimeError(f"{self.capacity} frames are in flight already; collect a result before the next submit")

    def push(self, handle: Handle) -> Ticket:
        self.check_room()
        ticket = Ticket(self._next)
        self._next += 1
        self._handles.append((ticket, handle))
        return ticket

    def ready(self) -> list[Frame]:
        self._tell()
        results: list[Frame] = []
        try:
            while self._handles and self._poll(self._handles[0][1]):
                results.append(self._pop(None))
        except RuntimeError as error:
            if not results:
                raise
            self._later = error  # when the results are safe with the caller
        return results

    def wait(self, ticket: Ticket, timeout: float | None) -> Frame:
        self._tell()
        if not self._handles or self._handles[0][0] != ticket:
            oldest = self._handles[0][0] if self._handles else None
            raise ValueError(f"{ticket} is not the oldest in flight ({oldest}); results come in submission order")
        return self._pop(timeout)

    def drain(self) -> list[Frame]:
        self._tell()
        results: list[Frame] = []
        try:
            while self._handles:
                results.append(self._pop(None))
        except BaseException:
            for result in results:
                result.release()
            raise
        return results

    def clear(self) -> list[Handle]:
        """Forgets all that is in flight, and says what it was."""
        handles = [handle for _, handle in self._handles]
        self._handles.clear()
        self._later = None
        return handles

    def _tell(self) -> None:
        """Raises what `ready` kept back."""
        later, self._later = self._later, None
        if later is not None:
            raise later

    def _pop(self, timeout: float | None) -> Frame:
        result = self._finish(self._handles[0][1], timeout)
        self._handles.popleft()
        return result


class QueuedEngine(ABC, Generic[Handle]):
    """What engines have in common: they check what they are given, keep a queue, and own buffers for results.

    Args:
        spec: of the frames it takes.
        scale: whole factor of the network.
        capacity: see `Engine`.
        memory: makes buffers for results.
    """

    label: str
    takes_surfaces = False

    def __init__(self, spec: FrameSpec, scale: int, capacity: int, memory: Memory | None = None) -> None:
        self._spec, self._size = spec, (spec.width * scale, spec.height * scale)
        self._pool = FramePool(spec.format, *self._size, memory)
        self._flight: InFlight[Handle] = InFlight(capacity, self._finished, self._finish)

    @property
    def capacity(self) -> int:
        return self._flight.capacity

    @property
    def leased(self) -> int:
        return self._pool.leased

    def submit(self, frame: Frame, out: Planes | None = None) -> Ticket:
        if FrameSpec.of(frame) != self._spec:
            raise ValueError(f"this engine is for {self._spec}, not {FrameSpec.of(frame)}")
        self._flight.check_room()
        return self._flight.push(self._start(frame if self.takes_surfaces else frame.landed(), out))

    def ready(self) -> list[Frame]:
        return self._flight.ready()

    def wait(self, ticket: Ticket, timeout: float | None = None) -> Frame:
        return self._flight.wait(ticket, timeout)

    def drain(self) -> list[Frame]:
        return self._flight.drain()

    def reset(self) -> None:
        for result in self._flight.drain():
            result.release()

    def close(self) -> None:
        self.reset()
        self._pool.close()

    @abstractmethod
    def _start(self, frame: Frame, out: Planes | None) -> Handle:
        """Begins a frame that fits, as there is room for it."""

    def _finished(self, handle: Handle) -> bool:
        """Whether a result can be had without waiting."""
        return True

    @abstractmethod
    def _finish(self, handle: Handle, timeout: float | None) -> Frame:
        """The result, and the frame given is released; or TimeoutError, and it can be asked for again."""

    def _result(self, frame: Frame, out: Planes | None) -> Frame:
        """A result without samples yet, at the time of `frame`, in `out` or a buffer of the engine's."""
        planes, lease = (out, None) if out is not None else self._pool.take()
        width, height = self._size
        return frame.like(format=frame.format, width=width, height=height, planes=planes, lease=lease)
