"""The device protocol on NVIDIA's `cuda.bindings.driver`, 12.9 or 13, which has wheels and graph capture.

Every call lets the interpreter's lock go. What isn't closed lives until the process ends: nothing here runs then.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np

from vsr.device import driver
from vsr.device.protocol import (
    Bytes,
    DeviceBuffer,
    DeviceError,
    DeviceMemoryError,
    Event,
    Stream,
    require_fit,
    require_room,
)
from vsr.surface import Rows


class CudaPythonDevice:
    """One GPU; raises ImportError without the library, DeviceError for what the driver refuses.

    Args:
        index: among `driver.devices()`.
    """

    layer, captures = "cuda-python", True

    def __init__(self, index: int) -> None:
        from cuda.bindings import driver as cuda

        self.cuda: Any = cuda
        self.index = index
        self.call("cuInit", 0)
        self._device = self.call("cuDeviceGet", index)
        self.name = self.call("cuDeviceGetName", 256, self._device).partition(b"\0")[0].decode()
        self.compute_capability = (
            self._attribute("COMPUTE_CAPABILITY_MAJOR"),
            self._attribute("COMPUTE_CAPABILITY_MINOR"),
        )
        driver.wait_without_spinning(index)
        self._context = self.call("cuDevicePrimaryCtxRetain", self._device)

    @contextmanager
    def current(self) -> Iterator[None]:
        if self._context is None:
            raise DeviceError("current() of a closed device")
        self.call("cuCtxPushCurrent", self._context)
        try:
            yield
        finally:
            self.cuda.cuCtxPopCurrent()  # what it says, on a dead context, would hide the error on its way

    def memory(self) -> tuple[int, int]:
        free, total = self.call("cuMemGetInfo")
        return int(free), int(total)

    def stream(self) -> CudaStream:
        return CudaStream(self, self.call("cuStreamCreate", self.cuda.CUstream_flags.CU_STREAM_NON_BLOCKING))

    def event(self, *, timed: bool = False) -> CudaEvent:
        flags = self.cuda.CUevent_flags
        timing = flags.CU_EVENT_DEFAULT if timed else flags.CU_EVENT_DISABLE_TIMING
        return CudaEvent(self, self.call("cuEventCreate", int(flags.CU_EVENT_BLOCKING_SYNC) | int(timing)))

    def pinned(self, nbytes: int, *, write_combined: bool = False) -> CudaPinned:
        flags = self.cuda.CU_MEMHOSTALLOC_PORTABLE | write_combined * self.cuda.CU_MEMHOSTALLOC_WRITECOMBINED
        return CudaPinned(self, self.call("cuMemHostAlloc", nbytes, flags), nbytes)

    def allocate(self, nbytes: int) -> CudaBuffer:
        return CudaBuffer(self, self.call("cuMemAlloc", nbytes), nbytes)

    def upload(self, target: DeviceBuffer, source: Bytes, stream: Stream) -> None:
        require_fit(source, target)
        ours, here = cast(CudaStream, stream), source.ctypes.data
        self.call("cuMemcpyHtoDAsync", cast(CudaBuffer, target).raw, here, source.nbytes, ours.raw)

    def download(self, target: Bytes, source: DeviceBuffer, stream: Stream) -> None:
        require_fit(target, source)
        ours, here = cast(CudaStream, stream), target.ctypes.data
        self.call("cuMemcpyDtoHAsync", here, cast(CudaBuffer, source).raw, target.nbytes, ours.raw)

    def gather(self, target: DeviceBuffer, offset: int, source: Rows, stream: Stream) -> None:
        require_room(target, offset, source)
        copy = self.cuda.CUDA_MEMCPY2D()
        copy.srcMemoryType = copy.dstMemoryType = self.cuda.CUmemorytype.CU_MEMORYTYPE_DEVICE
        copy.srcDevice, copy.srcPitch = source.address, source.pitch
        copy.dstDevice, copy.dstPitch = target.address + offset, source.nbytes
        copy.WidthInBytes, copy.Height = source.nbytes, source.count
        self.call("cuMemcpy2DAsync", copy, cast(CudaStream, stream).raw)

    def capture(self, stream: Stream, work: Callable[[], None]) -> CudaGraph:
        raw = cast(CudaStream, stream).raw
        self.call("cuStreamBeginCapture", raw, self.cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED)
        try:
            work()
        except BaseException:
            status, graph = self.cuda.cuStreamEndCapture(raw)
            if not status:
                self.cuda.cuGraphDestroy(graph)
            raise
        graph = self.call("cuStreamEndCapture", raw)
        try:
            return CudaGraph(self, self.call("cuGraphInstantiate", graph, 0))
        finally:
            self.cuda.cuGraphDestroy(graph)

    def close(self) -> None:
        context, self._context = self._context, None
        if context is not None:
            self.cuda.cuDevicePrimaryCtxRelease(self._device)

    def _attribute(self, name: str) -> int:
        attribute = getattr(self.cuda.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(self.call("cuDeviceGetAttribute", attribute, self._device))

    def call(self, name: str, *arguments: Any) -> Any:
        """A driver call's result: None, a value, or a tuple of several. Raises its error."""
        return self.checked(name, getattr(self.cuda, name)(*arguments))

    def checked(self, name: str, answer: tuple[Any, ...]) -> Any:
        status, *values = answer
        if status:
            _, text = self.cuda.cuGetErrorString(status)
            memory = status == self.cuda.CUresult.CUDA_ERROR_OUT_OF_MEMORY
            kind = DeviceMemoryError if memory else DeviceError
            raise kind(f"{name}: {status.name} ({text.decode() if text else 'unknown'})")
        return values[0] if len(values) == 1 else tuple(values) or None


