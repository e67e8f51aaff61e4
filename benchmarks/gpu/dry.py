"""Stands in for the GPU in a dry run: the networks in torch on the CPU, behind the fake device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch

from vsr.backends.pytorch.evaluator import Evaluator
from vsr.device.fake import FakeDevice
from vsr.device.protocol import Bound, DeviceBuffer, Stream
from vsr.graph import FrameSpec, describe
from vsr.models import LumaModel

SECONDS = 1e-4  # that a frame's inference takes in the fake's time


class DryExecutor:
    """Executor on a FakeDevice."""

    def __init__(self, device: FakeDevice, model: LumaModel, spec: FrameSpec) -> None:
        self.label = f"dry run in float32, {device.name}"
        self._device, self._spec, self._scale = device, spec, model.scale
        self._evaluator = Evaluator(describe(model, spec))
        self.input_nbytes = spec.format.nbytes(spec.width, spec.height)
        self.output_nbytes = spec.format.nbytes(spec.width * model.scale, spec.height * model.scale)

    def bind(self, source: DeviceBuffer, target: DeviceBuffer, stream: Stream) -> Bound:
        def work() -> None:
            spec, scale = self._spec, self._scale
            given = spec.format.views(self._device.bytes(source.address, self.input_nbytes), spec.width, spec.height)
            result = self._device.bytes(target.address, self.output_nbytes)
            planes = spec.format.views(result, spec.width * scale, spec.height * scale)
            computed = self._evaluator(*(torch.from_numpy(plane[None, None].copy()) for plane in given))
            for plane, samples in zip(planes, computed, strict=True):
                plane[:] = samples[0, 0].numpy()

        return _DryBound(self._device, stream, work)

    def close(self) -> None:
        pass


class _DryBound:
    def __init__(self, device: FakeDevice, stream: Stream, work: Callable[[], None]) -> None:
        self._device, self._stream, self._work = device, stream, work

    def launch(self) -> None:
        self._device.compute(cast(Any, self._stream), self._work, seconds=SECONDS)

    def close(self) -> None:
        pass
