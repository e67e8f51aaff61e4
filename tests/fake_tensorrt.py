"""A made-up `tensorrt` module that runs plans in torch on a FakeDevice, and fails as the real one does.

A "plan" is the ONNX file behind a few letters. Names are the real ones (`test_tensorrt.py` checks those).
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, helper, load_model_from_string

from vsr.backends.pytorch.evaluator import Evaluator
from vsr.device.facts import GpuFacts
from vsr.device.fake import FakeDevice

MAGIC = b"fake plan "
SCRATCH, MOST = 4096, 1 << 20  # for one size; for the largest of several
FACTS = GpuFacts(
    name="Fake GPU",
    compute_capability="9.0",
    multiprocessors=132,
    l2_bytes=50 << 20,
    memory_gib=80,
    cuda="13.0",
    driver="580.95.05",
)
TYPES = {2: "uint8", 6: "int32"}  # TensorProto's element types


class FakeTensorRT:
    """The module. `fails` names what goes wrong: "build", "memory", "context", "address", "enqueue"."""

    __name__, __version__ = "tensorrt", "11.4.0.106"
    uint8, int32 = "DataType.UINT8", "DataType.INT32"
    BuilderFlag = SimpleNamespace(TF32="TF32", VERSION_COMPATIBLE="VERSION_COMPATIBLE")
    MemoryPoolType = SimpleNamespace(WORKSPACE="WORKSPACE")
    ProfilingVerbosity = SimpleNamespace(DETAILED="DETAILED")
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="USER_MANAGED")
    LayerInformationFormat = SimpleNamespace(JSON="JSON")

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING, INFO = range(4)

        def __init__(self) -> None: ...

    class IProgressMonitor:
        def __init__(self) -> None: ...

    def __init__(self, device: FakeDevice, *, fails: str = "", layers: str = '{"Layers": []}') -> None:
        self.device, self.fails, self.layers = device, fails, layers
        self.built: list[Any] = []  # the configuration of each build
        self.alive = 0  # execution contexts

    def Builder(self, log: Any) -> Any:
        return Builder(self, log)

    def OnnxParser(self, network: Any, log: Any) -> Any:
        return Parser(network)

    def Runtime(self, log: Any) -> Any:
        return Runtime(self, log)


class Parser:
    def __init__(self, network: Any) -> None:
        self._network, self.num_errors = network, 0

    def parse(self, model: bytes) -> bool:
        self._network.model = model
        return True


class Builder:
    def __init__(self, trt: FakeTensorRT, log: Any) -> None:
        self._trt, self._log = trt, log

    def create_network(self, flags: int) -> Any:
        assert flags == 1 << 1, "strongly typed"
        return SimpleNamespace()

    def create_builder_config(self) -> Any:
        return Config()

    def create_optimization_profile(self) -> Any:
        return Profile()

    def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
        self._trt.built.append(config)
        if self._trt.fails in ("build", "memory"):
            text = "no kernel for it" if self._trt.fails == "build" else "Error 2: CUDA out of memory"
            self._log.log(self._trt.ILogger.ERROR, text)
            return None
        config.progress_monitor.phase_start("Building", None, 2)
        for step in range(2):
            if not config.progress_monitor.step_complete("Building", step):
                return None
        config.progress_monitor.phase_finish("Building")
        model = load_model_from_string(network.model)
        if any(None in shape for shape in shapes(model.graph.input).values()):
            helper.set_model_props(model, {"profile": json.dumps(config.profiles[0])})
        return bytes(MAGIC + model.SerializeToString())


class Profile(dict[str, Any]):
    def set_shape(self, name: str, *extents: tuple[int, ...]) -> None:
        least, usual, largest = extents
        if not all(a <= b <= c for a, b, c in zip(least, usual, largest, strict=True)):
            raise ValueError("The optimization profile is inconsistent")
        self[name] = extents


def shapes(values: Any) -> dict[str, tuple[int | None, ...]]:
    """Sides left open are None."""
    kinds = {value.name: value.type.tensor_type.shape.dim for value in values}
    return {name: tuple(d.dim_value if d.HasField("dim_value") else None for d in kinds[name]) for name in kinds}


class Config:
    def __init__(self) -> None:
        self.profiles: list[Profile] = []
        self.cleared: list[str] = []
        self.flags: list[str] = []
        self.workspace = 0
        self.timings = SimpleNamespace(serialize=lambda: b"times")

    def clear_flag(self, flag: str) -> None:
        self.cleared.append(flag)

    def set_flag(self, flag: str) -> None:
        self.flags.append(flag)

    def add_optimization_profile(self, profile: Profile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def set_memory_pool_limit(self, pool: str, nbytes: int) -> None:
        self.workspace = nbytes

    def create_timing_cache(self, given: bytes) -> Any:
        self.timings.given = given
        return None if given == b"damaged" else self.timings

    def set_timing_cache(self, timings: Any, ignore: bool) -> bool:
        return timings is self.timings and not ignore and timings.given != b"another GPU's"


class Runtime:
    def __init__(self, trt: FakeTensorRT, log: Any) -> None:
        self._trt, self._log = trt, log
        self.engine_host_code_allowed = False

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        if plan.startswith(MAGIC):
            return Engine(self._trt, self._log, load_model_from_string(plan.removeprefix(MAGIC)))
        self._log.log(self._trt.ILogger.ERROR, "magic tag doesn't match")
        return None


class Engine:
    def __init__(self, trt: FakeTensorRT, log: Any, model: ModelProto) -> None:
        self.trt, self.log, self.evaluator = trt, log, Evaluator(model)
        ends = [*model.graph.input, *model.graph.output]
        self.profile = json.loads({entry.key: entry.value for entry in model.metadata_props}.get("profile", "{}"))
        self.shapes = shapes(ends)
        self.inputs = [value.name for value in model.graph.input]
        self.device_memory_size_v2 = MOST if self.profile else SCRATCH
        self.types = {v.name: TYPES[v.type.tensor_type.elem_type] for v in ends}
        self.num_io_tensors = len(ends)

    def get_tensor_name(self, index: int) -> str:
        return list(self.shapes)[index]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(-1 if side is None else side for side in self.shapes[name])

    def get_tensor_profile_shape(self, name: str, index: int) -> list[list[int]]:
        assert index == 0
        return list(self.profile[name])

    def get_tensor_dtype(self, name: str) -> str:
        return str(getattr(self.trt, self.types[name]))

    def create_execution_context(self, strategy: str) -> Any:
        assert strategy == "USER_MANAGED"
        if self.trt.fails == "context":
            self.log.log(self.trt.ILogger.ERROR, "Error 2: out of memory")
            return None
        return Context(self)

    def create_engine_inspector(self) -> Any:
        return SimpleNamespace(get_engine_information=lambda kind: self.trt.layers)


class Context:
    def __init__(self, engine: Engine) -> None:
        self._engine, self._places = engine, {}  # type: ignore[var-annotated]
        self._scratch = 0, 0
        self._shapes = {name: engine.shapes[name] for name in engine.shapes if None not in engine.shapes[name]}
        engine.trt.alive += 1

    def __del__(self) -> None:
        self._engine.trt.alive -= 1

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._places[name] = address
        return self._engine.trt.fails != "address" and address % 256 == 0 and name in self._engine.shapes

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        """Outputs have a shape when all inputs have; found by running the network on nothing."""
        least, _, largest = self._engine.profile[name]
        self._shapes[name] = shape
        if self._sized():
            blank = [torch.zeros(self._shapes[n], dtype=self._kind(n)) for n in self._engine.inputs]  # type: ignore[arg-type]
            made = zip(self._engine.evaluator.outputs, self._engine.evaluator(*blank), strict=True)
            self._shapes |= {name: tuple(result.shape) for name, result in made}
        return all(a <= b <= c for a, b, c in zip(least, shape, largest, strict=True))

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._shapes.get(name, self._engine.get_tensor_shape(name)))  # type: ignore[arg-type]

    def update_device_memory_size_for_shapes(self) -> int:
        return SCRATCH if self._sized() else 0

    def _sized(self) -> bool:
        return all(name in self._shapes for name in self._engine.inputs)

    def _kind(self, name: str) -> Any:
        return getattr(torch, self._engine.types[name])

    def set_device_memory(self, address: int, nbytes: int) -> None:
        self._scratch = address, nbytes

    def execute_async_v3(self, handle: int) -> bool:
        trt = self._engine.trt
        if (
            trt.fails == "enqueue"
            or not self._sized()
            or self._scratch[1] < SCRATCH
            or len(self._places) < len(self._engine.shapes)
        ):
            self._engine.log.log(trt.ILogger.ERROR, "enqueueV3: not everything is set")
            return False
        stream = next(stream for stream in trt.device._streams if not stream.closed and stream.handle == handle)
        trt.device.compute(stream, self._run)
        return True

    def _run(self) -> None:
        self._bytes(*self._scratch)[:] = 0x5A
        evaluator = self._engine.evaluator
        given = [torch.tensor(self._tensor(name).copy()) for name in evaluator.inputs]
        for name, result in zip(evaluator.outputs, evaluator(*given), strict=True):
            self._tensor(name)[...] = result.numpy()

    def _tensor(self, name: str) -> Any:
        shape, kind = self._shapes[name], np.dtype(self._engine.types[name])
        return self._bytes(self._places[name], int(np.prod(shape)) * kind.itemsize).view(kind).reshape(shape)

    def _bytes(self, address: int, nbytes: int) -> Any:
        return self._engine.trt.device.bytes(address, nbytes)