class _Owned(driver.Owned[CudaPythonDevice]):
    destroyed_by: str

    def close(self) -> None:
        """What the driver says is dropped: after a failure it repeats that, and whoever closes is on the way out."""
        raw, self._raw = self._raw, None
        if raw is not None:
            getattr(self.device.cuda, self.destroyed_by)(raw)


class CudaStream(_Owned):
    destroyed_by = "cuStreamDestroy"

    @property
    def handle(self) -> int:
        return int(self.raw)

    def wait(self, event: Event) -> None:
        self.device.call("cuStreamWaitEvent", self.raw, cast(CudaEvent, event).raw, 0)

    def synchronize(self) -> None:
        self.device.call("cuStreamSynchronize", self.raw)


class CudaEvent(_Owned):
    destroyed_by = "cuEventDestroy"

    def record(self, stream: Stream | None) -> None:
        self.device.call("cuEventRecord", self.raw, 0 if stream is None else cast(CudaStream, stream).raw)

    def done(self) -> bool:
        answer = self.device.cuda.cuEventQuery(self.raw)
        if answer[0] == self.device.cuda.CUresult.CUDA_ERROR_NOT_READY:
            return False
        self.device.checked("cuEventQuery", answer)
        return True

    def synchronize(self) -> None:
        self.device.call("cuEventSynchronize", self.raw)

    def since(self, earlier: Event) -> float:
        return float(self.device.call("cuEventElapsedTime", cast(CudaEvent, earlier).raw, self.raw)) / 1e3


class CudaPinned(_Owned):
    destroyed_by = "cuMemFreeHost"

    def __init__(self, device: CudaPythonDevice, raw: int, nbytes: int) -> None:
        super().__init__(device, raw)
        self.nbytes = nbytes

    @property
    def array(self) -> Bytes:
        return np.ctypeslib.as_array((ctypes.c_uint8 * self.nbytes).from_address(self.raw))


class CudaBuffer(_Owned):
    destroyed_by = "cuMemFree"

    def __init__(self, device: CudaPythonDevice, raw: Any, nbytes: int) -> None:
        super().__init__(device, raw)
        self.nbytes = nbytes

    @property
    def address(self) -> int:
        return int(self.raw)


class CudaGraph(_Owned):
    destroyed_by = "cuGraphExecDestroy"

    def launch(self, stream: Stream) -> None:
        self.device.call("cuGraphLaunch", self.raw, cast(CudaStream, stream).raw)
