"""NVIDIA's driver, before and beside the libraries that drive it: which GPUs there are, and what PyCUDA can't ask."""

from __future__ import annotations

import ctypes
from typing import Any, Generic, TypeVar

from vsr.device.facts import call, cuda_version, gpu_facts, load_driver
from vsr.device.protocol import DeviceError, NoDeviceError

OLDEST = 12, 0  # CUDA, what both libraries' graph and stream calls go back to
_BLOCKING_SYNC = 4  # CU_CTX_SCHED_BLOCKING_SYNC
_Device = TypeVar("_Device")


def devices() -> list[str]:
    """Names of the GPUs that CUDA shows to this process, by index; at least one.

    Raises:
        NoDeviceError: why there is none, in a line.
    """
    try:
        driver, count = load_driver(), ctypes.c_int()
        found = cuda_version(driver)
        if found < OLDEST:
            has, needs = (".".join(map(str, version)) for version in (found, OLDEST))
            raise DeviceError(f"the NVIDIA driver is for CUDA {has}; one for {needs} or newer is needed")
        call(driver, "cuInit", 0)
        call(driver, "cuDeviceGetCount", ctypes.byref(count))
        return [gpu_facts(index, driver).name for index in range(count.value)]
    except DeviceError as error:
        raise NoDeviceError(str(error)) from error


def wait_without_spinning(index: int) -> None:
    """Primary-context flags of a device that isn't active yet; of one that is, they stay as they are.

    FFmpeg refuses a primary context with other flags; with these a waiting thread leaves its core to others.
    """
    driver, device = load_driver(), ctypes.c_int()
    call(driver, "cuDeviceGet", ctypes.byref(device), index)
    driver.cuDevicePrimaryCtxSetFlags_v2(device, _BLOCKING_SYNC)


def drop_current() -> None:
    """Takes the calling thread's current context off its stack."""
    driver: Any = load_driver()
    driver.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))


class Owned(Generic[_Device]):
    """Something of a library's that is open until `close()`."""

    def __init__(self, device: _Device, raw: Any) -> None:
        self.device, self._raw = device, raw

    @property
    def raw(self) -> Any:
        if self._raw is None:
            raise DeviceError(f"a closed {type(self).__name__} is used")
        return self._raw

    def close(self) -> None:
        self._raw = None  # the last reference to what PyCUDA made, so that its destructor runs here
