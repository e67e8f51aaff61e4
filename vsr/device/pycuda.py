"""The device protocol on PyCUDA 2025.1 and later, which is built from source and has no graphs.

PyCUDA keeps a stack of contexts for each thread, aborts the process when a thread ends with one on it, and frees in
destructors, which complain on stderr outside the context: everything is closed by hand, inside `current()`. It holds
the interpreter's lock while it makes, records and frees, and lets it go in copies and waits.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

import numpy as np

from vsr.device import driver
from vsr.device.protocol import (
    Bytes,
    DeviceBuffer,
    DeviceError,
    DeviceMemoryError,
    Event,
    Graph,
    Stream,
    require_fit,
    require_room,
)
from vsr.surface import Rows

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING, for which PyCUDA has no name


class PycudaDevice:
    """One GPU; raises ImportError without the library, DeviceError for what the driver refuses.

    Args:
        index: among `driver.devices()`.
    """

    layer, captures = "pycuda", False

    def __init__(self, index: int) -> None:
        import pycuda.driver as cuda

        self.cuda: Any = cuda
        self.index = index
        self.call(cuda.init)
        device = self.call(cuda.Device, index)
        self.name: str = self.call(device.name)
        self.compute_capability = cast(tuple[int, int], self.call(device.compute_capability))
        driver.wait_without_spinning(index)
        self._context: Any = self.call(device.retain_primary_context)
        atexit.register(self.close)  # the context's destructor would detach it as if it weren't the primary one

    @contextmanager
    def current(self) -> Iterator[None]:
        if self._context is None:
            raise DeviceError("current() of a closed device")
        self.call(self._context.push)
        try:
            yield
        finally:
            self._context.pop()

    def memory(self) -> tuple[int, int]:
        free, total = self.call(self.cuda.mem_get_info)
        return int(free), int(total)

    def stream(self) -> PycudaStream:
        return PycudaStream(self, self.call(self.cuda.Stream, _NON_BLOCKING))

    def event(self, *, timed: bool = False) -> PycudaEvent:
        flags = self.cuda.event_flags
        return PycudaEvent(
            self, self.call(self.cuda.Event, flags.BLOCKING_SYNC | (0 if timed else flags.DISABLE_TIMING))
        )

    def pinned(self, nbytes: int, *, write_combined: bool = False) -> PycudaPinned:
        flags = self.cuda.host_alloc_flags
        wanted = flags.PORTABLE | (flags.WRITECOMBINED if write_combined else 0)
        return PycudaPinned(self, self.call(self.cuda.pagelocked_empty, nbytes, np.uint8, mem_flags=wanted))

    def allocate(self, nbytes: int) -> PycudaBuffer:
        return PycudaBuffer(self, self.call(self.cuda.mem_alloc, nbytes), nbytes)

    def upload(self, target: DeviceBuffer, source: Bytes, stream: Stream) -> None:
        require_fit(source, target)
        self.call(self.cuda.memcpy_htod_async, target.address, source, cast(PycudaStream, stream).raw)

    def download(self, target: Bytes, source: DeviceBuffer, stream: Stream) -> None:
        require_fit(target, source)
        self.call(self.cuda.memcpy_dtoh_async, target, source.address, cast(PycudaStream, stream).raw)

    def gather(self, target: DeviceBuffer, offset: int, source: Rows, stream: Stream) -> None:
        require_room(target, offset, source)
        copy = self.cuda.Memcpy2D()
        copy.set_src_device(source.address)
        copy.set_dst_device(target.address + offset)
        copy.src_pitch, copy.dst_pitch = source.pitch, source.nbytes
        copy.width_in_bytes, copy.height = source.nbytes, source.count
        self.call(copy, cast(PycudaStream, stream).raw)

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        raise DeviceError("PyCUDA can't capture graphs; cuda-python can")

    def close(self) -> None:
        context, self._context = self._context, None
        if context is None:
            return
        atexit.unregister(self.close)
        with suppress(self.cuda.Error):
            context.push()  # else it would only be let go in the thread that retained it
        context.detach()
        driver.drop_current()  # PyCUDA takes detaching for popping, which it isn't for a primary context

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except self.cuda.Error as error:
            del function, arguments, options  # what a traceback holds outlives its close(): see Owned.close
            kind = DeviceMemoryError if isinstance(error, self.cuda.MemoryError) else DeviceError
            raise kind(str(error)) from None


class PycudaStream(driver.Owned[PycudaDevice]):
    @property
    def handle(self) -> int:
        return int(self.raw.handle)

    def wait(self, event: Event) -> None:
        self.device.call(self.raw.wait_for_event, cast(PycudaEvent, event).raw)

    def synchronize(self) -> None:
        self.device.call(self.raw.synchronize)


class PycudaEvent(driver.Owned[PycudaDevice]):
    def record(self, stream: Stream | None) -> None:
        self.device.call(self.raw.record, None if stream is None else cast(PycudaStream, stream).raw)

    def done(self) -> bool:
        return bool(self.device.call(self.raw.query))

    def synchronize(self) -> None:
        self.device.call(self.raw.synchronize)

    def since(self, earlier: Event) -> float:
        return float(self.device.call(self.raw.time_since, cast(PycudaEvent, earlier).raw)) / 1e3


class PycudaPinned(driver.Owned[PycudaDevice]):
    @property
    def array(self) -> Bytes:
        return cast(Bytes, self.raw)

    def close(self) -> None:
        if self._raw is not None:
            self._raw.base.free()
        super().close()


class PycudaBuffer(driver.Owned[PycudaDevice]):
    def __init__(self, device: PycudaDevice, raw: Any, nbytes: int) -> None:
        super().__init__(device, raw)
        self.nbytes = nbytes

    @property
    def address(self) -> int:
        return int(self.raw)

    def close(self) -> None:
        if self._raw is not None:
            self._raw.free()
        super().close()
