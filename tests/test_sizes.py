"""Plans for a range of sizes: one description, one plan, every size between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from onnx import ModelProto, load
from onnx.reference import ReferenceEvaluator

from fake_tensorrt import FACTS, MOST, SCRATCH, FakeTensorRT
from strong import assert_close, chosen, frame, luma_model, planes, spec
from vsr.backends import openvino_core
from vsr.backends.check import compare
from vsr.backends.cuda import SlotEngine
from vsr.backends.gpu import Gpu, open_on_gpu
from vsr.backends.half import halved
from vsr.backends.pytorch.evaluator import Evaluator
from vsr.backends.tensorrt.executor import TensorRTExecutor
from vsr.backends.tensorrt.library import import_tensorrt
from vsr.backends.tensorrt.prepare import input_shapes, open_executor
from vsr.backends.tiled import TiledEngine
from vsr.device import open_device
from vsr.device.facts import gpu_facts
from vsr.device.fake import FakeDevice
from vsr.errors import UsageError
from vsr.frame import Plane, Planes
from vsr.graph import FrameSpec, describe, whole_pairs
from vsr.models import Exact, LumaModel, models_folder
from vsr.plans import PlanCache, PlanError
from vsr.settings import PlanSettings

Samples = npt.NDArray[np.generic]
SIZES = ((16, 8), (40, 24), (64, 48))
RANGE = PlanSettings(sizes=SIZES)
SHIPPED = sorted(models_folder().glob("*_x2*.onnx"))


def fed(plane: Plane, *, in_rows: bool) -> Samples:
    """A plane as TensorRT's edge has it; what stands beside an odd last sample is anything."""
    if plane.itemsize == 1:
        return plane[None, None]
    if in_rows:
        return plane.view(np.int32)[None, None]
    return np.pad(plane.ravel(), (0, plane.size % 2), constant_values=0xA5A5).view(np.int32)


def by_torch(description: ModelProto) -> Callable[[list[Samples]], list[Samples]]:
    evaluator = Evaluator(description)
    return lambda given: [result.numpy() for result in evaluator(*[torch.from_numpy(one.copy()) for one in given])]


def by_onnx(description: ModelProto) -> Callable[[list[Samples]], list[Samples]]:
    evaluator, names = ReferenceEvaluator(description), [value.name for value in description.graph.input]
    return lambda given: [np.asarray(result) for result in evaluator.run(None, dict(zip(names, given, strict=True)))]


def by_openvino(description: ModelProto) -> Callable[[list[Samples]], list[Samples]]:
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    core = openvino_core()
    model = core.read_model(description.SerializeToString())
    model.reshape(
        {plane: [side if side.is_static else (1, 64) for side in plane.partial_shape] for plane in model.inputs}
    )
    compiled = core.compile_model(model, "CPU", settings)
    return lambda given: [np.array(result) for result in compiled(given).values()]


def equal(
    model: LumaModel,
    chroma: str,
    depth: int,
    sizes: list[tuple[int, int]],
    *,
    half: bool = False,
    location: str = "left",
    run: Callable[[ModelProto], Callable[[list[Samples]], list[Samples]]] = by_torch,
) -> None:
    """The one description gives at each size what the description of that size does, to the bit."""
    precise = halved if half else lambda description: description
    open_run = run(
        precise(describe(model, spec(chroma, depth, (1, 1), location), edges="tensorrt", any_size=True))  # type: ignore[no-untyped-call]
    )
    for size in sizes:
        what = spec(chroma, depth, size, location)
        assert whole_pairs(what)
        given = planes(what, seed=size[0])
        fixed = run(precise(describe(model, what, edges="tensorrt")))([fed(p, in_rows=False) for p in given])  # type: ignore[no-untyped-call]
        ranged = open_run([fed(p, in_rows=True) for p in given])
        assert_close([one.ravel() for one in ranged], [one.ravel() for one in fixed])
        assert len(np.unique(fixed[0])) > 20, "samples that tell something"


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("kind", ["float32", "fp16", "int8", "zeros around"])
@pytest.mark.parametrize("chroma", ["420", "422", "444", "grey"])
def test_one_description_serves_every_size(scale: int, kind: str, chroma: str) -> None:
    model, half = luma_model(scale, int8=kind == "int8", same=kind == "zeros around"), kind == "fp16"
    equal(model, chroma, 8, [(24, 18), (23, 18), (24, 17), (23, 17), (64, 5)], half=half)
    for depth in (9, 10, 12, 15):
        equal(model, chroma, depth, [(24, 18), (20, 17), (64, 6)], half=half)


