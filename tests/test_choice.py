"""What runs the network: chosen with reasons, and replaced when it breaks, on fakes."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from strong import assert_close, frame, spec
from vsr.backends.choice import Engines, runners
from vsr.backends.engine import Engine, QueuedEngine
from vsr.backends.machine import Machine
from vsr.backends.opacity import OpacityEngine, split
from vsr.backends.tiled import Grid, TiledEngine
from vsr.device.fake import FakeDevice
from vsr.device.protocol import DeviceError, DeviceMemoryError
from vsr.errors import UsageError
from vsr.frame import Frame, FramePool, PlanarFormat, Planes
from vsr.graph import FrameSpec
from vsr.models import ModelChoice, Runner
from vsr.settings import Backend, EngineSettings
from vsr.upscaler import UpscaleStage

TENSORRT, TORCH, TORCH_CPU, OPENVINO = (
    Runner("tensorrt", 0),
    Runner("pytorch", 0),
    Runner("pytorch"),
    Runner("openvino"),
)


def machine(*, hint: bool = True, tensorrt: str = "", torch: str = "") -> Machine:
    return Machine(
        hint=lambda: hint, tensorrt=lambda: tensorrt, torch=lambda index: torch, device=lambda index: FakeDevice()
    )


@pytest.mark.parametrize(
    ("backend", "devices", "here", "expected"),
    [
        ("auto", (), machine(), [(TENSORRT, ""), (TORCH, ""), (OPENVINO, "")]),
        ("auto", (), machine(hint=False), [(OPENVINO, "")]),
        ("auto", (), machine(tensorrt="not here"), [(TENSORRT, "not here"), (TORCH, ""), (OPENVINO, "")]),
        ("auto", (2,), machine(), [(Runner("tensorrt", 2), ""), (Runner("pytorch", 2), ""), (OPENVINO, "")]),
        ("auto", (0,), machine(tensorrt="no", torch="none"), [(TENSORRT, "no"), (TORCH, "none")]),
        ("tensorrt", (), machine(tensorrt="no"), [(TENSORRT, "no")]),
        ("pytorch", (), machine(torch="no CUDA"), [(TORCH, "no CUDA"), (TORCH_CPU, "")]),
        ("pytorch", (), machine(hint=False), [(TORCH_CPU, "")]),
        ("openvino", (), machine(), [(OPENVINO, "")]),
    ],
)
def test_order(backend: Backend, devices: tuple[int, ...], here: Machine, expected: list[tuple[Runner, str]]) -> None:
    assert list(runners(EngineSettings(backend=backend, devices=devices), here)) == expected


def test_an_old_gpu_is_none_for_tensorrt() -> None:
    class Old(FakeDevice):
        name, compute_capability = "Old", (7, 0)

    here = Machine(hint=lambda: True, tensorrt=str, torch=lambda index: "", device=lambda index: Old())
    assert list(runners(EngineSettings(), here))[:2] == [
        (TENSORRT, "Old has compute capability 7.0, TensorRT needs 7.5"),
        (TORCH, ""),
    ]


def test_a_gpu_without_a_way_to_it() -> None:
    def broken(index: int) -> FakeDevice:
        raise DeviceError("no pycuda and no cuda-bindings")

    here = Machine(hint=lambda: True, tensorrt=str, torch=lambda index: "", device=broken)
    said: list[str] = []
    engines = Engines(EngineSettings(), machine=here, say=said.append)
    assert next(engines.choices(8)).runner == OPENVINO
    assert said == engines.notes
    reason = "no pycuda and no cuda-bindings"
    assert engines.notes == [f"not tensorrt: {reason}", f"not pytorch on the GPU: {reason}"]


@pytest.mark.parametrize(
    ("settings", "here", "message"),
    [
        ({"backend": "tensorrt"}, machine(tensorrt="not here"), "--backend tensorrt: not here"),
        ({"devices": (1,)}, machine(hint=False), "--device 1: no NVIDIA GPU and no driver of one is here"),
        (
            {"devices": (0,)},
            machine(tensorrt="not here", torch="no CUDA"),
            "--device 0: not tensorrt: not here; not pytorch on the GPU: no CUDA",
        ),
    ],
)
def test_what_was_asked_for_and_isnt_here(settings: dict[str, Any], here: Machine, message: str) -> None:
    engines = Engines(EngineSettings(**settings), machine=here)
    for _ in range(2):
        with pytest.raises(UsageError) as raised:
            next(engines.choices(8))
        assert str(raised.value) == message


def test_devices_that_cant_be_meant() -> None:
    with pytest.raises(UsageError, match="runs on the CPU"):
        EngineSettings(backend="openvino", devices=(0,)).validate()
    with pytest.raises(UsageError, match="each GPU once"):
        EngineSettings(devices=(0, 0)).validate()


def test_depth_and_precision_decide_too() -> None:
    """What a GPU can't do goes on to the next, with the reason."""
    engines = Engines(EngineSettings(), machine=machine())
    assert [choice.runner for choice in engines.choices(16)] == [TORCH, OPENVINO]
    assert [choice.runner for choice in engines.choices(8)] == [TENSORRT, TORCH, OPENVINO]
    assert "16 bits" in engines.notes[0]
    engines = Engines(EngineSettings(precision="fp16"), machine=machine(hint=False))
    with pytest.raises(UsageError, match="needs a GPU"):
        next(engines.choices(8))


