"""Finding the luma model a run will use, and at which precision: what ships, or the user's own file."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Set
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from vsr.errors import InputError, UsageError
from vsr.networks.table import NETWORKS
from vsr.settings import EngineSettings

if TYPE_CHECKING:
    from onnx import ModelProto

Exact = Literal["int8", "bf16", "fp16", "float32"]
Library = Literal["tensorrt", "pytorch", "openvino"]

DEFAULT_NETWORK = "m4c16"
_INT8_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})  # /proc/cpuinfo's names
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


@dataclass(frozen=True)
class Runner:
    """What runs a network.

    Args:
        library: TensorRT has no engine for the CPU, OpenVINO is used on nothing else.
        device: the GPU, by CUDA's number; None for the CPU.
    """

    library: Library = "openvino"
    device: int | None = None

    def __str__(self) -> str:
        place = "CPU" if self.device is None else "GPU"
        return f"pytorch on the {place}" if self.library == "pytorch" else self.library


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """The model of a run, what runs it and at which precision.

    Args:
        path: the ONNX file.
        network: its name, with "-stream" where its weights are for coded video; the file's own for a user's model.
        scale: output size over input size.
        radius: receptive radius in input pixels; None when it can't be bounded, so that frames can't be tiled.
        precision: what the engine is asked for.
        peak: value of white at the model's input and output.
        sha256: of the file, hexadecimal.
        why: one line for the user: what decided the precision.
        runner: library and device.
    """

    path: Path
    network: str
    scale: int
    radius: int | None
    precision: Exact
    peak: float
    sha256: str
    why: str
    runner: Runner = Runner()


@dataclass(frozen=True, kw_only=True)
class LumaModel:
    """A luma model in memory: float32 (1, 1, H, W) in, float32 (1, 1, scale H, scale W) out, white = `peak`."""

    proto: ModelProto
    scale: int
    radius: int | None
    peak: float


def resolve(
    settings: EngineSettings,
    depth: int,
    *,
    runner: Runner | None = None,
    processor: Set[str] | None = None,
    folder: Path | None = None,
) -> ModelChoice:
    """The model and precision for video of `depth` bits.

    Args:
        runner: None takes the backend of the settings, where it can be the CPU: that.
        processor: feature flags as in /proc/cpuinfo; None asks the machine.
        folder: of models and their manifest; None takes what ships.

    Raises:
        UsageError: no such network, scale or precision for this runner and depth.
        InputError: a model that can't be read or breaks the contract.
    """
    settings.validate()
    flags = processor_flags() if processor is None else processor
    runner = runner or default_runner(settings)
    if settings.model is not None:
        return _own(settings, depth, runner, flags)
    network, folder = network_of(settings), folder or models_folder()
    name = f"{network}-stream" if settings.weights == "stream" else network
    floating, quantised = (folder / f"{name}_x{settings.scale}{suffix}.onnx" for suffix in ("", "_int8"))
    if not floating.is_file():
        shipped = ", ".join(sorted(p.stem for p in folder.glob("*_x?.onnx"))) or "none"
        raise UsageError(f"no weights of {name} at scale {settings.scale}; shipped: {shipped}")
    precision, why = _precision(settings, depth, runner, flags, int8=quantised.is_file())
    path = quantised if precision == "int8" else floating
    return ModelChoice(
        path=path,
        network=name,
        scale=settings.scale,
        radius=NETWORKS[network].radius(settings.scale),
        precision=precision,
        peak=255.0 if precision == "int8" else 1.0,
        sha256=_checked_sha256(path),
        why=why,
        runner=runner,
    )


def default_runner(settings: EngineSettings) -> Runner:
    """What runs the settings' backend without looking at the machine; openvino for "auto"."""
    if settings.backend == "tensorrt":
        return Runner("tensorrt", settings.device)
    return Runner("pytorch" if settings.backend == "pytorch" else "openvino")


def network_of(settings: EngineSettings) -> str:
    """The name of the network asked for. Raises UsageError for one that isn't known."""
    name = DEFAULT_NETWORK if settings.network == "auto" else settings.network
    if name not in NETWORKS:
        raise UsageError(f"no network {name!r}; known: {', '.join(NETWORKS)}")
    return name


def load(choice: ModelChoice) -> LumaModel:
    """Reads the chosen file. Raises InputError when it changed since it was chosen."""
    import onnx

    data = choice.path.read_bytes()
    if hashlib.sha256(data).hexdigest() != choice.sha256:
        raise InputError(f"{choice.path} changed since it was chosen; start again")
    return LumaModel(
        proto=onnx.load_model_from_string(data), scale=choice.scale, radius=choice.radius, peak=choice.peak
    )


