"""Engines on a GPU, opened whole or, where memory doesn't suffice, in tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from vsr.backends.cuda import SlotEngine
from vsr.backends.engine import Engine
from vsr.backends.tiled import TiledEngine, choose
from vsr.device.memory import PinnedMemory
from vsr.device.protocol import Device, DeviceError, DeviceMemoryError, Executor, run_all
from vsr.frame import aligned_buffer
from vsr.graph import FrameSpec, describe
from vsr.models import ModelChoice, load

LEAST = 256  # pixels of a tile's longer side: a GPU that has no room for that has none


class Gpu:
    """A GPU in use, and memory for decoded frames that it reads from directly.

    Args:
        device: closed with this.
        say: gets what a user should hear, a line at a time.
        timed: engines fill `SlotEngine.times`.
    """

    def __init__(self, device: Device, say: Callable[[str], None] = lambda line: None, *, timed: bool = False) -> None:
        self.device, self.say, self.timed = device, say, timed
        self.pinned = PinnedMemory(device)

    def memory(self, nbytes: int) -> npt.NDArray[np.uint8]:
        """What `FramePool` takes: pinned where there is room for it."""
        try:
            return self.pinned(nbytes)
        except DeviceError as error:
            self.say(f"frames are decoded into ordinary memory and copied once more ({error})")
            return aligned_buffer(nbytes)

    def close(self) -> None:
        """After every engine on it."""
        run_all([self.pinned.close, self.device.close])


def executor_for(gpu: Gpu, choice: ModelChoice, spec: FrameSpec) -> Executor:
    """The library's own part of an engine."""
    if choice.runner.library == "tensorrt":
        return _tensorrt(gpu, choice, spec)
    from vsr.backends.half import halved
    from vsr.backends.pytorch.executor import TorchExecutor

    described = describe(load(choice), spec)
    if choice.precision == "fp16":
        described = halved(described)
    return TorchExecutor(gpu.device, described, choice.precision)


def _tensorrt(gpu: Gpu, choice: ModelChoice, spec: FrameSpec) -> Executor:
    from vsr.backends.tensorrt.prepare import executor

    def building(share: float, phase: str) -> None:
        gpu.say(f"TensorRT builds its plan for {spec}, once; that may take minutes")

    return executor(choice, spec, gpu.device, progress=building, said=gpu.say)


MakeExecutor = Callable[[Gpu, ModelChoice, FrameSpec], Executor]


def open_on_gpu(
    gpu: Gpu,
    choice: ModelChoice,
    spec: FrameSpec,
    halvings: int = 0,
    executor: MakeExecutor = executor_for,
) -> Engine:
    """An engine for frames of `spec`, in tiles after so many halvings at least, and as many more as memory asks for.

    Raises:
        DeviceMemoryError, MemoryLimitError: no tile is small enough.
        UsageError, InputError, PlanError: what the library says of the model.
    """
    opened: list[SlotEngine] = []
    left = halvings

    def fits(part: FrameSpec) -> bool:
        nonlocal left
        left -= 1
        if left >= 0:
            return False
        if part != spec:  # tiles are cut in memory
            part = replace(part, surfaces=False)
        try:
            made = executor(gpu, choice, part)
            opened.append(SlotEngine(gpu.device, made, part, choice.scale, pinned=gpu.pinned, timed=gpu.timed))
        except DeviceMemoryError:
            if max(part.width, part.height) <= LEAST:
                raise
            return False
        return True

    grid = choose(spec, choice.radius, fits, "the GPU's memory")
    for line in opened[0].notes:
        gpu.say(line)
    return opened[0] if grid is None else TiledEngine(grid, opened[0], choice.scale)
