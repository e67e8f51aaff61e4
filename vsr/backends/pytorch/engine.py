"""Torch on the CPU: the same description, operator by operator, in float32."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vsr.backends.engine import QueuedEngine
from vsr.backends.pytorch.evaluator import Evaluator
from vsr.frame import Frame, Planes
from vsr.graph import FrameSpec, describe
from vsr.models import ModelChoice, load
from vsr.report import counted


class PyTorchEngine(QueuedEngine["_Computed"]):
    """Engine by the evaluator: exact and slow.

    Args:
        threads: torch's, for the whole process; 0 leaves them alone.
    """

    def __init__(self, choice: ModelChoice, spec: FrameSpec, *, threads: int = 0) -> None:
        if threads:
            torch.set_num_threads(threads)
        super().__init__(spec, choice.scale, 1)
        self._evaluator = Evaluator(describe(load(choice), spec))
        self.label = (
            f"pytorch {choice.precision} in float32 arithmetic, cpu, {counted(torch.get_num_threads(), 'thread')}"
        )

    def _start(self, frame: Frame, out: Planes | None) -> _Computed:
        planes = [torch.tensor(plane[None, None]) for plane in frame.planes]
        return _Computed(frame, out, self._evaluator(*planes))

    def _finish(self, computed: _Computed, timeout: float | None) -> Frame:
        result = self._result(computed.frame, computed.out)
        for plane, samples in zip(result.planes, computed.samples, strict=True):
            np.copyto(plane, samples[0, 0].numpy())
        computed.frame.release()
        return result


@dataclass(frozen=True)
class _Computed:
    """A frame and its results."""

    frame: Frame
    out: Planes | None
    samples: list[Tensor]
