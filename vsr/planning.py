"""Plans made before they are needed, listed, looked into and cleaned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from vsr.backends import cache_folder
from vsr.backends.check import forget
from vsr.backends.machine import THIS, Machine
from vsr.backends.opacity import split
from vsr.backends.tensorrt.executor import load_engine
from vsr.backends.tensorrt.inspection import Layer, layers
from vsr.backends.tensorrt.library import listening
from vsr.backends.tensorrt.prepare import executor
from vsr.errors import UsageError
from vsr.frame import Chroma, PlanarFormat
from vsr.graph import FrameSpec
from vsr.models import Runner, resolve
from vsr.pipeline import first_spec
from vsr.plans import PlanCache, StoredPlan
from vsr.probe import probe
from vsr.settings import EngineSettings, PlanSettings, RunSettings

Said = Callable[[str], None]


def spec_of(source: str, engine: EngineSettings) -> tuple[EngineSettings, FrameSpec]:
    """The frames of a video, and the settings with what a run would decide by it. Raises VsrError as `probe`."""
    anywhere = replace(engine, backend="openvino", precision="auto", devices=())
    job = probe(RunSettings(input=source, output="", sink="null", engine=anywhere))
    return job.network.applied(engine), first_spec(job.source)


def plain_spec(size: tuple[int, int], depth: int, chroma: Chroma = "420") -> FrameSpec:
    """Frames as most videos have them, chroma to the left. Raises UsageError for what no plan is for."""
    if min(size) < 1:
        raise UsageError(f"size {size[0]}x{size[1]}: sides are 1 at least")
    if not 8 <= depth <= 15:
        raise UsageError(f"depth {depth}: TensorRT takes 8 to 15 bits")
    return FrameSpec(format=PlanarFormat(chroma=chroma, depth=depth), width=size[0], height=size[1])


def make(
    engine: EngineSettings,
    spec: FrameSpec,
    plan: PlanSettings,
    *,
    progress: Callable[[float, str], None],
    said: Said,
    machine: Machine = THIS,
    open: Callable[..., Any] = executor,
) -> None:
    """Builds what a run on frames of `spec` will ask for, on each GPU of the settings; what is there already stays.

    Raises:
        UsageError, InputError, PlanError, DeviceError: no plan can be made; a line that says why.
    """
    for index in engine.devices or (0,):
        runner = Runner("tensorrt", index)
        obstacle = machine.obstacle(runner)
        if obstacle:
            raise UsageError(f"no plans can be made here: {obstacle}")
        choice = resolve(engine, spec.format.depth, runner=runner)
        device = machine.device(index)
        try:
            for part in split(spec) if spec.format.alpha else (spec,):
                made = open(choice, part, device, settings=plan, progress=progress, said=said)
                said(f"{choice.network} x{choice.scale} for {part}: {made.label}")
                with device.current():
                    made.close()
        finally:
            device.close()


def stored() -> PlanCache:
    """The user's plans. Raises UsageError without a cache folder, OutputError as `PlanCache`."""
    folder = cache_folder()
    if folder is None:
        raise UsageError("there is no cache folder that can be written; set VSR_CACHE to one")
    return PlanCache(folder / "plans")


def clean(*, older: float = 0.0, larger: int = 0) -> list[StoredPlan]:
    """The user's plans as `PlanCache.clean`; when everything goes, so does what is known of engines' results."""
    cache = stored()
    if not (older or larger):
        forget(cache.folder.parent)
    return cache.clean(older=older, larger=larger)


def found(cache: PlanCache, beginning: str) -> StoredPlan:
    """The plan whose key begins so. Raises UsageError for none or several."""
    plans = [plan for plan in cache.stored() if plan.digest.startswith(beginning)]
    if len(plans) != 1:
        raise UsageError(f"{'several' if plans else 'no'} plans begin with {beginning!r}; vsr-plan list shows them")
    return plans[0]


def inspect(plan: StoredPlan, trt: Any) -> tuple[Layer, ...]:
    """Its layers; needs the GPU and the TensorRT that it was built with. Raises PlanError, DeviceMemoryError."""
    host_code = bool(plan.facts.get("settings", {}).get("any_version"))
    _, engine = load_engine(trt, plan.path.read_bytes(), listening(trt), host_code=host_code)
    return layers(trt, engine)
