"""The slots on a fake device: random schedules, every failure and shortage, and engines that are wrong on purpose."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from slots import Repeating, Schedule, pooled, repeated
from strong import assert_close, frame, planes, spec
from vsr.backends.cuda import SlotEngine, _Running
from vsr.backends.engine import Ticket
from vsr.device.fake import FakeDevice
from vsr.device.memory import PinnedMemory
from vsr.device.protocol import DeviceError, DeviceMemoryError
from vsr.device.slots import FrameTimes, overlap
from vsr.frame import Frame, FramePool, Planes

WHAT = spec("420", 8, (7, 5))


@pytest.mark.parametrize("hundred", range(10))
def test_schedules(hundred: int) -> None:
    for seed in range(100 * hundred, 100 * hundred + 100):
        try:
            Schedule(seed).run()
        except BaseException:
            print(f"seed {seed}")
            raise


class ReleasesInputs(SlotEngine):
    """Wrong: a frame uploaded from where it is goes back when its upload is enqueued, not when it happened."""

    def _start(self, frame: Frame, out: Planes | None) -> _Running:
        running = super()._start(frame, out)
        if running.direct:
            frame.release()
        return replace(running, direct=False)


class DoesNotWait(SlotEngine):
    """Wrong: a result is given out at once."""

    def _finished(self, running: _Running) -> bool:
        return True

    def _finish(self, running: _Running, timeout: float | None) -> Frame:
        class Hasty:
            def wait(self, timeout: float | None) -> None: ...

        result = super()._finish(replace(running, slot=Hasty()), timeout)  # type: ignore[arg-type]
        self._free[-1] = running.slot
        return result


class SharesASlot(SlotEngine):
    """Wrong: the next frame goes through a slot that is still busy."""

    def _start(self, frame: Frame, out: Planes | None) -> _Running:
        running = super()._start(frame, out)
        self._free.append(running.slot)
        return running


class ReleasesResults(SlotEngine):
    """Wrong: a result's buffer goes back to the pool while it is still downloaded to."""

    def _start(self, frame: Frame, out: Planes | None) -> _Running:
        running = super()._start(frame, out)
        running.lease.release()
        _, spare = FramePool(frame.format, *self._size).take()
        return replace(running, lease=spare)


@pytest.mark.parametrize("wrong", [ReleasesInputs, DoesNotWait, SharesASlot, ReleasesResults])
def test_schedules_find_what_is_wrong(wrong: type[SlotEngine]) -> None:
    failures = 0
    for seed in range(50):
        try:
            Schedule(seed, wrong).run()
        except AssertionError:
            failures += 1
    assert failures > 5


@contextmanager
def everything_freed(device: FakeDevice) -> Iterator[tuple[PinnedMemory, list[FramePool]]]:
    """Pinned memory, and a pool of it and of pageable memory for inputs; afterwards nothing may be left open or out."""
    pinned = PinnedMemory(device)
    pools = [FramePool(WHAT.format, WHAT.width, WHAT.height, memory) for memory in (pinned, None)]
    try:
        yield pinned, pools
    finally:
        for pool in pools:
            pool.close()
        pinned.close()
        assert not +device.open, f"left open: {device.open}"
        device.close()
        assert not device.misuses


def upscale_ten(device: FakeDevice) -> list[str]:
    """Ten frames through an engine, right or with the first error; the engine's notes."""
    with everything_freed(device) as (pinned, pools):
        executor = Repeating(device, WHAT)
        engine = SlotEngine(device, executor, WHAT, 2, pinned=pinned)
        notes = list(engine.notes)
        try:
            through(engine, pools)
        finally:
            engine.close()
            assert executor.closed
            assert engine.leased == 0
    return notes


def through(engine: SlotEngine, pools: list[FramePool]) -> None:
    """Collected in every way there is."""
    flying: deque[tuple[Ticket, int]] = deque()
    for index in range(10):
        given = pooled(pools[index % 2], WHAT, index)
        try:
            flying.append((engine.submit(given), index))
        except DeviceError:
            given.release()  # still ours, and nothing reads it any more
            raise
        for result in engine.ready() if index % 3 else []:
            right(result, flying.popleft()[1])
        if len(flying) == engine.capacity:
            ticket, number = flying.popleft()
            right(engine.wait(ticket), number)
    for result in engine.drain():
        right(result, flying.popleft()[1])


def right(result: Frame, index: int) -> None:
    assert_close(result.planes, repeated(WHAT, planes(WHAT, index)))
    result.release()


@pytest.mark.parametrize("captures", [True, False])
def test_every_failure_is_told_once_and_leaves_nothing(captures: bool) -> None:
    for step in count():
        device = FakeDevice(step, fail_at=step, captures=captures)
        try:
            told = upscale_ten(device)
        except DeviceError as error:
            told = [str(error)]
        if device.steps <= step:
            break
        assert f"failed at step {step}, as asked" in told[0]
        assert len(told) == 1
    assert step > 100


def test_a_shortage_of_device_memory_costs_slots() -> None:
    executor = Repeating(FakeDevice(), WHAT)
    one = executor.input_nbytes + 2 * executor.output_nbytes
    for room in range(0, 4 * one, 256):
        if room < one:
            with pytest.raises(DeviceMemoryError):
                upscale_ten(FakeDevice(room, memory=room))
            continue
        slots = room // one
        notes = upscale_ten(FakeDevice(room, memory=room))
        assert [note.partition(" (")[0] for note in notes] == [f"memory for {slots} of 3 slots"] * (slots < 3)