def test_without_a_gpu_nothing_is_loaded_to_ask() -> None:
    program = (
        "import sys; from vsr.backends.machine import Machine; from vsr.backends.choice import Engines;"
        "from vsr.settings import EngineSettings;"
        "none = Machine(hint=lambda: False, tensorrt=exit, torch=exit, device=exit);"
        "engines = Engines(EngineSettings(), machine=none); next(engines.choices(8));"
        "sys.exit(bool({'torch', 'tensorrt', 'pycuda', 'cuda', 'openvino'} & sys.modules.keys() or engines.notes))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@dataclass
class Plan:
    """When fake engines break: the call that does, of all calls to any of them, and how."""

    breaks: dict[int, type[DeviceError]] = field(default_factory=dict)
    calls: int = 0
    opened: list[tuple[Runner, int]] = field(default_factory=list)

    def call(self, what: str) -> None:
        self.calls += 1
        if self.calls in self.breaks:
            raise self.breaks[self.calls](f"{what} broke")


class FakeEngine(QueuedEngine[tuple[Frame, Planes | None]]):
    """Repeats samples; once broken it does nothing but break."""

    def __init__(self, plan: Plan, spec: FrameSpec, capacity: int) -> None:
        plan.call("opening")
        super().__init__(spec, 2, capacity)
        self.label, self._plan, self._broken = f"fake of {capacity}", plan, False

    def _start(self, frame: Frame, out: Planes | None) -> tuple[Frame, Planes | None]:
        self._step("submit")
        return frame, out

    def _finish(self, handle: tuple[Frame, Planes | None], timeout: float | None) -> Frame:
        self._step("wait")
        given, out = handle
        result = self._result(given, out)
        for source, target in zip(given.planes, result.planes, strict=True):
            target[:] = source.repeat(2, 0).repeat(2, 1)[: target.shape[0], : target.shape[1]]
        given.release()
        return result

    def _step(self, what: str) -> None:
        if self._broken:
            raise DeviceError("broken")
        try:
            self._plan.call(what)
        except DeviceError:
            self._broken = True
            raise

    def reset(self) -> None:
        for given, _ in self._flight.clear():
            given.release()


def engines_of(plan: Plan, **settings: Any) -> Engines:
    """Every runner is fake, each with another capacity; a GPU's tiles get smaller with every halving."""

    def single(choice: ModelChoice, spec: FrameSpec, halvings: int) -> Engine:
        if halvings and choice.runner.device is not None:
            grid = Grid(spec=spec, width=max(16, 32 >> halvings), height=16, halo=8)
            return TiledEngine(grid, FakeEngine(plan, grid.tile, 2), 2)
        return FakeEngine(plan, spec, {"tensorrt": 3, "pytorch": 2, "openvino": 4}[choice.runner.library])

    def open(settings: EngineSettings, choice: ModelChoice, spec: FrameSpec, *, gpu: object, halvings: int) -> Engine:
        plan.opened.append((choice.runner, halvings))
        if not spec.format.alpha:
            return single(choice, spec, halvings)
        picture, opacity = split(spec)
        return OpacityEngine(spec, single(choice, picture, halvings), single(choice, opacity, halvings), 2)

    return Engines(EngineSettings(**settings), machine=machine(), open=open, check=lambda engine, choice, spec: None)  # type: ignore[arg-type]


def pooled(what: FrameSpec, count: int, pool: FramePool, every: int = 1) -> Iterator[Frame]:
    """Each picture stands for `every` frames."""
    for index in range(count):
        planes, lease = pool.take()
        original = replace(frame(what, index - index % every), index=index)
        for source, target in zip(original.planes, planes, strict=True):
            target[:] = source
        yield original.like(format=what.format, width=what.width, height=what.height, planes=planes, lease=lease)


def run(
    engines: Engines, what: FrameSpec, hold: Callable[[list[Frame]], None], every: int = 1
) -> tuple[list[str], str]:
    """Twelve frames through a stage, checked against repeated samples; `hold` releases results as it likes."""
    pool, held, seen = FramePool(what.format, what.width, what.height), list[Frame](), []
    with UpscaleStage(engines.settings, engines) as stage:
        for result in stage.frames(pooled(what, 12, pool, every)):
            given = frame(what, result.index - result.index % every)
            wanted = [p.repeat(2, 0).repeat(2, 1) for p in given.planes]
            shapes = [plane.shape for plane in result.planes]
            assert_close(result.planes, [p[:h, :w] for p, (h, w) in zip(wanted, shapes, strict=True)])
            seen.append(result.index)
            held.append(result)
            hold(held)
        for result in held:
            result.release()
        held.clear()
        stage.close()
        assert seen == list(range(12)), "a frame was lost, doubled or out of order"
        assert pool.leased == 0
        return stage.notes, stage.label


def at_once(held: list[Frame]) -> None:
    held.pop().release()


def late(held: list[Frame]) -> None:
    """As behind an encoder: some results are out whenever an engine breaks."""
    if len(held) > 5:
        held.pop(0).release()


PLAIN = spec("420", 8, (70, 38))
WITH_ALPHA = FrameSpec(format=PlanarFormat(chroma="444", depth=10, alpha=True), width=40, height=24)


def test_the_best_runs_and_says_so() -> None:
    notes, label = run(engines_of(Plan()), PLAIN, at_once)
    assert label == "m4c16 fake of 3"
    assert notes == [f"{PLAIN}: m4c16 fake of 3 (on a GPU)"]


@pytest.mark.parametrize("kind", [DeviceError, DeviceMemoryError])
@pytest.mark.parametrize("hold", [at_once, late])
@pytest.mark.parametrize("what", [PLAIN, WITH_ALPHA], ids=["plain", "alpha"])
def test_no_frame_is_lost_whenever_an_engine_breaks(
    what: FrameSpec, hold: Callable[[list[Frame]], None], kind: type[DeviceError]
) -> None:
    healthy = Plan()
    run(engines_of(healthy), what, hold)
    for call in range(1, healthy.calls + 1):
        plan = Plan({call: kind})
        notes, label = run(engines_of(plan), what, hold)
        assert len(plan.opened) == 2
        opening = plan.calls and call <= (2 if what.format.alpha else 1)
        tiles = kind is DeviceMemoryError and not opening
        assert plan.opened[1] == ((TENSORRT, 1) if tiles else (TORCH, 0))
        said = "not tensorrt: " if opening else "tensorrt ran out of memory" if tiles else "tensorrt failed; "
        assert [line.startswith(said) for line in notes].count(True) == 1
        assert ("tiles" in label) == tiles


@pytest.mark.parametrize("every", [1, 2, 3])
def test_no_frame_is_lost_if_much_breaks(every: int) -> None:
    """Nor where frames repeat, whose results are shared."""
    random = np.random.default_rng(0)
    for _ in range(60):
        calls, kinds = random.integers(1, 60, random.integers(1, 3)), (DeviceError, DeviceMemoryError)
        plan = Plan({int(call): kinds[random.integers(2)] for call in calls})
        run(engines_of(plan), (PLAIN, WITH_ALPHA)[random.integers(2)], (at_once, late)[random.integers(2)], every)


def test_a_backend_asked_for_is_not_replaced() -> None:
    """But it may go on in tiles."""
    pool = FramePool(PLAIN.format, PLAIN.width, PLAIN.height)
    for call in (1, 2, 9):
        engines = engines_of(Plan({call: DeviceError}), backend="tensorrt")
        with pytest.raises(DeviceError, match="broke"), UpscaleStage(engines.settings, engines) as stage:
            deque(map(Frame.release, stage.frames(pooled(PLAIN, 12, pool))))
        assert pool.leased == 0
    _, label = run(engines_of(Plan({9: DeviceMemoryError}), backend="tensorrt"), PLAIN, at_once)
    assert "tiles" in label


def test_a_failed_check_goes_on_to_the_next() -> None:
    plan = Plan()

    def wrong(engine: Engine, choice: ModelChoice, spec: FrameSpec) -> None:
        if choice.runner == TENSORRT:
            raise UsageError("off by 7 codes")

    engines = Engines(EngineSettings(), machine=machine(), open=vars(engines_of(plan))["_open"], check=wrong)
    notes, label = run(engines, PLAIN, at_once)
    assert notes[0] == "not tensorrt: off by 7 codes"
    assert label.endswith("fake of 2")
