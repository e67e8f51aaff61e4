"""Device: what the GPU path asks of CUDA, as plain objects, so that the path can be proven without a GPU.

`pycuda` and `cuda_python` implement it on the driver API; `fake` implements it in Python, completing work in random
order and poisoning memory.

Threads. The device's primary context, which torch and TensorRT use too, is current only inside `device.current()`
and in the thread that entered it; every other call needs that. Objects may be used from any such thread, one thread at
a time. Whoever made an object closes it, in reverse order of making, when nothing enqueued uses it any more; `close()`
twice is harmless, and what CUDA says to it is dropped: after a failure it repeats the failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vsr.errors import UsageError, VsrError
from vsr.surface import Rows

Bytes = npt.NDArray[np.uint8]


class DeviceError(VsrError, RuntimeError):
    """A CUDA call failed: its name, what it was for, and CUDA's own name and text of the error.

    After one that isn't about memory the context may be dead for good; only a new process can be trusted then.
    """


class DeviceMemoryError(DeviceError, MemoryError):
    """The device, or the system's memory for pinned buffers, has no room."""

    exit_code = 6


class NoDeviceError(DeviceError, UsageError):
    """Why the GPU isn't used: no driver, no such device, no library that drives it; a line, with what to do."""


class Stream(Protocol):
    """A queue of work, in order in itself; never the default stream, and not ordered with it."""

    @property
    def handle(self) -> int:
        """The CUstream, for libraries that enqueue on it."""

    def wait(self, event: Event) -> None:
        """What is enqueued after this starts once `event`, as last recorded, has happened."""

    def synchronize(self) -> None:
        """Blocks until all that is enqueued is done; raises DeviceError for what failed in it."""

    def close(self) -> None: ...


class Event(Protocol):
    """A mark in a stream."""

    def record(self, stream: Stream | None) -> None:
        """Where a stream is now; None: the default one, in which FFmpeg's decoder copies its pictures."""

    def done(self) -> bool:
        """Whether what was recorded last has happened (True before any record); DeviceError when the work failed."""

    def synchronize(self) -> None:
        """Blocks, without spinning, until it has happened."""

    def since(self, earlier: Event) -> float:
        """Seconds from `earlier` to this, both made with `timed` and both done."""

    def close(self) -> None: ...


class PinnedBuffer(Protocol):
    """Page-locked host memory, aligned to 256 bytes at least; its content is undefined at first."""

    @property
    def array(self) -> Bytes:
        """All of it, as bytes; not to be used after `close()`."""

    def close(self) -> None: ...


class DeviceBuffer(Protocol):
    """Memory on the device, aligned to 256 bytes at least; its content is undefined at first."""

    @property
    def address(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def close(self) -> None: ...


class Graph(Protocol):
    """Captured work, launched as one."""

    def launch(self, stream: Stream) -> None: ...
    def close(self) -> None: ...


class Device(Protocol):
    """One GPU.

    Attributes:
        name: as the driver spells it, e.g. "NVIDIA H200".
        index: among the devices CUDA shows to this process.
        compute_capability: major, minor.
        layer: which library drives it: "pycuda", "cuda-python" or "fake".
        captures: whether `capture` works.
    """

    name: str
    index: int
    compute_capability: tuple[int, int]
    layer: str
    captures: bool

    def current(self) -> AbstractContextManager[None]:
        """The primary context, current in this thread until the block ends; may be nested."""

    def memory(self) -> tuple[int, int]:
        """Bytes free and in all."""

    def stream(self) -> Stream: ...

    def event(self, *, timed: bool = False) -> Event:
        """Without `timed` it is cheaper and has no `since`."""

    def pinned(self, nbytes: int, *, write_combined: bool = False) -> PinnedBuffer:
        """Raises DeviceMemoryError.

        Args:
            write_combined: faster to upload from, very slow for the CPU to read.
        """

    def allocate(self, nbytes: int) -> DeviceBuffer:
        """Raises DeviceMemoryError."""

    def upload(self, target: DeviceBuffer, source: Bytes, stream: Stream) -> None:
        """Enqueues a copy of `source`, bytes inside a `PinnedBuffer`, to the start of `target`. As `require_fit`."""

    def download(self, target: Bytes, source: DeviceBuffer, stream: Stream) -> None:
        """Enqueues a copy from the start of `source` that fills `target`, bytes inside a `PinnedBuffer`.

        As `require_fit`.
        """

    def gather(self, target: DeviceBuffer, offset: int, source: Rows, stream: Stream) -> None:
        """Enqueues a copy of rows in this device's memory, whoever's it is, side by side to `target` from `offset` on.

        As `require_room`.
        """

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """What `work` enqueues on `stream`, kept instead of run; addresses are frozen in it.

        Other threads may allocate meanwhile (relaxed mode). Raises DeviceError when something in it can't be captured;
        the stream is usable then.
        """

    def close(self) -> None:
        """Lets the primary context go."""


def require_fit(host: Bytes, buffer: DeviceBuffer) -> None:
    """Raises ValueError for a copy of `host` from or to the start of `buffer` that would not stay inside both."""
    if host.dtype != np.uint8 or host.ndim != 1 or not host.flags.c_contiguous or host.nbytes > buffer.nbytes:
        given = f"{host.nbytes} of {host.dtype}, {host.ndim} dimensions, strides {host.strides}"
        raise ValueError(f"a copy takes dense bytes, at most {buffer.nbytes} here, not {given}")


def require_room(target: DeviceBuffer, offset: int, source: Rows) -> None:
    """Raises ValueError for rows that overlap, or that would not stay inside `target`."""
    if source.nbytes > source.pitch or not 0 <= offset <= target.nbytes - source.nbytes * source.count:
        raise ValueError(f"{source} don't fit at {offset} of {target.nbytes} bytes")


class Bound(Protocol):
    """A network with the memory and the stream it runs in."""

    def launch(self) -> None:
        """Enqueues one frame's inference. DeviceError when the library refuses.

        It only enqueues: what it enqueued the first time (after warming up) may be captured and launched ever after.
        """

    def close(self) -> None: ...


class Executor(Protocol):
    """A network ready to run on a device, in whatever library.

    Attributes:
        label: library, precision and device, e.g. "tensorrt 11.4 fp16, NVIDIA H200".
        input_nbytes, output_nbytes: of one frame, planes at 256-byte offsets as in `PlanarFormat.views`.
    """

    input_nbytes: int
    output_nbytes: int

    @property
    def label(self) -> str: ...

    def bind(self, source: DeviceBuffer, target: DeviceBuffer, stream: Stream) -> Bound:
        """Scratch memory and all else that one frame in flight needs. Raises DeviceMemoryError."""

    def close(self) -> None:
        """After every `Bound` was closed."""


class Closable(Protocol):
    def close(self) -> None: ...


def run_all(steps: Iterable[Callable[[], None]]) -> None:
    """Runs each, also after one that failed, and raises the first RuntimeError at the end: for closing things."""
    first: RuntimeError | None = None
    for step in steps:
        try:
            step()
        except RuntimeError as error:
            first = first or error
    if first is not None:
        raise first