@pytest.mark.parametrize("location", ["center", "topleft", "bottom"])
def test_chroma_stays_where_it_was(location: str) -> None:
    equal(luma_model(2), "420", 8, [(24, 18), (23, 17)], location=location)


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_every_shipped_model_is_the_same_at_every_size(path: Path) -> None:
    """In ONNX's own evaluator, which is nobody's fast path and has no int8 of these versions, and in OpenVINO."""
    proto = load(path)
    facts = {entry.key: entry.value for entry in proto.metadata_props}
    model = LumaModel(proto=proto, scale=int(facts["vsr.scale"]), radius=None, peak=float(facts["vsr.peak"]))
    equal(model, "420", 8, [(24, 18), (19, 13)], run=by_openvino)
    if "int8" not in path.stem:
        equal(model, "420", 8, [(24, 18), (19, 13)], run=by_onnx)
        equal(model, "420", 10, [(20, 16)], run=by_onnx)
        equal(model, "420", 8, [(24, 18), (19, 13)], half=True)


def opened(
    folder: Path,
    what: FrameSpec,
    *,
    precision: Exact = "fp16",
    device: FakeDevice | None = None,
    **options: Any,
) -> tuple[FakeTensorRT, TensorRTExecutor, list[str]]:
    trt, said = FakeTensorRT(device or FakeDevice()), list[str]()
    choice = chosen(folder, luma_model(2, int8=precision == "int8"), precision)
    cache = PlanCache(folder / "plans")
    executor = open_executor(trt, choice, what, trt.device, FACTS, cache, said=said.append, **options)
    return trt, executor, said


def results(executor: TensorRTExecutor, device: FakeDevice, what: FrameSpec, count: int = 4) -> list[Planes]:
    engine, copies = SlotEngine(device, executor, what, 2), []
    for index in range(count):
        result = engine.wait(engine.submit(frame(what, index)))
        copies.append(tuple(plane.copy() for plane in result.planes))
        result.release()
    engine.close()
    return copies


@pytest.mark.parametrize(
    ("precision", "chroma", "depth"),
    [("fp16", "420", 8), ("int8", "444", 8), ("fp16", "422", 10), ("int8", "420", 10), ("float32", "grey", 12)],
)
def test_one_plan_serves_every_size(tmp_path: Path, precision: Exact, chroma: str, depth: int) -> None:
    """Shapes are set before the first launch and scratch memory is that of the size, in graphs and slots."""
    model = luma_model(2, int8=precision == "int8")
    opened(tmp_path, spec(chroma, depth), precision=precision, settings=RANGE)
    for size in ((16, 8), (64, 48) if depth > 8 else (33, 21)):
        what, device = spec(chroma, depth, size), FakeDevice()
        trt, executor, said = opened(tmp_path, what, precision=precision, device=device)
        assert not trt.built
        assert said == [f"{what} goes through the plan for 16x8-64x48; `vsr-plan build` makes one for this size alone"]
        assert executor.label == f"tensorrt 11.4 {precision}, 16x8-64x48, Fake GPU"
        described = describe(model, what)
        oracle = Evaluator(halved(described) if precision == "fp16" else described)
        for index, result in enumerate(results(executor, device, what)):
            expected = oracle(*[torch.from_numpy(plane[None, None]) for plane in planes(what, index)])
            assert_close(result, tuple(plane[0, 0].numpy() for plane in expected))
        device.close()
        assert not device.misuses


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "depth"), [("float32", 8), ("fp16", 8), ("fp16", 10), ("int8", 8)])
def test_one_plan_serves_every_size_on_this_gpu(gpu: str, tmp_path: Path, precision: Exact, depth: int) -> None:
    """With the real TensorRT: built once, then run in slots at several sizes and compared with float32 on the CPU."""
    try:
        trt = import_tensorrt()
    except UsageError as error:
        pytest.skip(str(error))
    choice, cache = chosen(tmp_path, luma_model(2, int8=precision == "int8"), precision), PlanCache(tmp_path / "plans")
    settings, device = PlanSettings(sizes=((64, 48), (96, 64), (256, 128))), open_device()
    open_executor(trt, choice, spec("420", depth, (96, 64)), device, gpu_facts(), cache, settings=settings)
    for size in ((64, 48), (256, 128), (101, 67) if depth == 8 else (104, 67)):
        what = spec("420", depth, size)
        executor = open_executor(trt, choice, what, device, gpu_facts(), cache)
        engine = SlotEngine(device, executor, what, 2)
        compare(engine, choice, what)
        engine.close()
    assert len(cache.stored()) == 1
    device.close()


