"""A network ready to run on a GPU: its plan found on disk or built, then loaded."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache as cached
from functools import partial
from typing import TYPE_CHECKING, Any

from vsr.backends import cache_folder
from vsr.backends.tensorrt.builder import Progress, Shapes, build, described
from vsr.backends.tensorrt.executor import TensorRTExecutor, plane_tensors
from vsr.backends.tensorrt.library import cuda_of, import_tensorrt
from vsr.device.facts import GpuFacts, gpu_facts
from vsr.device.protocol import Device
from vsr.errors import OutputError, UsageError
from vsr.graph import FrameSpec, whole_pairs
from vsr.models import ModelChoice, load
from vsr.plans import PlanCache, PlanKey, StoredPlan
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
        settings: None takes the plan used last, whatever its settings were, one for this size alone before one of a
            range of sizes, and builds by the defaults where there is none.
        progress: see `build`; not called where the plan is there already.
        said: gets a line for what a user should hear.

    Raises:
        UsageError, InputError: a model or precision that TensorRT doesn't run.
        PlanError, DeviceError: TensorRT built or loaded no plan; DeviceMemoryError where that was for want of memory.
        OutputError: a cache that can't be used.
    """
    luma = load(choice)

    @cached
    def model(any_size: bool) -> ModelProto:
        return described(luma, spec, choice.precision, any_size=any_size)

    def key(settings: PlanSettings) -> PlanKey:
        return plan_key(trt, choice, spec, model(bool(settings.sizes)), facts, settings)

    chosen = settings or _last_used(cache, spec, key) or PlanSettings()
    chosen.validate()
    shapes = input_shapes(spec, chosen)
    if shapes and not settings:
        said(f"{spec} goes through the plan for {chosen.range}; `vsr-plan build` makes one for this size alone")
    library, sizes = f"{trt.__name__.replace('_', '-')} {_short(trt)}", f", {chosen.range}" if chosen.sizes else ""
    label = f"{library} {choice.precision}{sizes}, {device.name}"

    def built() -> bytes:
        name = timing_name(trt, facts)
        known = cache.read(name) if cache else b""
        plan, timing = build(trt, model(bool(shapes)), chosen, shapes=shapes, timing=known, progress=progress)
        if cache and timing:
            try:
                cache.write(name, timing)
            except OutputError as error:
                said(f"how fast kernels are isn't kept ({error})")
        return plan

    def loaded(plan: bytes) -> TensorRTExecutor:
        return TensorRTExecutor(
            trt, plan, spec, choice.scale, device, label=label, host_code=chosen.any_version, ranged=bool(shapes)
        )

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


def _last_used(cache: PlanCache | None, spec: FrameSpec, key: Callable[[PlanSettings], PlanKey]) -> PlanSettings | None:
    """The settings of the plan used last that differs in nothing else from what `spec` asks for."""
    stored = [(plan.digest, _settings(plan)) for plan in (cache.stored() if cache else [])]
    known = [(digest, settings) for digest, settings in stored if settings]
    for digest, settings in sorted(known, key=lambda plan: bool(plan[1].sizes)):
        fits = not settings.sizes or settings.takes(spec.width, spec.height) and whole_pairs(spec)
        if fits and key(settings).digest == digest:
            return settings
    return None


def _settings(plan: StoredPlan) -> PlanSettings | None:
    """Those it was built with; None where they aren't known, or not here."""
    try:
        facts = dict(plan.facts["settings"])
        return PlanSettings(**{**facts, "sizes": tuple(map(tuple, facts["sizes"]))})
    except (KeyError, TypeError, ValueError):
        return None


def input_shapes(spec: FrameSpec, settings: PlanSettings) -> Shapes:
    """Of each input at the least, usual and largest of the plan's sizes; none for a plan of one size.

    Raises:
        UsageError: a range in which samples can't go in pairs.
    """
    format = spec.format
    for width, height in settings.sizes:
        if not whole_pairs(replace(spec, width=width, height=height)):
            wide = "2" if format.chroma in ("grey", "444") else "4"
            raise UsageError(
                f"size {width}x{height}: a plan for several sizes takes samples of {format.depth} bits in pairs of a "
                f"row, so {format.pix_fmt} of widths that are multiples of {wide}; plans for one size take any"
            )
    kind = partial(plane_tensors, spec.inputs, format, ranged=True, paired=spec.surfaces)
    planes = [kind(*size) for size in settings.sizes]
    return {extents[0].name: tuple(tensor.shape for tensor in extents) for extents in zip(*planes, strict=True)}


def plan_key(
    trt: Any, choice: ModelChoice, spec: FrameSpec, model: ModelProto, facts: GpuFacts, settings: PlanSettings
) -> PlanKey:
    """All that shapes the plan of `model`, the final description; and what people want to know of it."""
    return PlanKey(
        {
            "network": choice.network,
            "scale": choice.scale,
            "precision": choice.precision,
            "frames": f"{spec.format.pix_fmt} {settings.range}" if settings.sizes else str(spec),
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
