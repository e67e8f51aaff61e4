"""Plans opened, bound and run, with a made-up TensorRT on a made-up device."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fake_tensorrt import FACTS, MAGIC, FakeTensorRT
from strong import assert_close, chosen, frame, luma_model, planes, spec
from vsr.backends.cuda import SlotEngine
from vsr.backends.engine import Ticket
from vsr.backends.half import halved
from vsr.backends.pytorch.evaluator import Evaluator
from vsr.backends.tensorrt.builder import Phases
from vsr.backends.tensorrt.executor import TensorRTExecutor
from vsr.backends.tensorrt.inspection import layers
from vsr.backends.tensorrt.library import import_tensorrt
from vsr.backends.tensorrt.prepare import open_executor, plan_key, timing_name
from vsr.device import open_device
from vsr.device.facts import GpuFacts, cuda_version, driver_version, gpu_facts, load_driver
from vsr.device.fake import FakeDevice
from vsr.device.protocol import DeviceError, DeviceMemoryError
from vsr.errors import UsageError
from vsr.frame import Planes
from vsr.graph import FrameSpec, describe
from vsr.models import Exact, LumaModel, ModelChoice
from vsr.plans import PlanCache, PlanError
from vsr.settings import PlanSettings


def opened(
    folder: Path,
    what: FrameSpec,
    model: LumaModel,
    precision: Exact = "fp16",
    *,
    cache: PlanCache | None = None,
    fails: str = "",
    **options: Any,
) -> tuple[FakeTensorRT, TensorRTExecutor]:
    device = FakeDevice()
    trt = FakeTensorRT(device, fails=fails)
    return trt, open_executor(trt, chosen(folder, model, precision), what, device, FACTS, cache, **options)


def run(executor: TensorRTExecutor, device: FakeDevice, what: FrameSpec, given: Planes, scale: int) -> Planes:
    """One frame through buffers of its own, by hand."""
    with device.current():
        stream = device.stream()
        source, target = device.allocate(executor.input_nbytes), device.allocate(executor.output_nbytes)
        up, down = device.pinned(executor.input_nbytes), device.pinned(executor.output_nbytes)
        bound = executor.bind(source, target, stream)
        for plane, samples in zip(what.format.views(up.array, what.width, what.height), given, strict=True):
            plane[:] = samples
        device.upload(source, up.array, stream)
        bound.launch()
        device.download(down.array, target, stream)
        stream.synchronize()
        result = tuple(v.copy() for v in what.format.views(down.array, what.width * scale, what.height * scale))
        bound.close()
        for thing in (down, up, target, source, stream):
            thing.close()
        return result


@pytest.mark.parametrize("precision", ["float32", "fp16", "int8"])
@pytest.mark.parametrize(
    ("chroma", "depth", "size"),
    [("420", 8, (22, 14)), ("420", 8, (21, 13)), ("422", 10, (21, 13)), ("444", 12, (9, 7)), ("grey", 10, (3, 3))],
)
def test_a_frame_goes_through_a_plan(
    tmp_path: Path, precision: Exact, chroma: str, depth: int, size: tuple[int, int]
) -> None:
    model, what = luma_model(3, int8=precision == "int8"), spec(chroma, depth, size)
    trt, executor = opened(tmp_path, what, model, precision)
    given = planes(what)
    described = describe(model, what)
    oracle = Evaluator(halved(described) if precision == "fp16" else described)
    expected = tuple(r[0, 0].numpy() for r in oracle(*[torch.tensor(plane[None, None]) for plane in given]))
    assert_close(run(executor, trt.device, what, given, 3), expected)
    assert executor.label == f"tensorrt 11.4 {precision}, Fake GPU"
    executor.close()
    trt.device.close()
    assert not trt.device.misuses
    gc.collect()
    assert trt.alive == 0


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("paired", [False, True])
def test_frames_overlap_in_slots(tmp_path: Path, seed: int, depth: int, paired: bool) -> None:
    """Nothing of a frame is where another one's is, whatever order the device works in; also with chroma in pairs."""
    model, what, device = luma_model(2), spec("420", depth, (22, 14) if paired else (21, 13)), FakeDevice(seed)
    what = replace(what, surfaces=paired)
    trt = FakeTensorRT(device)
    executor = open_executor(trt, chosen(tmp_path, model, "float32"), what, device, FACTS, None)
    engine = SlotEngine(device, executor, what, 2)
    oracle, results = Evaluator(describe(model, replace(what, surfaces=False))), []
    for index in range(10):
        engine.submit(frame(what, index))
        results += engine.ready()
        if index - len(results) + 1 == engine.capacity:
            results.append(engine.wait(Ticket(len(results))))
    for index, result in enumerate([*results, *engine.drain()]):
        expected = oracle(*[torch.tensor(plane[None, None]) for plane in planes(what, index)])
        assert_close(result.planes, tuple(plane[0, 0].numpy() for plane in expected))
        result.release()
    engine.close()
    device.close()
    assert not device.misuses


