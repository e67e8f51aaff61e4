"""The slots with torch's executor on an NVIDIA GPU, where neither av nor openvino need be; the same on the fake device.

The fake device proves that the tests run, and keeps them running; what they say about CUDA they say on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
import torch

from slots import Failing, OnFake
from strong import assert_close, frame, spec
from vsr.backends.cuda import SlotEngine
from vsr.backends.half import halved
from vsr.backends.pytorch.evaluator import Evaluator
from vsr.backends.pytorch.executor import TorchExecutor
from vsr.device import LAYERS, open_device
from vsr.device.fake import FakeDevice
from vsr.device.memory import PinnedMemory
from vsr.device.protocol import Device, DeviceError, DeviceMemoryError, Executor
from vsr.device.slots import overlap
from vsr.frame import Frame, FramePool, Planes
from vsr.graph import Edges, FrameSpec, describe
from vsr.metrics import psnr
from vsr.models import LumaModel, models_folder
from vsr.networks.table import NETWORKS

pytestmark = pytest.mark.usefixtures("one_thread")

MIB = 1 << 20


@dataclass(frozen=True)
class Bench:
    """A device, and sizes that suit it."""

    device: Device
    executor: Callable[[Any, str], Executor]
    real: bool

    def engine(
        self, what: FrameSpec, *, half: bool | None = None, edges: Edges = "planes", **options: Any
    ) -> SlotEngine:
        """In half on a GPU, and in float32 on the fake device, where half is slow, unless told."""
        half = self.real if half is None else half
        described = describe(MODEL, what, edges=edges)
        executor = self.executor(halved(described) if half else described, "fp16" if half else "float32")
        return SlotEngine(options.pop("device", self.device), executor, what, 2, **options)


@pytest.fixture(scope="module", params=["fake", *(pytest.param(layer, marks=pytest.mark.gpu) for layer in LAYERS)])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "fake":
        fake = FakeDevice(3, eager=1.0)
        yield Bench(fake, lambda described, _: OnFake(fake, described), real=False)
        assert not +fake.open
        assert not fake.misuses
        fake.close()
        return
    request.getfixturevalue("gpu")
    pytest.importorskip({"cuda-python": "cuda", "pycuda": "pycuda"}[request.param])

    device = open_device(layer=request.param)
    yield Bench(device, lambda described, precision: TorchExecutor(device, described, precision), real=True)
    device.close()


NETWORK = models_folder() / "m4c16_x2.onnx"
MODEL = LumaModel(proto=onnx.load(NETWORK), scale=2, radius=NETWORKS["m4c16"].radius(2), peak=1.0)
SPECS = [
    spec("420", 8, (64, 36)),
    spec("420", 8, (131, 77)),
    spec("420", 10, (131, 77), "topleft"),
    spec("422", 8, (77, 42)),
    spec("422", 10, (64, 35)),
    spec("444", 8, (65, 64)),
    spec("444", 10, (40, 40)),
    spec("grey", 8, (99, 33)),
    spec("grey", 16, (50, 51)),
]


def picture(what: FrameSpec, index: int) -> Frame:
    """Slopes, edges and a little noise, over the whole range."""
    random = np.random.default_rng(index)
    planes = []
    for rows, columns in what.format.shapes(what.width, what.height):
        coarse = random.random((-(-rows // 16), -(-columns // 16))).repeat(16, 0).repeat(16, 1)[:rows, :columns]
        slope = np.linspace(0, 1, rows)[:, None] * np.linspace(1, 0, columns)
        value = 0.6 * coarse + 0.4 * slope + random.normal(0, 0.01, (rows, columns))
        planes.append((value * what.format.white).clip(0, what.format.white).round().astype(what.format.dtype))
    return frame(what, index).like(
        format=what.format, width=what.width, height=what.height, planes=tuple(planes), lease=None
    )


def pinned_copy(pool: FramePool, given: Frame) -> Frame:
    result = pinned_like(pool, given)
    for target, plane in zip(result.planes, given.planes, strict=True):
        target[:] = plane
    return result


def pinned_like(pool: FramePool, given: Frame) -> Frame:
    """A frame of whatever the buffer holds, as a decoder hands it over: nobody copies."""
    planes, lease = pool.take()
    return given.like(format=given.format, width=given.width, height=given.height, planes=planes, lease=lease)


def kept(engine: SlotEngine, frames: list[Frame], *, alone: bool = False) -> list[Planes]:
    """Copies of the results, in order; every slot in use, or one frame at a time."""
    results: list[Planes] = []

    def collect(done: list[Frame]) -> None:
        for result in done:
            results.append(tuple(plane.copy() for plane in result.planes))
            result.release()

    flying = 0
    for given in frames:
        engine.submit(given)
        flying += 1
        if alone or flying == engine.capacity:
            collect(engine.drain())
            flying = 0
    collect(engine.drain())
    return results


def assert_same(some: list[Planes], others: list[Planes]) -> None:
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("what", SPECS, ids=str)
def test_every_way_gives_the_same_bits(bench: Bench, what: FrameSpec) -> None:
    """One at a time; in all slots; from pinned memory; without a graph; 10 bit in pairs; into the caller's memory."""
    frames = [picture(what, index) for index in range(7)]
    first = bench.engine(what)
    expected = kept(first, frames, alone=True)
    assert first.notes == []
    assert_same(kept(first, frames), expected)
    first.close()
    pinned = PinnedMemory(bench.device)
    pool = FramePool(what.format, what.width, what.height, pinned)
    direct = bench.engine(what, pinned=pinned, slots=4)
    assert_same(kept(direct, [pinned_copy(pool, given) for given in frames]), expected)
    direct.close()
    pool.close()
    pinned.close()
    launched = bench.engine(what, capture=False, slots=2)
    assert_same(kept(launched, frames), expected)
    size = 2 * what.width, 2 * what.height
    out = what.format.views(np.empty(what.format.nbytes(*size), np.uint8), *size)
    launched.wait(launched.submit(frames[3], out))
    assert_close(out, expected[3])
    launched.close()
    if what.format.depth in (10, 12):
        pairs = bench.engine(what, edges="tensorrt")
        assert_same(kept(pairs, frames), expected)
        pairs.close()


