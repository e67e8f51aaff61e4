"""FakeDevice: unkind in every way it promises."""

from __future__ import annotations

import pytest

from vsr.device.fake import POISON, FakeDevice
from vsr.device.protocol import DeviceError, DeviceMemoryError


def copies(device: FakeDevice, frames: int = 4) -> list[int]:
    """Frames through two streams that race; the first byte of each as it came out."""
    with device.current():
        streams = [device.stream() for _ in range(2)]
        pinned, buffers = [device.pinned(8) for _ in range(2)], [device.allocate(8) for _ in range(2)]
        order: list[int] = []
        for index in range(frames):
            slot = index % 2
            device.upload(buffers[slot], pinned[slot].array, streams[slot])
            device.compute(streams[slot], lambda index=index: order.append(index))  # type: ignore[misc]
        for thing in (*streams,):
            thing.synchronize()
        for each in (*buffers, *pinned, *streams):
            each.close()
    return order


def test_the_order_of_streams_is_random_and_repeats_by_the_seed() -> None:
    orders = [tuple(copies(FakeDevice(seed), 6)) for seed in range(20)]
    assert len(set(orders)) > 5
    assert orders == [tuple(copies(FakeDevice(seed), 6)) for seed in range(20)]
    for order in orders:
        assert [n for n in order if n % 2] == [1, 3, 5]
        assert [n for n in order if not n % 2] == [0, 2, 4]


def test_overwriting_what_an_upload_has_not_read_is_seen() -> None:
    arrived = set()
    for seed in range(20):
        device = FakeDevice(seed)
        with device.current():
            stream, source, target, middle = device.stream(), device.pinned(8), device.pinned(8), device.allocate(8)
            assert (source.array == POISON).all()
            assert (device.bytes(middle.address, 8) == POISON).all()
            source.array[:] = 1
            device.upload(middle, source.array, stream)
            device.download(target.array, middle, stream)
            source.array[:] = 2
            stream.synchronize()
            arrived.add(int(target.array[0]))
    assert arrived == {1, 2}


def test_releasing_too_early_is_seen() -> None:
    device = FakeDevice(eager=0)
    with device.current():
        stream, source, target, middle = device.stream(), device.pinned(8), device.pinned(8), device.allocate(8)
        source.array[:] = 1
        device.upload(middle, source.array, stream)
        device.download(target.array, middle, stream)
        source.close()
        stream.synchronize()
        assert (target.array == POISON).all()
        device.download(target.array, middle, stream)
        middle.close()
        with pytest.raises(DeviceError, match="no open buffer"):
            stream.synchronize()
        stream.close()
    device.close()
    assert len(device.misuses) == 2, device.misuses
    assert +device.open == {"pinned": 1}


def test_every_step_can_fail() -> None:
    reference = FakeDevice(3)
    copies(reference)
    failed = 0
    for step in range(reference.steps):
        device = FakeDevice(3, fail_at=step)
        with pytest.raises(DeviceError, match=f"step {step}"):
            copies(device)
        failed += device.dead is not None
    assert 0 < failed < reference.steps
    copies(FakeDevice(3, fail_at=reference.steps))


def test_memory_of_the_fake_ends_where_it_should() -> None:
    device = FakeDevice(memory=100, pinned=10)
    with device.current():
        kept = device.allocate(60)
        with pytest.raises(DeviceMemoryError):
            device.allocate(41)
        with pytest.raises(DeviceMemoryError):
            device.pinned(11)
        assert device.memory() == (40, 100)
        kept.close()
        device.allocate(100).close()


def test_simulated_time_shows_overlap() -> None:
    """Frames of 1 s up, 3 s of work and 1 s down: the first takes 5 s, each more 3 s where they overlap, else 5 s."""
    device = FakeDevice(copied=8)
    with device.current():
        streams = [device.stream() for _ in range(3)]
        pinned, buffers = [device.pinned(8) for _ in streams], [device.allocate(8) for _ in streams]
        begin, end = device.event(timed=True), device.event(timed=True)
        begin.record(streams[0])
        for frame in range(9):
            slot = frame % 3
            streams[slot].synchronize()
            device.upload(buffers[slot], pinned[slot].array, streams[slot])
            device.compute(streams[slot], lambda: None, seconds=3)
            device.download(pinned[slot].array, buffers[slot], streams[slot])
        for stream in streams[:2]:
            end.record(stream)
            streams[2].wait(end)
        end.record(streams[2])
        end.synchronize()
        assert 29 - 1e-6 <= end.since(begin) < 40
        begin.record(streams[0])
        for _ in range(3):
            device.compute(streams[0], lambda: None, seconds=3)
            device.download(pinned[0].array, buffers[0], streams[0])
        end.record(streams[0])
        end.synchronize()
        assert end.since(begin) == pytest.approx(12)
