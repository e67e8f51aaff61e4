"""What the driver says of a GPU, without a context on it: enough to tell whether something built for one fits another.

Asked of the driver's own library, so that it can be had before any CUDA package is there.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsr.device.protocol import DeviceError

_MULTIPROCESSORS, _L2_BYTES, _MAJOR, _MINOR = 16, 38, 75, 76  # CUdevice_attribute
_MEANING = {
    100: ": no CUDA device",
    101: ": no CUDA device",
    802: ": the machine's GPUs aren't connected yet",
    803: ": the driver was updated; restart the machine",
}
_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, kw_only=True)
class GpuFacts:
    """One GPU, or the part of one that MIG makes of it.

    Args:
        name: as the driver spells it.
        compute_capability: "9.0".
        multiprocessors: of them; a MIG part has fewer than the whole.
        l2_bytes: second-level cache.
        memory_gib: in all, rounded.
        cuda: what the driver supports, "13.0".
        driver: its version, "580.95.05"; "" where it doesn't tell.
    """

    name: str
    compute_capability: str
    multiprocessors: int
    l2_bytes: int
    memory_gib: int
    cuda: str
    driver: str


def load_driver(name: str = "libcuda.so.1") -> Any:
    """NVIDIA's driver library. Raises DeviceError where there is none."""
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise DeviceError(f"no NVIDIA driver ({error})") from error


def cuda_version(driver: Any) -> tuple[int, int]:
    """The newest CUDA that the driver supports, (13, 0)."""
    version = ctypes.c_int()
    call(driver, "cuDriverGetVersion", ctypes.byref(version))
    return version.value // 1000, version.value % 1000 // 10


def gpu_facts(index: int = 0, driver: Any = None) -> GpuFacts:
    """Of the GPU of this number among those CUDA shows to this process. Raises DeviceError where there is none."""
    driver = load_driver() if driver is None else driver
    call(driver, "cuInit", 0)
    device, name, memory = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_size_t()
    call(driver, "cuDeviceGet", ctypes.byref(device), index)
    call(driver, "cuDeviceGetName", name, len(name), device)
    call(driver, "cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    major, minor, multiprocessors, l2_bytes = (
        _attribute(driver, which, device) for which in (_MAJOR, _MINOR, _MULTIPROCESSORS, _L2_BYTES)
    )
    return GpuFacts(
        name=name.value.decode(errors="replace"),
        compute_capability=f"{major}.{minor}",
        multiprocessors=multiprocessors,
        l2_bytes=l2_bytes,
        memory_gib=round(memory.value / 2**30),
        cuda="{}.{}".format(*cuda_version(driver)),
        driver=driver_version(),
    )


def driver_version(file: Path = _DRIVER) -> str:
    """From the kernel module, "580.95.05"; "" where it doesn't show itself (WSL, some containers)."""
    try:
        words = file.read_text().split()
    except OSError:
        return ""
    return next((word for word in words if word[:1].isdigit() and "." in word), "")


def _attribute(driver: Any, which: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    call(driver, "cuDeviceGetAttribute", ctypes.byref(value), which, device)
    return value.value


def call(driver: Any, name: str, *arguments: Any) -> None:
    """Raises DeviceError for what the driver refuses."""
    status = getattr(driver, name)(*arguments)
    if status:
        raise DeviceError(f"{name}: CUDA error {status}{_MEANING.get(status, '')}")