def test_the_builder_is_told_what_matters(tmp_path: Path) -> None:
    settings = PlanSettings(workspace=1 << 24, level=4, any_version=True)
    trt, _ = opened(tmp_path, spec(), luma_model(), settings=settings)
    (config,) = trt.built
    assert config.cleared == ["TF32"]
    assert config.flags == ["VERSION_COMPATIBLE"]
    assert (config.workspace, config.max_aux_streams, config.builder_optimization_level) == (1 << 24, 0, 4)


def test_plans_and_timings_are_kept(tmp_path: Path) -> None:
    cache, shares = PlanCache(tmp_path / "plans"), []  # type: ignore[var-annotated]
    trt, _ = opened(tmp_path, spec(), luma_model(), cache=cache, progress=lambda share, phase: shares.append(share))
    assert shares == [0, 0.5, 1, 1, 1]
    again, _ = opened(tmp_path, spec(), luma_model(), cache=cache)
    assert not again.built
    other, _ = opened(tmp_path, spec(), luma_model(), "float32", cache=cache)
    assert trt.built[0].timings.given == b""
    assert other.built[0].timings.given == b"times"
    assert len(cache.stored()) == 2
    assert cache.stored()[0].facts["gpu"]["name"] == "Fake GPU"


@pytest.mark.parametrize("stored", [b"damaged", b"another GPU's"])
def test_a_timing_cache_that_is_of_no_use_is_replaced(tmp_path: Path, stored: bytes) -> None:
    cache = PlanCache(tmp_path / "plans")
    name = timing_name(FakeTensorRT(FakeDevice()), FACTS)
    cache.write(name, stored)
    trt, _ = opened(tmp_path, spec(), luma_model(), cache=cache)
    assert trt.built[0].timings.given == b""
    assert cache.read(name) == b"times"


def test_a_plan_built_with_other_settings_is_taken(tmp_path: Path) -> None:
    """`vsr-plan build --level 5` is for the runs that follow."""
    cache = PlanCache(tmp_path / "plans")
    opened(tmp_path, spec(), luma_model(), cache=cache, settings=PlanSettings(level=5))
    run, _ = opened(tmp_path, spec(), luma_model(), cache=cache)
    assert not run.built
    asked, _ = opened(tmp_path, spec(), luma_model(), cache=cache, settings=PlanSettings())
    assert len(asked.built) == 1
    other, _ = opened(tmp_path, spec(size=(42, 24)), luma_model(), cache=cache)
    assert other.built[0].builder_optimization_level == 3


def test_tensorrt_rtx_is_given_no_timing_cache(tmp_path: Path) -> None:
    """It has none that matters, and asking it for one needs a GPU."""
    device = FakeDevice()
    trt = FakeTensorRT(device)
    trt.__name__ = "tensorrt_rtx"
    executor = open_executor(trt, chosen(tmp_path, luma_model(), "fp16"), spec(), device, FACTS, None)
    assert not hasattr(trt.built[0].timings, "given")
    assert executor.label.startswith("tensorrt-rtx ")


def test_a_damaged_plan_is_built_anew(tmp_path: Path) -> None:
    cache, said = PlanCache(tmp_path / "plans"), []  # type: ignore[var-annotated]
    opened(tmp_path, spec(), luma_model(), cache=cache)
    cache.stored()[0].path.write_bytes(b"damaged")
    trt, _ = opened(tmp_path, spec(), luma_model(), cache=cache, said=said.append)
    assert len(trt.built) == 1
    assert "magic tag" in said[0]