def test_a_plan_of_its_own_size_is_preferred(tmp_path: Path) -> None:
    alone, _, _ = opened(tmp_path, spec(size=(44, 30)))
    ranged, executor, _ = opened(tmp_path, spec(), settings=RANGE)
    assert len(alone.built) == len(ranged.built) == 1
    assert not alone.built[0].profiles
    trt, executor, said = opened(tmp_path, spec(size=(44, 30)))
    assert (len(trt.built), executor.label, said) == (0, "tensorrt 11.4 fp16, Fake GPU", [])
    other, executor, _ = opened(tmp_path, spec(size=(46, 30)))
    assert (len(other.built), "16x8-64x48" in executor.label) == (0, True)
    asked, executor, _ = opened(tmp_path, spec(size=(46, 30)), settings=PlanSettings())
    assert (len(asked.built), "16x8-64x48" in executor.label) == (1, False)


@pytest.mark.parametrize(
    "what",
    [
        spec(size=(66, 48)),
        spec(size=(64, 50)),
        spec(size=(14, 8)),
        spec("444"),
        spec(depth=10, size=(44, 30)),
        spec(location="center"),
    ],
    ids=str,
)
def test_other_frames_get_a_plan_of_their_own(tmp_path: Path, what: FrameSpec) -> None:
    opened(tmp_path, spec(), settings=RANGE)
    trt, executor, said = opened(tmp_path, what)
    assert (len(trt.built), executor.label, said) == (1, "tensorrt 11.4 fp16, Fake GPU", [])


def test_half_a_pair_gets_a_plan_of_its_own(tmp_path: Path) -> None:
    opened(tmp_path, spec(depth=10), settings=RANGE)
    for size, built in (((44, 30), 0), ((42, 30), 1), ((41, 30), 1), ((44, 29), 0)):
        trt, _, _ = opened(tmp_path, spec(depth=10, size=size))
        assert len(trt.built) == built, size


def test_a_range_that_pairs_do_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    odd = PlanSettings(sizes=((16, 8), (42, 24), (64, 48)))
    with pytest.raises(
        UsageError, match=r"size 42x24: .* 10 bits in pairs .* yuv420p10le of widths that are multiples of 4"
    ):
        opened(tmp_path, spec(depth=10), settings=odd)
    opened(tmp_path, spec("444", 10), settings=odd)
    with pytest.raises(UsageError, match="multiples of 2"):
        opened(tmp_path, spec("grey", 10), settings=PlanSettings(sizes=((15, 8), (42, 24), (64, 48))))


def test_the_profile_is_the_planes_at_each_size() -> None:
    assert input_shapes(spec(), PlanSettings()) == {}
    assert input_shapes(spec(), PlanSettings(sizes=((15, 9), (40, 24), (64, 48)))) == {
        "y": ((1, 1, 9, 15), (1, 1, 24, 40), (1, 1, 48, 64)),
        "u": ((1, 1, 5, 8), (1, 1, 12, 20), (1, 1, 24, 32)),
        "v": ((1, 1, 5, 8), (1, 1, 12, 20), (1, 1, 24, 32)),
    }
    assert input_shapes(spec("grey", 10), RANGE) == {"y": ((1, 1, 8, 8), (1, 1, 24, 20), (1, 1, 48, 32))}


def test_the_builder_is_given_the_profile(tmp_path: Path) -> None:
    trt, _, _ = opened(tmp_path, spec(), settings=RANGE)
    assert trt.built[0].profiles == [input_shapes(spec(), RANGE)]


