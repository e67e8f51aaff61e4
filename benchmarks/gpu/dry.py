"""Stands in for the GPU in a dry run: torch's executor on the CPU, behind the fake device."""

from __future__ import annotations

import torch
from onnx import ModelProto

from vsr.backends.pytorch.executor import DenseNetwork
from vsr.device.fake import FakeDevice
from vsr.device.protocol import DeviceBuffer, Stream

SECONDS = 1e-4  # that a frame's inference takes in the fake's time


class DryExecutor:
    """Executor on a FakeDevice."""

    def __init__(self, device: FakeDevice, described: ModelProto) -> None:
        self.label = f"dry run in fp16, {device.name}"
        self.device, self.network = device, DenseNetwork(described, fused=True)
        self.input_nbytes, self.output_nbytes = self.network.input_nbytes, self.network.output_nbytes

    def bind(self, source: DeviceBuffer, target: DeviceBuffer, stream: Stream) -> _Bound:
        return _Bound(self, source, target, stream)

    def close(self) -> None:
        pass


class _Bound:
    def __init__(self, executor: DryExecutor, source: DeviceBuffer, target: DeviceBuffer, stream: Stream) -> None:
        self._executor, self._buffers, self._stream = executor, (source, target), stream

    def launch(self) -> None:
        device = self._executor.device

        def compute() -> None:
            source, target = (torch.from_numpy(device.bytes(b.address, b.nbytes)) for b in self._buffers)
            self._executor.network.between(source, target)()

        device.compute(self._stream, compute, seconds=SECONDS)

    def close(self) -> None:
        pass