def test_a_plan_for_other_frames_is_refused(tmp_path: Path) -> None:
    device = FakeDevice()
    plan = MAGIC + describe(luma_model(), spec(size=(40, 24)), edges="tensorrt").SerializeToString()
    for other in (spec(size=(24, 40)), spec(depth=10), spec("grey")):
        with pytest.raises(PlanError, match="for other frames"):
            TensorRTExecutor(FakeTensorRT(device), plan, other, 2, device, label="")


@pytest.mark.parametrize(
    ("fails", "error", "text"),
    [
        ("build", PlanError, "no plan: no kernel for it"),
        ("memory", DeviceMemoryError, "out of memory"),
        ("context", DeviceMemoryError, "out of memory"),
        ("address", DeviceError, "y takes no address"),
        ("enqueue", DeviceError, "wasn't enqueued: enqueueV3: not everything is set"),
    ],
)
def test_what_fails_is_said_in_tensorrts_words(tmp_path: Path, fails: str, error: type[Exception], text: str) -> None:
    def upscale() -> None:
        trt, executor = opened(tmp_path, spec(), luma_model(), fails=fails)
        run(executor, trt.device, spec(), planes(spec()), 2)

    with pytest.raises(error, match=text):
        upscale()


def test_scratch_memory_is_given_back_when_binding_fails(tmp_path: Path) -> None:
    device = FakeDevice(memory=4096)
    with device.current():
        stream, source = device.stream(), device.allocate(512)
    trt = FakeTensorRT(device)
    executor = open_executor(trt, chosen(tmp_path, luma_model(), "fp16"), spec(), device, FACTS, None)
    with device.current(), pytest.raises(DeviceMemoryError):
        executor.bind(source, source, stream)
    gc.collect()
    assert trt.alive == 0


def test_a_precision_that_is_not_the_models_is_refused(tmp_path: Path) -> None:
    for precision, int8 in (("int8", False), ("bf16", False), ("fp16", True), ("float32", True)):
        with pytest.raises(UsageError, match=f"precision {precision}"):
            opened(tmp_path, spec(), luma_model(int8=int8), precision)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="16 bits"):
        opened(tmp_path, spec(depth=16), luma_model())


DESCRIBED = describe(luma_model(), spec(), edges="tensorrt")
CHANGES: list[tuple[str, Callable[[dict[str, Any]], None]]] = [
    ("version", lambda a: setattr(a["trt"], "__version__", "11.4.0.107")),
    ("library", lambda a: setattr(a["trt"], "__name__", "tensorrt_rtx")),
    ("precision", lambda a: a.update(choice=replace(a["choice"], precision="float32"))),
    ("network", lambda a: a.update(choice=replace(a["choice"], network="other"))),
    ("scale", lambda a: a.update(choice=replace(a["choice"], scale=3))),
    ("size", lambda a: a.update(spec=spec(size=(42, 24)))),
    ("depth", lambda a: a.update(spec=spec(depth=10))),
    ("model", lambda a: a.update(model=describe(luma_model(seed=1), spec(), edges="tensorrt"))),
    ("siting", lambda a: a.update(model=describe(luma_model(), spec(location="center"), edges="tensorrt"))),
    *[(key, lambda a, key=key, value=value: a.update(facts=replace(a["facts"], **{key: value}))) for key, value in {
        "name": "Fake GPU 2", "compute_capability": "8.9", "multiprocessors": 66, "l2_bytes": 1, "memory_gib": 40,
        "cuda": "13.1", "driver": "590.1",
    }.items()],
    *[(key, lambda a, key=key, value=value: a.update(settings=replace(a["settings"], **{key: value}))) for key, value in
      {"workspace": 1 << 24, "level": 5, "tiling": "fast", "hardware": "ampere+", "any_version": True}.items()],
]  # fmt: skip