def models_folder() -> Path:
    """Where the shipped models are: `engines/` of the checkout that this is, else the installed package."""
    beside = Path(__file__).resolve().parent.parent / "engines"
    spec = None if (beside / "manifest.json").is_file() else find_spec("vsr.engines")
    return beside if spec is None or spec.origin is None else Path(spec.origin).parent


def processor_flags() -> frozenset[str]:
    """Feature flags of this processor in /proc/cpuinfo's spelling; where there is no such file, what OpenVINO says."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return _flags_by_openvino()
    return frozenset(next((line for line in lines if line.startswith(("flags", "Features"))), "").split())


def _flags_by_openvino() -> frozenset[str]:
    from vsr.backends import openvino_core

    capable = "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    amd64 = platform.machine().lower() in ("x86_64", "amd64")
    return BF16_FLAGS | _INT8_FLAGS if capable and amd64 else frozenset()  # every x86 with bf16 has VNNI too


def _precision(
    settings: EngineSettings, depth: int, runner: Runner, flags: Set[str], *, int8: bool
) -> tuple[Exact, str]:
    """(precision, why) for a model whose int8 form exists or not."""
    wanted, gpu = settings.precision, runner.device is not None
    obstacle = _int8_obstacle(settings, depth, int8)
    if runner.library != "openvino":
        flags = frozenset()
    bf16 = bool(BF16_FLAGS & flags)
    if runner.library == "tensorrt" and depth == 16:
        raise UsageError("tensorrt has no type for samples of 16 bits; use --backend pytorch or openvino")
    if wanted == "int8" and obstacle:
        others = "fp16 or " if gpu else "bf16 or " if bf16 else ""
        raise UsageError(f"precision int8: {obstacle}; use {others}float32")
    if wanted == "bf16" and not bf16:
        where = "this processor" if runner.library == "openvino" else runner
        others = "fp16 or float32" if gpu else "float32" if obstacle else "float32 or int8"
        raise UsageError(f"precision bf16: {where} has no bfloat16; use {others}")
    if wanted == "fp16" and not gpu:
        raise UsageError(f"precision fp16: needs a GPU, {runner} has none; use {'bf16' if bf16 else 'float32'}")
    if wanted != "auto":
        return wanted, "as asked"
    if gpu:
        return "fp16", "on a GPU"
    slow = obstacle or ("" if _INT8_FLAGS & flags else "no fast int8 here")
    if not slow:
        return "int8", "8-bit video and a processor with fast int8"
    return ("bf16", f"not int8: {slow}") if bf16 else ("float32", f"not int8: {slow}; no bfloat16 here")


def _int8_obstacle(settings: EngineSettings, depth: int, exists: bool) -> str:
    if depth != 8:
        return f"int8 models are for 8-bit video, this is {depth} bit"
    if not exists:
        name = settings.model.name if settings.model else network_of(settings)
        return f"{name} has no int8 model at scale {settings.scale}"
    return ""


def _checked_sha256(path: Path) -> str:
    """The file's hash, compared with the manifest's where there is one."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest = path.with_name("manifest.json")
    if manifest.is_file():
        listed: Any = json.loads(manifest.read_text())["models"]
        known = {entry["file"]: entry["sha256"] for entry in listed}
        if known.get(path.name) != digest:
            raise InputError(f"{path} is not the file that shipped (its SHA-256 differs); reinstall vsr")
    return digest


def _own(settings: EngineSettings, depth: int, runner: Runner, flags: Set[str]) -> ModelChoice:
    from vsr.contract import inspect

    path = cast(Path, settings.model)
    facts = inspect(path)
    if facts.scale != settings.scale:
        raise UsageError(f"{path.name} upscales by {facts.scale}, not {settings.scale}; give --scale {facts.scale}")
    if facts.int8 and depth != 8:
        raise UsageError(f"{path.name} is an int8 model for 8-bit video, this is {depth} bit; give a float model")
    if facts.int8 and settings.precision not in ("auto", "int8"):
        raise UsageError(f"{path.name} is an int8 model; precision {settings.precision} needs a float model")
    precision, why = _precision(settings, depth, runner, flags, int8=facts.int8)
    if facts.int8:
        precision, why = "int8", "the model is int8"
    return ModelChoice(
        path=path,
        network=path.stem,
        scale=facts.scale,
        radius=facts.radius,
        precision=precision,
        peak=facts.peak,
        sha256=facts.sha256,
        why=why,
        runner=runner,
    )
