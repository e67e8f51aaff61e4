"""Engines on a fake GPU: as much as memory allows, and what becomes of frames when the GPU fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from slots import Repeating, repeated
from strong import assert_close, frame, planes, spec
from vsr.backends import open_engine
from vsr.backends.check import compare
from vsr.backends.choice import Check, Engines
from vsr.backends.engine import Engine, QueuedEngine
from vsr.backends.gpu import Gpu, open_on_gpu
from vsr.backends.machine import Machine
from vsr.device.fake import FakeDevice
from vsr.device.protocol import DeviceError, DeviceMemoryError
from vsr.errors import MemoryLimitError
from vsr.frame import Frame, FramePool, PlanarFormat, Planes
from vsr.graph import FrameSpec
from vsr.models import ModelChoice, resolve
from vsr.settings import EngineSettings, Precision
from vsr.upscaler import UpscaleStage

CHOICE = resolve(EngineSettings(backend="tensorrt"), 8)
LARGE, SMALL = spec("grey", 8, (1024, 512)), spec("420", 8, (46, 30))
ALPHA = FrameSpec(format=PlanarFormat(alpha=True), width=160, height=90)
MIB = 1 << 20


def repeating(gpu: Gpu, choice: ModelChoice, what: FrameSpec) -> Repeating:
    assert isinstance(gpu.device, FakeDevice)
    return Repeating(gpu.device, what)


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        (100 * MIB, "repeating, 3 slots, fake"),
        (10 * MIB, "repeating, 2 slots, fake"),
        (5 * MIB, "repeating, 1 slot, fake"),
        (4 * MIB, "repeating, 1 slot, fake, in 2 tiles of 528x512"),
        (2 * MIB, "repeating, 1 slot, fake, in 4 tiles of 272x512"),
    ],
)
def test_slots_then_tiles_as_memory_allows(memory: int, expected: str) -> None:
    said: list[str] = []
    device = FakeDevice(memory=memory)
    gpu = Gpu(device, said.append)
    engine = open_on_gpu(gpu, CHOICE, LARGE, executor=repeating)
    assert engine.label == expected
    assert any("slots" in line for line in said) == ("3 slots" not in expected)
    result = engine.wait(engine.submit(frame(LARGE)))
    assert_close(result.planes, repeated(LARGE, planes(LARGE)))
    result.release()
    engine.close()
    gpu.close()
    assert not +device.open
    assert not device.misuses


def test_no_memory_at_all() -> None:
    gpu = Gpu(FakeDevice(memory=1000))
    with pytest.raises(DeviceMemoryError):
        open_on_gpu(gpu, CHOICE, LARGE, executor=repeating)
    with pytest.raises(MemoryLimitError, match="the GPU's memory"):
        open_on_gpu(gpu, CHOICE, LARGE, halvings=99, executor=repeating)
    gpu.close()


def test_smaller_tiles_when_asked() -> None:
    gpu = Gpu(FakeDevice())
    engine = open_on_gpu(gpu, CHOICE, LARGE, halvings=1, executor=repeating)
    assert engine.label.endswith("3 slots, fake, in 2 tiles of 528x512")
    engine.close()
    gpu.close()


def test_tiles_are_cut_in_memory() -> None:
    """Also of frames that could come on the GPU."""
    gpu, what = Gpu(FakeDevice()), spec("420", 8, (640, 320))
    engine = open_on_gpu(gpu, CHOICE, replace(what, surfaces=True), halvings=1, executor=repeating)
    assert not engine.takes_surfaces
    assert "chroma in pairs" not in engine.label
    result = engine.wait(engine.submit(frame(what)))
    assert_close(result.planes, repeated(what, planes(what)))
    result.release()
    engine.close()
    gpu.close()


def test_frames_are_decoded_into_ordinary_memory_where_there_is_no_other() -> None:
    said: list[str] = []
    gpu = Gpu(FakeDevice(pinned=1000), said.append)
    pool = FramePool(SMALL.format, SMALL.width, SMALL.height, gpu.memory)
    for _ in range(2):
        samples, _ = pool.take()
        assert samples[0].ctypes.data % 256 == 0
    assert len({*said}) == 1
    assert "ordinary memory" in said[0]


class OnCpu(QueuedEngine[Frame]):
    """What `Repeating` computes, without a device."""

    label = "on the CPU"

    def __init__(self, what: FrameSpec) -> None:
        super().__init__(what, 2, 1)

    def _start(self, given: Frame, out: Planes | None) -> Frame:
        result = self._result(given, out)
        for target, plane in zip(result.planes, repeated(self._spec, given.planes), strict=True):
            target[:] = plane
        given.release()
        return result

    def _finish(self, result: Frame, timeout: float | None) -> Frame:
        return result


def unchecked(engine: Engine, choice: ModelChoice, what: FrameSpec) -> None:
    pass


def engines_on(device: FakeDevice, check: Check = unchecked, **settings: object) -> Engines:
    def open(
        settings: EngineSettings, choice: ModelChoice, what: FrameSpec, *, gpu: Gpu | None, halvings: int
    ) -> Engine:
        assert gpu is not None or not what.surfaces
        return OnCpu(what) if gpu is None else open_on_gpu(gpu, choice, what, halvings, repeating)

    here = Machine(hint=lambda: True, tensorrt=str, torch=lambda index: "", device=lambda index: device)
    return Engines(EngineSettings(**settings), machine=here, open=open, check=check)  # type: ignore[arg-type]


def decoded(pool: FramePool, count: int, what: FrameSpec = SMALL) -> Iterator[Frame]:
    for index in range(count):
        samples, lease = pool.take()
        given = frame(what, index)
        for source, target in zip(given.planes, samples, strict=True):
            target[:] = source
        yield given.like(format=what.format, width=what.width, height=what.height, planes=samples, lease=lease)


def run(device: FakeDevice, check: Check = unchecked, **settings: object) -> UpscaleStage:
    """Ten frames through a stage, decoded into memory of the device's, results kept for a while."""
    engines, held, seen = engines_on(device, check, **settings), list[Frame](), []
    with UpscaleStage(engines.settings, engines) as stage:
        pool = FramePool(SMALL.format, SMALL.width, SMALL.height, stage.prepare(SMALL))
        for result in stage.frames(decoded(pool, 10)):
            assert_close(result.planes, repeated(SMALL, planes(SMALL, result.index)))
            seen.append(result.index)
            held.append(result)
            if len(held) > 3:
                held.pop(0).release()
        while held:
            held.pop().release()
        stage.close()
        pool.close()
    assert seen == list(range(10)), "a frame was lost, doubled or out of order"
    assert not device.misuses
    return stage