@pytest.mark.parametrize("change", [{"sizes": ((16, 8), (40, 24), (64, 50))}, {"sizes": ((16, 8), (42, 24), (64, 48))}])
def test_the_range_is_in_the_key(tmp_path: Path, change: dict[str, Any]) -> None:
    opened(tmp_path, spec(), settings=RANGE)
    trt, _, _ = opened(tmp_path, spec(), settings=PlanSettings(**change))
    again, _, _ = opened(tmp_path, spec(size=(20, 20)), settings=RANGE)
    assert (len(trt.built), len(again.built)) == (1, 0)
    frames = [plan.facts["frames"] for plan in PlanCache(tmp_path / "plans").stored()]
    assert "yuv420p 16x8-64x48" in frames


def test_a_damaged_plan_of_a_range_is_built_anew(tmp_path: Path) -> None:
    opened(tmp_path, spec(), settings=RANGE)
    PlanCache(tmp_path / "plans").stored()[0].path.write_bytes(b"damaged")
    trt, executor, said = opened(tmp_path, spec(size=(20, 20)))
    assert trt.built[0].profiles
    assert "16x8-64x48" in executor.label
    assert "magic tag" in said[1]


def test_a_size_beyond_the_plan_is_refused(tmp_path: Path) -> None:
    """Whatever the key said."""
    opened(tmp_path, spec(), settings=RANGE)
    plan = PlanCache(tmp_path / "plans").stored()[0].path.read_bytes()
    device = FakeDevice()
    for what, text in (
        (spec(size=(66, 48)), r"takes y of \(1, 1, 8, 16\) to \(1, 1, 48, 64\), not \(1, 1, 48, 66\)"),
        (spec("grey"), "for other frames"),
        (spec(depth=10), "for other frames"),
    ):
        with pytest.raises(PlanError, match=text):
            TensorRTExecutor(FakeTensorRT(device), plan, what, 2, device, label="", ranged=True)
    with pytest.raises(PlanError, match="for other frames"):
        TensorRTExecutor(FakeTensorRT(device), plan, spec(), 2, device, label="")
    wrong = TensorRTExecutor(FakeTensorRT(device), plan, spec(), 3, device, label="", ranged=True)
    with device.current():
        buffers, stream = (device.allocate(wrong.input_nbytes), device.allocate(wrong.output_nbytes)), device.stream()
        with pytest.raises(PlanError, match=r"makes y_up of \(1, 1, 48, 80\), not \(1, 1, 72, 120\)"):
            wrong.bind(*buffers, stream)


def test_scratch_memory_is_that_of_the_size(tmp_path: Path) -> None:
    """A slot's memory for the largest size would not fit here."""
    opened(tmp_path, spec(), settings=RANGE)
    device = FakeDevice(memory=10 * SCRATCH)
    assert 10 * SCRATCH < MOST
    _, executor, _ = opened(tmp_path, spec(size=(16, 8)), device=device)
    assert results(executor, device, spec(size=(16, 8)), 1)


def test_tiles_go_through_the_plan_of_a_range(tmp_path: Path) -> None:
    """Where memory doesn't suffice nothing is built for the tiles."""
    what, built = spec(size=(400, 300)), []  # type: ignore[var-annotated]
    opened(tmp_path, spec(), settings=PlanSettings(sizes=((16, 16), (200, 160), (400, 304))))
    choice, gpu = chosen(tmp_path, luma_model(2), "fp16"), Gpu(FakeDevice())

    def executor(gpu: Gpu, choice: Any, part: FrameSpec) -> TensorRTExecutor:
        trt, made, _ = opened(tmp_path, part, device=gpu.device)  # type: ignore[arg-type]
        built.extend(trt.built)
        return made

    engine = open_on_gpu(gpu, choice, what, 1, executor)
    assert isinstance(engine, TiledEngine)
    assert not built
    result = engine.wait(engine.submit(frame(what)))
    expected = Evaluator(halved(describe(luma_model(2), what)))(
        *[torch.from_numpy(plane[None, None]) for plane in planes(what)]
    )
    assert_close(result.planes, tuple(plane[0, 0].numpy() for plane in expected))
    result.release()
    engine.close()
    gpu.close()


@pytest.mark.parametrize(
    "sizes",
    [((8, 8),), ((8, 8), (16, 16)), ((8, 8), (16, 16), (32, 15)), ((8, 17), (16, 16), (32, 32)), ((0, 8),) * 3],
)
def test_sizes_that_cannot_be_meant(sizes: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(UsageError, match="the least, the usual and the largest"):
        PlanSettings(sizes=sizes).validate()
    RANGE.validate()
