"""What this machine has for running a network on a GPU, found out at the least cost."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from vsr.backends.tensorrt import library
from vsr.device import open_device
from vsr.device.protocol import Device, DeviceError
from vsr.models import Runner

CAPABILITY = (7, 5)  # of compute, from which TensorRT 10 and 11 work: Turing


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What there is. Tests make their own.

    Args:
        hint: whether anything speaks of an NVIDIA GPU; quick, loads nothing but the driver's library.
        tensorrt: why TensorRT can't be used, in a line, or "".
        torch: why torch can't use the GPU of this number, or "".
        device: opens the GPU of this number; DeviceError says why it can't be.
    """

    hint: Callable[[], bool]
    tensorrt: Callable[[], str]
    torch: Callable[[int], str]
    device: Callable[[int], Device]

    def obstacle(self, runner: Runner) -> str:
        """Why this runner can't be used here, in a few words; "" where nothing is known to be in the way."""
        if runner.device is None:
            return ""
        if not self.hint():
            return "no NVIDIA GPU and no driver of one is here"
        tensorrt = runner.library == "tensorrt"
        return (self.tensorrt() if tensorrt else self.torch(runner.device)) or self._gpu(runner.device, tensorrt)

    def _gpu(self, index: int, tensorrt: bool) -> str:
        try:
            device = self.device(index)
        except DeviceError as error:
            return str(error)
        device.close()
        if tensorrt and device.compute_capability < CAPABILITY:
            has, needs = (".".join(map(str, pair)) for pair in (device.compute_capability, CAPABILITY))
            return f"{device.name} has compute capability {has}, TensorRT needs {needs}"
        return ""


def has_driver() -> bool:
    """Whether there is a device file of an NVIDIA GPU, or the driver's library."""
    places = [*Path("/dev").glob("nvidia[0-9]*"), *(p for p in [Path("/dev/dxg")] if p.exists())]
    if places:
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _torch(index: int) -> str:
    if find_spec("torch") is None:
        return "torch isn't installed (pip install torch)"
    import torch

    if torch.version.cuda is None:
        return "this torch was built without CUDA"
    if not torch.cuda.is_available():
        return f"torch's CUDA {torch.version.cuda} finds no GPU it can use (an older driver, perhaps)"
    count = torch.cuda.device_count()
    return "" if index < count else f"torch sees {count} GPUs, numbered from 0, and no {index}"


THIS = Machine(hint=has_driver, tensorrt=library.obstacle, torch=_torch, device=open_device)