@pytest.mark.parametrize("what", SPECS, ids=str)
def test_against_float32_on_the_cpu(bench: Bench, what: FrameSpec) -> None:
    """At most 2 codes, 99.9% within 1, 55 dB in 8 bit; four times that in 10 bit. Chroma to the bit."""
    given = [picture(what, 0), frame(what, 1)]
    exact = Evaluator(describe(MODEL, what))
    for half in (True, False):
        engine = bench.engine(what, half=half)
        for one, got in zip(given, kept(engine, given), strict=True):
            planes = [torch.from_numpy(plane[None, None].copy()) for plane in one.planes]
            expected = [plane[0, 0].numpy() for plane in exact(*planes)]
            unit = 4 ** ((what.format.depth - 8) / 2)
            difference = np.abs(got[0].astype(np.int64) - expected[0].astype(np.int64))
            assert difference.max() <= 2 * unit
            assert np.mean(difference <= unit) >= 0.999
            assert psnr(got[0], expected[0], peak=what.format.white) >= 55
            assert_close(got[1:], expected[1:])
        engine.close()


def test_copies_hide_behind_computing(bench: Bench) -> None:
    what = spec("420", 8, (1920, 1080) if bench.real else (40, 24))
    pinned = PinnedMemory(bench.device)
    pool = FramePool(what.format, what.width, what.height, pinned)
    engine = bench.engine(what, pinned=pinned, timed=True)
    given = frame(what)
    for _ in range(10):  # warm: caches, clocks, the pools
        engine.wait(engine.submit(pinned_like(pool, given))).release()
    engine.times.clear()
    for _ in range(20):
        engine.wait(engine.submit(pinned_like(pool, given))).release()
    alone, engine.times[:] = list(engine.times), []
    flying = []
    for _ in range(200 if bench.real else 50):
        flying.append(engine.submit(pinned_like(pool, given)))
        if len(flying) == engine.capacity:
            engine.wait(flying.pop(0)).release()
    for result in engine.drain():
        result.release()
    hidden = overlap(engine.times, alone)
    engine.close()
    pool.close()
    pinned.close()
    assert hidden >= 0.8


def test_memory_is_flat(bench: Bench) -> None:
    what = spec("420", 8, (960, 540) if bench.real else (40, 24))
    engine = bench.engine(what)
    given, levels = frame(what), []
    for index in range(2001 if bench.real else 401):
        engine.submit(given)
        if index % engine.capacity == engine.capacity - 1:
            for result in engine.drain():
                result.release()
        if index in (200, 2000 if bench.real else 400):
            levels.append((free(bench.device), resident()))
    engine.reset()
    engine.close()
    (free_before, resident_before), (free_after, resident_after) = levels
    assert free_before - free_after <= 8 * MIB
    assert resident_after - resident_before <= 16 * MIB


def free(device: Device) -> int:
    with device.current():
        return device.memory()[0]


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("name", ["stream", "allocate", "event", "upload", "download", "pinned"])
def test_after_a_failure_nothing_is_lost(bench: Bench, name: str) -> None:
    what = SPECS[1]
    bench.engine(what).close()  # what libraries load once and keep
    before, frames = free(bench.device), [picture(what, index) for index in range(5)]
    for at in (0, 1, 2, 4):
        failing = cast(Device, Failing(bench.device, name, at))
        try:
            engine = bench.engine(what, device=failing)
            try:
                kept(engine, frames)
            finally:
                engine.close()
        except DeviceError as error:
            assert "as asked" in str(error)  # noqa: PT017
    assert before - free(bench.device) <= 32 * MIB
    engine = bench.engine(what)
    assert len(kept(engine, frames)) == 5
    engine.close()


def test_without_memory_the_caller_hears_and_gets_it_all_back(bench: Bench) -> None:
    """There is room for the frames, and none for what the network makes of them."""
    what = spec("420", 8, (3840, 2160) if bench.real else (40, 24))
    bench.engine(SPECS[0]).close()
    before = free(bench.device)
    with bench.device.current():
        hog = bench.device.allocate(before - (256 * MIB if bench.real else 4096))
    with pytest.raises(DeviceMemoryError):
        bench.engine(what)
    with bench.device.current():
        hog.close()
    assert before - free(bench.device) <= 64 * MIB
    engine = bench.engine(what, slots=2)
    assert len(kept(engine, [frame(what)])) == 1
    engine.close()


def test_label(bench: Bench) -> None:
    engine = bench.engine(SPECS[0])
    if bench.real:
        assert engine.label.startswith(f"pytorch {torch.__version__.partition('+')[0]} fp16, NVIDIA")
    assert engine.label.endswith(f", 3 slots, {bench.device.layer}")
    engine.close()
