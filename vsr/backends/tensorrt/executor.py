"""A plan, loaded and bound to memory and streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vsr.backends.tensorrt.builder import out_of_memory
from vsr.backends.tensorrt.library import listening
from vsr.device.protocol import Bound, Device, DeviceBuffer, DeviceError, DeviceMemoryError, Stream
from vsr.frame import PlanarFormat
from vsr.graph import OUTPUTS, FrameSpec
from vsr.plans import PlanError


class TensorRTExecutor:
    """Executor of one plan: runtime and engine once, an execution context per `bind`.

    To be made, bound and closed inside `device.current()`.

    Args:
        trt: the module, from `import_tensorrt`.
        plan: made by `build` of the description for `spec` at "tensorrt" edges.
        device: where scratch memory comes from.
        host_code: the plan carries a runtime of its own, as those do that later TensorRT versions load.
        ranged: the plan is for a range of sizes; made of a description of any size.
        label: as in `Executor`.

    Raises:
        PlanError: TensorRT doesn't take the plan, or it is for other frames.
        DeviceMemoryError: its weights have no room.
    """

    def __init__(
        self,
        trt: Any,
        plan: bytes,
        spec: FrameSpec,
        scale: int,
        device: Device,
        *,
        label: str,
        host_code: bool = False,
        ranged: bool = False,
    ) -> None:
        self.label, self._ranged, size = label, ranged, (spec.width, spec.height)
        self.input_nbytes = spec.format.nbytes(*size, paired=spec.surfaces)
        self.output_nbytes = spec.format.nbytes(spec.width * scale, spec.height * scale)
        self._trt, self._device, self._log = trt, device, listening(trt)
        self._inputs = plane_tensors(spec.inputs, spec.format, *size, ranged=ranged, paired=spec.surfaces)
        self._outputs = plane_tensors(OUTPUTS, spec.format, spec.width * scale, spec.height * scale, ranged=ranged)
        self._runtime, self.engine = load_engine(trt, plan, self._log, host_code=host_code)
        self._check()

    def bind(self, source: DeviceBuffer, target: DeviceBuffer, stream: Stream) -> Bound:
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = self.engine.create_execution_context(strategy)
        if context is None:
            raise self.refused("no execution context")
        if self._ranged:
            self._size(context)
        for buffer, tensors in ((source, self._inputs), (target, self._outputs)):
            for tensor in tensors:
                if not context.set_tensor_address(tensor.name, buffer.address + tensor.offset):
                    raise self.refused(f"{tensor.name} takes no address")
        nbytes, most = context.update_device_memory_size_for_shapes(), self.engine.device_memory_size_v2
        nbytes = nbytes if self._ranged and nbytes else max(nbytes, most)  # less than most for less than the largest
        scratch = self._device.allocate(max(1, nbytes))
        context.set_device_memory(scratch.address, nbytes)
        return _Bound(self, context, scratch, stream)

    def close(self) -> None:
        self.engine = self._runtime = None

    def refused(self, what: str) -> DeviceError:
        """The error for what TensorRT wouldn't do, in its own words."""
        text = self._log.text()
        return _memory(text) if out_of_memory(text) else DeviceError(f"TensorRT: {what}: {text}")

    def _size(self, context: Any) -> None:
        """Frames of this size from now on."""
        for tensor in self._inputs:
            if not context.set_input_shape(tensor.name, tensor.shape):
                raise self.refused(f"{tensor.name} takes no size {tensor.shape}")
        for tensor in self._outputs:
            if (shape := tuple(context.get_tensor_shape(tensor.name))) != tensor.shape:
                raise PlanError(f"the plan makes {tensor.name} of {shape}, not {tensor.shape}")

    def _check(self) -> None:
        """The plan's tensors are the planes, or those of sizes among which this one is."""
        kinds = {self._trt.uint8: "uint8", self._trt.int32: "int32"}
        names = [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]
        ranged, shape_of = self._ranged, self.engine.get_tensor_shape
        found = {
            (name, kinds.get(self.engine.get_tensor_dtype(name)), () if ranged else tuple(shape_of(name)))
            for name in names
        }
        tensors = self._inputs + self._outputs
        expected = {(tensor.name, tensor.kind, () if ranged else tensor.shape) for tensor in tensors}
        if found != expected:
            raise PlanError(f"the plan is for other frames: {sorted(map(str, found ^ expected))}")
        for tensor in self._inputs if ranged else ():
            least, _, largest = map(tuple, self.engine.get_tensor_profile_shape(tensor.name, 0))
            if any(not low <= side <= high for low, side, high in zip(least, tensor.shape, largest, strict=True)):
                raise PlanError(f"the plan takes {tensor.name} of {least} to {largest}, not {tensor.shape}")


class _Bound:
    """One execution context, its scratch memory and its stream."""

    def __init__(self, executor: TensorRTExecutor, context: Any, scratch: DeviceBuffer, stream: Stream) -> None:
        self._executor, self._context, self._scratch, self._stream = executor, context, scratch, stream

    def launch(self) -> None:
        if not self._context.execute_async_v3(self._stream.handle):
            raise self._executor.refused("the frame wasn't enqueued")

    def close(self) -> None:
        self._context = None
        self._scratch.close()


@dataclass(frozen=True)
class Tensor:
    """A plane as TensorRT sees it, and where it is in the frame's buffer."""

    name: str
    kind: str
    shape: tuple[int, ...]
    offset: int


def plane_tensors(
    names: tuple[str, ...],
    format: PlanarFormat,
    width: int,
    height: int,
    *,
    ranged: bool = False,
    paired: bool = False,
) -> list[Tensor]:
    """Samples of more than 8 bits go in pairs; an odd one's partner lies in the gap before the next plane.

    Where a plan is for a range of sizes pairs stand in rows, of which none is odd.
    """
    made = []
    shapes, offsets = format.shapes(width, height, paired=paired), format.offsets(width, height, paired=paired)
    for name, (rows, columns), offset in zip(names, shapes, offsets, strict=False):
        packed = format.depth > 8
        shape = ((rows * columns + 1) // 2,) if packed and not ranged else (1, 1, rows, columns // (1 + packed))
        made.append(Tensor(name, "int32" if packed else "uint8", shape, offset))
    return made


def load_engine(trt: Any, plan: bytes, log: Any, *, host_code: bool) -> tuple[Any, Any]:
    """The runtime, to be kept as long as the engine, and the engine. Raises PlanError, DeviceMemoryError."""
    runtime = trt.Runtime(log)
    if host_code:
        runtime.engine_host_code_allowed = True
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        text = log.text()
        raise _memory(text) if out_of_memory(text) else PlanError(text)
    return runtime, engine


def _memory(text: str) -> DeviceMemoryError:
    return DeviceMemoryError(f"TensorRT found no room: {text}")
