"""From a description to a plan."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from vsr.backends.half import halved
from vsr.backends.tensorrt.library import is_rtx, listening
from vsr.device.protocol import DeviceMemoryError
from vsr.errors import InputError, UsageError
from vsr.graph import FrameSpec, describe
from vsr.plans import PlanError
from vsr.settings import PlanSettings

if TYPE_CHECKING:
    from onnx import ModelProto

    from vsr.models import Exact, LumaModel

_NO_ROOM = ("out of memory", "outofmemory", "out_of_memory", "cudamalloc", "could not be allocated")

Shapes = Mapping[str, tuple[tuple[int, ...], ...]]  # of inputs: the least, the usual, the largest
Progress = Callable[[float, str], None]  # share done, from 0 to 1 and never less than before; what is being done


def described(model: LumaModel, spec: FrameSpec, precision: Exact, *, any_size: bool = False) -> ModelProto:
    """The whole-frame description as TensorRT takes it, in `precision`: float32, fp16, or int8 for int8 models.

    With `any_size` its rows and columns are left open: `describe`.

    Raises:
        UsageError: a precision that isn't the model's, or 16-bit samples.
        InputError: a model quantised to uint8, or one that fp16 can't hold.
    """
    if spec.format.depth == 16:
        raise UsageError("TensorRT has no type for samples of 16 bits; use --backend openvino or pytorch")
    whole = describe(model, spec, edges="tensorrt", any_size=any_size)
    quantised = _quantised_to(whole)
    if "uint8" in quantised:
        raise InputError(
            f"{quantised['uint8']} is quantised to uint8; TensorRT would read it as signed and be silently wrong; "
            "give a model quantised to int8 (zero point 0), or a float one"
        )
    if precision not in ("float32", "fp16", "int8") or (precision == "int8") != bool(quantised):
        kind = "int8" if quantised else "float"
        fitting = "int8" if quantised else "fp16 or float32"
        raise UsageError(f"precision {precision}: TensorRT runs this {kind} model in {fitting}")
    return halved(whole) if precision == "fp16" else whole


def _quantised_to(model: ModelProto) -> dict[str, str]:
    """Types that the model's Q and DQ nodes go to or come from, with the name of one such value each."""
    from onnx import TensorProto, shape_inference

    graph = shape_inference.infer_shapes(model).graph
    types = {v.name: v.type.tensor_type.elem_type for v in [*graph.input, *graph.value_info, *graph.output]}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    found = {}
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            codes = node.output[0] if node.op_type == "QuantizeLinear" else node.input[0]
            kind = TensorProto.DataType.Name(types.get(codes, TensorProto.UNDEFINED)).lower()
            found[kind] = codes.removeprefix("luma/")
    return found


def build(
    trt: Any,
    model: ModelProto,
    settings: PlanSettings,
    *,
    shapes: Shapes = MappingProxyType({}),
    timing: bytes = b"",
    progress: Progress = lambda share, phase: None,
) -> tuple[bytes, bytes]:
    """A plan and the timing cache after it was built (empty with TensorRT-RTX), for the device that is current.

    Kernels are chosen for the second of the three `shapes` of each input, where the model leaves its size open.

    What `progress` raises ends the build and is raised here; it is called from TensorRT's threads too, never from two
    at once.

    Raises:
        InputError: TensorRT's parser refuses the model.
        DeviceMemoryError, PlanError: no plan could be made of it.
    """
    log = listening(trt)
    builder = _made(log, lambda: trt.Builder(log))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model.SerializeToString()):
        refused = [str(parser.get_error(index).desc()) for index in range(parser.num_errors)]
        raise InputError(f"TensorRT refuses this model: {' '.join('; '.join(refused).split()) or log.text()}")
    config = builder.create_builder_config()
    _configure(trt, config, settings)
    if shapes:
        profile = builder.create_optimization_profile()
        for name, extent in shapes.items():
            profile.set_shape(name, *extent)
        if config.add_optimization_profile(profile) < 0:
            raise _failure(log.text())
    timings = None if is_rtx(trt) else _timings(config, timing)
    config.progress_monitor = monitor = _monitor(trt, progress)
    plan = builder.build_serialized_network(network, config)
    if monitor.raised is not None:
        raise monitor.raised
    if plan is None:
        raise _failure(log.text())
    progress(1.0, "built")
    return bytes(plan), _bytes(timings and timings.serialize())