def test_a_shortage_of_pinned_memory_is_told() -> None:
    enough, told = 1 << 30, 0
    for room in count(0, 256):
        device = FakeDevice(room, pinned=room)
        try:
            upscale_ten(device)
        except DeviceMemoryError:
            told += 1
        else:
            enough = room
            break
    assert told > 5
    assert enough < 1 << 16


def test_a_frame_refused_for_memory_is_still_the_callers() -> None:
    device = FakeDevice(pinned=1 << 14)
    with everything_freed(device) as (_, pools):
        engine = SlotEngine(device, Repeating(device, WHAT), WHAT, 2)
        hog = PinnedMemory(device)
        hog(device.room["pinned"])
        given = pooled(pools[1], WHAT, 3)
        with pytest.raises(DeviceMemoryError):
            engine.submit(given)
        assert_close(given.planes, planes(WHAT, 3))
        hog.close()
        right(engine.wait(engine.submit(given)), 3)
        engine.close()


def test_pinned_frames_are_uploaded_from_where_they_are() -> None:
    """So no staging buffer is ever made for them; it is for others, one a slot."""
    for index, buffers in ((0, 2), (1, 2)):  # input and result; staging and result
        device = FakeDevice(captures=False)
        with everything_freed(device) as (pinned, pools):
            engine = SlotEngine(device, Repeating(device, WHAT), WHAT, 2, slots=2, pinned=pinned)
            for _ in range(5):
                right(engine.wait(engine.submit(pooled(pools[index], WHAT, 1))), 1)
            assert device.open["pinned"] == buffers
            engine.close()


def test_a_frame_of_other_planes_than_its_buffers_is_copied() -> None:
    device = FakeDevice()
    with everything_freed(device) as (pinned, pools):
        engine = SlotEngine(device, Repeating(device, WHAT), WHAT, 2, pinned=pinned)
        given = replace(pooled(pools[0], WHAT, 1), planes=planes(WHAT, 2))
        right(engine.wait(engine.submit(given)), 2)
        engine.close()


def test_results_outlive_slots_and_a_leak_is_told() -> None:
    device = FakeDevice()
    with everything_freed(device):
        engine = SlotEngine(device, Repeating(device, WHAT), WHAT, 2, slots=2)
        results = [engine.wait(engine.submit(frame(WHAT, index))) for index in range(7)]
        with pytest.raises(RuntimeError, match="7 frames of 14x10 were never released"):
            engine.close()
        for index, result in enumerate(results):
            assert_close(result.planes, repeated(WHAT, planes(WHAT, index)))
            result.release()
        engine.close()


def test_label_and_notes_say_what_runs() -> None:
    device = FakeDevice()
    engine = SlotEngine(device, Repeating(device, WHAT), WHAT, 2, slots=4)
    assert engine.label == "repeating, 4 slots, fake"
    assert engine.notes == []
    engine.close()


def test_an_executor_of_another_spec_is_refused() -> None:
    device = FakeDevice()
    executor = Repeating(device, spec("420", 8, (40, 24)))
    with pytest.raises(ValueError, match="repeating isn't for yuv420p 7x5 and scale 2"):
        SlotEngine(device, executor, WHAT, 2)
    assert executor.closed


def test_slots_overlap() -> None:
    """Copies a third of the computing each way; hidden but for the first upload and the last download."""
    device = FakeDevice(eager=1.0, copied=WHAT.format.nbytes(14, 10) / 3e-4)
    engine = SlotEngine(device, Repeating(device, WHAT), WHAT, 2, timed=True)
    for index in range(5):
        engine.wait(engine.submit(frame(WHAT, index))).release()
    alone, engine.times[:] = list(engine.times), []
    flying = []
    for index in range(60):
        flying.append(engine.submit(frame(WHAT, index)))
        if len(flying) == engine.capacity:
            engine.wait(flying.pop(0)).release()
    for result in engine.drain():
        result.release()
    engine.close()
    assert len(engine.times) == 60
    assert overlap(engine.times, alone) > 0.9
    assert overlap(alone, alone) == pytest.approx(0, abs=0.01)


def test_overlap() -> None:
    alone = [FrameTimes(0, 1, 5, 7)]
    assert overlap([FrameTimes(0, 1, 5, 7), FrameTimes(4, 5, 9, 11)], alone) == pytest.approx(0.5)


class TestPinnedMemory:
    def test_owns(self) -> None:
        device = FakeDevice()
        memory = PinnedMemory(device)
        first, second = memory(1000), memory(300)
        assert first.nbytes == 1000
        for inside in (first, second, first[999:], second[:1], first[8:16].view(np.uint16)):
            assert memory.owns(inside)
        for outside in (np.zeros(1000, np.uint8), first.copy()):
            assert not memory.owns(outside)
        memory.close()
        assert not memory.owns(first)
        memory.close()
        assert not +device.open

    def test_shortage(self) -> None:
        memory = PinnedMemory(FakeDevice(pinned=100))
        pool = FramePool(WHAT.format, 64, 64, memory)
        with pytest.raises(DeviceMemoryError):
            pool.take()
        pool.close()