class OneDevice(FakeDevice):
    """Machine and engines open the same one; closing is for `end`."""

    def close(self) -> None:
        pass

    def end(self) -> None:
        super().close()


def test_no_frame_is_lost_wherever_the_gpu_fails() -> None:
    """Also when it is dead from then on; the results that were out keep their samples."""
    healthy = OneDevice(1)
    assert run(healthy).label == "m4c16 repeating, 3 slots, fake"
    healthy.end()
    fallen = 0
    for step in range(0, healthy.steps, 3):
        device = OneDevice(step, fail_at=step)
        stage = run(device)
        fallen += stage.label == "m4c16 on the CPU"
        if device.dead is None:
            device.end()
            assert not +device.open
            assert not device.misuses
    assert fallen > 10


def test_an_engine_that_is_wrong_or_fails_while_it_is_checked_is_not_used() -> None:
    """What `Repeating` computes isn't the network's result."""
    healthy = OneDevice(1)
    stage = run(healthy, compare)
    assert stage.label == "m4c16 on the CPU"
    assert "255 codes (2 allowed)" in stage.notes[0]
    assert not +healthy.open
    for step in range(0, healthy.steps, 15):
        device = OneDevice(step, fail_at=step)
        assert run(device, compare).label == "m4c16 on the CPU"
        assert device.dead or not +device.open


def test_what_was_asked_for_and_fails_is_an_error() -> None:
    device = OneDevice(3, fail_at=60)
    with pytest.raises(DeviceError, match="as asked"):
        run(device, backend="tensorrt")


@pytest.mark.gpu
@pytest.mark.parametrize("what", [spec("420", 8, (322, 180)), spec("422", 10, (201, 99)), ALPHA], ids=str)
@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_a_gpu_is_chosen_checked_and_used(gpu: str, what: FrameSpec, precision: Precision) -> None:
    """By torch, which every CUDA machine may have; "not pytorch" would be a reason, as a failed check is."""
    settings = EngineSettings(backend="pytorch", precision=precision)
    on_cpu = open_engine(settings, resolve(replace(settings, precision="float32"), what.format.depth), what)
    seen = []
    with UpscaleStage(settings) as stage:
        pool = FramePool(what.format, what.width, what.height, stage.prepare(what))
        for result in stage.frames(decoded(pool, 7, what)):
            expected = on_cpu.wait(on_cpu.submit(frame(what, result.index)))
            codes = 2 if what.format.depth == 8 else 8
            assert_close(result.planes, expected.planes, codes=codes, share=1 if precision == "auto" else 0.01)
            expected.release()
            result.release()
            seen.append(result.index)
        stage.close()
        pool.close()
    on_cpu.close()
    assert seen == list(range(7))
    assert gpu in stage.label
    assert not any(line.startswith("not ") for line in stage.notes)