def _configure(trt: Any, config: Any, settings: PlanSettings) -> None:
    config.clear_flag(trt.BuilderFlag.TF32)  # which would round float32 to 10 bits
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace)
    config.max_aux_streams = 0  # frames overlap, each in one stream; a chain of layers gains nothing from more
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # for `vsr-plan inspect`; costs no time
    config.builder_optimization_level = settings.level
    if settings.tiling != "none" and not is_rtx(trt):
        config.tiling_optimization_level = getattr(trt.TilingOptimizationLevel, settings.tiling.upper())
    if settings.hardware == "ampere+":
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    elif settings.hardware == "same-capability":
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY
    if settings.any_version:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)


def _timings(config: Any, stored: bytes) -> Any:
    """The timing cache in use: what was stored, or an empty one where TensorRT doesn't take that."""
    for data in (stored, b""):
        timings = config.create_timing_cache(data)
        if timings is not None and config.set_timing_cache(timings, False):
            return timings
    return None


def _made(log: Any, make: Callable[[], Any]) -> Any:
    """What TensorRT's constructors give; they raise errors of pybind11's without a reason."""
    try:
        return make()
    except (TypeError, RuntimeError) as error:
        raise _failure(log.text()) from error


def _failure(text: str) -> PlanError | DeviceMemoryError:
    if out_of_memory(text):
        return DeviceMemoryError(f"TensorRT found no room for building: {text}")
    return PlanError(f"TensorRT built no plan: {text}")


def out_of_memory(text: str) -> bool:
    """Whether TensorRT's words are about memory on the device."""
    lowered = text.lower()
    return any(words in lowered for words in _NO_ROOM)


def _bytes(memory: Any) -> bytes:
    return b"" if memory is None else bytes(memory)


def _monitor(trt: Any, progress: Progress) -> Any:
    """What TensorRT reports its phases to; nothing may be raised into it."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.raised: BaseException | None = None
            self._phases = Phases()
            self._lock = threading.Lock()

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self._follow(lambda: self._phases.start(phase, steps), phase)

        def step_complete(self, phase: str, step: int) -> bool:
            self._follow(lambda: self._phases.step(phase, step), phase)
            return self.raised is None

        def phase_finish(self, phase: str) -> None:
            self._follow(lambda: self._phases.finish(phase), phase)

        def _follow(self, happened: Callable[[], None], phase: str) -> None:
            try:
                with self._lock:
                    happened()
                    if self.raised is None:
                        progress(self._phases.share, phase)
            except BaseException as error:  # noqa: BLE001  # raised by `build` when TensorRT has returned
                self.raised = error

    return Monitor()


class Phases:
    """How much of nested phases is done: a phase fills the step of its parent's that it runs in."""

    def __init__(self) -> None:
        self._open: dict[str, list[int]] = {}  # steps done and in all, outermost phase first
        self.share = 0.0

    def start(self, phase: str, steps: int) -> None:
        self._open[phase] = [0, max(1, steps)]

    def step(self, phase: str, step: int) -> None:
        if phase in self._open:
            self._open[phase][0] = step + 1
            self._count()

    def finish(self, phase: str) -> None:
        self._open.pop(phase, None)

    def _count(self) -> None:
        share, part = 0.0, 1.0
        for done, steps in self._open.values():
            share += part * min(done, steps) / steps
            part /= steps
        self.share = max(self.share, min(1.0, share))
