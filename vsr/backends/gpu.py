"""Engines on a GPU, opened whole or, where memory doesn't suffice, in tiles."""

from __future__ import annotations

from vsr.backends.engine import Engine
from vsr.backends.tiled import TiledEngine, choose
from vsr.device.memory import PinnedMemory
from vsr.device.protocol import Device, DeviceError, DeviceMemoryError
from vsr.graph import FrameSpec
from vsr.models import ModelChoice

LEAST = 256  # pixels of a tile's longer side: a GPU that has no room for that has none


class Gpu:
    """A GPU in use, and memory for decoded frames that it reads from directly."""

    def __init__(self, device: Device) -> None:
        self.device, self.frames = device, PinnedMemory(device)

    def close(self) -> None:
        """After every engine on it."""
        self.frames.close()
        self.device.close()


def open_on_gpu(gpu: Gpu, choice: ModelChoice, spec: FrameSpec, halvings: int = 0) -> Engine:
    """An engine for frames of `spec`, in tiles after so many halvings at least, and as many more as memory asks for.

    Raises:
        DeviceMemoryError, MemoryLimitError: no tile is small enough.
    """
    opened: list[Engine] = []
    left = halvings

    def fits(part: FrameSpec) -> bool:
        nonlocal left
        left -= 1
        if left >= 0:
            return False
        try:
            opened.append(_open(gpu, choice, part))
        except DeviceMemoryError:
            if max(part.width, part.height) <= LEAST:
                raise
            return False
        return True

    grid = choose(spec, choice.radius, fits, "the GPU's memory")
    return opened[0] if grid is None else TiledEngine(grid, opened[0], choice.scale)


def _open(gpu: Gpu, choice: ModelChoice, spec: FrameSpec) -> Engine:
    raise DeviceError(f"{choice.runner} can't be opened yet")
