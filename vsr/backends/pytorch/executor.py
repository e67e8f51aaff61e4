"""Torch as an executor of the slots: a description on a CUDA device, in the slot's own stream and memory.

Precision is the description's: `vsr.backends.half.halved` makes the network fp16. What a launch allocates comes from a
pool of the slot's, so that a graph captured from it keeps its memory, and slots share none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vsr.backends.pytorch.evaluator import Evaluator
from vsr.backends.pytorch.operators import TYPES
from vsr.device.protocol import Device, DeviceBuffer, DeviceError, DeviceMemoryError, Stream
from vsr.frame import PLANE_ALIGNMENT

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto


class DenseNetwork:
    """A description that reads planes from one dense buffer and writes them to another, on any device of torch's.

    Args:
        described: all shapes fixed, as `vsr.graph.describe` makes it, with any edges.
        device, tuned, fused: see `Evaluator`.

    Attributes:
        input_nbytes, output_nbytes: of the buffers, planes at 256-byte offsets.
    """

    def __init__(self, described: ModelProto, device: str = "cpu", *, tuned: bool = False, fused: bool = False) -> None:
        self._evaluator = Evaluator(described, device, tuned=tuned, fused=fused)
        self._given, self._wanted = described.graph.input, described.graph.output
        self.input_nbytes, self.output_nbytes = _nbytes(self._given), _nbytes(self._wanted)

    def between(self, source: Tensor, target: Tensor) -> Callable[[], None]:
        """What runs it from and to these bytes on its device; on a CUDA device that only enqueues."""
        given, wanted = _views(self._given, source), _views(self._wanted, target)

        def run() -> None:
            for place, plane in zip(wanted, self._evaluator(*given), strict=True):
                place.copy_(plane)

        return run


class TorchExecutor:
    """A description on a CUDA device. Needs torch 2.6, whose memory pools live as long as they are referred to.

    Args:
        device: the context to run in; torch has to see it under the same index.
        precision: for the label, as `described` has it.

    Raises:
        InputError: an operator torch's evaluator doesn't have.
        DeviceError: torch can't use the device.
    """

    def __init__(self, device: Device, described: ModelProto, precision: str) -> None:
        self.index = device.index
        self.label = f"pytorch {torch.__version__.partition('+')[0]} {precision}, {device.name}"
        with self.running():
            self.network: DenseNetwork | None = DenseNetwork(described, f"cuda:{self.index}", tuned=True, fused=True)
            torch.cuda.current_stream().synchronize()  # slots read the weights in other streams
        self.input_nbytes, self.output_nbytes = self.network.input_nbytes, self.network.output_nbytes

    def bind(self, source: DeviceBuffer, target: DeviceBuffer, stream: Stream) -> _Bound:
        return _Bound(self, source, target, stream)

    def close(self) -> None:
        with self.running():
            self.network = None
            torch.cuda.empty_cache()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Torch's errors as the device's."""
        try:
            with torch.cuda.device(self.index):
                yield
        except DeviceError:
            raise
        except RuntimeError as error:
            kind = DeviceMemoryError if "out of memory" in str(error) else DeviceError
            raise kind(f"torch: {' '.join(str(error).split())[:300]}") from error


class _Bound:
    def __init__(self, executor: TorchExecutor, source: DeviceBuffer, target: DeviceBuffer, stream: Stream) -> None:
        assert executor.network is not None, "bound after close()"
        self._executor = executor
        with executor.running():
            self._stream = torch.cuda.ExternalStream(stream.handle, device=executor.index)
            self._run = executor.network.between(_bytes(source, executor.index), _bytes(target, executor.index))
            with torch.cuda.stream(self._stream):
                self._run()  # cuDNN tries its kernels, in memory that nobody need keep
            self._stream.synchronize()
            torch.cuda.empty_cache()
            self._pool: torch.cuda.MemPool | None = torch.cuda.MemPool()

    def launch(self) -> None:
        assert self._pool is not None, "launched after close()"
        with self._executor.running(), torch.cuda.stream(self._stream), torch.cuda.use_mem_pool(self._pool):
            self._run()

    def close(self) -> None:
        """What was captured of it must be closed by now; nothing may be enqueued."""
        self._pool = None


class _Memory:
    """Device memory of somebody else's, as torch takes it without copying."""

    def __init__(self, buffer: DeviceBuffer) -> None:
        self.__cuda_array_interface__ = {
            "shape": (buffer.nbytes,),
            "typestr": "|u1",
            "data": (buffer.address, False),
            "version": 2,
        }


def _bytes(buffer: DeviceBuffer, index: int) -> Tensor:
    return torch.as_tensor(_Memory(buffer), device=f"cuda:{index}")


def _shape(value: ValueInfoProto) -> list[int]:
    return [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]


def _spans(values: Iterable[ValueInfoProto]) -> Iterator[tuple[int, int, ValueInfoProto]]:
    """Where each plane begins and ends, and where that leads."""
    offset = 0
    for value in values:
        samples = torch.Size(_shape(value)).numel()
        end = offset + samples * TYPES[value.type.tensor_type.elem_type].itemsize
        yield offset, end, value
        offset = -(-end // PLANE_ALIGNMENT) * PLANE_ALIGNMENT


def _nbytes(values: Iterable[ValueInfoProto]) -> int:
    *_, (_, end, _) = _spans(values)
    return -(-end // PLANE_ALIGNMENT) * PLANE_ALIGNMENT


def _views(values: Iterable[ValueInfoProto], buffer: Tensor) -> list[Tensor]:
    return [
        buffer[begin:end].view(TYPES[value.type.tensor_type.elem_type]).view(_shape(value))
        for begin, end, value in _spans(values)
    ]
