"""A network ready to run on a GPU: its plan found on disk or built, then loaded."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from vsr.backends import cache_folder
from vsr.backends.tensorrt.builder import Progress, build, described
from vsr.backends.tensorrt.executor import TensorRTExecutor
from vsr.backends.tensorrt.library import cuda_of, import_tensorrt
from vsr.device.facts import GpuFacts, gpu_facts
from vsr.device.protocol import Device
from vsr.errors import OutputError
from vsr.graph import FrameSpec
from vsr.models import ModelChoice, load
from vsr.plans import PlanCache, PlanKey
from vsr.settings import PlanSettings

if TYPE_CHECKING:
    from onnx import ModelProto

RECIPE = 1  # of `vsr.backends.tensorrt.builder`: to be raised when it configures TensorRT in another way


def open_executor(
    trt: Any,
    choice: ModelChoice,
    spec: FrameSpec,
    device: Device,
    facts: GpuFacts,
    cache: PlanCache | None,
    *,
    settings: PlanSettings | None = None,
    progress: Progress = lambda share, phase: None,
    said: Callable[[str], None] = lambda line: None,
) -> TensorRTExecutor:
    """The chosen model for frames of `spec`, in `choice.precision`.

    Args:
        trt: from `import_tensorrt`.
        facts: of the same GPU as `device`.
        cache: where plans are kept; None builds one for this process alone.
        settings: None takes the plan used last, whatever its settings were, and builds by the defaults.
        progress: see `build`; not called where the plan is there already.
        said: gets a line for what a user should hear.

    Raises:
        UsageError, InputError: a model or precision that TensorRT doesn't run.
        PlanError, DeviceError: TensorRT built or loaded no plan; DeviceMemoryError where that was for want of memory.
        OutputError: a cache that can't be used.
    """
    model = described(load(choice), spec, choice.precision)
    label = f"{trt.__name__.replace('_', '-')} {_short(trt)} {choice.precision}, {device.name}"

    def key(settings: PlanSettings) -> PlanKey:
        return plan_key(trt, choice, spec, model, facts, settings)

    chosen = settings or _last_used(cache, key(PlanSettings())) or PlanSettings()
    chosen.validate()

    def built() -> bytes:
        name = timing_name(trt, facts)
        plan, timing = build(trt, model, chosen, timing=cache.read(name) if cache else b"", progress=progress)
        if cache and timing:
            try:
                cache.write(name, timing)
            except OutputError as error:
                said(f"how fast kernels are isn't kept ({error})")
        return plan

    def loaded(plan: bytes) -> TensorRTExecutor:
        return TensorRTExecutor(trt, plan, spec, choice.scale, device, label=label, host_code=chosen.any_version)

    with device.current():
        if cache is None:
            return loaded(built())
        return cache.obtain(key(chosen), built, loaded, said=said)


def executor(
    choice: ModelChoice,
    spec: FrameSpec,
    device: Device,
    *,
    settings: PlanSettings | None = None,
    progress: Progress = lambda share, phase: None,
    said: Callable[[str], None] = lambda line: None,
) -> TensorRTExecutor:
    """`open_executor` with this machine's TensorRT and the user's cache; without the cache where that can't be used."""
    return open_executor(
        import_tensorrt(),
        choice,
        spec,
        device,
        gpu_facts(device.index),
        plan_cache(said),
        settings=settings,
        progress=progress,
        said=said,
    )


def plan_cache(said: Callable[[str], None]) -> PlanCache | None:
    """The user's plans; None where they can't be kept, which is said."""
    folder = cache_folder()
    try:
        if folder is not None:
            return PlanCache(folder / "plans")
        said("plans aren't kept: there is no cache folder that can be written (VSR_CACHE names another)")
    except OutputError as error:
        said(f"plans aren't kept: {error}")
    return None


def _last_used(cache: PlanCache | None, key: PlanKey) -> PlanSettings | None:
    """The settings of the plan used last that differs from `key` in nothing else."""
    for plan in cache.stored() if cache else []:
        facts = dict(plan.facts)
        settings = facts.pop("settings", None)
        if settings and facts == {name: fact for name, fact in key.facts.items() if name != "settings"}:
            return PlanSettings(**settings)
    return None


def plan_key(
    trt: Any, choice: ModelChoice, spec: FrameSpec, model: ModelProto, facts: GpuFacts, settings: PlanSettings
) -> PlanKey:
    """All that shapes the plan of `model`, the final description; and what people want to know of it."""
    return PlanKey(
        {
            "network": choice.network,
            "scale": choice.scale,
            "precision": choice.precision,
            "frames": str(spec),
            "model": hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest(),
            "recipe": RECIPE,
            "settings": asdict(settings),
            "library": trt.__name__,
            "version": trt.__version__,
            "cuda": cuda_of(trt),
            "gpu": asdict(facts),
            "system": f"{platform.system()} {platform.machine()}",
        }
    )


def timing_name(trt: Any, facts: GpuFacts) -> str:
    """The timing cache's file: measured times hold for one GPU, driver and version."""
    key = PlanKey({"gpu": asdict(facts), "version": trt.__version__, "cuda": cuda_of(trt)})
    return f"{key.digest}.timing"


def _short(trt: Any) -> str:
    return ".".join(str(trt.__version__).split(".")[:2])