def arguments() -> dict[str, Any]:
    choice = ModelChoice(
        path=Path("a.onnx"),
        network="random",
        scale=2,
        radius=4,
        precision="fp16",
        peak=1.0,
        sha256="ab",
        why="a test",
    )
    given = {"choice": choice, "spec": spec(), "model": DESCRIBED, "facts": FACTS, "settings": PlanSettings()}
    return {"trt": FakeTensorRT(FakeDevice()), **given}


@pytest.mark.parametrize(("name", "change"), CHANGES, ids=[name for name, _ in CHANGES])
def test_all_that_shapes_a_plan_is_in_its_key(name: str, change: Callable[[dict[str, Any]], None]) -> None:
    changed = arguments()
    change(changed)
    assert plan_key(**changed).digest != plan_key(**arguments()).digest, name
    assert plan_key(**arguments()).digest == plan_key(**arguments()).digest


def test_timings_are_of_one_gpu_and_version() -> None:
    trt = FakeTensorRT(FakeDevice())
    assert timing_name(trt, FACTS) == timing_name(trt, FACTS)
    assert timing_name(trt, FACTS) != timing_name(trt, replace(FACTS, driver="590.1"))
    trt.__version__ = "11.5.0.1"
    assert timing_name(trt, FACTS) != timing_name(FakeTensorRT(FakeDevice()), FACTS)


def test_phases_add_up() -> None:
    phases = Phases()
    phases.start("whole", 2)
    phases.start("part", 4)
    phases.step("part", 1)
    assert phases.share == 0.25
    phases.finish("part")
    phases.step("whole", 0)
    assert phases.share == 0.5
    phases.start("again", 1)
    phases.step("gone", 3)
    phases.step("again", 0)
    phases.finish("again")
    phases.start("another", 10)
    phases.step("another", 0)
    assert phases.share == 1.0, "never less than before"


def modules(**found: Any) -> Callable[[str], Any]:
    def load(name: str) -> Any:
        if name not in found:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if isinstance(found[name], Exception):
            raise found[name]
        return SimpleNamespace(__name__=name, __version__=found[name])

    return load


@pytest.mark.parametrize(
    ("found", "cuda", "name"),
    [
        ({"tensorrt": "11.4.0.106"}, (13, 0), "tensorrt"),
        ({"tensorrt": "10.16.1.11"}, (12, 4), "tensorrt"),
        ({"tensorrt": "11.4.0.106", "tensorrt_rtx": "1.4.0"}, (13, 0), "tensorrt"),
        ({"tensorrt_rtx": "1.4.0"}, (13, 0), "tensorrt_rtx"),
        ({"tensorrt": "8.6.1", "tensorrt_rtx": "1.4.0"}, (12, 0), "tensorrt_rtx"),
    ],
)
def test_the_first_that_works_is_taken(found: dict[str, Any], cuda: tuple[int, int], name: str) -> None:
    assert import_tensorrt(modules(**found), lambda: cuda).__name__ == name


def test_no_driver_is_a_reason() -> None:
    def none() -> tuple[int, int]:
        raise DeviceError("no NVIDIA driver (libcuda.so.1: not found)")

    with pytest.raises(UsageError, match="tensorrt is there, but no NVIDIA driver"):
        import_tensorrt(modules(tensorrt="11.4.0.106"), none)


