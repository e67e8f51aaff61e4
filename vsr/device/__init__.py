"""CUDA as a dozen calls, and the slots that keep a GPU busy with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from vsr.errors import UsageError

if TYPE_CHECKING:
    from vsr.device.protocol import Device

Layer = Literal["auto", "cuda-python", "pycuda"]
LAYERS: tuple[Layer, ...] = ("cuda-python", "pycuda")  # best first


def devices() -> list[str]:
    """Names of the GPUs CUDA shows to this process, by index; NoDeviceError says why there is none."""
    from vsr.device import driver

    return driver.devices()


def open_device(index: int = 0, layer: Layer = "auto") -> Device:
    """A GPU, which the caller closes.

    "auto" takes cuda-python where it is installed, else PyCUDA: without captured graphs a frame costs the thread that
    submits it one call for every kernel, which can take longer than a small network's kernels do.

    Raises:
        NoDeviceError: in a line, what is missing: driver, device or library.
        DeviceError: the driver is there and refuses.
    """
    from vsr.device.protocol import NoDeviceError

    names = devices()
    if not 0 <= index < len(names):
        shown = ", ".join(f"{number} ({name})" for number, name in enumerate(names))
        raise NoDeviceError(f"there is no GPU {index}; CUDA shows {shown}")
    missing = []
    for each in LAYERS if layer == "auto" else (layer,):
        try:
            return _opened(index, each)
        except ImportError as error:
            missing.append(f"{each}: {error}")
    raise NoDeviceError(f"no library to drive {names[index]} ({'; '.join(missing)}); pip install 'vsr[tensorrt]'")


def _opened(index: int, layer: str) -> Device:
    if layer == "cuda-python":
        from vsr.device.cuda_python import CudaPythonDevice

        return CudaPythonDevice(index)
    elif layer == "pycuda":
        from vsr.device.pycuda import PycudaDevice

        return PycudaDevice(index)
    raise UsageError(f"no device layer {layer!r}; there are {', '.join(LAYERS)} and auto")
