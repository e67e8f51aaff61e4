"""Torch, on the CPU or any CUDA device: the same description, operator by operator, in float32."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vsr.backends.engine import InFlight, Ticket
from vsr.backends.pytorch.evaluator import Evaluator
from vsr.frame import Frame, FramePool, Planes
from vsr.graph import FrameSpec, describe
from vsr.models import ModelChoice, load


class PyTorchEngine:
    """Engine by the evaluator: exact and slow on a CPU.

    Args:
        threads: torch's, for the whole process; 0 leaves them alone.
    """

    capacity = 1

    def __init__(self, choice: ModelChoice, spec: FrameSpec, *, threads: int = 0) -> None:
        if threads:
            torch.set_num_threads(threads)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._spec, self._size = spec, (spec.width * choice.scale, spec.height * choice.scale)
        self._evaluator = Evaluator(describe(load(choice), spec), device)
        self._pool = FramePool(spec.format, *self._size)
        self._flight: InFlight[_Computed] = InFlight(self.capacity, lambda _: True, self._finish)
        where = torch.cuda.get_device_name() if device == "cuda" else f"cpu, {torch.get_num_threads()} threads"
        self.label = f"pytorch {choice.precision} in float32 arithmetic, {where}"

    @property
    def leased(self) -> int:
        return self._pool.leased

    def submit(self, frame: Frame, out: Planes | None = None) -> Ticket:
        if FrameSpec.of(frame) != self._spec:
            raise ValueError(f"this engine is for {self._spec}, not {FrameSpec.of(frame)}")
        self._flight.check_room()
        planes = [torch.tensor(plane[None, None], device=self._evaluator.device) for plane in frame.planes]
        return self._flight.push(_Computed(frame, out, self._evaluator(*planes)))

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

    def _finish(self, computed: _Computed, timeout: float | None) -> Frame:
        frame, out = computed.frame, computed.out
        planes, lease = (out, None) if out is not None else self._pool.take()
        for plane, result in zip(planes, computed.results, strict=True):
            np.copyto(plane, result[0, 0].cpu().numpy())
        width, height = self._size
        result_frame = frame.like(format=self._spec.format, width=width, height=height, planes=planes, lease=lease)
        frame.release()
        return result_frame


@dataclass(frozen=True)
class _Computed:
    """A frame and its results, on the device."""

    frame: Frame
    out: Planes | None
    results: list[Tensor]