@pytest.mark.parametrize(
    ("found", "cuda", "reason"),
    [
        ({}, (13, 0), "TensorRT isn't installed; pip install"),
        ({"tensorrt": "10.3.0"}, (13, 0), "tensorrt 10.3.0 is too old; 10.16 or newer is needed"),
        ({"tensorrt": OSError("libnvinfer.so.11: cannot open")}, (13, 0), "tensorrt doesn't load: libnvinfer.so.11"),
        ({"tensorrt": ImportError("two\nlines")}, (13, 0), "tensorrt doesn't load: two$"),
        ({"tensorrt": ModuleNotFoundError("No module named 'x'", name="x")}, (13, 0), "doesn't load: No module named"),
        ({"tensorrt": "11.4.0.106"}, (12, 8), "needs a driver for CUDA 13, this one supports 12.8; update it"),
        ({"tensorrt": "10.16.1.11"}, (11, 8), "needs a driver for CUDA 12, this one supports 11.8"),
    ],
)
def test_why_tensorrt_cannot_be_used_is_one_line(found: dict[str, Any], cuda: tuple[int, int], reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as raised:
        import_tensorrt(modules(**found), lambda: cuda)
    assert "\n" not in str(raised.value)


class FakeDriver:
    """libcuda, as `vsr.device.facts` calls it through ctypes."""

    status = 0

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = 13020
        return 0

    def cuInit(self, flags: int) -> int:
        return self.status

    def cuDeviceGet(self, device: Any, index: int) -> int:
        device._obj.value = 7
        return 0 if index == 0 else 101

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> int:
        name.value = b"NVIDIA H200"
        return 0 if device.value == 7 else 1

    def cuDeviceTotalMem_v2(self, memory: Any, device: Any) -> int:
        memory._obj.value = int(139.7 * 2**30)
        return 0

    def cuDeviceGetAttribute(self, value: Any, which: int, device: ctypes.c_int) -> int:
        value._obj.value = {16: 132, 38: 50 << 20, 75: 9, 76: 0}[which]
        return 0


def test_facts_are_asked_of_the_driver() -> None:
    driver = FakeDriver()
    facts = gpu_facts(0, driver)
    assert replace(facts, driver="") == GpuFacts(
        name="NVIDIA H200",
        compute_capability="9.0",
        multiprocessors=132,
        l2_bytes=50 << 20,
        memory_gib=140,
        cuda="13.2",
        driver="",
    )
    assert cuda_version(driver) == (13, 2)
    with pytest.raises(DeviceError, match="cuDeviceGet: CUDA error 101: no CUDA device"):
        gpu_facts(1, driver)
    driver.status = 100
    with pytest.raises(DeviceError, match="cuInit: CUDA error 100: no CUDA device"):
        gpu_facts(0, driver)


def test_the_kernel_module_tells_its_version(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23\nGCC 12\n")
    assert driver_version(tmp_path / "version") == "580.95.05"
    assert driver_version(tmp_path / "none") == ""


def test_no_driver_library_is_said() -> None:
    with pytest.raises(DeviceError, match="no NVIDIA driver"):
        load_driver("libcuda-that-is-not-there.so.1")


@pytest.mark.gpu
def test_facts_of_this_gpu(gpu: str) -> None:
    facts = gpu_facts()
    assert facts.name == gpu
    assert facts.multiprocessors > 0
    assert facts.l2_bytes > 0
    assert facts.memory_gib > 0


LIMITS = {"float32": (1, 0.001), "fp16": (2, 0.1), "int8": (1, 0.01)}  # codes of 8 bits, and the share that differs


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("precision", "depth"), [("float32", 8), ("float32", 10), ("fp16", 8), ("fp16", 10), ("int8", 8)]
)
@pytest.mark.parametrize("size", [(64, 48), (101, 67)])
def test_a_plan_on_this_gpu(gpu: str, tmp_path: Path, precision: Exact, depth: int, size: tuple[int, int]) -> None:
    """With the real TensorRT: built, run, compared with float32 on the CPU, and found again."""
    try:
        trt = import_tensorrt()
    except UsageError as error:
        pytest.skip(str(error))
    model, what = luma_model(2, int8=precision == "int8"), spec("420", depth, size)
    choice, device, cache = chosen(tmp_path, model, precision), open_device(), PlanCache(tmp_path / "plans")
    given, shares = planes(what), []  # type: ignore[var-annotated]
    expected = Evaluator(describe(model, what))(*[torch.tensor(plane[None, None]) for plane in given])
    codes, share = LIMITS[precision]
    for _ in range(2):
        executor = open_executor(trt, choice, what, device, gpu_facts(), cache, progress=lambda *at: shares.append(at))
        result = run(executor, device, what, given, 2)
        wanted = tuple(plane[0, 0].numpy() for plane in expected)
        assert_close(result, wanted, codes=codes << depth - 8, share=share * (3 if depth > 8 else 1))
        assert layers(trt, executor.engine)
        with device.current():
            executor.close()
    assert shares.count((1.0, "built")) == 1
    device.close()
